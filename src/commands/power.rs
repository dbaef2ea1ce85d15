//! `stop` and `restart`: each names a state to reach, and every VM gets there by itself.

use std::time::{Duration, Instant};

use super::context::{Context, Vm};
use super::rehearsal::rehearse;
use super::start::start_vms;
use crate::cli::table::Flag;
use crate::control::stop::{Stop, Stopped, stop as stop_vms};
use crate::definition::units::Limit;
use crate::error::Result;
use crate::wire::message::{Manner, StopCall};
use crate::wire::runs::EndedBy;
use crate::wire::status::State;

/// A stop's own time beyond the guest's: QMP `quit`, SIGTERM, SIGKILL and some more.
const BEYOND_THE_GUEST: Duration = Duration::from_secs(15);
/// The guest's time where the definition cannot be read.
const USUAL_GUEST_TIME: Duration = Duration::from_secs(60);
pub(super) fn stop(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = context.changes()?;
    let vms = context.vms()?;
    if invocation.has(Flag::DryRun) {
        let code = rehearse(context, &mut output, "stop", &vms, |life| {
            Ok(if life.state.is_live() { Some(State::Stopped) } else { None })
        })?;
        return context.finish(output, [code]);
    }
    let manner = match () {
        () if invocation.has(Flag::Force) => Manner::Force,
        () if invocation.has(Flag::NoKill) => Manner::NoKill,
        () => Manner::Orderly,
    };
    let given = invocation.limit(Flag::Timeout).map(|limit| limit.duration().unwrap_or_default());
    let call = StopCall { manner, guest_time: given, at_once: invocation.has(Flag::NoWait) };
    let mut codes = Vec::new();
    for (vm, stopped) in vms.iter().zip(stop_all(context, &vms, &call)) {
        codes.push(match stopped {
            Ok(Stopped::Already) => {
                context.note(&format!("{} is not running", vm.name));
                context.say_change(&mut output, vm, State::Stopped, false)?;
                0
            }
            Ok(Stopped::Gone(by)) => {
                if let Some(how) = hard_end(by, manner) {
                    context.note(&format!("{}: {how}", vm.name));
                }
                context.say_change(&mut output, vm, State::Stopped, true)?;
                0
            }
            Ok(Stopped::Asked) => {
                context.say_change(&mut output, vm, State::Stopping, true)?;
                0
            }
            Err(error) => context.tell("cannot stop", vm, error),
        });
    }
    context.finish(output, codes)
}

/// Stops what runs, then starts all that stopped.
pub(super) fn restart(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = context.changes()?;
    let vms = context.vms()?;
    if invocation.has(Flag::DryRun) {
        let code = rehearse(context, &mut output, "restart", &vms, |_| Ok(Some(State::Running)))?;
        return context.finish(output, [code]);
    }
    let manner = if invocation.has(Flag::Force) { Manner::Force } else { Manner::Orderly };
    let given = invocation.limit(Flag::Timeout).map(|limit| limit.duration().unwrap_or_default());
    let call = StopCall { manner, guest_time: given, at_once: false };
    let mut codes = Vec::new();
    let mut stopped_vms = Vec::new();
    for (vm, stopped) in vms.iter().zip(stop_all(context, &vms, &call)) {
        match stopped {
            Ok(stopped) => {
                if let Stopped::Gone(by) = stopped
                    && let Some(how) = hard_end(by, manner)
                {
                    context.note(&format!("{}: {how}", vm.name));
                }
                stopped_vms.push(vm.clone());
            }
            Err(error) => codes.push(context.tell("cannot restart", vm, error)),
        }
    }
    codes.push(start_vms(context, &stopped_vms, |vm, state, _| {
        context.say_change(&mut output, vm, state, true)
    })?);
    context.finish(output, codes)
}

/// Stops VMs side by side; each has its guest's time and 15 s more.
pub(super) fn stop_all(context: &Context<'_>, vms: &[Vm], call: &StopCall) -> Vec<Result<Stopped>> {
    let now = Instant::now();
    let stops: Vec<Stop> = vms
        .iter()
        .map(|vm| {
            let guest_time = match (call.manner, call.guest_time) {
                (Manner::Force, _) => Some(Duration::ZERO),
                (_, Some(time)) => Some(time).filter(|time| !time.is_zero()),
                (_, None) => guest_time(context, vm).duration(),
            };
            let until = guest_time.map(|time| now + time + BEYOND_THE_GUEST);
            Stop { id: vm.id.clone(), until }
        })
        .collect();
    stop_vms(&context.folders, &stops, call)
}

fn guest_time(context: &Context<'_>, vm: &Vm) -> Limit {
    let usual = Limit::After(USUAL_GUEST_TIME);
    context.definition(vm).map_or(usual, |definition| definition.stop_timeout)
}

/// What a person should know who thinks that the guest shut itself down.
fn hard_end(by: Option<EndedBy>, manner: Manner) -> Option<&'static str> {
    match by {
        Some(EndedBy::Guest) | None => None,
        Some(EndedBy::Quit) if manner == Manner::Force => None,
        Some(EndedBy::Quit) => Some("its guest did not shut down in time; QEMU was told to quit"),
        Some(EndedBy::Term) => Some("QEMU had to be ended by SIGTERM"),
        Some(EndedBy::Kill) => Some("QEMU had to be ended by SIGKILL"),
    }
}
