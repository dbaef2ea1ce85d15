//! `pause`, `resume` and `reset`: one QMP command to each VM, side by side.

use std::time::Duration;

use serde_json::Map;

use super::context::Context;
use super::monitor::Monitor;
use super::rehearsal::rehearse;
use crate::cli::table::Flag;
use crate::control::ask::{Patience, Question, Reply, ask};
use crate::control::life::{self, Life};
use crate::error::{Error, Kind, Result};
use crate::wire::message::{Call, Request};
use crate::wire::status::State;

/// For QEMU to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A button of the VM.
#[derive(Clone, Copy, Debug)]
struct Button {
    word: &'static str,
    doing: &'static str,
    /// The QMP command behind it.
    command: &'static str,
    /// The state in which it leaves a VM of this state; none where it has nothing to do there.
    leads: fn(State) -> Option<State>,
    /// The state in which it had its way already.
    reached: Option<State>,
}

pub(super) fn pause(context: &Context<'_>) -> Result<u8> {
    press(
        context,
        Button {
            word: "pause",
            doing: "cannot pause",
            command: "stop",
            leads: |state| (state == State::Running).then_some(State::Paused),
            reached: Some(State::Paused),
        },
    )
}

pub(super) fn resume(context: &Context<'_>) -> Result<u8> {
    press(
        context,
        Button {
            word: "resume",
            doing: "cannot resume",
            command: "cont",
            leads: |state| (state == State::Paused).then_some(State::Running),
            reached: Some(State::Running),
        },
    )
}

pub(super) fn reset(context: &Context<'_>) -> Result<u8> {
    press(
        context,
        Button {
            word: "reset",
            doing: "cannot reset",
            command: "system_reset",
            leads: |state| matches!(state, State::Running | State::Paused).then_some(state),
            reached: None,
        },
    )
}

fn press(context: &Context<'_>, button: Button) -> Result<u8> {
    let mut output = context.changes()?;
    let vms = context.vms()?;
    let outcome = |life: &Life| match (button.leads)(life.state) {
        Some(to) if life.responding == Some(true) => Ok(Some(to)),
        _ => already(life, button.reached).map(|()| None),
    };
    if context.invocation.has(Flag::DryRun) {
        let code = rehearse(context, &mut output, button.word, &vms, outcome)?;
        return context.finish(output, [code]);
    }
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    let until = context.deadline(ANSWER_LIMIT);
    let outcomes: Vec<Result<(State, Option<State>)>> = life::look(&context.folders, &names)
        .into_iter()
        .map(|life| life.and_then(|life| Ok((life.state, outcome(&life)?))))
        .zip(&vms)
        .map(|(outcome, vm)| match outcome {
            Ok((_, Some(_))) if button.command == "cont" => {
                Monitor::new(context, vm, until).refuse_half_loaded(&vm.name).and(outcome)
            }
            _ => outcome,
        })
        .collect();
    let arguments = Map::new();
    let call = Call::Qmp { command: button.command.into(), arguments, unsafe_: false };
    let questions: Vec<Question> = outcomes
        .iter()
        .zip(&vms)
        .filter(|(outcome, _)| matches!(outcome, Ok((_, Some(_)))))
        .map(|(_, vm)| Question {
            id: vm.id.clone(),
            request: Request::from(call.clone()),
            repeatable: button.reached.is_some(),
        })
        .collect();
    let patience = Patience { answered: Some(until), ..Patience::of(ANSWER_LIMIT) };
    let mut replies = ask(&context.folders, &questions, patience).into_iter();
    let mut codes = Vec::new();
    for (vm, outcome) in vms.iter().zip(outcomes) {
        let done = outcome.and_then(|(state, to)| match to {
            Some(to) => {
                replies.next().map_or(Ok(()), qemus_answer)?;
                if button.command == "system_reset" {
                    Monitor::new(context, vm, until).forget_failed_load();
                }
                Ok((to, true))
            }
            None => Ok((state, false)),
        });
        codes.push(match done {
            Ok((state, changed)) => {
                if !changed {
                    context.note(&format!("{} is {state} already", vm.name));
                }
                context.say_change(&mut output, vm, state, changed)?;
                0
            }
            Err(error) => context.tell(button.doing, vm, error),
        });
    }
    context.finish(output, codes)
}

fn qemus_answer(reply: Reply) -> Result<()> {
    match reply {
        Reply::Answer(answer) => answer.and_then(qemus_word),
        Reply::NoRunner => Err(Error::new(Kind::NotRunning, "it has just ended")),
        Reply::Silent(error) | Reply::Late(error) => Err(error),
    }
}

/// Whether a VM is where it should be; if not, why it cannot be brought there.
fn already(life: &Life, reached: Option<State>) -> Result<()> {
    match (life.state, life.responding) {
        (state, Some(true)) if Some(state) == reached => Ok(()),
        (state, _) if !state.is_live() => {
            let hint = "\"maqet start\" starts it, \"maqet why\" tells how its last run ended";
            Err(Error::new(Kind::NotRunning, format!("it is {state}")).hint(hint))
        }
        (_, Some(false)) => Err(silent(life)),
        (state, _) => Err(Error::conflict(format!("it is {state}")).hint("try again in a moment")),
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
