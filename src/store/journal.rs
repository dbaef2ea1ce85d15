//! How a database is journalled, by the file system that it lies on.
//!
//! WAL is fast, and needs memory that all users of the file share: one host, and a file system that
//! is known to keep it. On any other the rollback journal is used, which asks for locks alone. The
//! mode stands in the database itself: a writer that holds the creation lock changes it, a reader
//! works with what it finds.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::failure::failure;
use super::schema;
use crate::backoff::retry;
use crate::error::Result;
use crate::sys;

/// How long SQLite waits for another writer. A write of ours takes less than 50 ms.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// What SQLite is told, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// `PRAGMA journal_mode`: kept in the database.
    pub(super) mode: &'static str,
    /// `PRAGMA synchronous`: kept by each connection.
    pub(super) synchronous: &'static str,
}

/// What was reported as written has reached the disk.
pub(super) const ON_DISK: Journal = Journal { mode: "wal", synchronous: "full" };
/// Nothing here outlives the host: whole transactions are all that can be had.
pub(super) const IN_MEMORY: Journal = Journal { mode: "wal", synchronous: "normal" };
/// Needs nothing but locks, and writes the folder out, too, when a journal has gone.
pub(super) const ANYWHERE: Journal = Journal { mode: "delete", synchronous: "extra" };

/// File systems whose blocks and whose memory are this host's own, by the magic number of statfs(2).
const LOCAL: &[u32] = &[
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0xF2F5_2010, // f2fs
    0x2FC1_2FC1, // zfs
    0x794C_7630, // overlayfs: its upper layer is never on a network
    0xCA45_1A4E, // bcachefs
    0x3153_464A, // jfs
    0x5265_4973, // reiserfs
    0x2405_1905, // ubifs
    0x3434,      // nilfs2
];
const MEMORY: &[u32] = &[
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
];

/// The journal for a file system, by its magic number.
fn journal(fs_type: u32) -> Journal {
    match fs_type {
        local if LOCAL.contains(&local) => ON_DISK,
        memory if MEMORY.contains(&memory) => IN_MEMORY,
        _ => ANYWHERE,
    }
}

/// What the file system below a database asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) journal: Journal,
    /// Mounted so: nothing can be written, by whomever.
    pub(super) read_only: bool,
}

/// The file system of a database, or of its folder while there is none. One that cannot be asked is
/// an unknown one.
pub(super) fn place(path: &Path) -> Place {
    let folder = path.parent().unwrap_or(path);
    match sys::file_system(path).or_else(|_| sys::file_system(folder)) {
        Ok((fs_type, read_only)) => Place { journal: journal(fs_type), read_only },
        Err(_) => Place { journal: ANYWHERE, read_only: false },
    }
}

/// Whether the database is in the mode that is wanted.
pub(super) fn is_in(db: &Connection, wanted: Journal) -> bool {
    let mode = db.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    mode.as_deref() == Ok(wanted.mode)
}

/// From now on this connection writes as carefully as the file system needs it.
pub(super) fn set_synchronous(path: &Path, db: &Connection, journal: Journal) -> Result<()> {
    db.pragma_update(None, "synchronous", journal.synchronous)
        .map_err(|error| failure("open", path, &error))
}

/// Brings the database to the mode that is wanted. Where SQLite does not give it, the database is
/// journalled as it would be anywhere. The caller holds the creation lock.
///
/// # Errors
/// `Conflict` where others do not let go of the database for 5 s.
pub(super) fn bring(path: &Path, db: &Connection, wanted: Journal) -> Result<()> {
    // The mode changes only while nobody else has the file in use, and SQLite does not wait for
    // that by itself.
    let mut last = ask(db, wanted);
    retry(Instant::now() + BUSY, || {
        if is_busy(&last) {
            last = ask(db, wanted);
        }
        (!is_busy(&last)).then_some(())
    });
    let mode = last.map_err(|error| failure("change the journal mode of", path, &error))?;
    let given = if mode == wanted.mode { wanted } else { ANYWHERE };
    set_synchronous(path, db, given)
}

/// Lets others use a database that was opened alone: SQLite lets go of it at the next look.
pub(super) fn share(path: &Path, db: &Connection) -> Result<()> {
    db.pragma_update(None, "locking_mode", "normal")
        .and_then(|()| schema::identity(db))
        .map(|_| ())
        .map_err(|error| failure("open", path, &error))
}

/// The mode that the database is in afterwards.
fn ask(db: &Connection, wanted: Journal) -> rusqlite::Result<String> {
    db.pragma_update_and_check(None, "journal_mode", wanted.mode, |row| row.get(0))
}

fn is_busy(outcome: &rusqlite::Result<String>) -> bool {
    let code = outcome.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    code == Some(ErrorCode::DatabaseBusy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wal_is_for_file_systems_that_are_known_to_be_local() {
        for (fs_type, name, wanted) in [
            (0xEF53, "ext4", ON_DISK),
            (0x5846_5342, "xfs", ON_DISK),
            (0x9123_683E, "btrfs", ON_DISK),
            (0xF2F5_2010, "f2fs", ON_DISK),
            (0x2FC1_2FC1, "zfs", ON_DISK),
            (0x794C_7630, "overlayfs", ON_DISK),
            (0xCA45_1A4E, "bcachefs", ON_DISK),
            (0x0102_1994, "tmpfs", IN_MEMORY),
            (0x8584_58F6, "ramfs", IN_MEMORY),
            (0x6969, "nfs", ANYWHERE),
            (0xFF53_4D42, "cifs", ANYWHERE),
            (0xFE53_4D42, "smb2", ANYWHERE),
            (0x0102_1997, "9p", ANYWHERE),
            (0x6573_5546, "fuse, virtiofs", ANYWHERE),
            (0x00C3_6400, "ceph", ANYWHERE),
            (0x0BD0_0BD0, "lustre", ANYWHERE),
            (0x0116_1970, "gfs2", ANYWHERE),
            (0x7461_636F, "ocfs2", ANYWHERE),
            (0x72B6, "jffs2, which maps no memory", ANYWHERE),
            (0x4D44, "vfat", ANYWHERE),
            (0, "none", ANYWHERE),
        ] {
            assert_eq!(journal(fs_type), wanted, "{name}");
        }
    }

    #[test]
    fn where_sqlite_has_no_wal_the_rollback_journal_serves() {
        let folder = crate::testing::Folder::new();
        let path = folder.path().join("maqet.db");
        // SQLite's own file access that knows no shared memory.
        let flags = rusqlite::OpenFlags::default();
        let db = Connection::open_with_flags_and_vfs(&path, flags, "unix-dotfile").unwrap();
        db.execute_batch("CREATE TABLE a (x)").unwrap();
        bring(&path, &db, ON_DISK).unwrap();
        assert!(is_in(&db, ANYWHERE));
        let synchronous: i64 =
            db.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 3, "EXTRA");
    }
}
