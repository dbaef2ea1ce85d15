//! A backup back in the place of `maqet.db`.
//!
//! It goes through SQLite's backup API, under SQLite's locks, for a file that is copied over a
//! database with a live `-wal` is silently undone. What was there before is kept: a whole database as
//! a copy, a damaged one under another name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::backup;
use super::create::read_only;
use super::disk::{beside, creation_lock, rename_new, touch};
use super::failure::{failure, shown};
use super::journal::{BUSY, Place};
use super::open::{self, Standing};
use crate::backoff::retry;
use crate::error::{Error, Result};
use crate::sys;
use crate::time::Timestamp;

/// Restores `source` into the database at `path`; where what was there before is kept. A backup of an
/// older version is brought up to date by the next command that writes.
///
/// # Errors
/// For what is no backup of ours, or a damaged one; for a database of another program or of a newer
/// maqet. Nothing has been changed then.
pub(super) fn restore(
    path: &Path,
    place: Place,
    source: &Path,
    newest: i64,
) -> Result<Option<PathBuf>> {
    let is_same = || Some(fs::canonicalize(path).ok()? == fs::canonicalize(source).ok()?);
    if is_same() == Some(true) {
        return Err(Error::usage(format!("{} is the database itself", shown(source))));
    }
    let (from, _) = open::backup(source, newest)?;
    if place.read_only {
        return Err(read_only(path));
    }
    let _held_until_done = creation_lock(path)?;
    let (kept, mut db) = match open::standing(path, newest)? {
        Standing::Whole(db, version) => (Some(backup::make(path, &db, version)?), db),
        Standing::Damaged => (Some(set_aside(path)?), fresh(path)?),
        Standing::Nothing => (None, fresh(path)?),
    };
    copy(path, &from, &mut db)?;
    open::settle(path, &db)?;
    Ok(kept)
}

/// An empty database where none is.
fn fresh(path: &Path) -> Result<Connection> {
    let cannot = |error| Error::io(format!("create the database {}", shown(path)), &error);
    touch(path).map_err(cannot)?;
    open::configured(path)
}

/// All pages in one transaction: who reads meanwhile sees the old database or the new one.
fn copy(path: &Path, from: &Connection, db: &mut Connection) -> Result<()> {
    let cannot = |error| failure("restore", path, &error);
    let backup = Backup::new(from, db).map_err(cannot)?;
    // Another writer is waited for as by every other write.
    let done = retry(Instant::now() + BUSY, || match backup.step(-1) {
        Ok(StepResult::Busy | StepResult::Locked) => None,
        Ok(_) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    match done {
        Some(done) => done.map_err(cannot),
        None => Err(Error::conflict(format!(
            "cannot restore the database {}: another process has kept it locked for 5 s",
            shown(path)
        ))
        .hint("try again; `fuser` shows who has the file open")),
    }
}

/// Gives a damaged database another name, with what SQLite keeps beside it.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let now = Timestamp::now().to_string().replace(['-', ':'], "");
    let name = beside(path, &format!(".damaged-{now}"));
    let cannot = |error: io::Error| {
        Error::io(format!("set the damaged database {} aside", shown(path)), &error)
    };
    for suffix in ["-wal", "-shm", "-journal"] {
        match rename_new(&beside(path, suffix), &beside(&name, suffix), sys::rename_new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
            _ => {}
        }
    }
    rename_new(path, &name, sys::rename_new).map_err(cannot)?;
    Ok(name)
}
