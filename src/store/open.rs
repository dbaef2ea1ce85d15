//! Opening `maqet.db`: is it there, is it ours, is it of this version.
//!
//! A file that is not ours, newer, damaged or no database at all is refused by name and never
//! written. Reading creates nothing, migrates nothing and needs no lock of ours. Nothing here
//! knows what a VM is.
//!
//! SQLite opens every descriptor of the database itself: its record locks go with *any* descriptor
//! of the file that the process closes, and only SQLite knows which may be closed when.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failure::{failure, shown};
use super::schema::{self, APPLICATION_ID, Identity, VERSION};
use crate::error::{Error, Result};

/// How long SQLite waits for another writer. A write of ours takes less than 50 ms.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Older ones can corrupt a WAL database: <https://sqlite.org/wal.html#walresetbug>.
const OLDEST_SQLITE: i32 = 3_051_003;
/// What every database begins with, in bytes: <https://sqlite.org/fileformat2.html>. SQLite takes
/// what is missing of it for zeros.
const HEADER: u64 = 100;

/// An existing database for reading; `None` where there is none yet.
pub(super) fn for_reading(path: &Path) -> Result<Option<Connection>> {
    if look(path)? == Seen::Nothing {
        return Ok(None);
    }
    let (db, version) = match connect(path) {
        Err(_) if cannot_write(path, io::ErrorKind::ReadOnlyFilesystem) => connect_unchanging(path),
        other => other,
    }?;
    if version < VERSION {
        return Err(older(path, version));
    }
    db.pragma_update(None, "query_only", true).map_err(|error| failure("open", path, &error))?;
    Ok(Some(db))
}

/// What lies at the path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No file, or one of no bytes: a creation that did not come to its commit.
    Nothing,
    /// A database of ours, unless it is damaged: [`connect`] finds that out under SQLite's locks.
    Database,
}

/// Looks at the file without a lock, a trace beside it or a byte written to it.
///
/// Nothing more than opening it would give a foreign database in WAL mode a `-wal` file, or roll
/// its hot journal back; as an `immutable` one it is only read.
pub(super) fn look(path: &Path) -> Result<Seen> {
    let doing = || format!("open the database {}", shown(path));
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seen::Nothing),
        other => other.map_err(|error| Error::io(doing(), &error))?,
    };
    if !metadata.is_file() {
        return Err(Error::failed(format!("cannot {}: it is not a regular file", doing()))
            .hint("move it away, or name another folder with --data-dir"));
    }
    if metadata.len() == 0 {
        return Ok(Seen::Nothing);
    }
    if metadata.len() < HEADER {
        let short = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        return Err(failure("open", path, &rusqlite::Error::SqliteFailure(short, None)));
    }
    match immutable(path).and_then(|db| schema::identity(&db)) {
        Ok(identity) => accept(path, identity).map(|_| Seen::Database),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(failure("open", path, &error))
        }
        // A checkpoint of another process, seen in the middle, looks like damage.
        Err(_) => Ok(Seen::Database),
    }
}

/// A connection to a database that is ours and not newer than we are, and its version.
pub(super) fn connect(path: &Path) -> Result<(Connection, i64)> {
    let db = configured(path)?;
    let identity = schema::identity(&db).map_err(|error| cannot_open(path, &error))?;
    let version = accept(path, identity)?;
    settle(path, &db)?;
    Ok((db, version))
}

/// Opens the existing file; until [`settle`], closing the connection writes nothing to it.
pub(super) fn configured(path: &Path) -> Result<Connection> {
    let refused =
        |why: &str| Error::failed(format!("cannot open the database {}: {why}", shown(path)));
    if rusqlite::version_number() < OLDEST_SQLITE {
        let version = rusqlite::version();
        return Err(refused(&format!("SQLite {version} is too old, 3.51.3 is needed")));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(path, &error))?;
    match guard(&db) {
        Ok(true) => Ok(db),
        Ok(false) => Err(refused("this SQLite cannot be told to keep foreign keys")),
        Err(error) => Err(cannot_open(path, &error)),
    }
}

/// Sets what makes a connection safe; false where a setting, read back, is not as it should be.
fn guard(db: &Connection) -> rusqlite::Result<bool> {
    db.busy_timeout(BUSY)?;
    Ok(db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?
        && db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?
        && db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?
        && !db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?)
}

/// From now on closing may move the `-wal` file's content into the database, as SQLite does.
pub(super) fn settle(path: &Path, db: &Connection) -> Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(|_| ())
        .map_err(|error| failure("open", path, &error))
}

/// The version of a database that we may use; refuses any other by name.
pub(super) fn accept(path: &Path, identity: Identity) -> Result<i64> {
    let refused =
        |why: &str| Error::failed(format!("cannot open the database {}: {why}", shown(path)));
    if identity.application_id != APPLICATION_ID {
        return Err(refused("it belongs to another program")
            .hint("move the file away, or name another folder with --data-dir"));
    }
    match identity.version {
        version @ 1..=VERSION => Ok(version),
        version if version > VERSION => {
            let why = format!("its version is {version}, this maqet knows up to {VERSION}");
            Err(refused(&why).hint("use the newer maqet that made it"))
        }
        version => Err(refused(&format!("it is damaged: its version is {version}"))
            .hint("put a backup in its place; running VMs are not harmed")),
    }
}

fn older(path: &Path, version: i64) -> Error {
    let sentence = format!(
        "cannot read the database {}: its version is {version}, this maqet reads {VERSION}",
        shown(path)
    );
    Error::failed(sentence).hint("the next command that changes something brings it up to date")
}

/// A database on a read-only file system, where SQLite cannot make the files that WAL shares.
fn connect_unchanging(path: &Path) -> Result<(Connection, i64)> {
    if fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        let sentence = format!(
            "cannot read the database {}: its last changes are in a -wal file, and the file system \
             is read-only",
            shown(path)
        );
        return Err(Error::permission(sentence).hint("mount it writable once and run \"maqet ls\""));
    }
    let (db, identity) = immutable(path)
        .and_then(|db| schema::identity(&db).map(|identity| (db, identity)))
        .map_err(|error| failure("open", path, &error))?;
    accept(path, identity).map(|version| (db, version))
}

/// SQLite does not say why it cannot open a file; the operating system does.
fn cannot_open(path: &Path, error: &rusqlite::Error) -> Error {
    if error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
        && let Err(reason) = OpenOptions::new().read(true).write(true).open(path)
    {
        return Error::io(format!("open the database {}", shown(path)), &reason);
    }
    failure("open", path, error)
}

fn cannot_write(path: &Path, why: io::ErrorKind) -> bool {
    OpenOptions::new().write(true).open(path).is_err_and(|error| error.kind() == why)
}

/// `maqet.db` and a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens the file as it stands, its `-wal` left out: <https://sqlite.org/uri.html>.
fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(uri, "%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}
