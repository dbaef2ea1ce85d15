//! A disk as QEMU's nodes. Its device is `controllers`'.
//!
//! Every format is told, never probed, and the whole chain is told too: QEMU opens no file that the
//! definition does not name (a data file excepted, which `image` refuses).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Vm;
use super::controllers::Places;
use super::ids::node_name;
use super::words::{Words, utf8};
use crate::definition::types::{Aio, Cache, Discard, Disk, Format};
use crate::error::{Error, Result, quote};
use crate::qemu::machine::{self, Machine};

/// Adds the disks of the VM; `devices` are the paths that are block devices.
pub(super) fn add(
    words: &mut Words,
    vm: &Vm<'_>,
    devices: &[PathBuf],
    machine: Machine,
) -> Result<()> {
    let mut places = Places::of(&vm.definition.storage, machine)?;
    for controller in places.controllers() {
        words.json("-device", &controller);
    }
    for disk in &vm.definition.storage {
        words.json("-blockdev", &node(disk, &disk.path(vm.folder), devices)?);
        for device in places.next(disk, vm.id)? {
            words.json("-device", &device);
        }
    }
    Ok(())
}

/// What a disk is to a QEMU that runs already.
#[derive(Debug)]
pub(crate) struct Plug {
    /// For `blockdev-add`.
    pub(crate) node: Value,
    /// For `device_add`, one after the other; none for a disk without an interface.
    pub(crate) devices: Vec<Value>,
    /// Whether they need a PCI Express port that is free.
    pub(crate) wants_port: bool,
    /// The controllers on whose buses they go, by id, for `device_add` where they are not there.
    pub(crate) controllers: Vec<Value>,
}

/// The disk of this name as it is added to the running VM; `devices` are the paths that are block
/// devices.
///
/// # Errors
/// `Kind::Usage` where the machine cannot take it, or the definition has no such disk;
/// `Kind::Conflict` for an interface whose disks come and go with the machine alone.
pub(crate) fn plug(vm: &Vm<'_>, binary: &Path, devices: &[PathBuf], name: &str) -> Result<Plug> {
    let machine = Machine::of(machine::type_of(vm.definition, binary));
    let storage = &vm.definition.storage;
    let mut places = Places::of(storage, machine)?;
    let mut controllers: Vec<Value> = places.controllers().collect();
    for disk in storage {
        let connected = places.next(disk, vm.id)?;
        if disk.name.as_str() != name {
            continue;
        }
        let bus = connected.first().and_then(|device| device["bus"].as_str());
        let controller = bus.and_then(|bus| bus.split('.').next()).map(str::to_owned);
        if connected
            .iter()
            .any(|device| matches!(device["driver"].as_str(), Some("ide-hd" | "ide-cd")))
        {
            return Err(Error::conflict("an ATA disk cannot be added while the machine runs")
                .hint("stop the VM first, or take virtio, scsi, nvme or usb"));
        }
        controllers.retain(|known| known["id"].as_str() == controller.as_deref());
        let node = node(disk, &disk.path(vm.folder), devices)?;
        let wants_port = machine.express && controller.is_none() && !connected.is_empty();
        return Ok(Plug { node, devices: connected, wants_port, controllers });
    }
    Err(Error::usage(format!("there is no disk {}", quote(name))))
}

/// The nodes of a disk whose image lies at `path`, as `-blockdev` and QMP's `blockdev-add` take them.
/// `devices` are the paths that are block devices.
///
/// # Errors
/// `Kind::Usage` for a path that is not UTF-8.
pub(crate) fn node(disk: &Disk, path: &Path, devices: &[PathBuf]) -> Result<Value> {
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
    let name = node_name(disk.name.as_str());
    let mut node = json!({ "node-name": name, "driver": disk.format.as_str(), "file": file });
    extend(&mut node, &common);
    let below = match &disk.backing {
        None => Value::Null,
        Some(backing) => {
            let mut below = json!({
                "driver": backing.format.as_str(),
                "read-only": true,
                "file": protocol(&backing.file, devices)?,
            });
            below["file"]["read-only"] = json!(true);
            stand_on(&mut below, backing.format, Value::Null);
            below
        }
    };
    stand_on(&mut node, disk.format, below);
    Ok(node)
}

/// Tells a node what it stands on, where its format lets it name something: else QEMU would look into
/// the image for it.
fn stand_on(node: &mut Value, format: Format, below: Value) {
    match format {
        Format::Qcow2 | Format::Vmdk => node["backing"] = below,
        Format::Raw | Format::Vdi | Format::Vhdx | Format::Vpc => {}
    }
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
