//! Opening `maqet.db`: is it there, is it ours, is it of this version.
//!
//! A file that is not ours, newer, damaged or no database at all is refused by name and never
//! written. Reading creates nothing, migrates nothing and needs no lock of ours. Nothing here
//! knows what a VM is.
//!
//! SQLite opens every descriptor of the database itself: its record locks go with *any* descriptor
//! of the file that the process closes, and only SQLite knows which may be closed when.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::disk::beside;
use super::failure::{failure, lacks_room, shown};
use super::journal::{BUSY, Place};
use super::schema::{self, APPLICATION_ID, Identity};
use crate::error::{Error, Kind, Result};

/// Older ones can corrupt a WAL database: <https://sqlite.org/wal.html#walresetbug>.
const OLDEST_SQLITE: i32 = 3_051_003;
/// What every database begins with, in bytes: <https://sqlite.org/fileformat2.html>. SQLite takes
/// what is missing of it for zeros.
const HEADER: u64 = 100;

/// An existing database of version `newest` for reading; `None` where there is none yet.
///
/// On a read-only file system SQLite cannot make the files that WAL shares. It reads what needs
/// none, under its locks, for elsewhere the same file may be mounted writable.
pub(super) fn for_reading(path: &Path, place: Place, newest: i64) -> Result<Option<Connection>> {
    if look(path, newest)? == Seen::Nothing {
        return Ok(None);
    }
    if place.read_only {
        complete(path, "-wal")?;
    }
    let opened = match connect(path, newest) {
        Err(_) if place.read_only => connect_unchanging(path, newest).map(Some),
        // A full disk has no room for the files that WAL shares; alone, SQLite does without.
        Err(_) if lacks_room(path) => connect_alone(path, newest),
        other => other,
    }?;
    let Some((db, version)) = opened else { return Ok(None) };
    if version < newest {
        return Err(older(path, version, newest));
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
pub(super) fn look(path: &Path, newest: i64) -> Result<Seen> {
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
        Ok(identity) => accept(path, identity, newest).map(|_| Seen::Database),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(failure("open", path, &error))
        }
        // A checkpoint of another process, seen in the middle, looks like damage.
        Err(_) => Ok(Seen::Database),
    }
}

/// A connection to a database that is ours and at most of version `newest`, and its version.
///
/// `None` where nothing is left of it: opening it has rolled back a creation that was killed in the
/// middle of its commit.
pub(super) fn connect(path: &Path, newest: i64) -> Result<Option<(Connection, i64)>> {
    admit(path, configured(path)?, newest)
}

/// The same while nobody else uses the file, until SQLite is told that its `locking_mode` is normal
/// again: like this, a database in WAL mode needs no memory to share.
pub(super) fn connect_alone(path: &Path, newest: i64) -> Result<Option<(Connection, i64)>> {
    let db = configured(path)?;
    db.pragma_update(None, "locking_mode", "exclusive")
        .map_err(|error| failure("open", path, &error))?;
    admit(path, db, newest)
}

fn admit(path: &Path, db: Connection, newest: i64) -> Result<Option<(Connection, i64)>> {
    let identity = schema::identity(&db).map_err(|error| cannot_open(path, &error))?;
    if identity.empty {
        return Ok(None);
    }
    let version = accept(path, identity, newest)?;
    settle(path, &db)?;
    Ok(Some((db, version)))
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
pub(super) fn accept(path: &Path, identity: Identity, newest: i64) -> Result<i64> {
    let refused =
        |why: &str| Error::failed(format!("cannot open the database {}: {why}", shown(path)));
    if identity.application_id != APPLICATION_ID {
        return Err(refused("it belongs to another program")
            .hint("move the file away, or name another folder with --data-dir"));
    }
    match identity.version {
        version if (1..=newest).contains(&version) => Ok(version),
        version if version > newest => {
            let why = format!("its version is {version}, this maqet knows up to {newest}");
            Err(refused(&why).hint("use the newer maqet that made it"))
        }
        version => Err(refused(&format!("it is damaged: its version is {version}"))
            .hint("put a backup in its place; running VMs are not harmed")),
    }
}

fn older(path: &Path, version: i64, newest: i64) -> Error {
    let sentence = format!(
        "cannot read the database {}: its version is {version}, this maqet reads {newest}",
        shown(path)
    );
    Error::failed(sentence)
        .hint("a command that writes, such as \"maqet add\", keeps a copy and brings it up to date")
}

/// A database on a read-only file system, as its file stands.
pub(super) fn connect_unchanging(path: &Path, newest: i64) -> Result<(Connection, i64)> {
    complete(path, "-journal")?;
    let (db, identity) = immutable(path)
        .and_then(|db| schema::identity(&db).map(|identity| (db, identity)))
        .map_err(|error| failure("open", path, &error))?;
    accept(path, identity, newest).map(|version| (db, version))
}

/// Refuses a database whose file is not the whole of it, where nothing can be done about that.
fn complete(path: &Path, suffix: &str) -> Result<()> {
    // SQLite keeps these files beside the database itself, wherever a link to it lies.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !fs::metadata(beside(&real, suffix)).is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let what = match suffix {
        "-wal" => "its last changes are in a -wal file",
        _ => "its last change was cut short and is to be undone from a -journal file",
    };
    Err(Error::permission(format!(
        "cannot read the database {}: {what}, and the file system is read-only",
        shown(path)
    ))
    .hint("mount it writable once and run \"maqet ls\", or copy the whole folder elsewhere"))
}

/// A whole backup to read from, of ours and at most of version `newest`, and its version. Its file
/// stands by itself: what lies in a `-wal` beside it would be missed.
pub(super) fn backup(path: &Path, newest: i64) -> Result<(Connection, i64)> {
    if look(path, newest)? == Seen::Nothing {
        return Err(Error::not_found(format!("there is no backup in {}", shown(path))));
    }
    for suffix in ["-wal", "-journal"] {
        if fs::metadata(beside(path, suffix)).is_ok_and(|file| file.len() > 0) {
            let error = format!("{} is in use: it has a {suffix} file beside it", shown(path));
            return Err(Error::conflict(error)
                .hint("\"maqet db backup\" makes a copy of a database that is in use"));
        }
    }
    let found = connect_unchanging(path, newest)?;
    match quick_check(&found.0) {
        Ok(None) => Ok(found),
        Ok(Some(said)) => Err(damaged(path, &said)),
        Err(error) => Err(failure("read", path, &error)),
    }
}

/// What SQLite finds wrong when it looks through a whole file.
pub(super) fn quick_check(db: &Connection) -> rusqlite::Result<Option<String>> {
    let said: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

/// The refusal of a database in which [`quick_check`] has found something.
pub(super) fn damaged(path: &Path, said: &str) -> Error {
    Error::failed(format!("the database {} is damaged: {said}", shown(path)))
        .hint("\"maqet db restore\" puts a backup in its place; running VMs are not harmed")
}

/// What SQLite can make of a file that lies where the database is to be.
#[derive(Debug)]
pub(super) enum Standing {
    Nothing,
    Whole(Connection, i64),
    /// A database of ours no longer, or not even a database.
    Damaged,
}

/// Looks whether the database can be used, down to its last page.
///
/// # Errors
/// For one of another program or of a newer maqet, which is no damage; and for one that cannot be
/// read now, of which nothing is known.
pub(super) fn standing(path: &Path, newest: i64) -> Result<Standing> {
    match immutable(path).and_then(|db| schema::identity(&db)) {
        Ok(identity) if !identity.empty => {
            let is_ours = identity.application_id == APPLICATION_ID;
            if !is_ours || identity.version > newest {
                accept(path, identity, newest)?;
            }
        }
        _ => {}
    }
    // What fails for once is no damage.
    match look(path, newest).or_else(|_| look(path, newest)) {
        Ok(Seen::Nothing) => return Ok(Standing::Nothing),
        Ok(Seen::Database) => {}
        Err(error) if !fs::metadata(path).is_ok_and(|found| found.is_file()) => return Err(error),
        Err(_) => return Ok(Standing::Damaged),
    }
    match connect(path, newest) {
        Ok(None) => Ok(Standing::Nothing),
        Ok(Some((db, version))) => match checked_twice(&db) {
            Ok(None) => Ok(Standing::Whole(db, version)),
            Err(error) if !is_damage(&error) => Err(failure("read", path, &error)),
            _ => Ok(Standing::Damaged),
        },
        // Locked, without leave to read it, out of descriptors: nothing is known of it then.
        Err(error) if error.kind != Kind::Failed || !is_damaged(path) => Err(error),
        Err(_) => Ok(Standing::Damaged),
    }
}

/// What SQLite finds wrong twice: a page that could not be read for once looks damaged, too.
fn checked_twice(db: &Connection) -> rusqlite::Result<Option<String>> {
    match quick_check(db)? {
        None => Ok(None),
        Some(_) => quick_check(db),
    }
}

/// Whether SQLite, asked again, finds the file itself at fault.
fn is_damaged(path: &Path) -> bool {
    let found = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|db| schema::identity(&db).and_then(|_| checked_twice(&db)));
    found.map_or_else(|error| is_damage(&error), |said| said.is_some())
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
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
