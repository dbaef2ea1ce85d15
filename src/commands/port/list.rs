//! `port ls`: the ports of VMs, as they are.

use serde::Serialize;

use super::{cards, forwards, listening};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::commands::context::{Context, Vm};
use crate::control::life::{self, Life};
use crate::definition::port::Port;
use crate::error::{Error, Result, quote};
use crate::qemu::usernet::Listening;
use crate::wire::status::State;

const SHAPE: Shape = Shape {
    list: true,
    columns: &[
        Column { title: "VM", path: "vm", show: plain },
        Column { title: "HOST", path: "name", show: plain },
        Column { title: "GUEST", path: "guest", show: plain },
        Column { title: "PROTOCOL", path: "protocol", show: plain },
        Column { title: "CARD", path: "card", show: plain },
    ],
    fields: &["vm", "name", "address", "host", "guest", "protocol", "card"],
};

#[derive(Debug, Serialize)]
struct Listed {
    vm: String,
    /// The host's end, as it is connected to: ADDR:PORT.
    name: String,
    address: String,
    /// None for an `auto` port of a VM that does not run.
    host: Option<u16>,
    guest: u16,
    protocol: &'static str,
    card: String,
}

pub(in crate::commands) fn ls(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let guest = guest(context)?;
    let mut vms = match context.selects_vms() {
        true => vec![context.vm()?],
        false => context.every_vm()?,
    };
    vms.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    let lives = life::look(&context.folders, &names);
    let (running, _): (Vec<_>, Vec<_>) =
        vms.iter().zip(&lives).partition(|(_, life)| life.as_ref().is_ok_and(has_qemu));
    let running: Vec<Vm> = running.into_iter().map(|(vm, _)| vm.clone()).collect();
    let mut live = listening(context, &running).into_iter();
    let mut codes = Vec::new();
    for (vm, life) in vms.iter().zip(lives) {
        let live = match running.contains(vm) {
            true => live.next(),
            false => None,
        };
        let found = life.and_then(|_| listed(context, vm, live));
        codes.push(match found {
            Ok(all) => {
                let wanted = |one: &&Listed| guest.is_none_or(|guest| one.guest == guest);
                all.iter().filter(wanted).try_for_each(|one| output.object(one))?;
                0
            }
            Err(error) => context.tell("cannot list the ports of", vm, error),
        });
    }
    context.finish(output, codes)
}

/// Whether there is a QEMU that can be asked: during a start, or in the pause before the next, there
/// is none.
fn has_qemu(life: &Life) -> bool {
    matches!(life.state, State::Running | State::Paused | State::Stopping)
        && life.responding == Some(true)
}

/// The guest's port of the command line.
fn guest(context: &Context<'_>) -> Result<Option<u16>> {
    let word = context.invocation.operands.get(1);
    let number = |word: &String| match word.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Error::usage(format!("{} is no port of a guest's", quote(word)))
            .hint("give a number from 1 to 65535")),
    };
    word.map(number).transpose()
}

/// The ports of one VM: of one that runs those on which it listens, of another those that its
/// definition has.
fn listed(
    context: &Context<'_>,
    vm: &Vm,
    live: Option<Result<Vec<Listening>>>,
) -> Result<Vec<Listed>> {
    let cards = cards(vm, &context.definition(vm)?)?;
    let is_running = live.is_some();
    let all = forwards(&cards, &live.transpose()?.unwrap_or_default()).into_iter();
    let true_ones = all.filter(|one| !is_running || one.now.is_some());
    let row = |one: super::Forward| one.port().map(|port| Listed::of(vm, one.card, port));
    Ok(true_ones.filter_map(row).collect())
}

impl Listed {
    fn of(vm: &Vm, card: String, port: Port) -> Listed {
        let host = port.host.map_or_else(|| "auto".to_owned(), |host| host.to_string());
        Listed {
            vm: vm.name.clone(),
            name: format!("{}:{host}", port.address),
            address: port.address.to_string(),
            host: port.host,
            guest: port.guest,
            protocol: port.protocol.as_str(),
            card,
        }
    }
}
