//! Disks and discs at random, and what QEMU must be told of each.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

use super::made::{path, text};
use super::reader::{Read, one_json};

/// What of an item of `storage` can be chosen by itself.
#[derive(Clone, Debug)]
pub(super) struct Drive {
    interface: Option<&'static str>,
    format: &'static str,
    is_cdrom: bool,
    file: Option<String>,
    from: Option<String>,
    backing: Option<(String, &'static str)>,
    serial: Option<String>,
    /// Cache and aio.
    more: [Option<&'static str>; 2],
    readonly: bool,
    bootindex: Option<u32>,
}

pub(super) fn drive() -> impl Strategy<Value = Drive> {
    let formats = || select(vec!["qcow2", "raw", "vdi", "vhdx", "vpc", "vmdk"]);
    let interface = select(vec!["virtio", "scsi", "sata", "ide", "nvme", "usb", "none"]);
    let serial = text().prop_filter("1 to 20 bytes", |text| (1..=20).contains(&text.len()));
    let cache = select(vec!["writeback", "none", "writethrough", "directsync", "unsafe"]);
    let chosen = (
        option::of(interface),
        (formats(), any::<bool>()),
        (option::of(path()), option::of(path())),
        option::of((path(), formats())),
        option::of(serial),
        (option::of(cache), option::of(select(vec!["threads", "io_uring"]))),
        any::<bool>(),
        option::of(0..1000_u32),
    );
    chosen.prop_map(
        |(
            interface,
            (format, is_cdrom),
            (file, from),
            backing,
            serial,
            more,
            readonly,
            bootindex,
        )| {
            let (cache, aio) = more;
            Drive {
                interface,
                format,
                is_cdrom,
                file,
                from,
                backing,
                serial,
                more: [cache, aio],
                readonly,
                bootindex,
            }
        },
    )
}

/// The interfaces of a machine.
fn can(machine: &str) -> &'static [&'static str] {
    match machine {
        "pc" => &["virtio", "scsi", "sata", "ide", "nvme", "usb", "none"],
        "q35" => &["virtio", "scsi", "sata", "nvme", "usb", "none"],
        "microvm" => &["virtio", "scsi", "none"],
        _ => &["none"],
    }
}

impl Drive {
    /// The same without what this machine cannot take, or what contradicts itself.
    pub(super) fn on(mut self, machine: &str) -> Drive {
        let can = can(machine);
        self.interface = self.interface.filter(|word| can.contains(word));
        self.readonly |= self.is_cdrom || !self.is_written();
        match (self.interface, self.is_cdrom) {
            (None, _) if can == ["none"] => self.interface = Some("none"),
            (Some("virtio" | "nvme"), true) => self.interface = None,
            (Some("sata" | "ide"), false) if self.readonly => self.interface = Some("scsi"),
            _ => {}
        }
        if self.interface == Some("none") {
            (self.serial, self.bootindex) = (None, None);
        }
        if self.is_cdrom || !self.is_written() {
            self.file.get_or_insert_with(|| "/f,id=g".to_owned());
            self.from = None;
        }
        if self.is_cdrom || self.format != "qcow2" || self.from.is_some() {
            self.backing = None;
        }
        self
    }

    fn is_written(&self) -> bool {
        self.format == "qcow2" || self.format == "raw"
    }

    pub(super) fn item(&self, place: usize) -> Value {
        let (backing_file, backing_format) = self.backing.clone().unzip();
        let is_made = self.is_written() && !self.is_cdrom;
        json!({
            "name": format!("d{place}"), "interface": self.interface, "type": self.format,
            "media": if self.is_cdrom { "cdrom" } else { "disk" }, "file": self.file,
            "from": self.from, "backing_file": backing_file, "backing_format": backing_format,
            "serial": self.serial, "cache": self.more[0], "aio": self.more[1],
            "readonly": self.readonly, "bootindex": self.bootindex,
            "size": is_made.then_some("1G"),
        })
    }

    /// Compares what QEMU is told with what was chosen.
    pub(super) fn holds(&self, place: usize, options: &[(String, Read)]) -> TestCaseResult {
        let name = format!("disk-d{place}");
        let node = one_json(options, "-blockdev", "node-name", &name);
        let file =
            self.file.clone().unwrap_or(format!("/vms/w b,c/disks/d{place}.{}", self.format));
        prop_assert_eq!(&node["driver"], self.format);
        prop_assert_eq!(&node["file"]["filename"], &json!(file));
        prop_assert_eq!(&node["file"]["aio"], &json!(self.more[1]));
        prop_assert_eq!(node["read-only"].as_bool().unwrap_or(false), self.readonly);
        match &self.backing {
            None => prop_assert!(node["backing"].is_null()),
            Some((file, format)) => {
                prop_assert_eq!(&node["backing"]["file"]["filename"], &json!(file));
                prop_assert_eq!(&node["backing"]["driver"], &json!(format));
            }
        }
        if self.interface == Some("none") {
            return Ok(());
        }
        let device = one_json(options, "-device", "drive", &name);
        prop_assert_eq!(&device["bootindex"], &json!(self.bootindex));
        if self.interface != Some("nvme") || self.serial.is_some() {
            prop_assert_eq!(&device["serial"], &json!(self.serial));
        }
        let driver = device["driver"].as_str().unwrap_or_default();
        let drivers: &[&str] = match (self.interface, self.is_cdrom) {
            (None | Some("virtio"), false) => &["virtio-blk-pci", "virtio-blk-device"],
            (Some("scsi"), false) => &["scsi-hd"],
            (Some("sata" | "ide"), false) => &["ide-hd"],
            (Some("nvme"), _) => &["nvme"],
            (Some("usb"), false) => &["usb-storage"],
            (None, true) => &["ide-cd", "scsi-cd"],
            (Some("scsi"), true) => &["scsi-cd"],
            (Some("sata" | "ide"), true) => &["ide-cd"],
            _ => &["usb-storage", "scsi-cd"],
        };
        prop_assert!(drivers.contains(&driver), "{}", device);
        Ok(())
    }
}
