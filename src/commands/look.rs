//! `ls` and `status`: what VMs do now.

use serde_json::{Value, json};

use super::button::silent;
use super::context::{Context, Vm};
use crate::cli::output::{Column, Output, Shape, at, plain};
use crate::cli::report::{report, shared_exit_code};
use crate::cli::table::Flag;
use crate::control::life::{self, Life};
use crate::error::{Error, Kind, Result, quote};
use crate::wire::status::State;

const FIELDS: &[&str] = &[
    "id",
    "name",
    "state",
    "responding",
    "runner_pid",
    "qemu_pid",
    "accel",
    "uptime",
    "since",
    "saved",
    "socket_path",
    "sandbox",
    "exceptions",
    "log_bytes_lost",
    "last_exit",
    "last_exit.outcome",
    "last_exit.exit_code",
    "last_exit.signal",
    "last_exit.by",
    "last_exit.asked_by",
    "last_exit.detail",
    "last_exit.ended_at",
];

const NAME: Column = Column { title: "NAME", path: "name", show: plain };
const STATE: Column = Column { title: "STATE", path: "state", show: plain };
const UPTIME: Column = Column { title: "UPTIME", path: "uptime", show: duration };
const ACCEL: Column = Column { title: "ACCEL", path: "accel", show: plain };
const QEMU: Column = Column { title: "QEMU", path: "qemu_pid", show: plain };
const RUNNER: Column = Column { title: "RUNNER", path: "runner_pid", show: plain };
const DETAIL: Column = Column { title: "LAST EXIT", path: "last_exit", show: last_exit };
const ID: Column = Column { title: "ID", path: "id", show: plain };

const LIST: Shape =
    Shape { list: true, columns: &[NAME, STATE, UPTIME, ACCEL, QEMU, ID], fields: FIELDS };
const STATUS: Shape = Shape {
    list: false,
    columns: &[NAME, STATE, UPTIME, ACCEL, RUNNER, QEMU, DETAIL],
    fields: FIELDS,
};

pub(super) fn ls(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let state = invocation.value(Flag::State).map(read_state).transpose()?;
    let mut output = Output::new(invocation, LIST)?;
    let vms = if context.selects_vms() { context.vms()? } else { context.every_vm()? };
    if output.wants_names() && state.is_none() && invocation.value(Flag::Sort).is_none() {
        return names_alone(output, vms);
    }
    let names: Vec<(String, String)> = vms.into_iter().map(|vm| (vm.id, vm.name)).collect();
    let mut code = 0;
    let mut lives: Vec<Life> = Vec::new();
    for (life, (_, name)) in life::look(&context.folders, &names).into_iter().zip(&names) {
        match life {
            Ok(life) => lives.push(life),
            Err(error) => {
                report(&error.clone().about("cannot look at", name), invocation.has(Flag::Json));
                code = error.kind.exit_code();
            }
        }
    }
    lives.retain(|life| state.is_none_or(|state| life.state == state));
    match invocation.value(Flag::Sort) {
        Some(path) => sort(&mut lives, path),
        None => lives.sort_by(|a, b| a.name.cmp(&b.name)),
    }
    for life in &lives {
        output.object(life)?;
    }
    output.finish()?;
    Ok(code)
}

/// Names are in the database: no VM is looked at for them, however many there are.
fn names_alone(mut output: Output, mut vms: Vec<Vm>) -> Result<u8> {
    vms.sort_by(|a, b| a.name.cmp(&b.name));
    for vm in &vms {
        output.object(&json!({ "name": vm.name }))?;
    }
    output.finish()?;
    Ok(0)
}

pub(super) fn status(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = Output::new(invocation, STATUS)?;
    let vms = context.vms()?;
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    let mut codes = Vec::new();
    for (life, vm) in life::look(&context.folders, &names).into_iter().zip(&vms) {
        codes.push(match life {
            Ok(life) => {
                output.object(&life)?;
                verdict(context, &life)
            }
            Err(error) => context.tell("cannot look at", vm, error),
        });
    }
    output.finish()?;
    Ok(shared_exit_code(codes))
}

/// 0 when a runner holds the lock and answers, 3 without one, 5 or 6 for one that cannot be asked.
fn verdict(context: &Context<'_>, life: &Life) -> u8 {
    if !life.state.is_live() {
        return Kind::NotRunning.exit_code();
    }
    if life.responding == Some(false) {
        let error = silent(life).about("no answer from", &life.name);
        report(&error, context.invocation.has(Flag::Json));
        return error.kind.exit_code();
    }
    0
}

fn read_state(word: &str) -> Result<State> {
    let names = State::ALL.map(State::name);
    State::ALL.into_iter().find(|state| state.name() == word).ok_or_else(|| {
        Error::usage(format!("there is no state {}", quote(word)))
            .hint(format!("the states are {}", names.join(", ")))
    })
}

/// Sorts by any column: numbers as numbers, the rest as text, what is not there last.
fn sort(lives: &mut [Life], path: &str) {
    let key = |life: &Life| {
        let value = serde_json::to_value(life).unwrap_or_default();
        let value = at(&value, path);
        (value.is_null(), value.as_f64().map(f64::to_bits), plain(value))
    };
    lives.sort_by_cached_key(key);
}

/// Seconds for eyes: the two largest units.
fn duration(value: &Value) -> String {
    let Some(seconds) = value.as_u64() else { return plain(value) };
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let first = units.iter().position(|(length, _)| seconds >= *length).unwrap_or(3);
    let (length, name) = units[first];
    let mut text = format!("{}{name}", seconds / length);
    if let Some((next, name)) = units.get(first + 1) {
        text.push_str(&format!("{}{name}", seconds % length / next));
    }
    text
}

fn last_exit(value: &Value) -> String {
    match (value["detail"].as_str(), value["outcome"].as_str(), value["by"].as_str()) {
        (Some(detail), ..) => detail.lines().next().unwrap_or_default().to_owned(),
        (None, Some(outcome), Some(by)) => format!("{outcome} by {by}"),
        (None, Some(outcome), None) => outcome.to_owned(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_is_shown_in_its_two_largest_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (61, "1m1s"), (3_700, "1h1m"), (200_000, "2d7h")]
        {
            assert_eq!(duration(&json!(seconds)), text);
        }
        assert_eq!(duration(&Value::Null), "-");
    }

    #[test]
    fn every_state_is_read_by_its_name_and_no_other_word_is() {
        for state in State::ALL {
            assert_eq!(read_state(state.name()).unwrap(), state);
        }
        assert_eq!(read_state("runing").unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn a_last_exit_is_told_in_few_words() {
        for (value, text) in [
            (json!({"outcome": "stopped", "by": "guest", "detail": null}), "stopped by guest"),
            (json!({"outcome": "crashed", "detail": "QEMU was killed\nmore"}), "QEMU was killed"),
            (Value::Null, "-"),
        ] {
            assert_eq!(last_exit(&value), text);
        }
    }
}
