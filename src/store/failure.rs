//! SQLite's refusals as sentences: which database, what was tried, why, and what can be done.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::error::{Error, Kind, quote};
use crate::sys;

/// Whether the file system has not even the room for what SQLite lays beside a database in WAL mode:
/// 32 KiB to share.
pub(super) fn lacks_room(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    sys::free_bytes(folder).is_ok_and(|free| free < 32 << 10)
}

/// `maqet.db` as it stands in a sentence.
pub(super) fn shown(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// "cannot WHAT the database PATH: WHY", with the kind and the hint that SQLite's code calls for.
pub(super) fn failure(what: &str, path: &Path, error: &rusqlite::Error) -> Error {
    let full = (Kind::Failed, Some("no space is left"), Some("free some space and try again"));
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let (kind, why, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Kind::Conflict,
            Some("another process has kept it locked for 5 s"),
            Some("try again; `fuser` shows who has the file open"),
        ),
        Some(ErrorCode::NotADatabase) => (
            Kind::Failed,
            Some("the file is not a database"),
            Some("move the file away, or put a backup in its place"),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            Kind::Failed,
            Some("the file is damaged"),
            Some("put a backup in its place; running VMs are not harmed"),
        ),
        Some(ErrorCode::DiskFull) => full,
        // The 32 KiB beside a database in WAL mode could not be had.
        Some(ErrorCode::SystemIoFailure)
            if extended == Some(SQLITE_IOERR_SHMSIZE) && lacks_room(path) =>
        {
            full
        }
        Some(ErrorCode::SystemIoFailure) => {
            (Kind::Failed, None, Some("`dmesg` tells what the kernel has seen of the disk"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            Kind::Permission,
            Some("it cannot be written"),
            Some("the file, its folder and its -wal and -shm files must be yours and writable"),
        ),
        _ => (Kind::Failed, None, None),
    };
    let why = why.map_or_else(|| error.to_string(), str::to_owned);
    let error = Error::new(kind, format!("cannot {what} the database {}: {why}", shown(path)));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
