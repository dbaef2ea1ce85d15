//! `device add --net`: one more network card for a VM that runs, with what it is connected to.

use serde_json::{Map, Value, json};

use super::LIMIT;
use crate::commands::context::{Context, Vm};
use crate::commands::{hotplug, sources};
use crate::control::qmp::Qmp;
use crate::control::{life, schema};
use crate::definition::merge::{Part, onto};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::Definition;
use crate::error::{Error, Result, quote};
use crate::qemu::argv::{self, CardPlug};
use crate::qemu::properties::Properties;
use crate::qemu::schema::{Given, Schema, Word};

/// Plugs the card of this text in; its id.
///
/// # Errors
/// `Kind::Usage` for what is no card; `Kind::Conflict` where its name is taken or no port is free; in
/// QEMU's words. The running VM is then what it was.
pub(super) fn plug(context: &Context<'_>, vm: &Vm, spec: &str) -> Result<String> {
    let qmp = Qmp::of(&context.folders, &vm.id, context.deadline(LIMIT));
    let there = hotplug::ids(&qmp)?;
    let taken = |name: &str| there.contains(&argv::netdev_id(name));
    let (name, part) = sources::card(spec, taken)?;
    if taken(&name) {
        return Err(Error::conflict(format!("it has a network card {}", quote(&name)))
            .hint("choose another name"));
    }
    let CardPlug { kind, netdev, device } = card(context, vm, &name, part)?;
    let life = life::look_at(&context.folders, &vm.id, &vm.name)?;
    let schema = schema::of(&context.folders, life.qemu_pid, &qmp)?;
    qmp.execute("netdev_add", &netdev_arguments(&schema, kind, &netdev)?.into())?;
    let connected = connect(&qmp, &device);
    if connected.is_err() {
        // Best effort: the error that counts is the device's.
        let _ = qmp.execute("netdev_del", &json!({ "id": device["id"] }));
    }
    connected.map(|()| argv::netdev_id(&name))
}

/// The card as QEMU takes it, read as a part of the VM's definition.
fn card(context: &Context<'_>, vm: &Vm, name: &str, part: Map<String, Value>) -> Result<CardPlug> {
    let unknown = || Error::failed("its definition cannot be read");
    let stored = vm.definition.as_deref().ok_or_else(unknown)?;
    let whole = onto(context.effective(stored)?, &[Part::Object(part)])?;
    let definition = Definition::read(&whole)?;
    let (id, vm_name) = (VmId::parse(&vm.id)?, VmName::parse(&vm.name)?);
    let folder = context.folders.vm(&vm.id);
    let target =
        argv::Vm { id: &id, name: &vm_name, definition: &definition, folder: folder.path() };
    argv::plug_card(&target, &argv::Host::unseen(&definition).binary, name)
}

fn connect(qmp: &Qmp<'_>, device: &Value) -> Result<()> {
    let typename = json!({ "typename": device["driver"] });
    let answer = qmp.execute("device-list-properties", &typename)?;
    let device = match Properties::of(&answer).is_pci() {
        true => hotplug::on_a_port(qmp, device)?,
        false => device.clone(),
    };
    qmp.execute("device_add", &device).map(drop)
}

/// Options that may stand several times, and are a list for `netdev_add`.
const LISTS: [&str; 3] = ["hostfwd", "guestfwd", "dnssearch"];

/// The network as `netdev_add` takes it: each value of the type that this QEMU's schema says.
fn netdev_arguments(
    schema: &Schema,
    kind: &str,
    netdev: &[(String, String)],
) -> Result<Map<String, Value>> {
    let mut given: Vec<Given<'_>> = vec![("type", Word::Text(kind))];
    let (lists, texts): (Vec<_>, Vec<_>) =
        netdev.iter().partition(|(key, _)| LISTS.contains(&key.as_str()));
    given.extend(texts.iter().map(|(key, value)| (key.as_str(), Word::Text(value))));
    for list in LISTS {
        let items = lists.iter().filter(|(key, _)| key == list);
        let items: Vec<Value> = items.map(|(_, value)| json!({ "str": value })).collect();
        if !items.is_empty() {
            given.push((list, Word::Json(items.into())));
        }
    }
    schema.arguments("netdev_add", given)
}
