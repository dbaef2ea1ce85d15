//! `clone --linked`: clones that stand on a template's disks, and what may happen to the template.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::copy::qemu_img;
use crate::harness::Host;

#[test]
fn linked_clones_stand_on_a_templates_disk_which_nothing_changes_or_deletes() {
    let host = Host::new();
    let add = ["add", "base", "--accel", "tcg", "--memory", "64M", "--disk", "name=root,size=32M"];
    host.maqet(add).exits(0);
    host.maqet(["start", "base"]).exits(0);
    host.maqet(["stop", "base", "--force"]).exits(0);
    let image = host.vm_folder("base").join("disks/root.qcow2");
    let sum = || Sha256::digest(std::fs::read(&image).unwrap());
    let before = sum();

    let refused = host.maqet(["clone", "base", "one", "--linked"]).exits(7).stderr;
    assert!(refused.contains("no template") && refused.contains("hint: "), "{refused}");
    host.maqet(["apply", "base", "--set", "template=true"]).exits(0);
    let refused = host.maqet(["start", "base"]).exits(7).stderr;
    assert!(refused.contains("template"), "{refused}");
    for name in ["one", "two"] {
        host.maqet(["clone", "base", name, "--linked"]).exits(0);
        let shown = host.maqet(["show", name, "--json"]).exits(0).json();
        assert_eq!(shown["storage"][0]["backing_file"], image.to_str().unwrap(), "{shown}");
        assert!(shown["template"].is_null(), "a clone is no template: {shown}");
    }
    host.maqet(["start", "one", "two"]).exits(0);
    let own = host.vm_folder("one").join("disks/root.qcow2");
    let info = qemu_img(&["info", "-U", "--output=json", own.to_str().unwrap()]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["backing-filename"], image.to_str().unwrap());
    assert_eq!(info["virtual-size"], 32 << 20);
    host.maqet(["stop", "one", "two", "--force"]).exits(0);
    assert_eq!(sum(), before, "the template's image was written");

    let kept = host.maqet(["rm", "base", "--delete-storage", "-y"]).exits(0).stderr;
    assert!(kept.contains(image.to_str().unwrap()) && kept.contains("one uses it"), "{kept}");
    assert_eq!(sum(), before);
    host.maqet(["start", "two"]).exits(0);
}

#[test]
fn the_machine_that_the_first_start_pinned_is_changed_when_it_is_said() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "32M"]).exits(0);
    let machine = || {
        host.maqet(["start", "web", "--paused"]).exits(0);
        let words = ["qmp", "web", "qom-get", "path=/machine", "property=type", "--json"];
        let runs = host.maqet(words).exits(0).json();
        host.maqet(["stop", "web", "--force"]).exits(0);
        let stored = host.maqet(["show", "web", "--json"]).exits(0).json()["machine"].clone();
        let stored = stored.as_str().unwrap().to_owned();
        assert_eq!(runs, format!("{stored}-machine"), "what runs is what is stored");
        stored
    };
    let first = machine();
    assert!(first.starts_with("pc-q35-"), "{first}");
    host.maqet(["apply", "web", "--memory", "48M"]).exits(0);
    assert_eq!(machine(), first, "another change leaves it");
    host.maqet(["apply", "web", "--machine", "pc"]).exits(0);
    let second = machine();
    assert!(second.starts_with("pc-i440fx-"), "pinned anew: {second}");
}
