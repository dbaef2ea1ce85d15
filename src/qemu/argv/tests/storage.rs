//! Disks, their controllers, and shares on the command line.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{Vm, Wires, build};
use super::{after, argv, argv_on, drivers, host};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::Definition;

#[test]
fn a_disk_is_told_to_the_last_file() {
    let argv = argv(json!({"storage": [
        {"size": "1G"},
        {"name": "r", "type": "raw", "file": "/dev/vg/x", "readonly": true, "cache": "directsync",
         "aio": "native", "discard": "unmap", "serial": "s,1", "bootindex": 0},
        {"name": "l", "backing_file": "/b.qcow2", "backing_format": "qcow2", "cache": "unsafe"},
        {"name": "m", "backing_file": "/b.raw", "backing_format": "raw", "cache": "writethrough"},
    ]}));
    let nodes: Vec<Value> =
        after(&argv, "-blockdev").iter().map(|word| serde_json::from_str(word).unwrap()).collect();
    let cache = |direct, no_flush| json!({"direct": direct, "no-flush": no_flush});
    assert_eq!(
        nodes,
        [
            json!({"driver": "qcow2", "node-name": "disk-disk0", "backing": null,
                "file": {"driver": "file", "filename": "/vms/w b,c/disks/disk0.qcow2"}}),
            json!({"driver": "raw", "node-name": "disk-r", "read-only": true,
                "cache": cache(true, false), "discard": "unmap",
                "file": {"driver": "host_device", "filename": "/dev/vg/x", "read-only": true,
                    "cache": cache(true, false), "discard": "unmap", "aio": "native"}}),
            json!({"driver": "qcow2", "node-name": "disk-l", "cache": cache(false, true),
                "file": {"driver": "file", "filename": "/vms/w b,c/disks/l.qcow2",
                    "cache": cache(false, true)},
                "backing": {"driver": "qcow2", "read-only": true, "backing": null,
                    "file": {"driver": "file", "filename": "/b.qcow2", "read-only": true}}}),
            json!({"driver": "qcow2", "node-name": "disk-m", "cache": cache(false, false),
                "file": {"driver": "file", "filename": "/vms/w b,c/disks/m.qcow2",
                    "cache": cache(false, false)},
                "backing": {"driver": "raw", "read-only": true,
                    "file": {"driver": "file", "filename": "/b.raw", "read-only": true}}}),
        ]
    );
    let devices: Vec<Value> = after(&argv, "-device")
        .iter()
        .map(|word| serde_json::from_str::<Value>(word).unwrap())
        .filter(|device| device["driver"] == "virtio-blk-pci")
        .collect();
    assert_eq!(
        devices[1..],
        [
            json!({"driver": "virtio-blk-pci", "id": "disk-r", "drive": "disk-r", "serial": "s,1",
                "bootindex": 0, "write-cache": "off"}),
            json!({"driver": "virtio-blk-pci", "id": "disk-l", "drive": "disk-l"}),
            json!({"driver": "virtio-blk-pci", "id": "disk-m", "drive": "disk-m",
                "write-cache": "off"}),
        ]
    );
}

/// The devices of the disks and their controllers on a machine.
fn disk_devices(machine: &str, storage: Value) -> Vec<Value> {
    let definition = json!({"machine": machine, "storage": storage, "network": [], "vga": "none",
        "agent": false, "rng": false, "hotplug_slots": if machine == "q35" { json!(0) } else { Value::Null }});
    after(&argv(definition), "-device")
        .iter()
        .map(|word| serde_json::from_str(word).unwrap())
        .collect()
}

#[test]
fn a_disk_is_on_the_interface_that_is_asked_for_and_one_controller_serves_many() {
    let disk =
        |name: &str, interface: &str| json!({"name": name, "size": "1G", "interface": interface});
    let all = ["scsi", "sata", "usb", "nvme", "scsi", "sata", "usb", "none"];
    let mut storage: Vec<Value> =
        all.iter().enumerate().map(|(n, one)| disk(&format!("d{n}"), one)).collect();
    storage.push(json!({"name": "cd", "file": "/x.iso", "interface": "usb"}));
    let devices = |machine| disk_devices(machine, json!(storage));
    let of = |driver: &str, bus: &str, name: &str| {
        json!({"driver": driver, "bus": bus,
        "id": format!("disk-{name}"), "drive": format!("disk-{name}")})
    };
    let nvme = json!({"driver": "nvme", "serial": "67cca5cfbdb4489e3bfb", "id": "disk-d3", "drive": "disk-d3"});
    let expected = |sata: &str| {
        vec![
            of("scsi-hd", "scsi.0", "d0"),
            of("ide-hd", &format!("{sata}.0"), "d1"),
            of("usb-storage", "usb.0", "d2"),
            nvme.clone(),
            of("scsi-hd", "scsi.0", "d4"),
            of("ide-hd", &format!("{sata}.1"), "d5"),
            of("usb-storage", "usb.0", "d6"),
            json!({"driver": "usb-bot", "id": "bridge-cd", "bus": "usb.0"}),
            of("scsi-cd", "bridge-cd.0", "cd"),
        ]
    };
    let scsi = json!({"driver": "virtio-scsi-pci", "id": "scsi"});
    let (sata, usb) =
        (json!({"driver": "ich9-ahci", "id": "sata"}), json!({"driver": "qemu-xhci", "id": "usb"}));
    assert_eq!(devices("q35"), [vec![scsi.clone(), usb.clone()], expected("ide")].concat());
    assert_eq!(devices("pc"), [vec![scsi, sata, usb], expected("sata")].concat());

    let four = json!([disk("a", "ide"), disk("b", "ide"), disk("c", "ide"), {"file": "/x.iso"}]);
    let places: Vec<_> = disk_devices("pc", four)
        .iter()
        .map(|one| (one["bus"].clone(), one["unit"].clone()))
        .collect();
    let place = |bus: &str, unit: i32| (json!(bus), json!(unit));
    assert_eq!(
        places,
        [place("ide.0", 0), place("ide.0", 1), place("ide.1", 0), place("ide.1", 1)]
    );
    let many: Vec<Value> = (0..9).map(|n| disk(&format!("d{n}"), "usb")).collect();
    let usb = &disk_devices("q35", json!(many))[0];
    assert_eq!((&usb["p2"], &usb["p3"]), (&json!(9), &json!(9)));
}

#[test]
fn a_disk_for_which_there_is_no_place_is_refused() {
    let disks = |interface: &str, count| {
        let one = |n| json!({"name": format!("d{n}"), "size": "1G", "interface": interface});
        Value::Array((0..count).map(one).collect())
    };
    let host = host("/usr/bin/qemu-system-x86_64");
    for (machine, storage, expected) in [
        ("q35", disks("ide", 1), "the disk \"d0\" on ide\nhint: it has virtio, scsi, sata"),
        ("microvm", disks("sata", 1), "the disk \"d0\" on sata\nhint: it has virtio, scsi"),
        ("microvm", disks("usb", 1), "on usb"),
        ("microvm", disks("nvme", 1), "on nvme"),
        ("none", disks("virtio", 1), "the disk \"d0\" on virtio"),
        ("q35", disks("sata", 7), "7 disks on sata are too many: there are 6 ports"),
        ("pc", disks("sata", 7), "7 disks on sata"),
        ("pc", disks("ide", 5), "5 disks on ide are too many: there are 4 ports"),
        ("pc", disks("usb", 16), "16 disks on usb are too many: there are 15 ports"),
    ] {
        let definition = json!({"machine": machine, "storage": storage});
        let error = argv_on(&host, definition).unwrap_err();
        assert!(error.to_string().contains(expected), "{machine}: {error}");
    }
    let definition = json!({"machine": "none", "storage": disks("none", 1)});
    assert!(argv_on(&host, definition).is_ok());
    for (machine, interface) in
        [("q35", "sata"), ("pc", "ide"), ("q35", "scsi"), ("microvm", "virtio")]
    {
        let count = if interface == "ide" { 4 } else { 6 };
        let definition = json!({"machine": machine, "storage": disks(interface, count)});
        assert!(argv_on(&host, definition).is_ok(), "{machine} {interface}");
    }
}

#[test]
fn an_image_of_another_program_is_read_and_stands_on_nothing() {
    let files = ["vdi", "vhdx", "vpc", "vmdk"].map(|format| {
        json!({"name": format, "type": format, "file": format!("/{format}"), "interface": "scsi"})
    });
    let argv = argv(json!({"storage": files}));
    for word in after(&argv, "-blockdev") {
        let node: Value = serde_json::from_str(word).unwrap();
        let format = node["driver"].as_str().unwrap();
        assert_eq!((&node["read-only"], &node["file"]["read-only"]), (&json!(true), &json!(true)));
        let backing = node.as_object().unwrap().get("backing");
        assert_eq!(backing, (format == "vmdk").then_some(&Value::Null));
    }
}

#[test]
fn a_share_is_a_file_system_and_its_device() {
    let storage = json!([
        {"name": "src", "type": "virtfs", "path": "/a,b", "tag": "t,1", "readonly": true},
        {"type": "virtfs", "path": "/c", "security_model": "none"},
    ]);
    for (machine, variant) in [("q35", "pci"), ("microvm", "device")] {
        let argv = argv(json!({"machine": machine, "storage": storage}));
        assert_eq!(
            after(&argv, "-fsdev"),
            [
                "local,id=share-src,path=/a,,b,security_model=mapped-xattr,multidevs=remap,readonly=on",
                "local,id=share-disk1,path=/c,security_model=none,multidevs=remap",
            ]
        );
        let devices: Vec<Value> = after(&argv, "-device")
            .iter()
            .map(|word| serde_json::from_str(word).unwrap())
            .collect();
        let driver = format!("virtio-9p-{variant}");
        let expected =
            json!({"driver": driver, "id": "share-src", "fsdev": "share-src", "mount_tag": "t,1"});
        assert!(devices.contains(&expected), "{devices:?}");
    }
    let host = host("/usr/bin/qemu-system-x86_64");
    let error = argv_on(&host, json!({"machine": "none", "storage": storage})).unwrap_err();
    assert!(error.message.contains("no bus for the share \"src\""), "{error}");
}

#[test]
fn a_cdrom_is_the_drive_that_the_machine_has() {
    for (machine, expected) in [
        ("q35", &["ide-cd"][..]),
        ("pc-i440fx-7.2", &["ide-cd"]),
        ("virt", &["virtio-scsi-pci", "scsi-cd"]),
        ("microvm", &["virtio-scsi-device", "scsi-cd"]),
    ] {
        let storage = json!([{"file": "/x.iso", "bootindex": 0}]);
        let argv = argv(json!({"machine": machine, "storage": storage}));
        let found: Vec<String> = drivers(&argv)
            .into_iter()
            .filter(|driver| driver.contains("scsi") || driver.contains("-cd"))
            .collect();
        assert_eq!(found, expected, "{machine}");
        let node: Value = serde_json::from_str(after(&argv, "-blockdev")[0]).unwrap();
        assert_eq!((&node["driver"], &node["read-only"]), (&json!("raw"), &json!(true)));
    }
}

#[test]
fn the_argv_of_twenty_disks_is_built_at_once() {
    // The best of many: what else the machine does is not measured.
    let limit = Duration::from_micros(if cfg!(debug_assertions) { 10_000 } else { 100 });
    let disks: Vec<Value> = (0..20)
        .map(|place| json!({ "file": format!("/d{place}"), "type": "qcow2", "serial": "s", "size": "1G" }))
        .collect();
    let definition = json!({ "storage": disks });
    let definition = Definition::read(definition.as_object().unwrap()).unwrap();
    let id = VmId::parse("0e3f1b9c-7a52-4d8e-9f10-2b6c4d8e0f1a").unwrap();
    let name = VmName::parse("web").unwrap();
    let vm = Vm { id: &id, name: &name, definition: &definition, folder: Path::new("/vms/w") };
    let host = host("/usr/bin/qemu-system-x86_64");
    let once = || {
        let begin = Instant::now();
        let argv = build(&vm, &host, &Wires::NOMINAL).unwrap();
        let took = begin.elapsed();
        assert_eq!(after(&argv, "-blockdev").len(), 20);
        took
    };
    let best = (0..200).map(|_| once()).min().unwrap();
    println!("argv of 20 disks: {} µs", best.as_micros());
    assert!(best < limit, "{best:?}");
}
