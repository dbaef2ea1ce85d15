//! Devices and the QEMU that runs: which there are, where one more can go, and how one is let go.
//!
//! What the device is, and what else belongs to it, is the caller's.

use serde_json::{Value, json};

use crate::control::qmp::Qmp;
use crate::error::{Error, Kind, Result};
use crate::qemu::argv;

/// Where QEMU keeps the devices that have an id.
const PERIPHERAL: &str = "/machine/peripheral";

/// A device that has an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peripheral {
    pub(super) id: String,
    pub(super) driver: String,
}

/// The devices that have an id, in the order of their ids.
///
/// # Errors
/// As of [`Qmp::execute`].
pub(super) fn peripherals(qmp: &Qmp<'_>) -> Result<Vec<Peripheral>> {
    Ok(read(&qmp.execute("qom-list", &json!({ "path": PERIPHERAL }))?))
}

/// Their ids.
///
/// # Errors
/// As of [`Qmp::execute`].
pub(super) fn ids(qmp: &Qmp<'_>) -> Result<Vec<String>> {
    Ok(peripherals(qmp)?.into_iter().map(|one| one.id).collect())
}

/// What `qom-list` tells of the devices: children among other properties.
fn read(answer: &Value) -> Vec<Peripheral> {
    let all = answer.as_array().into_iter().flatten();
    let device = |one: &Value| {
        let driver = one["type"].as_str()?.strip_prefix("child<")?.strip_suffix('>')?;
        Some(Peripheral { id: one["name"].as_str()?.to_owned(), driver: driver.to_owned() })
    };
    let mut devices: Vec<Peripheral> = all.filter_map(device).collect();
    devices.sort_by(|a, b| a.id.cmp(&b.id));
    devices
}

/// The device, which is PCI's, on a root port that is free, where the machine has such ports. What is
/// free QEMU's own tree tells: `query-pci` knows what is behind a port only once the firmware of the
/// guest has numbered its bus.
///
/// # Errors
/// `Kind::Conflict` where none is free.
pub(super) fn on_a_port(qmp: &Qmp<'_>, device: &Value) -> Result<Value> {
    let is_port = |one: &Peripheral| one.driver == "pcie-root-port" && argv::is_slot(&one.id);
    let mut ports: Vec<String> =
        peripherals(qmp)?.into_iter().filter(is_port).map(|one| one.id).collect();
    ports.sort_by_key(|id| (id.len(), id.clone()));
    let mut device = device.clone();
    if ports.is_empty() {
        return Ok(device);
    }
    for port in ports {
        // A bus is a child of its port, and has its name.
        let bus =
            qmp.execute("qom-list", &json!({ "path": format!("{PERIPHERAL}/{port}/{port}") }))?;
        if is_empty(&bus) {
            device["bus"] = json!(port);
            return Ok(device);
        }
    }
    Err(Error::conflict("no port for another device is free")
        .hint("hotplug_slots in the definition says how many the next start makes"))
}

/// Whether nothing sits on a bus, by what `qom-list` tells of it.
fn is_empty(bus: &Value) -> bool {
    let mut names = bus.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
    !names.any(|name| name.starts_with("child["))
}

/// Takes the device `id`, which is there and is called `what`, from the running VM, and waits until its guest has let it
/// go (QMP's DEVICE_DELETED).
///
/// # Errors
/// `Kind::Timeout` where it does not: the device is still there then. `Kind::Conflict` for a device
/// that sits where nothing is plugged.
pub(super) fn remove(qmp: &Qmp<'_>, id: &str, what: &str) -> Result<()> {
    qmp.execute("device_del", &json!({ "id": id })).map_err(fixed)?;
    let gone = |answer: &Value| (!read(answer).iter().any(|one| one.id == id)).then_some(());
    match qmp.await_answer("qom-list", &json!({ "path": PERIPHERAL }), gone)? {
        Some(()) => Ok(()),
        None => Err(Error::timeout(format!("its guest has not let {what} go"))
            .hint("a guest that has not booted cannot; a stopped VM needs no leave")),
    }
}

fn fixed(error: Error) -> Error {
    match error.message.contains("does not support hotplugging") {
        true => error
            .of_kind(Kind::Conflict)
            .hint("what the VM was started with stays until it is stopped"),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_devices_and_other_properties_are_none() {
        let answer = json!([
            {"name": "type", "type": "string"},
            {"name": "rng", "type": "child<virtio-rng-pci>"},
            {"name": "a", "type": "child<pcie-root-port>"},
            {"name": "x", "type": "link<bus>"},
        ]);
        let found: Vec<_> = read(&answer).into_iter().map(|one| (one.id, one.driver)).collect();
        let expected = [("a", "pcie-root-port"), ("rng", "virtio-rng-pci")];
        assert_eq!(found, expected.map(|(id, driver)| (id.to_owned(), driver.to_owned())));
        assert!(read(&json!(null)).is_empty());
    }

    #[test]
    fn a_bus_with_a_child_is_not_empty() {
        let bus = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect();
        assert!(is_empty(&bus(&["type", "realized", "hotplug-handler"])));
        assert!(!is_empty(&bus(&["type", "child[3]"])));
    }
}
