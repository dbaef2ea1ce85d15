//! A disk and the QEMU that runs: `device_add` and its way back, through the VM's runner.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::commands::context::{Context, Vm};
use crate::commands::hotplug;
use crate::control::qmp::Qmp;
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Disk, Interface};
use crate::error::{Kind, Result};
use crate::qemu::argv::{self, Plug};
use crate::qemu::images::Images;

/// For QEMU to answer, and for a guest to let a disk go, where --timeout says nothing.
const LIMIT: Duration = Duration::from_secs(30);

/// The monitor of a VM, with this command's time.
pub(super) fn monitor<'a>(context: &'a Context<'_>, vm: &'a Vm) -> Qmp<'a> {
    Qmp::of(&context.folders, &vm.id, context.deadline(LIMIT))
}

/// Whether the running VM has the disk.
///
/// # Errors
/// As of [`Qmp::execute`].
pub(super) fn is_plugged(context: &Context<'_>, vm: &Vm, disk: &Disk) -> Result<bool> {
    let qmp = monitor(context, vm);
    let node = argv::node_name(disk.name.as_str());
    match disk.interface {
        Some(Interface::Absent) => has_node(&qmp, &node),
        _ => Ok(hotplug::ids(&qmp)?.contains(&node)),
    }
}

/// Whether QEMU has a block node of this name.
fn has_node(qmp: &Qmp<'_>, node: &str) -> Result<bool> {
    let answer = qmp.execute("query-named-block-nodes", &json!({ "flat": true }))?;
    Ok(answer.as_array().into_iter().flatten().any(|one| one["node-name"] == node))
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
    if has_node(&qmp, &node)? {
        // Of an attempt that was cut short before the device.
        qmp.execute("blockdev-del", &json!({ "node-name": node }))?;
    }
    let added = qmp.execute("blockdev-add", &plug.node).and_then(|_| connect(&qmp, &plug));
    match added {
        // The answer alone may be what was lost.
        Err(_) if is_plugged(context, vm, disk).is_ok_and(|there| there) => Ok(()),
        Err(error) => {
            // Best effort: what QEMU refused most often it never had.
            let _ = qmp.execute("blockdev-del", &json!({ "node-name": node }));
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

fn connect(qmp: &Qmp<'_>, plug: &Plug) -> Result<()> {
    let there = hotplug::ids(qmp)?;
    for controller in &plug.controllers {
        if !there.iter().any(|id| controller["id"] == *id.as_str()) {
            qmp.execute("device_add", &hotplug::on_a_port(qmp, controller)?)?;
        }
    }
    for device in &plug.devices {
        let device =
            if plug.wants_port { hotplug::on_a_port(qmp, device)? } else { device.clone() };
        qmp.execute("device_add", &device)?;
    }
    Ok(())
}

/// Takes a disk from the running VM, and waits until its guest has let it go.
///
/// # Errors
/// `Kind::Timeout` where it does not: the disk is still there then.
pub(super) fn unplug(context: &Context<'_>, vm: &Vm, disk: &str) -> Result<()> {
    let qmp = monitor(context, vm);
    let node = argv::node_name(disk);
    if hotplug::ids(&qmp)?.contains(&node) {
        hotplug::remove(&qmp, &node, "the disk").map_err(|error| match error.kind {
            Kind::Conflict => {
                error.hint("a disk that the VM was started with stays until it is stopped")
            }
            _ => error,
        })?;
    }
    if !has_node(&qmp, &node)? {
        return Ok(());
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
