//! `port rm`: a port less that leads into a guest, of the QEMU that runs and of the definition.

use serde::Serialize;

use super::listening::order;
use super::{Forward, look, named};
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::commands::context::Context;
use crate::commands::target::Target;
use crate::definition::port::{self, Place, Port};
use crate::error::{Error, Kind, Result};
use crate::qemu::argv;

const SHAPE: Shape = Shape { list: false, columns: &[], fields: &["name", "port", "changed"] };

#[derive(Debug, Serialize)]
struct Removed<'a> {
    name: &'a str,
    /// The host's; none for an `auto` port of a VM that does not run.
    port: Option<u16>,
    changed: bool,
}

pub(in crate::commands) fn rm(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let text = context.invocation.operands.get(1).map_or("", String::as_str);
    let place = Place::parse(text)?;
    let target = Target::of(context)?;
    let name = target.vm.name.as_str();
    let about = |error: Error| error.about("cannot remove a port of", name);
    let is_live = context.invocation.has(Flag::Live);
    let is_running = target.is_running().map_err(about)?;
    if is_live && !is_running {
        return Err(about(Error::new(Kind::NotRunning, "it is not running")));
    }
    let definition = context.definition(&target.vm)?;
    let all = look(context, &target.vm, &definition, is_running).map_err(about)?;
    let forward = named(&all, &place, text).map_err(about)?;
    if context.invocation.has(Flag::DryRun) {
        context.note(&format!("{name}: would lose the port {text}"));
        return Ok(0);
    }
    let defined = forward.defined.filter(|_| !is_live);
    let new = defined.map(|port| without(&target, forward, &port)).transpose().map_err(about)?;
    if let Some(now) = forward.now {
        close(context, &target, forward, &now).map_err(about)?;
    }
    if let Some(new) = new {
        let mut store = context.store_to_write()?;
        store.update_definition(&target.vm.id, &target.text, &new).map_err(about)?;
    }
    if output.wants_objects() {
        let changed = forward.now.is_some() || defined.is_some();
        let port = forward.port().and_then(|port| port.host);
        output.object(&Removed { name, port, changed })?;
    }
    output.finish()?;
    Ok(0)
}

/// The definition without the port.
fn without(target: &Target, forward: &Forward, defined: &Port) -> Result<String> {
    let mut definition = target.stored.clone();
    match port::remove(&mut definition, &forward.card, defined) {
        true => Ok(serde_json::Value::Object(definition).to_string()),
        false => Err(Error::conflict("the port stands in the defaults of the settings")
            .hint("--live takes it from the running VM alone")),
    }
}

/// Has the running QEMU listen there no more. It answers in words either way: what it then listens
/// on tells.
fn close(context: &Context<'_>, target: &Target, forward: &Forward, now: &Port) -> Result<()> {
    let (netdev, place) = (argv::netdev_id(&forward.card), now.place());
    let said = order(context, &target.vm, &format!("hostfwd_remove {netdev} {place}"))?;
    let listening = super::listening(context, std::slice::from_ref(&target.vm)).pop();
    match listening.unwrap_or_else(|| Ok(Vec::new()))?.contains(&(netdev, *now)) {
        false => Ok(()),
        true => Err(Error::failed("QEMU still listens on it").quoting(&said)),
    }
}
