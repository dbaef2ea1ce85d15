//! Definitions that were written for the program that maqet succeeds, as JSON, on the real QEMU.

use serde_json::{Value, json};

use crate::harness::Host;

#[test]
fn a_definition_of_the_predecessor_starts_and_means_what_it_meant() {
    let host = Host::new();
    std::fs::create_dir(host.root().join("src")).unwrap();
    std::fs::write(host.root().join("install.img"), vec![0; 65_536]).unwrap();
    host.shell("qemu-img create -q -f qcow2 base.qcow2 2M").exits(0);
    let old = json!({
        "name": "old",
        "binary": "qemu-system-x86_64",
        "memory": 64,
        "cpu": "2",
        "display": "none",
        "vga": "std",
        "args": ["-no-reboot"],
        "arguments": [{ "accel": "tcg" }, { "machine": "q35" }, { "serial": "mon:stdio" },
            { "m": "96M" }],
        "storage": [
            { "name": "hdd", "type": "qcow2", "size": "1G", "interface": "sata" },
            { "name": "delta", "type": "qcow2", "file": "./a,b.qcow2",
              "backing_file": "./base.qcow2", "backing_format": "qcow2" },
            { "name": "cd", "type": "cdrom", "path": "./install.img" },
            { "name": "share", "type": "virtfs", "path": "./src",
              "options": { "mount_tag": "code", "id": "fs0", "readonly": true,
                           "security_model": "mapped-xattr" } },
        ],
    });
    std::fs::write(host.root().join("old.json"), old.to_string()).unwrap();
    host.shell("maqet add -f old.json").exits(0);
    let shown = host.maqet(["show", "old", "--json"]).json();
    for (key, value) in [
        ("memory", json!("96M")),
        ("cpu", json!(2)),
        ("accel", json!("tcg")),
        ("arguments", Value::Null),
    ] {
        assert_eq!(shown[key], value, "{shown}");
    }
    let again = host.shell("maqet apply -f old.json -o changed").exits(0);
    assert_eq!(again.stdout, "false\n", "applying it again changes nothing");
    host.maqet(["start", "old"]).exits(0);
    let block = host.maqet(["qmp", "old", "query-block"]).json();
    let of = |name: &str| {
        let id = format!("disk-{name}");
        let all = block.as_array().unwrap().iter();
        all.clone().find(|drive| drive["inserted"]["node-name"] == *id).cloned().unwrap()
    };
    assert!(of("hdd")["inserted"]["image"]["virtual-size"] == 1 << 30, "{block}");
    let delta = of("delta")["inserted"]["file"].to_string();
    assert!(delta.contains("a,b.qcow2"), "{block}");
    assert_eq!((&of("cd")["inserted"]["ro"], &of("cd")["removable"]), (&json!(true), &json!(true)));
    let line = host.maqet(["cmdline", "old"]).exits(0).stdout;
    assert!(line.contains("\"mount_tag\":\"code\""), "{line}");
    let memory = host.maqet(["qmp", "old", "query-memory-size-summary", "-o", "base-memory"]);
    assert_eq!(memory.stdout.trim(), (96 << 20).to_string());
    assert_eq!(host.maqet(["qmp", "old", "query-cpus-fast"]).json().as_array().unwrap().len(), 2);
}
