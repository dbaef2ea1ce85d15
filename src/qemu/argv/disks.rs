//! A disk as QEMU's nodes and its device.
//!
//! Every format is told, never probed, and the whole chain is told too: QEMU opens no file that the
//! definition does not name (a data file excepted, which `image` refuses).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::words::{Words, utf8};
use crate::definition::types::{Aio, Cache, Discard, Disk, Format, Media};
use crate::error::{Error, Result, quote};
use crate::qemu::machine::{Bus, Machine};

/// The controller for CD-ROM drives where the machine has no ATA ports.
const CONTROLLER: &str = "scsi";

/// Adds the disks of the VM with this folder; `devices` are the paths that are block devices.
pub(super) fn add(
    words: &mut Words,
    storage: &[Disk],
    folder: &Path,
    devices: &[PathBuf],
    machine: Machine,
) -> Result<()> {
    if !machine.ata && storage.iter().any(|disk| disk.media == Media::Cdrom) {
        let driver = match machine.bus {
            Bus::Mmio => "virtio-scsi-device",
            Bus::Pci | Bus::None => "virtio-scsi-pci",
        };
        words.json("-device", &json!({ "driver": driver, "id": CONTROLLER }));
    }
    for disk in storage {
        add_one(words, disk, &disk.path(folder), devices, machine)?;
    }
    Ok(())
}

fn add_one(
    words: &mut Words,
    disk: &Disk,
    path: &Path,
    devices: &[PathBuf],
    machine: Machine,
) -> Result<()> {
    let driver = match (disk.media, machine.bus) {
        (_, Bus::None) => {
            let disk = quote(disk.name.as_str());
            return Err(Error::usage(format!("the machine has no bus for the disk {disk}")));
        }
        (Media::Cdrom, _) if machine.ata => "ide-cd",
        (Media::Cdrom, _) => "scsi-cd",
        (Media::Disk, Bus::Pci) => "virtio-blk-pci",
        (Media::Disk, Bus::Mmio) => "virtio-blk-device",
    };
    let id = format!("disk-{}", disk.name);
    let mut node = node(disk, path, devices)?;
    node["node-name"] = json!(id);
    words.json("-blockdev", &node);

    let mut device = json!({ "driver": driver, "id": id, "drive": id });
    if let Some(serial) = &disk.serial {
        device["serial"] = json!(serial);
    }
    if let Some(bootindex) = disk.bootindex {
        device["bootindex"] = json!(bootindex);
    }
    if driver == "scsi-cd" {
        device["bus"] = json!(format!("{CONTROLLER}.0"));
    }
    if matches!(disk.cache, Some(Cache::Writethrough | Cache::Directsync)) {
        device["write-cache"] = json!("off");
    }
    words.json("-device", &device);
    Ok(())
}

fn node(disk: &Disk, path: &Path, devices: &[PathBuf]) -> Result<Value> {
    let common = common(disk);
    let mut file = protocol(path, devices)?;
    extend(&mut file, &common);
    if let Some(aio) = disk.aio {
        file["aio"] = json!(match aio {
            Aio::Threads => "threads",
            Aio::Native => "native",
            Aio::IoUring => "io_uring",
        });
    }
    let mut node = json!({ "driver": disk.format.as_str(), "file": file });
    extend(&mut node, &common);
    if disk.format == Format::Qcow2 {
        node["backing"] = match &disk.backing {
            None => Value::Null,
            Some(backing) => {
                let mut below = json!({
                    "driver": backing.format.as_str(),
                    "read-only": true,
                    "file": protocol(&backing.file, devices)?,
                });
                below["file"]["read-only"] = json!(true);
                if backing.format == Format::Qcow2 {
                    below["backing"] = Value::Null;
                }
                below
            }
        };
    }
    Ok(node)
}

/// The file itself. The driver `file` refuses block devices, and `host_device` anything else.
fn protocol(path: &Path, devices: &[PathBuf]) -> Result<Value> {
    let driver = if devices.iter().any(|device| device == path) { "host_device" } else { "file" };
    Ok(json!({ "driver": driver, "filename": utf8(path)? }))
}

/// What holds for the image's node and for the file below it.
fn common(disk: &Disk) -> Map<String, Value> {
    let mut all = Map::new();
    if disk.readonly {
        all.insert("read-only".into(), json!(true));
    }
    if let Some(cache) = disk.cache {
        // qemu(1), -drive cache=: what each word stands for.
        let direct = matches!(cache, Cache::None | Cache::Directsync);
        let no_flush = cache == Cache::Unsafe;
        all.insert("cache".into(), json!({ "direct": direct, "no-flush": no_flush }));
    }
    if let Some(discard) = disk.discard {
        let word = match discard {
            Discard::Ignore => "ignore",
            Discard::Unmap => "unmap",
        };
        all.insert("discard".into(), json!(word));
    }
    all
}

fn extend(node: &mut Value, more: &Map<String, Value>) {
    for (key, value) in more {
        node[key] = value.clone();
    }
}
