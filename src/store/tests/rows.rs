//! Every operation on the rows, and what serves it.

use super::super::files::OwnFile;
use super::{IDS, filled, kind, names};
use crate::error::Kind;

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
    let steps = [
        ("{}", first, vec!["web"], vec![], vec!["web"]),
        (first, second, vec![], vec!["web"], vec![]),
        (second, r#"{"labels":["a",1,null]}"#, vec![], vec![], vec![]),
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
