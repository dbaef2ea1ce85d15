//! The store as its callers see it: files that it must refuse, many at once, and every operation.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use rusqlite::Connection;
use tempfile::TempDir;

use super::schema::{APPLICATION_ID, VERSION};
use super::{OwnFile, Row, Store};
use crate::error::{Kind, Result};

const IDS: [&str; 3] = [
    "11111111-aaaa-4aaa-8aaa-000000000001",
    "11111111-aaaa-4aaa-8aaa-000000000002",
    "22222222-aaaa-4aaa-8aaa-000000000003",
];

fn empty() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maqet.db");
    (folder, path)
}

/// A store with `web` and `db`, whose ids share a prefix, and `mail`.
fn filled() -> (TempDir, Store) {
    let (folder, path) = empty();
    let mut store = Store::open_to_write(&path).unwrap();
    for (id, name) in IDS.iter().zip(["web", "db", "mail"]) {
        store.insert(id, name, "{}").unwrap();
    }
    (folder, store)
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> Kind {
    outcome.unwrap_err().kind
}

/// Twenty threads do `work` at the same moment.
fn at_once<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(20);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|n| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

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
fn the_database_is_ours_alone_and_in_wal_mode() {
    let (folder, path) = empty();
    let store = Store::open_to_write(&path).unwrap();
    for name in listing(folder.path()) {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let read = |pragma: &str| -> String {
        let sql = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
        store.db.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(read("journal_mode"), "wal");
    assert_eq!(read("synchronous"), "2");
    assert_eq!(read("foreign_keys"), "1");
    assert_eq!(read("trusted_schema"), "0");
    assert_eq!(read("application_id"), APPLICATION_ID.to_string());
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
    let folder = tempfile::tempdir().unwrap();
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

const SPOILED: [Spoiled; 8] = [
    ("foreign", |path| foreign(path, "delete"), "another program"),
    ("foreign in WAL mode", |path| foreign(path, "wal"), "another program"),
    ("newer", |path| change(path, &format!("PRAGMA user_version = {}", VERSION + 1)), "version"),
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

#[test]
fn a_copy_that_left_wal_mode_is_switched_back_by_the_next_writer() {
    let (_folder, path) = empty();
    change(&path, "PRAGMA journal_mode = delete");
    assert!(Store::open_to_read(&path).unwrap().is_some());
    let store = Store::open_to_write(&path).unwrap();
    let mode: String = store.db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn twenty_first_uses_at_once_all_succeed() {
    let (_folder, path) = empty();
    let outcomes = at_once(|n| {
        let mut store = Store::open_to_write(&path)?;
        store.insert(&format!("{n:08}"), &format!("vm{n}"), "{}")?;
        Store::open_to_read(&path).map(|reader| reader.is_some())
    });
    assert_eq!(outcomes, vec![Ok(true); 20]);
    assert_eq!(Store::open_to_read(&path).unwrap().unwrap().all().unwrap().len(), 20);
}

#[test]
fn readers_during_the_first_use_see_nothing_or_a_whole_database() {
    let (_folder, path) = empty();
    let outcomes = at_once(|n| match n {
        0 => Store::open_to_write(&path).map(|_| ()),
        _ => Store::open_to_read(&path)
            .and_then(|store| store.map_or(Ok(Vec::new()), |store| store.all()))
            .map(|rows| assert!(rows.is_empty())),
    });
    assert_eq!(outcomes, vec![Ok(()); 20]);
}

#[test]
fn of_twenty_inserts_of_one_name_one_succeeds() {
    let (_folder, path) = empty();
    let outcomes = at_once(|n| {
        Store::open_to_write(&path).and_then(|mut s| s.insert(&format!("{n:08}"), "web", "{}"))
    });
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 19);
    for error in refused {
        assert_eq!(error.kind, Kind::Conflict);
        assert_eq!(error.message, "a VM named \"web\" exists already");
    }
}

#[test]
fn an_update_upon_an_old_definition_is_refused() {
    let (_folder, path) = empty();
    Store::open_to_write(&path).unwrap().insert(IDS[0], "web", "{}").unwrap();
    let outcomes = at_once(|n| {
        let mut store = Store::open_to_write(&path)?;
        store.update_definition(IDS[0], "{}", &format!("{{\"memory\":{n}}}"))
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(refused.iter().all(|error| error.kind == Kind::Conflict && error.hint.is_some()));
}

#[test]
fn a_row_is_found_by_its_name_its_id_and_the_beginning_of_its_id() {
    let (_folder, store) = filled();
    let web = store.by_name("web").unwrap().unwrap();
    assert_eq!((web.id.as_str(), web.definition.as_str()), (IDS[0], "{}"));
    assert!(web.created_at > 1_600_000_000_000 && web.created_at == web.updated_at);
    assert_eq!(store.by_id(IDS[0]).unwrap(), Some(web));
    let found = store.by_id_prefix("22222222").unwrap().unwrap();
    assert_eq!(found.name, "mail");
    assert_eq!(store.by_id_prefix(IDS[1]).unwrap().unwrap().name, "db");
    assert_eq!(names(&store.all().unwrap()), ["db", "mail", "web"]);
    assert_eq!(store.by_name("WEB").unwrap(), None);
    assert_eq!(store.by_id("22222222").unwrap(), None);
    assert_eq!(store.by_id_prefix("33333333").unwrap(), None);
}

#[test]
fn an_ambiguous_prefix_names_the_candidates() {
    let (_folder, mut store) = filled();
    let error = store.by_id_prefix("11111111").unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    assert_eq!(error.message, "the id \"11111111\" is ambiguous: \"db\", \"web\"");
    for n in 0..6 {
        store.insert(&format!("11111111-b{n}"), &format!("x{n}"), "{}").unwrap();
    }
    let error = store.by_id_prefix("11111111").unwrap_err();
    assert!(error.message.ends_with("\"web\", \"x0\", \"x1\", \"x2\", 3 more"), "{error}");
}

#[test]
fn a_change_to_a_vm_that_does_not_exist_is_not_found() {
    let (_folder, mut store) = filled();
    let id = "33333333-aaaa-4aaa-8aaa-000000000004";
    assert_eq!(kind(store.rename(id, "new")), Kind::NotFound);
    assert_eq!(kind(store.update_definition(id, "{}", "{}")), Kind::NotFound);
    assert_eq!(kind(store.remove(id)), Kind::NotFound);
    assert_eq!(kind(store.add_file(id, "/x", "disk")), Kind::NotFound);
    assert_eq!(kind(store.files(id)), Kind::NotFound);
}

#[test]
fn a_name_belongs_to_one_vm() {
    let (_folder, mut store) = filled();
    assert_eq!(kind(store.insert(IDS[0], "other", "{}")), Kind::Conflict);
    let error = store.rename(IDS[0], "db").unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Conflict, "a VM named \"db\" exists already")
    );
    store.rename(IDS[0], "web").unwrap();
    store.rename(IDS[0], "www").unwrap();
    assert_eq!(names(&store.all().unwrap()), ["db", "mail", "www"]);
}

#[test]
fn what_is_not_json_is_not_stored() {
    let (_folder, mut store) = filled();
    assert_eq!(kind(store.update_definition(IDS[0], "{}", "{")), Kind::Failed);
    assert_eq!(store.by_id(IDS[0]).unwrap().unwrap().definition, "{}");
}

#[test]
fn files_belong_to_their_vm_and_go_with_it() {
    let (_folder, mut store) = filled();
    store.add_file(IDS[0], "/b", "disk").unwrap();
    store.add_file(IDS[0], "/a", "disk").unwrap();
    store.add_file(IDS[0], "/a", "nvram").unwrap();
    let file = |path: &str, kind: &str| OwnFile { path: path.into(), kind: kind.into() };
    assert_eq!(store.files(IDS[0]).unwrap(), [file("/a", "nvram"), file("/b", "disk")]);
    assert_eq!(store.files(IDS[1]).unwrap(), []);
    store.remove(IDS[0]).unwrap();
    let left: i64 = store.db.query_row("SELECT count(*) FROM file", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn labels_and_autostart_follow_the_definition() {
    let (_folder, mut store) = filled();
    let first = r#"{"labels":{"env":"prod","tier":"1"},"autostart":true}"#;
    let second = r#"{"labels":{"env":"test"},"autostart":false}"#;
    let steps: [(&str, &str, &[&str], &[&str], &[&str]); 3] = [
        ("{}", first, &["web"], &[], &["web"]),
        (first, second, &[], &["web"], &[]),
        (second, r#"{"labels":["a",1,null]}"#, &[], &[], &[]),
    ];
    for (old, new, prod, test, autostart) in steps {
        store.update_definition(IDS[0], old, new).unwrap();
        assert_eq!(names(&store.labelled("env", "prod").unwrap()), prod);
        assert_eq!(names(&store.labelled("env", "test").unwrap()), test);
        assert_eq!(names(&store.autostarting().unwrap()), autostart);
    }
    store.insert("44444444", "new", first).unwrap();
    assert_eq!(names(&store.labelled("tier", "1").unwrap()), ["new"]);
    store.remove("44444444").unwrap();
    assert_eq!(names(&store.labelled("tier", "1").unwrap()), [""; 0]);
}

#[test]
fn the_indices_serve_the_questions_they_are_for() {
    let (_folder, store) = filled();
    let plans = [
        ("SELECT name FROM vm WHERE json_extract(definition, '$.autostart') = 1", "vm_autostart"),
        ("SELECT vm_id FROM label WHERE key = 'a' AND value = 'b'", "PRIMARY KEY"),
        ("SELECT id FROM vm WHERE id >= 'a' AND id < 'a' || 'g'", "SEARCH"),
    ];
    for (sql, index) in plans {
        let plan: String = store
            .db
            .query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get("detail"))
            .unwrap();
        assert!(plan.contains(index), "{plan}");
    }
}
