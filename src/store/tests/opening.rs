//! What is made, what is read, and which files are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::super::Store;
use super::super::schema::{APPLICATION_ID, VERSION};
use super::{IDS, empty, kind, listing, names, pragma};
use crate::error::Kind;
use crate::testing::Folder;

#[test]
fn reading_an_absent_database_creates_nothing() {
    let (folder, path) = empty();
    assert!(Store::open_to_read(&path).unwrap().is_none());
    assert_eq!(listing(folder.path()), [""; 0]);
    assert!(Store::open_to_read(&folder.path().join("no/such/maqet.db")).unwrap().is_none());
}

#[test]
fn an_empty_file_is_a_creation_that_was_cut_short() {
    let (_folder, path) = empty();
    fs::write(&path, "").unwrap();
    assert!(Store::open_to_read(&path).unwrap().is_none());
    Store::open_to_write(&path).unwrap().insert(IDS[0], "web", "{}").unwrap();
    assert_eq!(names(&Store::open_to_read(&path).unwrap().unwrap().all().unwrap()), ["web"]);
}

#[test]
fn a_missing_folder_is_not_made() {
    let (folder, _) = empty();
    let path = folder.path().join("no/maqet.db");
    assert_eq!(kind(Store::open_to_write(&path)), Kind::Failed);
    assert_eq!(listing(folder.path()), [""; 0]);
}

#[test]
fn the_database_is_ours_alone_and_guarded() {
    let (folder, path) = empty();
    let store = Store::open_to_write(&path).unwrap();
    for name in listing(folder.path()) {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(pragma(&store, "foreign_keys"), "1");
    assert_eq!(pragma(&store, "trusted_schema"), "0");
    assert_eq!(pragma(&store, "application_id"), APPLICATION_ID.to_string());
}

#[test]
fn a_reader_leaves_the_folder_as_it_found_it_and_cannot_write() {
    let (folder, path) = empty();
    Store::open_to_write(&path).unwrap().insert(IDS[0], "web", "{}").unwrap();
    let before = listing(folder.path());
    assert_eq!(before, ["maqet.db", "maqet.db.lock"]);
    let mut reader = Store::open_to_read(&path).unwrap().unwrap();
    assert_eq!(kind(reader.insert(IDS[1], "db", "{}")), Kind::Permission);
    assert_eq!(names(&reader.all().unwrap()), ["web"]);
    drop(reader);
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn a_reader_sees_what_a_writer_that_is_still_open_has_written() {
    let (_folder, path) = empty();
    let mut first = Store::open_to_write(&path).unwrap();
    let mut second = Store::open_to_write(&path).unwrap();
    let reader = Store::open_to_read(&path).unwrap().unwrap();
    first.insert(IDS[0], "web", "{}").unwrap();
    second.insert(IDS[1], "db", "{}").unwrap();
    assert_eq!(names(&reader.all().unwrap()), ["db", "web"]);
}

#[test]
fn a_path_with_any_character_is_a_path() {
    let folder = Folder::new();
    for name in ["a b", "a?mode=memory", "a%41", "a#b", "a\nb", "größe", "file:x", "'\""] {
        let path = folder.path().join(name);
        Store::open_to_write(&path).unwrap().insert(IDS[0], "web", "{}").unwrap();
        assert!(path.is_file(), "{name}");
        let reader = Store::open_to_read(&path).unwrap().unwrap();
        assert_eq!(names(&reader.all().unwrap()), ["web"], "{name}");
    }
}

/// What makes each file, and a word of the sentence that refuses it.
type Spoiled = (&'static str, fn(&Path), &'static str);

const SPOILED: [Spoiled; 9] = [
    ("foreign", |path| foreign(path, "delete"), "another program"),
    ("foreign in WAL mode", |path| foreign(path, "wal"), "another program"),
    ("newer", |path| change(path, &format!("PRAGMA user_version = {}", VERSION + 1)), "version"),
    ("newer, with a schema beyond us", beyond_us, "version"),
    ("of no version", |path| change(path, "PRAGMA user_version = 0"), "damaged"),
    ("of a negative version", |path| change(path, "PRAGMA user_version = -1"), "damaged"),
    ("text", |path| fs::write(path, "name = web\n").unwrap(), "not a database"),
    ("truncated", |path| cut(path, 4096), "damaged"),
    ("cut within its header", |path| cut(path, 50), "not a database"),
];

fn foreign(path: &Path, mode: &str) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE a (x)")).unwrap();
}

fn change(path: &Path, sql: &str) {
    drop(Store::open_to_write(path).unwrap());
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn beyond_us(path: &Path) {
    let table = "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 2, 'CREATE A NOVELTY x')";
    change(path, &format!("PRAGMA writable_schema = on; {table}; PRAGMA user_version = 9"));
}

fn cut(path: &Path, length: usize) {
    drop(Store::open_to_write(path).unwrap());
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..length]).unwrap();
}

#[test]
fn a_file_that_is_not_our_database_is_refused_by_name_and_not_touched() {
    for (what, spoil, why) in SPOILED {
        let (folder, path) = empty();
        spoil(&path);
        let (bytes, before) = (fs::read(&path).unwrap(), listing(folder.path()));
        let read = Store::open_to_read(&path).unwrap_err();
        let written = Store::open_to_write(&path).unwrap_err();
        for error in [read, written] {
            assert_eq!(error.kind, Kind::Failed, "{what}");
            assert!(error.message.contains("maqet.db"), "{what}: {error}");
            assert!(error.message.contains(why), "{what}: {error}");
            assert!(error.hint.is_some(), "{what}");
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}");
        if what != "truncated" {
            assert_eq!(listing(folder.path()), before, "{what}");
        }
    }
}

#[test]
fn a_newer_version_that_is_still_in_the_wal_file_is_refused() {
    let (_folder, path) = empty();
    drop(Store::open_to_write(&path).unwrap());
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", VERSION + 1).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert!(Store::open_to_write(&path).unwrap_err().message.contains("version"));
    assert!(Store::open_to_read(&path).unwrap_err().message.contains("version"));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn damage_found_while_reading_is_told_with_the_files_name() {
    let (_folder, path) = empty();
    drop(Store::open_to_write(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let outcome = Store::open_to_read(&path).and_then(|store| store.unwrap().all());
    let error = outcome.unwrap_err();
    assert!(error.message.contains("maqet.db") && error.message.contains("damaged"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let (_folder, path) = empty();
    fs::create_dir(&path).unwrap();
    assert_eq!(kind(Store::open_to_read(&path)), Kind::Failed);
    assert_eq!(kind(Store::open_to_write(&path)), Kind::Failed);
}
