//! Making `maqet.db`, and migrating it: under a lock file, so that of twenty first uses at once
//! one does the work and the others find it done.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::failure::{failure, shown};
use super::open::{self, BUSY, Seen, beside};
use super::schema;
use crate::backoff::retry;
use crate::error::{Error, Result, quote};

/// How long we wait for the process that is making or migrating the database.
const CREATION: Duration = Duration::from_secs(10);

/// A database for writing, made or migrated where needed. Its folder must exist.
pub(super) fn for_writing(path: &Path) -> Result<Connection> {
    let db = match open::look(path)? {
        Seen::Nothing => None,
        Seen::Database => {
            let (db, version) = open::connect(path)?;
            (version == schema::VERSION && is_wal(&db)).then_some(db)
        }
    };
    let db = match db {
        Some(db) => db,
        None => make(path)?,
    };
    // What was reported as written has reached the disk.
    db.pragma_update(None, "synchronous", "FULL").map_err(|error| failure("open", path, &error))?;
    Ok(db)
}

/// A database of our version in WAL mode, whatever was there of ours before.
///
/// A crash leaves an empty file, or a whole database that is not yet in WAL mode: the next writer
/// comes through here again.
fn make(path: &Path) -> Result<Connection> {
    let _held_until_done = creation_lock(path)?;
    let mut db = match open::look(path)? {
        Seen::Nothing => {
            let doing = || format!("create the database {}", shown(path));
            touch(path).map_err(|error| Error::io(doing(), &error))?;
            open::configured(path)?
        }
        Seen::Database => open::connect(path)?.0,
    };
    schema::migrate(&mut db).map_err(|error| failure("migrate", path, &error))?;
    let now = schema::identity(&db).map_err(|error| failure("open", path, &error))?;
    open::accept(path, now)?;
    switch_to_wal(path, &db)?;
    open::settle(path, &db)?;
    Ok(db)
}

/// The mode changes only while nobody reads, and SQLite does not wait for that by itself.
fn switch_to_wal(path: &Path, db: &Connection) -> Result<()> {
    let mut last = ask_for_wal(db);
    retry(Instant::now() + BUSY, || {
        if is_busy(&last) {
            last = ask_for_wal(db);
        }
        (!is_busy(&last)).then_some(())
    });
    match last.map_err(|error| failure("switch to WAL", path, &error))?.as_str() {
        "wal" => Ok(()),
        mode => Err(Error::failed(format!(
            "cannot switch the database {} to WAL: it stays in mode {}",
            shown(path),
            quote(mode)
        ))
        .hint("keep it on a local disk: --data-dir names the folder")),
    }
}

/// The mode that the database is in afterwards.
fn ask_for_wal(db: &Connection) -> rusqlite::Result<String> {
    db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
}

fn is_busy(outcome: &rusqlite::Result<String>) -> bool {
    let code = outcome.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    code == Some(ErrorCode::DatabaseBusy)
}

fn is_wal(db: &Connection) -> bool {
    let mode = db.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    mode.as_deref() == Ok("wal")
}

/// The flock on `maqet.db.lock`, held until the file is dropped.
fn creation_lock(path: &Path) -> Result<File> {
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
fn touch(path: &Path) -> io::Result<()> {
    match private(path, OpenOptions::new().create_new(true)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Opens a file to write, mode 0600 whatever the umask is. SQLite gives its `-wal` and `-shm`
/// files the mode of the database.
fn private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.write(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}
