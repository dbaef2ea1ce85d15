//! The files at and beside `maqet.db`: the lock for making it, and what is made for us alone.
//!
//! Nothing here knows what is in a database, nor opens one that holds something: that is SQLite's.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::failure::shown;
use crate::backoff::retry;
use crate::error::{Error, Result};

/// How long we wait for the process that is making or migrating the database.
const CREATION: Duration = Duration::from_secs(10);

/// `maqet.db` and a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The flock on `maqet.db.lock`, held until the file is dropped.
pub(super) fn creation_lock(path: &Path) -> Result<File> {
    let name = beside(path, ".lock");
    let cannot = |error: &io::Error| Error::io(format!("lock {}", shown(&name)), error);
    let file = private(&name, OpenOptions::new().create(true)).map_err(|error| cannot(&error))?;
    let outcome = retry(Instant::now() + CREATION, || match file.try_lock() {
        Ok(()) => Some(Ok(())),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => Some(Err(error)),
    });
    match outcome {
        Some(Ok(())) => Ok(file),
        Some(Err(error)) => Err(cannot(&error)),
        None => Err(Error::conflict(format!(
            "cannot lock {}: another maqet has been making or migrating the database for 10 s",
            shown(&name)
        ))
        .hint("try again when it is done")),
    }
}

/// An empty file in which SQLite makes the database; one that is there already is kept.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    match private(path, OpenOptions::new().create_new(true)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Gives a file another name, never over another one, by what does so in one step where the file
/// system can; NFS and some others cannot.
pub(super) fn rename_new(
    from: &Path,
    to: &Path,
    in_one_step: fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    match in_one_step(from, to) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            match fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(from, to),
            }
        }
        other => other,
    }
}

/// Opens a file to write, mode 0600 whatever the umask is. SQLite gives its `-wal` and `-shm`
/// files the mode of the database.
pub(super) fn private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.write(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}
