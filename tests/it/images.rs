//! Disks on a real QEMU: every interface and format, shares, and images that want to be more than they
//! are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, Ran, eventually, run};

/// Makes an image with qemu-img, in the host's folder.
pub(crate) fn image(host: &Host, format: &str, name: &str, more: &[&str]) -> PathBuf {
    let path = host.root().join(name);
    let mut img = Command::new("qemu-img");
    img.args(["create", "-q", "-f", format]).args(more).arg(&path);
    if !more.contains(&"-b") || more.contains(&"-u") {
        img.arg("8M");
    }
    run(&mut img).exits(0);
    path
}

/// Adds a VM of this definition, which is JSON, with little memory and nothing else.
pub(crate) fn add(host: &Host, name: &str, mut definition: Value) {
    for (key, value) in [
        ("accel", json!("tcg")),
        ("memory", json!("64M")),
        ("network", json!([])),
        ("agent", json!(false)),
        ("rng", json!(false)),
    ] {
        definition[key] = value;
    }
    let file = host.root().join(format!("{name}.json"));
    std::fs::write(&file, definition.to_string()).unwrap();
    host.maqet(["add", name, "-f", file.to_str().unwrap()]).exits(0);
}

pub(crate) fn qmp(host: &Host, words: &[&str]) -> Value {
    let ran = host.maqet([&["qmp"], words, &["--json"]].concat()).exits(0);
    ran.json()
}

/// What each node is: its driver, and whether it is only read.
fn nodes(host: &Host, vm: &str) -> Vec<(String, String, bool)> {
    let all = qmp(host, &[vm, "query-named-block-nodes"]);
    let mut all: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["node-name"].as_str().unwrap().starts_with("disk-"))
        .map(|node| {
            let text = |key: &str| node[key].as_str().unwrap().to_owned();
            (text("node-name"), text("drv"), node["ro"].as_bool().unwrap())
        })
        .collect();
    all.sort();
    all
}

/// The QOM type of a disk's device.
fn device_type(host: &Host, vm: &str, disk: &str) -> Value {
    let path = format!("path=/machine/peripheral/disk-{disk}");
    qmp(host, &[vm, "qom-get", &path, "property=type"])
}

#[test]
fn every_interface_and_format_starts_on_the_machines_that_have_it() {
    let host = Host::new();
    let file = |format: &str| image(&host, format, &format!("x.{format}"), &[]);
    let files = ["vdi", "vhdx", "vpc", "vmdk"].map(|format| (format, file(format)));
    let disc = image(&host, "raw", "disc.iso", &[]);
    let shared = host.root().join("sh,ared");
    std::fs::create_dir(&shared).unwrap();
    let old = |number: usize, interface: &str| {
        let (format, file) = &files[number];
        json!({"name": format, "file": file, "interface": interface})
    };
    let new = |interface: &str, kind: &str| json!({"name": format!("{interface}-{kind}"), "size": "8M", "type": kind, "interface": interface});
    let cdrom = |interface: &str| json!({"name": format!("cd-{interface}"), "file": disc, "interface": interface});
    let share = json!({"name": "share", "type": "virtfs", "path": shared, "readonly": true});
    let virtio = [new("virtio", "qcow2"), new("virtio", "raw"), new("scsi", "raw"), share];
    let pci = [
        new("sata", "qcow2"),
        new("nvme", "qcow2"),
        new("usb", "qcow2"),
        new("none", "raw"),
        old(0, "virtio"),
        old(1, "scsi"),
        old(2, "nvme"),
        old(3, "usb"),
        cdrom("sata"),
        cdrom("usb"),
        cdrom("scsi"),
    ];
    let ide = [new("ide", "qcow2"), cdrom("ide"), json!({"name": "cd", "file": disc})];
    for (machine, lists) in [
        ("q35", vec![&virtio[..], &pci[..], &ide[2..]]),
        ("pc", vec![&virtio[..], &pci[..], &ide[..]]),
        ("microvm", vec![&virtio[..], &ide[2..]]),
    ] {
        let storage = lists.concat();
        let shares = 1;
        add(&host, machine, json!({"machine": machine, "storage": storage}));
        host.maqet(["start", machine, "--paused"]).exits(0);
        let found = nodes(&host, machine);
        assert_eq!(found.len(), storage.len() - shares, "{machine}: {found:?}");
        for (name, driver, only_read) in found {
            let foreign = ["vdi", "vhdx", "vpc", "vmdk"].contains(&driver.as_str());
            assert_eq!(only_read, foreign || name.contains("cd"), "{machine} {name} {driver}");
            assert!(!foreign || name == format!("disk-{driver}"), "{name} {driver}");
        }
        let expected = |disk: &str| match (machine, disk) {
            ("microvm", "virtio-raw") => "virtio-blk-device",
            (_, "virtio-raw") => "virtio-blk-pci",
            (_, "scsi-raw") => "scsi-hd",
            ("microvm", "cd") | (_, "cd-usb" | "cd-scsi") => "scsi-cd",
            (_, "cd" | "cd-sata" | "cd-ide") => "ide-cd",
            (_, "sata-qcow2" | "ide-qcow2") => "ide-hd",
            (_, "nvme-qcow2" | "vpc") => "nvme",
            (_, "usb-qcow2" | "vmdk") => "usb-storage",
            (_, "virtio-qcow2" | "vdi") => expected_virtio(machine),
            (_, "vhdx") => "scsi-hd",
            _ => "",
        };
        for disk in &storage {
            let name = disk["name"].as_str().unwrap();
            if !["share", "none-raw"].contains(&name) {
                assert_eq!(device_type(&host, machine, name), expected(name), "{machine} {name}");
            }
        }
        let tag = qmp(
            &host,
            &[machine, "qom-get", "path=/machine/peripheral/share-share", "property=mount_tag"],
        );
        assert_eq!(tag, "share");
        assert_eq!(host.status(machine)["sandbox"], true);
        host.maqet(["stop", machine, "--force"]).exits(0);
    }
}

fn expected_virtio(machine: &str) -> &'static str {
    if machine == "microvm" { "virtio-blk-device" } else { "virtio-blk-pci" }
}

/// Runs maqet under strace, and gives what it and all that it started have opened.
fn traced(host: &Host, words: &[&str]) -> (Ran, String) {
    let trace = host.root().join("trace");
    let ran = run(tracing(host, &trace).args(words));
    (ran, std::fs::read_to_string(trace).unwrap())
}

fn tracing(host: &Host, trace: &Path) -> Command {
    let mut strace = host.command("strace");
    strace.args(["-f", "-qq", "-s", "300", "-e", "trace=open,openat,openat2,execve", "-o"]);
    strace.arg(trace).arg(Host::binary());
    strace
}

#[test]
fn an_image_that_names_other_files_is_refused_before_anything_opens_them() {
    let host = Host::new();
    let secret = host.root().join("secret");
    std::fs::write(&secret, vec![b's'; 1 << 20]).unwrap();
    let name = secret.to_str().unwrap();
    let raw = |name: &str, text: &str| {
        let path = host.root().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let backed = image(&host, "qcow2", "backed.qcow2", &["-F", "raw", "-b", name]);
    let split = image(&host, "qcow2", "split.qcow2", &["-o", &format!("data_file={name}.data")]);
    std::fs::rename(host.root().join("secret.data"), host.root().join("secret-data")).unwrap();
    // What qemu-img does not write, a hex editor does.
    let json =
        image(&host, "qcow2", "json.qcow2", &["-u", "-F", "raw", "-b", &format!("{name:x<300}")]);
    let mut bytes = std::fs::read(&json).unwrap();
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let url = format!(
        "json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{name}\"}}}}"
    );
    bytes[at..at + url.len()].copy_from_slice(url.as_bytes());
    bytes[16..20].copy_from_slice(&u32::try_from(url.len()).unwrap().to_be_bytes());
    std::fs::write(&json, bytes).unwrap();
    let description = raw(
        "flat.vmdk",
        &format!(
            "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\nRW 2048 FLAT \"{name}\" 0\n"
        ),
    );
    // A sparse one whose capacity is zero is the description inside of it.
    let inner = image(&host, "vmdk", "inner.vmdk", &[]);
    let mut bytes = std::fs::read(&inner).unwrap();
    bytes[12..20].fill(0);
    let begin = bytes.windows(21).position(|window| window == b"# Disk DescriptorFile").unwrap();
    let text = std::fs::read(&description).unwrap();
    bytes[begin..begin + text.len()].copy_from_slice(&text);
    std::fs::write(&inner, bytes).unwrap();
    // One that is called vmdk and has no header at all is a description to QEMU, too.
    let bare = raw(
        "bare.vmdk",
        &format!("version=1\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"{name}\" 0\n"),
    );

    for (number, (storage, words)) in [
        (json!({"file": backed}), "which the definition does not name"),
        (json!({"file": split}), "keeps its data in another file"),
        (json!({"file": json}), "which the definition does not name"),
        (json!({"file": description}), "keeps its data in"),
        (json!({"file": inner}), "keeps its data in"),
        (json!({"file": bare, "type": "vmdk"}), "is no vmdk image"),
        (json!({"from": backed}), "it cannot be copied by itself"),
        (json!({"from": split}), "keeps its data in another file"),
        (json!({"from": json}), "it cannot be copied by itself"),
        (json!({"from": description}), "keeps its data in"),
        (json!({"from": inner}), "keeps its data in"),
    ]
    .into_iter()
    .enumerate()
    {
        let vm = format!("vm{number}");
        let file = host.root().join(format!("{vm}.json"));
        let definition = json!({"accel": "tcg", "memory": "64M", "storage": [storage]});
        std::fs::write(&file, definition.to_string()).unwrap();
        let (added, first) = traced(&host, &["add", &vm, "-f", file.to_str().unwrap()]);
        added.exits(0);
        let (refused, second) = traced(&host, &["start", &vm]);
        assert!(refused.stderr.contains(words), "{storage}: {}", refused.stderr);
        assert_eq!(refused.code, 2, "{storage}");
        for trace in [&first, &second] {
            assert!(!trace.contains(&format!("\"{name}")), "{storage}: {trace}");
            assert!(!trace.contains("/qemu-"), "{storage}: {trace}");
        }
        assert!(second.contains("runner.log"), "the runner was traced, too: {second}");
        assert_eq!(host.state(&vm), "failed");
    }
}

#[test]
fn what_is_said_to_be_raw_is_raw_whatever_it_looks_like() {
    let host = Host::new();
    let secret = host.root().join("secret");
    std::fs::write(&secret, vec![b's'; 1 << 20]).unwrap();
    let name = secret.to_str().unwrap();
    let backed = image(&host, "qcow2", "backed", &["-F", "raw", "-b", name]);
    let length = std::fs::metadata(&backed).unwrap().len();
    add(&host, "vm", json!({"storage": [{"file": backed, "type": "raw"}]}));
    // strace goes on as long as QEMU does.
    let trace = host.root().join("trace");
    let mut strace = tracing(&host, &trace).args(["start", "vm", "--paused"]).spawn().unwrap();
    eventually(Duration::from_secs(30), "the VM is up", || {
        (host.state("vm") == "paused").then_some(())
    });
    assert_eq!(nodes(&host, "vm"), [("disk-disk0".into(), "raw".into(), false)]);
    let blocks = qmp(&host, &["vm", "query-block"]);
    let seen = blocks[0]["inserted"]["image"]["virtual-size"].as_u64().unwrap();
    assert_eq!(seen, length.next_multiple_of(512));
    host.maqet(["stop", "vm", "--force"]).exits(0);
    assert!(strace.wait().unwrap().success());
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("/qemu-system-") && !trace.contains("/qemu-img"), "{trace}");
    assert!(!trace.contains(&format!("\"{name}\"")), "{trace}");
}

#[test]
fn a_flag_shares_a_folder() {
    let host = Host::new();
    let words = ["add", "vm", "--accel", "tcg", "--memory", "64M"];
    host.maqet([&words[..], &["--share", ".,tag=src,readonly", "--share", "."]].concat()).exits(0);
    let here = host.root();
    let shares = json!([
        {"name": "disk0", "type": "virtfs", "path": here, "tag": "src", "readonly": true},
        {"name": "disk1", "type": "virtfs", "path": here},
    ]);
    assert_eq!(host.maqet(["show", "vm"]).exits(0).json()["storage"], shares);
    host.maqet(["start", "vm", "--paused"]).exits(0);
    for (name, tag) in [("disk0", "src"), ("disk1", "disk1")] {
        let path = format!("path=/machine/peripheral/share-{name}");
        assert_eq!(qmp(&host, &["vm", "qom-get", &path, "property=mount_tag"]), tag);
    }
}
