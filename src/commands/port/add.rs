//! `port add`: one more port that leads into a guest.
//!
//! The running QEMU comes first, for only it finds out whether the port is free; then the definition.
//! Each is left as it is where it has the port already: what was cut short in between is put right by
//! the same command.

use serde::Serialize;

use super::listening::order;
use super::{Forward, cards, look};
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::commands::context::Context;
use crate::commands::sources;
use crate::commands::target::Target;
use crate::definition::merge::{Part, onto};
use crate::definition::name::{VmId, VmName};
use crate::definition::port::Port;
use crate::definition::types::Definition;
use crate::error::{Error, Kind, Result};
use crate::qemu::argv;

const SHAPE: Shape = Shape {
    list: false,
    columns: &[],
    fields: &["name", "port", "address", "guest", "protocol", "changed"],
};

#[derive(Debug, Serialize)]
struct Added<'a> {
    name: &'a str,
    /// The host's; none for an `auto` port of a VM that does not run.
    port: Option<u16>,
    address: String,
    guest: u16,
    protocol: &'static str,
    changed: bool,
}

pub(in crate::commands) fn add(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let text = context.invocation.operands.get(1).map_or("", String::as_str);
    let port = Port::parse(text)?;
    let target = Target::of(context)?;
    let name = target.vm.name.as_str();
    let about = |error: Error| error.about("cannot add a port to", name);
    let plan = Plan::of(context, &target, port).map_err(about)?;
    if context.invocation.has(Flag::DryRun) {
        context.note(&match plan.has_work() {
            true => format!("{name}: would get the port {port}"),
            false => format!("{name}: has the port {port} already"),
        });
        return Ok(0);
    }
    let changed = plan.has_work();
    if !changed {
        context.note(&format!("{name}: has the port {port} already"));
    }
    let now = plan.carry_out(context, &target).map_err(about)?;
    if output.wants_objects() {
        let Port { address, guest, protocol, .. } = port;
        let (address, protocol) = (address.to_string(), protocol.as_str());
        output.object(&Added { name, port: now, address, guest, protocol, changed })?;
    } else {
        let now = now.map_or_else(|| "auto".to_owned(), |now| now.to_string());
        output.text(&format!("{now}\n"))?;
    }
    output.finish()?;
    Ok(0)
}

#[derive(Debug)]
struct Plan {
    port: Port,
    /// What QEMU calls the network of the card that gets it.
    netdev: String,
    /// The definition with the port, where that is to be stored.
    text: Option<String>,
    is_running: bool,
    /// The port as the running QEMU has it already.
    now: Option<Port>,
}

impl Plan {
    fn of(context: &Context<'_>, target: &Target, port: Port) -> Result<Plan> {
        let is_live = context.invocation.has(Flag::Live);
        let is_running = target.is_running()?;
        if is_live && !is_running {
            return Err(Error::new(Kind::NotRunning, "it is not running")
                .hint("without --live the port is there from the next start on"));
        }
        let definition = context.definition(&target.vm)?;
        let all = look(context, &target.vm, &definition, is_running)?;
        refuse_taken(&all, &port)?;
        let known = already(&all, &port);
        let is_defined = known.is_some_and(|one| one.defined.is_some());
        let text = match is_defined || is_live {
            true => None,
            false => Some(with_port(context, target, &port)?),
        };
        let card = match known {
            Some(known) => known.card.clone(),
            None => first_card(context, target, text.as_deref(), &definition)?,
        };
        let now = known.and_then(|known| known.now);
        Ok(Plan { port, netdev: argv::netdev_id(&card), text, is_running, now })
    }

    fn has_work(&self) -> bool {
        self.text.is_some() || (self.is_running && self.now.is_none())
    }

    /// Does it; the port of the host, where it is known.
    fn carry_out(&self, context: &Context<'_>, target: &Target) -> Result<Option<u16>> {
        let opened = match self.is_running && self.now.is_none() {
            true => Some(self.open(context, target)?),
            false => None,
        };
        if let Some(text) = &self.text {
            let stored = context
                .store_to_write()
                .and_then(|mut store| store.update_definition(&target.vm.id, &target.text, text));
            if let (Err(_), Some(opened)) = (&stored, opened) {
                // Best effort: the error that counts is the store's.
                let rule = opened.place();
                let _ =
                    order(context, &target.vm, &format!("hostfwd_remove {} {rule}", self.netdev));
            }
            stored?;
        }
        Ok(opened.or(self.now).unwrap_or(self.port).host)
    }

    /// Lets the running QEMU listen.
    fn open(&self, context: &Context<'_>, target: &Target) -> Result<Port> {
        let listening = || {
            let all = super::listening(context, std::slice::from_ref(&target.vm)).pop();
            all.unwrap_or_else(|| Ok(Vec::new()))
        };
        let before = listening()?;
        let rule = self.port.rule();
        let said = order(context, &target.vm, &format!("hostfwd_add {} {rule}", self.netdev))?;
        if !said.is_empty() {
            return Err(Error::failed("QEMU refused")
                .quoting(&said)
                .hint("another program may listen on it, or it wants a right that you lack"));
        }
        let is_it = |(netdev, port): &(String, Port)| {
            *netdev == self.netdev
                && port.leads_as(&self.port)
                && !before.contains(&(netdev.clone(), *port))
        };
        let found = listening()?.into_iter().find(is_it).map(|(_, port)| port);
        found.ok_or_else(|| Error::failed("QEMU does not tell the port that it has just opened"))
    }
}

/// The port as this VM has it already. An `auto` port that only the running QEMU has may be on any
/// number: a command that was killed before it stored the definition leaves it there.
fn already<'a>(all: &'a [Forward], port: &Port) -> Option<&'a Forward> {
    let is_it = |known: Option<Port>| known.is_some_and(|known| known == *port);
    let leads =
        |one: &Forward| one.defined.is_none() && one.now.is_some_and(|now| now.leads_as(port));
    all.iter()
        .find(|one| is_it(one.defined) || is_it(one.now))
        .or_else(|| all.iter().find(|one| leads(one)))
}

/// Refuses a port whose place on the host another port of this VM has.
fn refuse_taken(all: &[Forward], port: &Port) -> Result<()> {
    let collides = |one: &&Forward| {
        let known = one.defined.iter().chain(&one.now);
        known.clone().all(|known| known != port) && known.clone().any(|known| known.collides(port))
    };
    match all.iter().find(collides).and_then(Forward::port) {
        None => Ok(()),
        Some(other) => Err(Error::conflict(format!("it has the port {other}"))
            .hint("remove that one first, or choose another port of the host")),
    }
}

fn with_port(context: &Context<'_>, target: &Target, port: &Port) -> Result<String> {
    let (id, name) = (VmId::parse(&target.vm.id)?, VmName::parse(&target.vm.name)?);
    let whole = onto(target.stored.clone(), &[Part::Port(port.to_string())])?;
    sources::checked(context, whole, &id, &name)
}

/// The card that a new port belongs to.
fn first_card(
    context: &Context<'_>,
    target: &Target,
    text: Option<&str>,
    definition: &Definition,
) -> Result<String> {
    let new = match text {
        Some(text) => Definition::read(&context.effective(text)?)?,
        None => definition.clone(),
    };
    let card = cards(&target.vm, &new)?.into_iter().next();
    let none =
        || Error::usage("it has no network card of type user").hint("add one with --net user");
    card.map(|card| card.name.to_string()).ok_or_else(none)
}
