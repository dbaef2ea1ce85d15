//! Both journal modes with real databases, and the way from one to the other.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::Store;
use super::super::journal::{ANYWHERE, IN_MEMORY, Journal, ON_DISK, Place};
use super::super::schema::STEPS;
use super::at_once::at_once;
use super::{IDS, empty, kind, listing, names, on, pragma, read, writer};
use crate::error::{Kind, Result};

const ALL: [(Journal, &str); 3] = [(ON_DISK, "2"), (IN_MEMORY, "1"), (ANYWHERE, "3")];

fn open(path: &Path, journal: Journal) -> Result<Store> {
    writer(path, on(journal), STEPS)
}

/// The mode that stands in the database.
fn mode(path: &Path) -> String {
    let db = Connection::open(path).unwrap();
    db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap()
}

#[test]
fn each_file_system_has_its_mode_and_its_care_from_the_first_use_on() {
    for (journal, synchronous) in ALL {
        let (folder, path) = empty();
        for id in &IDS[..2] {
            let mut store = open(&path, journal).unwrap();
            assert_eq!(pragma(&store, "journal_mode"), journal.mode);
            assert_eq!(pragma(&store, "synchronous"), synchronous);
            store.insert(id, &format!("vm{id}"), "{}").unwrap();
        }
        assert_eq!(read(&path, on(journal), STEPS).unwrap().len(), 2);
        assert_eq!(listing(folder.path()), ["maqet.db", "maqet.db.lock"]);
    }
}

#[test]
fn the_next_writer_brings_a_database_to_its_mode_and_a_reader_leaves_it_in_any() {
    for (from, to) in [(ON_DISK, ANYWHERE), (ANYWHERE, ON_DISK), (ANYWHERE, IN_MEMORY)] {
        let (folder, path) = empty();
        open(&path, from).unwrap().insert(IDS[0], "web", "{}").unwrap();
        assert_eq!(read(&path, on(to), STEPS).unwrap(), ["web"]);
        assert_eq!(mode(&path), from.mode, "a reader switched it");
        open(&path, to).unwrap().insert(IDS[1], "db", "{}").unwrap();
        assert_eq!(mode(&path), to.mode);
        assert_eq!(read(&path, on(from), STEPS).unwrap(), ["db", "web"]);
        assert_eq!(listing(folder.path()), ["maqet.db", "maqet.db.lock"]);
    }
}

#[test]
fn a_database_in_wal_mode_that_came_to_where_no_memory_is_shared_is_brought_home() {
    let (folder, path) = empty();
    open(&path, ON_DISK).unwrap().insert(IDS[0], "web", "{}").unwrap();
    // What stands in the way of the shared memory here is a link.
    std::os::unix::fs::symlink("nowhere", folder.path().join("maqet.db-shm")).unwrap();
    assert_eq!(kind(read(&path, on(ANYWHERE), STEPS)), Kind::Failed);
    assert_eq!(kind(open(&path, ON_DISK)), Kind::Failed);
    let mut first = open(&path, ANYWHERE).unwrap();
    assert_eq!(pragma(&first, "journal_mode"), "delete");
    open(&path, ANYWHERE).unwrap().insert(IDS[1], "db", "{}").unwrap();
    first.insert(IDS[2], "mail", "{}").unwrap();
    assert_eq!(read(&path, on(ANYWHERE), STEPS).unwrap(), ["db", "mail", "web"]);
}

#[test]
fn a_switch_waits_for_who_still_reads_and_then_gives_up() {
    let (_folder, path) = empty();
    open(&path, ON_DISK).unwrap().insert(IDS[0], "web", "{}").unwrap();
    let reader = Connection::open(&path).unwrap();
    reader.query_row("SELECT count(*) FROM vm", [], |row| row.get::<_, i64>(0)).unwrap();
    let began = Instant::now();
    let error = open(&path, ANYWHERE).unwrap_err();
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.kind, Kind::Conflict);
    assert!(error.message.contains("maqet.db") && error.hint.is_some(), "{error}");
    let waiting = thread::scope(|scope| {
        let waiting =
            scope.spawn(|| open(&path, ANYWHERE).map(|store| pragma(&store, "journal_mode")));
        thread::park_timeout(Duration::from_millis(100));
        drop(reader);
        waiting.join().unwrap()
    });
    assert_eq!(waiting.unwrap(), "delete");
}

#[test]
fn twenty_at_once_switch_a_database_once_and_all_write() {
    for (from, to) in [(None, ANYWHERE), (Some(ON_DISK), ANYWHERE), (Some(ANYWHERE), ON_DISK)] {
        let (_folder, path) = empty();
        if let Some(from) = from {
            drop(open(&path, from).unwrap());
        }
        let outcomes = at_once(|n| match n % 2 {
            0 => open(&path, to)?.insert(&format!("{n:08}"), &format!("vm{n}"), "{}"),
            _ => read(&path, on(to), STEPS).map(|_| ()),
        });
        assert_eq!(outcomes, vec![Ok(()); 20]);
        assert_eq!(mode(&path), to.mode);
        assert_eq!(read(&path, on(to), STEPS).unwrap().len(), 10);
    }
}

#[test]
fn a_reader_undoes_what_a_killed_writer_left_in_the_rollback_journal() {
    let (folder, path) = empty();
    open(&path, ANYWHERE).unwrap().insert(IDS[0], "web", "{}").unwrap();
    crash_image(&path, &folder.path().join("crashed"));
    let crashed = folder.path().join("crashed/maqet.db");
    assert_eq!(read(&crashed, on(ANYWHERE), STEPS).unwrap(), ["web"]);
    assert_eq!(listing(&folder.path().join("crashed")), ["maqet.db"]);
}

#[test]
fn a_change_that_was_cut_short_is_refused_where_it_cannot_be_undone() {
    let (folder, path) = empty();
    open(&path, ANYWHERE).unwrap().insert(IDS[0], "web", "{}").unwrap();
    crash_image(&path, &folder.path().join("crashed"));
    let crashed = folder.path().join("crashed/maqet.db");
    let before = fs::read(&crashed).unwrap();
    let error = super::super::open::connect_unchanging(&crashed, 1).unwrap_err();
    assert_eq!(error.kind, Kind::Permission);
    assert!(error.message.contains("-journal file") && error.hint.is_some(), "{error}");
    assert_eq!(fs::read(&crashed).unwrap(), before);
}

/// What a host that goes down in the middle of a large write leaves of a database.
fn crash_image(path: &Path, folder: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA cache_size = 5; BEGIN; DELETE FROM vm;
         INSERT INTO vm WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 999)
         SELECT 'id' || i, 'vm' || i, '{}', i, i FROM n;",
    )
    .unwrap();
    fs::create_dir(folder).unwrap();
    for name in ["maqet.db", "maqet.db-journal"] {
        fs::copy(path.with_file_name(name), folder.join(name)).unwrap();
    }
}

#[test]
fn what_is_read_only_cannot_be_written_and_is_told_so() {
    let (folder, path) = empty();
    let place = Place { journal: ON_DISK, read_only: true };
    for existing in [false, true] {
        if existing {
            open(&path, ON_DISK).unwrap().insert(IDS[0], "web", "{}").unwrap();
        }
        let before = listing(folder.path());
        let error = writer(&path, place, STEPS).unwrap_err();
        assert_eq!(error.kind, Kind::Permission);
        assert!(
            error.message.contains("maqet.db") && error.message.contains("read-only"),
            "{error}"
        );
        assert!(error.hint.as_ref().unwrap().contains("--data-dir"));
        assert_eq!(listing(folder.path()), before);
    }
    assert_eq!(names(&Store::open_to_read(&path).unwrap().unwrap().all().unwrap()), ["web"]);
}
