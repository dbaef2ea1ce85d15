//! Migrations, by steps that no release has: what they keep, how many there are of them at once, and
//! what one that is killed leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::journal::{ANYWHERE, Journal, ON_DISK};
use super::super::schema::{STEPS, VERSION, version_after};
use super::at_once::at_once;
use super::{IDS, empty, listing, on, read, writer};
use crate::backoff::retry;
use crate::error::Kind;
use crate::testing::Folder;

const NEW: &str = "ALTER TABLE vm ADD COLUMN note TEXT; UPDATE vm SET note = 'new'";
/// Writes for hours, into the journal or the -wal file, too: it is more than SQLite keeps in memory.
const ENDLESS: &str = "UPDATE vm SET name = 'gone';
    CREATE TABLE much (x TEXT) STRICT;
    INSERT INTO much WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT hex(zeroblob(500)) FROM n";

fn and(step: &'static str) -> Vec<&'static str> {
    [STEPS, &[step]].concat()
}

/// A database of today's version with `web`.
fn old(journal: Journal) -> (Folder, PathBuf) {
    let (folder, path) = empty();
    writer(&path, on(journal), STEPS).unwrap().insert(IDS[0], "web", "{}").unwrap();
    (folder, path)
}

fn backups(folder: &Path) -> Vec<PathBuf> {
    let start = format!("maqet.db.v{VERSION}-");
    let names = listing(folder).into_iter();
    names
        .filter(|name| name.starts_with(&start) && name.ends_with(".bak"))
        .map(|name| folder.join(name))
        .collect()
}

fn version(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

fn has_note(path: &Path) -> bool {
    Connection::open(path).unwrap().column_exists(None, "vm", "note").unwrap()
}

#[test]
fn a_migration_keeps_a_copy_of_the_old_data_and_the_old_schema() {
    for journal in [ON_DISK, ANYWHERE] {
        let (folder, path) = old(journal);
        let store = writer(&path, on(journal), &and(NEW)).unwrap();
        let note: String = store.db.query_row("SELECT note FROM vm", [], |row| row.get(0)).unwrap();
        assert_eq!(note, "new");
        drop(store);
        assert_eq!((version(&path), has_note(&path)), (VERSION + 1, true));
        let [backup] = &backups(folder.path())[..] else { panic!("{:?}", listing(folder.path())) };
        assert_eq!(fs::metadata(backup).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((version(backup), has_note(backup)), (VERSION, false));
        // The copy is a database as this version of maqet makes it.
        assert_eq!(read(backup, on(journal), STEPS).unwrap(), ["web"]);
        assert_eq!(listing(folder.path()).len(), 3, "{:?}", listing(folder.path()));
        drop(writer(&path, on(journal), &and(NEW)).unwrap());
        assert_eq!(backups(folder.path()).len(), 1, "a second use has nothing to copy");
    }
}

#[test]
fn a_new_database_needs_no_copy() {
    let (folder, path) = empty();
    drop(writer(&path, on(ON_DISK), &and(NEW)).unwrap());
    assert_eq!(version(&path), VERSION + 1);
    assert_eq!(listing(folder.path()), ["maqet.db", "maqet.db.lock"]);
}

#[test]
fn a_copy_is_made_in_a_folder_of_any_name() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = Folder::new();
    for name in [&b"it's"[..], b"a?mode=ro", b"\xff\xfe", b"a\n\"b"] {
        let inner = folder.path().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&inner).unwrap();
        let path = inner.join("maqet.db");
        drop(writer(&path, on(ON_DISK), STEPS).unwrap());
        drop(writer(&path, on(ON_DISK), &and(NEW)).unwrap());
        assert_eq!(backups(&inner).len(), 1, "{name:?}");
    }
}

#[test]
fn a_reader_never_migrates_and_says_which_command_does() {
    let (folder, path) = old(ON_DISK);
    let (bytes, before) = (fs::read(&path).unwrap(), listing(folder.path()));
    let error = read(&path, on(ON_DISK), &and(NEW)).unwrap_err();
    assert_eq!(error.kind, Kind::Failed);
    let told = format!("its version is {VERSION}, this maqet reads {}", VERSION + 1);
    assert!(error.message.contains("maqet.db") && error.message.ends_with(&told), "{error}");
    assert!(error.hint.as_ref().unwrap().contains("\"maqet add\""));
    assert_eq!((fs::read(&path).unwrap(), listing(folder.path())), (bytes, before));
}

#[test]
fn without_its_copy_a_migration_is_not_begun() {
    let (folder, path) = old(ON_DISK);
    let in_the_way = folder.path().join("maqet.db.bak.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let (bytes, before) = (fs::read(&path).unwrap(), listing(folder.path()));
    let error = writer(&path, on(ON_DISK), &and(NEW)).unwrap_err();
    assert_eq!(error.kind, Kind::Failed);
    assert!(error.message.starts_with("cannot back up the database"), "{error}");
    assert!(error.message.contains("maqet.db"), "{error}");
    assert!(error.hint.as_ref().unwrap().contains("nothing was done to it"));
    assert_eq!((fs::read(&path).unwrap(), listing(folder.path())), (bytes, before));
    assert_eq!(read(&path, on(ON_DISK), STEPS).unwrap(), ["web"]);
    // What a killed copy left is in nobody's way.
    fs::remove_dir(&in_the_way).unwrap();
    fs::write(&in_the_way, "a part of a copy").unwrap();
    fs::write(folder.path().join("maqet.db.bak.tmp-journal"), "its journal").unwrap();
    drop(writer(&path, on(ON_DISK), &and(NEW)).unwrap());
    assert_eq!(backups(folder.path()).len(), 1);
    assert_eq!(listing(folder.path()).len(), 3, "{:?}", listing(folder.path()));
}

#[test]
fn a_damaged_database_is_neither_copied_nor_migrated() {
    let (folder, path) = old(ON_DISK);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = writer(&path, on(ON_DISK), &and(NEW)).unwrap_err();
    assert!(error.message.contains("damaged") && error.hint.is_some(), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(listing(folder.path()), ["maqet.db", "maqet.db.lock"]);
}

#[test]
fn a_step_that_fails_leaves_the_old_database_and_its_copy() {
    let (folder, path) = old(ON_DISK);
    let error = writer(&path, on(ON_DISK), &and("DELETE FROM vm; CREATE nonsense")).unwrap_err();
    assert!(error.message.starts_with("cannot migrate the database"), "{error}");
    assert_eq!(read(&path, on(ON_DISK), STEPS).unwrap(), ["web"]);
    assert_eq!(backups(folder.path()).len(), 1);
}

#[test]
fn twenty_threads_that_find_an_older_version_make_one_migration() {
    for journal in [ON_DISK, ANYWHERE] {
        let (folder, path) = old(journal);
        let outcomes = at_once(|_| writer(&path, on(journal), &and(NEW)).map(|_| ()));
        assert_eq!(outcomes, vec![Ok(()); 20]);
        assert_eq!(backups(folder.path()).len(), 1);
        assert_eq!((version(&path), has_note(&path)), (VERSION + 1, true));
    }
}

/// Not a test by itself: what the two tests below run as a process of its own.
#[test]
fn the_process_that_migrates() {
    let Some(path) = std::env::var_os("MAQET_TEST_MIGRATES").map(PathBuf::from) else { return };
    let how = std::env::var("MAQET_TEST_HOW").unwrap();
    let step = if how.contains("endless") { ENDLESS } else { NEW };
    let journal = if how.contains("delete") { ANYWHERE } else { ON_DISK };
    drop(writer(&path, on(journal), &and(step)).unwrap());
}

fn process(path: &Path, how: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::tests::migrating::the_process_that_migrates"]);
    command.env("MAQET_TEST_MIGRATES", path).env("MAQET_TEST_HOW", how);
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn eight_processes_that_find_an_older_version_make_one_migration() {
    for mode in ["wal", "delete"] {
        let (folder, path) = old(if mode == "wal" { ON_DISK } else { ANYWHERE });
        let processes: Vec<Child> = (0..8).map(|_| process(&path, mode)).collect();
        for mut process in processes {
            assert!(process.wait().unwrap().success());
        }
        assert_eq!(backups(folder.path()).len(), 1);
        assert_eq!((version(&path), has_note(&path)), (VERSION + 1, true));
    }
}

#[test]
fn a_migration_that_is_killed_in_the_middle_leaves_the_old_version() {
    for (mode, journal, beside) in [("wal", ON_DISK, "-wal"), ("delete", ANYWHERE, "-journal")] {
        let (folder, path) = old(journal);
        let mut process = process(&path, &format!("{mode} endless"));
        let growing = folder.path().join(format!("maqet.db{beside}"));
        let begun = retry(Instant::now() + Duration::from_secs(20), || {
            let written = fs::metadata(&growing).is_ok_and(|file| file.len() > 100_000);
            (written || (mode == "delete" && fs::metadata(&path).unwrap().len() > 1_000_000))
                .then_some(())
        });
        process.kill().unwrap();
        assert!(!process.wait().unwrap().success());
        assert!(begun.is_some(), "the migration did not begin to write");
        assert_eq!(read(&path, on(journal), STEPS).unwrap(), ["web"], "{mode}");
        assert_eq!(version(&path), VERSION);
        assert_eq!(backups(folder.path()).len(), 1);
        drop(writer(&path, on(journal), &and(NEW)).unwrap());
        assert_eq!((version(&path), has_note(&path)), (version_after(&and(NEW)), true));
        let table = Connection::open(&path).unwrap().table_exists(None, "much").unwrap();
        assert!(!table, "a part of the killed migration is there");
        assert_eq!(backups(folder.path()).len(), 2, "each migration has its own copy");
    }
}
