//! `stop`, `pause` and `resume`: each names a state to reach, and reaching it again changes nothing.

use std::time::{Duration, Instant};

use serde_json::Map;

use super::context::{Context, Vm};
use crate::cli::table::Flag;
use crate::control::ask::{Patience, Question, Reply, ask};
use crate::control::life::{self, Life};
use crate::control::stop::{Stop, Stopped, stop as stop_vms};
use crate::definition::units::Limit;
use crate::error::{Error, Kind, Result};
use crate::wire::message::{Call, Manner, Request, StopCall};
use crate::wire::runs::EndedBy;
use crate::wire::status::State;

/// A stop's own time beyond the guest's: QMP `quit`, SIGTERM, SIGKILL and some more.
const BEYOND_THE_GUEST: Duration = Duration::from_secs(15);
/// The guest's time where the definition cannot be read.
const USUAL_GUEST_TIME: Duration = Duration::from_secs(60);
/// For QEMU to answer `stop` or `cont`.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn stop(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = context.changes()?;
    let vms = context.vms()?;
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

pub(super) fn pause(context: &Context<'_>) -> Result<u8> {
    switch(context, "cannot pause", "stop", State::Running, State::Paused)
}

pub(super) fn resume(context: &Context<'_>) -> Result<u8> {
    switch(context, "cannot resume", "cont", State::Paused, State::Running)
}

/// Brings running or paused VMs from one state to the other by a QMP command.
fn switch(context: &Context<'_>, doing: &str, command: &str, from: State, to: State) -> Result<u8> {
    let mut output = context.changes()?;
    let vms = context.vms()?;
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    let lives = life::look(&context.folders, &names);
    let wants = |life: &Result<Life>| {
        life.as_ref().is_ok_and(|life| life.state == from && life.responding == Some(true))
    };
    let call = Call::Qmp { command: command.into(), arguments: Map::new() };
    let questions: Vec<Question> = lives
        .iter()
        .zip(&vms)
        .filter(|(life, _)| wants(life))
        .map(|(_, vm)| Question {
            id: vm.id.clone(),
            request: Request::from(call.clone()),
            repeatable: true,
        })
        .collect();
    let patience =
        Patience { answered: Some(context.deadline(ANSWER_LIMIT)), ..Patience::of(ANSWER_LIMIT) };
    let mut replies = ask(&context.folders, &questions, patience).into_iter();
    let mut codes = Vec::new();
    for (vm, life) in vms.iter().zip(lives) {
        let asked = if wants(&life) { replies.next() } else { None };
        let outcome = match (asked, life) {
            (Some(Reply::Answer(answer)), _) => answer.and_then(qemus_word).map(|()| true),
            (Some(Reply::NoRunner), _) => Err(Error::new(Kind::NotRunning, "it has just ended")),
            (Some(Reply::Silent(error) | Reply::Late(error)), _) => Err(error),
            (None, Ok(life)) => already(&life, to).map(|()| false),
            (None, Err(error)) => Err(error),
        };
        codes.push(match outcome {
            Ok(changed) => {
                if !changed {
                    context.note(&format!("{} is {to} already", vm.name));
                }
                context.say_change(&mut output, vm, to, changed)?;
                0
            }
            Err(error) => context.tell(doing, vm, error),
        });
    }
    context.finish(output, codes)
}

/// Whether a VM is where it should be; if not, why it cannot be brought there.
fn already(life: &Life, to: State) -> Result<()> {
    match (life.state, life.responding) {
        (state, Some(true)) if state == to => Ok(()),
        (state, _) if !state.is_live() => {
            Err(Error::new(Kind::NotRunning, format!("it is {state}")))
        }
        (_, Some(false)) => Err(silent(life)),
        (state, _) => Err(Error::conflict(format!("it is {state}"))),
    }
}

/// The error of a VM whose runner does not answer.
pub(super) fn silent(life: &Life) -> Error {
    let silent = Error::timeout("its runner does not answer")
        .hint("\"maqet stop --force\" ends it together with its QEMU");
    life.obstacle.clone().filter(|error| error.kind != Kind::Timeout).unwrap_or(silent)
}

/// QEMU's answer to a command: an error of QEMU's is an error.
pub(super) fn qemus_word(answer: serde_json::Value) -> Result<()> {
    match answer["error"]["desc"].as_str() {
        Some(desc) => Err(Error::failed("QEMU refused").quoting(desc)),
        None => Ok(()),
    }
}
