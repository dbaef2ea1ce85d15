//! A disk and the QEMU that runs: `device_add` and its way back, through the VM's runner.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::commands::context::{Context, Vm};
use crate::control::qmp::Qmp;
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Disk};
use crate::error::{Error, Kind, Result};
use crate::qemu::argv::{self, Plug};
use crate::qemu::images::Images;
use crate::qemu::pci;

/// For QEMU to answer, and for a guest to let a disk go, where --timeout says nothing.
const LIMIT: Duration = Duration::from_secs(30);

/// The monitor of a VM, with this command's time.
pub(super) fn monitor<'a>(context: &'a Context<'_>, vm: &'a Vm) -> Qmp<'a> {
    Qmp::of(&context.folders, &vm.id, context.deadline(LIMIT))
}

/// Adds the disk of a definition to the running VM. `images` is what its image
/// turned out to be.
///
/// # Errors
/// In QEMU's words; the running VM is then what it was.
pub(super) fn plug(
    context: &Context<'_>,
    vm: &Vm,
    definition: &Definition,
    images: &Images,
    disk: &Disk,
) -> Result<()> {
    let (id, name) = (VmId::parse(&vm.id)?, VmName::parse(&vm.name)?);
    let folder = context.folders.vm(&vm.id);
    let target = argv::Vm { id: &id, name: &name, definition, folder: folder.path() };
    let binary = argv::Host::unseen(definition).binary;
    let plug = argv::plug(&target, &binary, &images.block_devices, disk.name.as_str())?;
    let qmp = monitor(context, vm);
    let node = argv::node_name(disk.name.as_str());
    qmp.execute("blockdev-add", &plug.node)?;
    connect(&qmp, &plug).inspect_err(|_| {
        // Best effort: what QEMU refused most often it never had.
        let _ = qmp.execute("device_del", &json!({ "id": node }));
        let _ = qmp.execute("blockdev-del", &json!({ "node-name": node }));
    })
}

fn connect(qmp: &Qmp<'_>, plug: &Plug) -> Result<()> {
    let there = peripherals(&qmp.execute("qom-list", &json!({ "path": "/machine/peripheral" }))?);
    for controller in &plug.controllers {
        if !there.iter().any(|id| controller["id"] == *id.as_str()) {
            qmp.execute("device_add", &on_a_port(qmp, controller)?)?;
        }
    }
    for device in &plug.devices {
        let device = if plug.wants_port { on_a_port(qmp, device)? } else { device.clone() };
        qmp.execute("device_add", &device)?;
    }
    Ok(())
}

/// The device on a root port that is free, where the machine has such ports.
fn on_a_port(qmp: &Qmp<'_>, device: &Value) -> Result<Value> {
    let buses = qmp.execute("query-pci", &json!({}))?;
    let mut device = device.clone();
    match pci::free_port(&buses) {
        Some(port) => device["bus"] = json!(port),
        None if pci::has_ports(&buses) => {
            return Err(Error::conflict("no port for another device is free")
                .hint("hotplug_slots in the definition says how many the next start makes"));
        }
        None => {}
    }
    Ok(device)
}

/// Takes a disk from the running VM, and waits until its guest has let it go.
///
/// # Errors
/// `Kind::Timeout` where it does not: the disk is still there then.
pub(super) fn unplug(context: &Context<'_>, vm: &Vm, disk: &str) -> Result<()> {
    let qmp = monitor(context, vm);
    let node = argv::node_name(disk);
    let path = json!({ "path": "/machine/peripheral" });
    let has_device = |answer: &Value| peripherals(answer).contains(&node);
    if has_device(&qmp.execute("qom-list", &path)?) {
        qmp.execute("device_del", &json!({ "id": node })).map_err(fixed)?;
        let gone = |answer: &Value| (!has_device(answer)).then_some(());
        if qmp.await_answer("qom-list", &path, gone)?.is_none() {
            return Err(Error::timeout("its guest has not let the disk go")
                .hint("a guest that has not booted cannot; stop the VM, and remove it then"));
        }
    }
    // The node lives on for a moment after its device.
    let patient = qmp.until(Instant::now() + LIMIT);
    let deleted = crate::backoff::retry(Instant::now() + Duration::from_secs(2), || {
        patient.execute("blockdev-del", &json!({ "node-name": node })).ok()
    });
    match deleted {
        Some(_) => Ok(()),
        None => patient.execute("blockdev-del", &json!({ "node-name": node })).map(drop),
    }
}

/// A disk that was there when the machine was made sits where nothing is plugged.
fn fixed(error: Error) -> Error {
    match error.message.contains("does not support hotplugging") {
        true => Error { kind: Kind::Conflict, ..error }
            .hint("a disk that the VM was started with stays until it is stopped"),
        false => error,
    }
}

fn peripherals(answer: &Value) -> Vec<String> {
    let names = answer.as_array().into_iter().flatten();
    names.filter_map(|one| one["name"].as_str()).map(str::to_owned).collect()
}
