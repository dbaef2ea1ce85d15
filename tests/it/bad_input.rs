//! What is wrong is refused with one clear line and a hint, and nothing is lost or made by it.

use std::os::unix::fs::{PermissionsExt, chown};

use crate::harness::{Host, Ran};
use crate::homeless::listing;

/// One line of what is wrong, one of what to do, nothing on standard output.
#[track_caller]
fn assert_told(ran: &Ran) {
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stderr);
    assert!(lines[0].starts_with("maqet: ") && lines[0].len() <= 600, "{}", ran.stderr);
    assert!(lines[1].starts_with("hint: ") && lines[1].len() > 8, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_name_that_can_be_none_is_refused_wherever_it_stands() {
    let host = Host::new();
    host.add_bare("web");
    let long = "x".repeat(65);
    let names = ["-x", "../x", "x\n", long.as_str(), "x.json", "deadbeef", "", "a b", "x..y", ".x"];
    let before = listing(host.root());
    for name in names {
        for words in [
            &["add", "--accel", "tcg", "--", name][..],
            &["rename", "--", "web", name],
            &["run", "--rm", "--keep", name, "--machine", "none"],
        ] {
            let mut words = words.to_vec();
            // A value that begins with a dash is joined.
            let joined = format!("--keep={name}");
            if words[0] == "run" {
                words.splice(2..4, [joined.as_str()]);
            }
            assert_told(&host.maqet(&words).exits(2));
        }
        for command in ["start", "stop", "status", "show", "rm", "info", "run", "restart", "logs"] {
            let ran = host.maqet([command, "--", name]);
            // The beginning of an id may be one; nothing else of these.
            assert_eq!(ran.code, if name == "deadbeef" { 4 } else { 2 }, "{command} {name:?}");
            assert_told(&ran);
        }
        let file = host.root().join("vm.json");
        std::fs::write(&file, serde_json::json!({ "name": name }).to_string()).unwrap();
        for command in ["add", "apply", "check"] {
            assert_told(&host.maqet([command, "-f", file.to_str().unwrap()]).exits(2));
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(listing(host.root()), before, "{name:?}");
    }
}

#[test]
fn a_definition_that_is_none_is_refused_and_nothing_is_made_or_lost() {
    let host = Host::new();
    host.add_bare("web");
    let shown = host.maqet(["show", "web"]).exits(0).stdout;
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let large = format!("{{\"description\": \"{}\"}}", "x".repeat(2 << 20));
    let file = host.root().join("vm.json");
    std::fs::write(&file, "").unwrap();
    let before = listing(host.root());
    for (bytes, says) in [
        (&br#"{"memroy": "1G"}"#[..], "memroy: there is no such key"),
        (
            br#"{"storage": [{"size": "1G", "sise": "1G"}]}"#,
            "storage[0].sise: there is no such key",
        ),
        (br#"{"memory": true}"#, "memory: expected a size"),
        (br#"{"cpu": "two"}"#, "cpu: expected"),
        (br#"{"storage": {}}"#, "storage: expected a list"),
        (br#"{"labels": {"a": 1}}"#, "labels.\"a\": expected a string"),
        (br#"{"storage": [{"name":"a","size":"1G"},{"name":"a","size":"1G"}]}"#, "two of the name"),
        (large.as_bytes(), "1 MiB"),
        (deep.as_bytes(), "deep"),
        (b"", "no definition"),
        (b"\x7fELF\x02\x01\x01\0\0", "line 1"),
        (b"{\"description\": \"\xff\"}", "UTF-8"),
        (b"{\"a\": 1, \"a\": 2}", "twice"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let path = file.to_str().unwrap();
        for words in [
            &["add", "new", "--accel", "tcg", "-f", path][..],
            &["apply", "web", "-f", path],
            &["check", "-f", path],
            &["run", "--rm", "-f", path],
        ] {
            let ran = host.maqet(words).exits(2);
            assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
            assert_told(&ran);
        }
        assert_eq!(host.maqet(["show", "web"]).stdout, shown);
        assert_eq!(listing(host.root()), before);
    }
}

#[test]
fn a_corrupt_database_is_named_and_costs_no_control_of_what_runs() {
    let host = Host::new();
    for name in ["web", "db"] {
        host.add_bare(name);
    }
    host.maqet(["start", "web"]).exits(0);
    let database = host.data().join("maqet.db");
    let whole = std::fs::read(&database).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(host.data().join(format!("maqet.db{suffix}")));
    }
    std::fs::write(&database, b"nonsense ".repeat(2000)).unwrap();
    for words in [&["ls"][..], &["show", "db"], &["add", "new"], &["apply", "db", "--cpu", "2"]] {
        let ran = host.maqet(words).exits(1);
        assert!(ran.stderr.contains("maqet.db"), "{}", ran.stderr);
        assert_told(&ran);
    }
    assert!(std::fs::read(&database).unwrap().starts_with(b"nonsense"), "it is left as it is");
    host.maqet(["status", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    std::fs::write(&database, whole).unwrap();
    assert_eq!(host.state("web"), "stopped");
}

#[test]
fn folders_of_another_owner_or_open_to_others_are_refused_and_never_mended() {
    let host = Host::new();
    host.add_bare("web");
    let root = rustix::process::geteuid().is_root();
    let words = [&["ls"][..], &["show", "web"], &["add", "new"], &["start", "web"], &["rm", "web"]];
    let refused = |why: &str| {
        let before = listing(host.root());
        for words in words {
            let ran = host.maqet(words).exits(6);
            assert!(ran.stderr.contains(why), "{words:?}: {}", ran.stderr);
            assert_told(&ran);
        }
        assert_eq!(listing(host.root()), before);
    };
    std::fs::set_permissions(host.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    refused("its mode 0755 lets others in");
    std::fs::set_permissions(host.data(), std::fs::Permissions::from_mode(0o700)).unwrap();
    if root {
        chown(host.data(), Some(65_534), None).unwrap();
        refused("it belongs to uid 65534");
        chown(host.data(), Some(0), None).unwrap();
    }
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["rm", "web", "--force"]).exits(0);
}
