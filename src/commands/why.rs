//! `why`: the post-mortem of a VM's last runs.

use serde::Serialize;

use super::context::{Context, Vm};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::table::Flag;
use crate::control::life::{self, Life};
use crate::error::Result;
use crate::paths::{Log, VmFolder, rotated};
use crate::sys;
use crate::time::Timestamp;
use crate::wire::events::Event;
use crate::wire::runs::{End, Outcome, Run, SeenEvent};
use crate::wire::status::State;

/// How many of the last lines of QEMU's and of the console's are shown.
const LINES: usize = 16;

const SHAPE: Shape = Shape {
    list: false,
    columns: &[Column { title: "NAME", path: "name", show: plain }],
    fields: &[
        "name",
        "run",
        "began_at",
        "machine",
        "end",
        "end.outcome",
        "end.exit_code",
        "end.signal",
        "end.by",
        "end.asked_by",
        "end.detail",
        "end.ended_at",
        "events",
        "stderr",
        "console",
    ],
};

/// One run, as a program reads it.
#[derive(Debug, Serialize)]
struct PostMortem<'a> {
    name: &'a str,
    run: u64,
    began_at: Timestamp,
    machine: Option<&'a str>,
    /// `None` while it runs.
    end: Option<End>,
    events: &'a [SeenEvent],
    stderr: &'a str,
    /// The end of the console, of the newest run alone.
    console: String,
}

pub(super) fn why(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let wanted = context.invocation.count(Flag::Runs).map_or(1, |count| count as usize);
    let vms = context.vms()?;
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    let mut codes = Vec::new();
    for (vm, life) in vms.iter().zip(life::look(&context.folders, &names)) {
        let folder = context.folders.vm(&vm.id);
        let life = match life {
            Ok(life) => life,
            Err(error) => {
                codes.push(context.tell("cannot look at", vm, error));
                continue;
            }
        };
        let runs = life::all_runs(&folder);
        if runs.is_empty() {
            context.note(&format!("{} has never been started", vm.name));
        }
        let first = runs.len().saturating_sub(wanted);
        for (number, run) in runs.iter().enumerate().skip(first) {
            let newest = number + 1 == runs.len();
            explain(&mut output, vm, run, &folder, newest.then_some(&life))?;
        }
    }
    context.finish(output, codes)
}

fn explain(
    output: &mut Output,
    vm: &Vm,
    run: &Run,
    folder: &VmFolder,
    now: Option<&Life>,
) -> Result<()> {
    let newest = now.is_some();
    let live = now.is_some_and(|life| life.state.is_live());
    // A runner may outlive a run, and begin another.
    let goes_on = live && run.end.is_none();
    let end = (!goes_on).then(|| run.end_without_runner(&sys::boot_id()));
    let console = if newest { tail(folder, Log::Console) } else { String::new() };
    // A runner that was killed wrote no end: QEMU's last words are in its log.
    let log = if newest && run.end.is_none() { tail(folder, Log::Qemu) } else { String::new() };
    // What happened in a run that has no end yet stands in a file of its own.
    let happened = if run.end.is_none() { life::events(folder) } else { Vec::new() };
    let of_this = happened.into_iter().filter(|event| event.run == run.number);
    let of_qemu = of_this.filter(|event| event.event.starts_with(|c: char| c.is_ascii_uppercase()));
    let seen: Vec<SeenEvent> =
        of_qemu.map(|Event { at, event, .. }| SeenEvent { at, event }).collect();
    let seen = &seen[seen.len().saturating_sub(LINES)..];
    let events = if run.end.is_none() { seen } else { &run.events };
    let stderr = if run.stderr.is_empty() { &log } else { &run.stderr };
    let machine = run.machine.as_deref();
    if output.wants_objects() {
        return output.object(&PostMortem {
            name: &vm.name,
            run: run.number,
            began_at: run.began_at,
            machine,
            end,
            events,
            stderr,
            console,
        });
    }
    let Run { number, began_at, .. } = run;
    output.text(&format!("{}: run {number} began at {began_at}", vm.name))?;
    match &end {
        None => output.text(" and goes on\n")?,
        Some(end) => output.guest(format!(" and {}\n", in_words(end)).as_bytes())?,
    }
    if !goes_on && now.is_some_and(|life| life.state == State::Starting) {
        output.text("it is about to be started again\n")?;
    }
    let events: String =
        events.iter().map(|seen| format!("  {} {}\n", seen.at, seen.event)).collect();
    for (title, text) in [
        ("the last QMP events", events),
        ("the end of QEMU's standard error", indented(stderr)),
        ("the end of the console", indented(&console)),
    ] {
        if !text.is_empty() {
            output.text(&format!("{title}:\n"))?;
            output.guest(text.as_bytes())?;
        }
    }
    Ok(())
}

/// An end as a sentence goes on with it.
fn in_words(end: &End) -> String {
    let mut words = match end.outcome {
        Outcome::Stopped => "was stopped".to_owned(),
        Outcome::Crashed => "crashed".to_owned(),
        Outcome::Failed => "failed to start".to_owned(),
        Outcome::HostDown => "ended with its host".to_owned(),
    };
    if let Some(at) = end.ended_at {
        words.push_str(&format!(" at {at}"));
    }
    if let Some(detail) = &end.detail {
        words.push_str(&format!(": {detail}"));
    }
    // A detail that has the number already says it better.
    let more = |what: &str, number: Option<i32>| {
        let said = end.detail.as_deref().is_some_and(|detail| detail.contains(what));
        number.filter(|_| !said).map(|number| number.to_string())
    };
    for (what, value) in [
        ("exit code", more("exit code", end.exit_code)),
        ("signal", more("signal", end.signal)),
        ("ended by", end.by.map(|by| format!("{by:?}").to_lowercase())),
        ("asked by", end.asked_by.clone()),
    ] {
        if let Some(value) = value {
            words.push_str(&format!("; {what} {value}"));
        }
    }
    words
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The last lines of a log of the newest run.
fn tail(folder: &VmFolder, log: Log) -> String {
    let path = folder.log(log);
    let read = |path| super::logs::last_lines(path, LINES).unwrap_or_default();
    let bytes = match (read(&path), log) {
        (bytes, _) if !bytes.is_empty() => bytes,
        // It may just have been rotated.
        (_, Log::Runner) => read(&rotated(&path)),
        (bytes, _) => bytes,
    };
    String::from_utf8_lossy(&bytes).replace('\r', "")
}
