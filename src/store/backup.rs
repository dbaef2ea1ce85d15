//! Copies of a database: where a person wants one, and the one that is kept beside it before it is
//! migrated or replaced, `maqet.db.v1-20260131T123456.789Z.bak`.
//!
//! It is whole or it is not there: SQLite makes it under another name, it is written out to the
//! disk, and then it is renamed, never over another one. Nothing here removes a finished copy.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::disk::{self, beside, private};
use super::failure::{failure, shown};
use crate::backoff::retry;
use crate::error::{Error, Result};
use crate::sys;
use crate::time::Timestamp;

/// What the name of a copy that is being made ends in.
const UNFINISHED: &str = ".maqet-unfinished";
/// How long we look for a name that is free: a new one comes with every millisecond.
const NAMING: Duration = Duration::from_secs(1);

/// Copies the database, which is of `version`, before something is done to it that could go wrong; the
/// path of the copy. The caller holds the creation lock.
///
/// # Errors
/// As the file system or SQLite has it; then no copy is there, nor a part of one.
pub(super) fn make(path: &Path, db: &Connection, version: i64) -> Result<PathBuf> {
    let unfinished = beside(path, ".bak.tmp");
    clear(&unfinished);
    let outcome = copy(path, db, &unfinished).and_then(|()| {
        let kept = keep(path, &unfinished, version, sys::rename_new);
        kept.map_err(|error| Error::io(doing(path), &error))
    });
    outcome.map_err(|error| {
        clear(&unfinished);
        let hint = error.hint.clone().unwrap_or_else(|| "make room for a copy beside it".into());
        error.hint(format!("{hint}; nothing was done to it"))
    })
}

/// Copies the database to `target`, which must not be there yet, with mode 0600.
///
/// # Errors
/// [`Kind::Conflict`](crate::error::Kind::Conflict) where something is there already; as the file
/// system or SQLite has it, and then no copy is there, nor a part of one.
pub(super) fn to(path: &Path, db: &Connection, target: &Path) -> Result<()> {
    let taken = || {
        Error::conflict(format!("there is a file {} already", shown(target)))
            .hint("a backup is never written over: choose another name")
    };
    if fs::symlink_metadata(target).is_ok() {
        return Err(taken());
    }
    let unfinished = beside(target, UNFINISHED);
    let cannot = |error: io::Error| Error::io(format!("make {}", shown(target)), &error);
    let _claimed = claim(&unfinished)
        .map_err(cannot)?
        .ok_or_else(|| Error::conflict(format!("another command makes {} now", shown(target))))?;
    // One that reads is held to it; here another file is written, and the database is not.
    db.pragma_update(None, "query_only", false)
        .map_err(|error| failure("back up", path, &error))?;
    copy(path, db, &unfinished)
        .and_then(|()| match disk::rename_new(&unfinished, target, sys::rename_new) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(taken()),
            other => other.and_then(|()| sync_folder(target)).map_err(cannot),
        })
        .inspect_err(|_| clear(&unfinished))
}

/// Makes the file for a copy, or takes over what a command that was killed has left of one; `None`
/// while the command that makes it is there.
fn claim(unfinished: &Path) -> io::Result<Option<File>> {
    loop {
        let options = &mut OpenOptions::new();
        let file = private(unfinished, options.create(true).custom_flags(sys::NO_FOLLOW))?;
        if !sys::try_flock(&file, false)? {
            return Ok(None);
        }
        // It may have got its last name, or have been removed, between the two.
        let (ours, there) = (file.metadata()?, fs::symlink_metadata(unfinished));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            file.set_len(0)?;
            let _ = fs::remove_file(beside(unfinished, "-journal"));
            return Ok(Some(file));
        }
    }
}

fn doing(path: &Path) -> String {
    format!("back up the database {}", shown(path))
}

/// Has the folder of a file know it, on the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// What a copy that was cut short may have left. Where it stays, the next step says why.
fn clear(unfinished: &Path) {
    let _ = fs::remove_file(unfinished);
    let _ = fs::remove_file(beside(unfinished, "-journal"));
}

/// The whole copy under its first name, on the disk.
fn copy(path: &Path, db: &Connection, unfinished: &Path) -> Result<()> {
    let cannot = |error: &io::Error| Error::io(doing(path), error);
    // Made by us, for SQLite would let others read it; it takes a file that is empty.
    let file =
        private(unfinished, OpenOptions::new().create(true)).map_err(|error| cannot(&error))?;
    // A path is bytes, and a bound text would have to be UTF-8.
    db.execute("VACUUM INTO CAST(?1 AS TEXT)", [unfinished.as_os_str().as_bytes()])
        .map_err(|error| failure("back up", path, &error))?;
    file.sync_all().map_err(|error| cannot(&error))
}

/// Gives the copy its last name, and has the folder know it.
fn keep(
    path: &Path,
    unfinished: &Path,
    version: i64,
    rename_new: fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let renamed = retry(Instant::now() + NAMING, || {
        let now = Timestamp::now().to_string().replace(['-', ':'], "");
        let name = beside(path, &format!(".v{version}-{now}.bak"));
        // Only a holder of the creation lock makes such a file.
        let outcome = disk::rename_new(unfinished, &name, rename_new);
        match outcome {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
            other => Some(other.map(|()| name)),
        }
    });
    let name = renamed.unwrap_or_else(|| Err(ErrorKind::AlreadyExists.into()))?;
    sync_folder(&name)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_copy_is_named_after_its_version_and_its_time_where_renames_can_replace_too() {
        fn nfs(_: &Path, _: &Path) -> io::Result<()> {
            Err(ErrorKind::InvalidInput.into())
        }
        for rename_new in [sys::rename_new, nfs] {
            let folder = Folder::new();
            let path = folder.path().join("maqet.db");
            for _ in 0..3 {
                let unfinished = folder.path().join("new");
                fs::write(&unfinished, "a copy").unwrap();
                keep(&path, &unfinished, 7, rename_new).unwrap();
            }
            let names = names(folder.path());
            assert_eq!(names.len(), 3, "{names:?}");
            for name in &names {
                let stamp =
                    name.strip_prefix("maqet.db.v7-2").and_then(|n| n.strip_suffix("Z.bak"));
                assert_eq!(stamp.map(str::len), Some(18), "{name}");
            }
        }
    }

    #[test]
    fn a_name_that_is_taken_is_never_written_over() {
        fn taken(_: &Path, _: &Path) -> io::Result<()> {
            Err(ErrorKind::AlreadyExists.into())
        }
        let folder = Folder::new();
        let unfinished = folder.path().join("new");
        fs::write(&unfinished, "a copy").unwrap();
        let error = keep(&folder.path().join("maqet.db"), &unfinished, 1, taken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(names(folder.path()), ["new"]);
    }
}
