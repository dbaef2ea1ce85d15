//! `check`: everything that is wrong with a definition and the files that it names, at once.

use serde_json::{Value, json};

use crate::harness::Host;

#[test]
fn check_finds_what_a_start_would_miss_and_changes_nothing() {
    let host = Host::new();
    host.add_bare("web");
    assert_eq!(host.maqet(["check", "--all"]).exits(0).stdout, "");
    host.maqet(["check", "web", "--cpu", "0"]).exits(2);
    let ran = host.maqet(["check", "web", "--machine", "q35", "--kernel", "/nowhere"]).exits(1);
    assert!(ran.stderr.contains("kernel /nowhere"), "{}", ran.stderr);
    host.maqet(["check", "web", "--binary", "qemu-system-nowhere"]).exits(1);
    std::fs::write(host.root().join("a.json"), r#"{"memroy": "1G"}"#).unwrap();
    let ran = host.shell("maqet check -f a.json").exits(2);
    assert!(ran.stderr.contains("did you mean memory?"), "{}", ran.stderr);
    std::fs::write(host.root().join("b.json"), r#"[{"name": "x"}, {"name": "y", "cpu": 0}]"#)
        .unwrap();
    let ran = host.shell("maqet check -f b.json -o name,ok").exits(2);
    assert_eq!(ran.stdout, "x\ttrue\ny\tfalse\n");
    // Everything at once, each with its path.
    std::fs::write(
        host.root().join("c.json"),
        r#"{"memroy": 1, "cpu": 0, "binary": "qemu-system-nowhere", "kernel": "/nowhere",
            "storage": [{"file": "/gone.img", "type": "raw"}, {"size": "1X"}]}"#,
    )
    .unwrap();
    let ran = host.shell("maqet check -f c.json --json").exits(1);
    let checked = ran.json();
    let told = checked["problems"].as_array().unwrap();
    let paths: Vec<&Value> = told.iter().map(|one| &one["path"]).collect();
    let expected = ["memroy", "cpu", "storage[1].size", "binary", "kernel", "storage[0].file"];
    for path in expected {
        assert_eq!(paths.iter().filter(|found| **found == path).count(), 1, "{checked}");
    }
    assert_eq!(told.len(), expected.len(), "{checked}");
    assert_eq!(ran.stderr.lines().count(), told.len(), "{}", ran.stderr);
    assert_eq!(host.maqet(["ls", "-q"]).stdout, "web\n");
    host.maqet(["check"]).exits(2);
}

#[test]
fn files_are_looked_at_as_a_start_does_and_each_fault_has_its_path() {
    let host = Host::new();
    host.shell(
        "qemu-img create -q -f qcow2 base.qcow2 1M && mkfifo fifo &&
         qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2 &&
         qemu-img create -q -f qcow2 -b over.qcow2 -F qcow2 third.qcow2",
    )
    .exits(0);
    std::fs::write(
        host.root().join("a.json"),
        r#"{"name": "a", "accel": "tcg", "initrd": "gone", "kernel": "base.qcow2", "storage": [
            {"name": "share", "type": "virtfs", "path": "base.qcow2"},
            {"file": "missing.img"},
            {"file": "fifo"},
            {"file": "over.qcow2"},
            {"file": "base.qcow2", "type": "vdi"},
            {"file": "third.qcow2", "backing_file": "over.qcow2"},
            {"size": "1M", "backing_file": "gone.qcow2"},
            {"file": "new.qcow2", "from": "over.qcow2"},
            {"file": "over.qcow2", "name": "sound", "backing_file": "base.qcow2"},
            {"name": "new", "size": "1M"}
        ]}"#,
    )
    .unwrap();
    let ran = host.shell("maqet check -f a.json --json").exits(1);
    let checked = ran.json();
    let mut paths: Vec<&str> = checked["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["path"].as_str().unwrap_or_default())
        .collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "initrd",
            "storage[0].path",
            "storage[1].file",
            "storage[2].file",
            "storage[3].file",
            "storage[4].file",
            "storage[5].backing_file",
            "storage[6].backing_file",
            "storage[7].from",
        ],
        "{checked}"
    );
    assert!(!host.root().join("new.qcow2").exists() && !host.data().exists());
}

#[test]
fn a_port_that_another_vm_has_is_a_note_and_no_fault() {
    let host = Host::new();
    host.shell("maqet add db --accel tcg --port 8080:80 --port auto:22").exits(0);
    let ran = host.shell("maqet check --accel tcg --port 0.0.0.0:8080:81 --port auto:22").exits(0);
    assert_eq!(ran.stderr, "maqet: unnamed: the VM db has the port 0.0.0.0:8080/tcp, too\n");
    let ran = host.shell("maqet check --accel tcg --port 8080:81 --json").exits(0);
    let checked = ran.json();
    assert_eq!((&checked["ok"], &checked["problems"]), (&json!(true), &json!([])));
    assert_eq!(checked["notes"].as_array().unwrap().len(), 1, "{checked}");
    // It may have its own, and a number that only sounds alike.
    let ran = host.shell("maqet check db && maqet check --accel tcg --port 8080:80/udp").exits(0);
    assert_eq!(ran.stderr, "");
}
