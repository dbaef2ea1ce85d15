//! `wait` and `send`: what a guest is waited for, and what is typed on its console.
//!
//! The runner looks and types; here stands what is asked and what is printed.

use std::io::Read;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::context::{Context, Vm};
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::control::ask::{Patience, Question, Reply, ask};
use crate::error::{Error, Kind, Result};
use crate::wire::condition::{Condition, Written, unescape};
use crate::wire::message::{Call, Request};
use crate::wire::talk::{LONGEST_TEXT, Mark, SendCall, WaitCall};

/// For a guest to do what it is waited for, where --timeout says nothing.
const LIMIT: Duration = Duration::from_secs(60);
/// For the runner to prove itself.
const RUNNER_LIMIT: Duration = Duration::from_secs(3);

const SHAPE: Shape = Shape { list: false, columns: &[], fields: &["name", "condition", "mark"] };

/// A condition that has come, as it was written, and its mark.
type Came = (String, Option<u64>);

/// The same as it is printed.
#[derive(Debug, Serialize)]
struct Met<'a> {
    name: &'a str,
    condition: String,
    /// Bytes that the guest had written by then; none where it was over already.
    mark: Option<u64>,
}

pub(super) fn wait(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let from = context.invocation.value(Flag::From).map(Mark::parse).transpose()?;
    let call = WaitCall { from: from.unwrap_or_default(), ..wanted(context)? };
    if call.wanted.is_empty() {
        return Err(Error::usage("there is nothing to wait for")
            .hint("--for console:TEXT, or another condition"));
    }
    let vms = context.vms()?;
    let outcomes = ask_all(context, &vms, &Call::Wait(call.clone()), true);
    let mut codes = Vec::new();
    for (vm, outcome) in vms.iter().zip(outcomes) {
        let met = match outcome {
            Err(error) if error.kind == Kind::NotRunning => is_over(&call).ok_or(error),
            other => other,
        };
        codes.push(match met {
            Ok(met) => {
                say(&mut output, vm, &met)?;
                0
            }
            Err(error) => context.tell("waited in vain for", vm, error),
        });
    }
    context.finish(output, codes)
}

pub(super) fn send(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let vm = context.vm()?;
    let mut bytes = text(context)?;
    if context.invocation.has(Flag::Line) {
        bytes.push(b'\r');
    }
    let wait = wanted(context)?;
    let waits = !wait.wanted.is_empty();
    if !waits && !wait.unwanted.is_empty() {
        return Err(Error::usage("\"--fail\" needs a \"--for\""));
    }
    let call = SendCall {
        bytes,
        line_break: context.invocation.has(Flag::Break),
        wait: waits.then_some(wait),
    };
    // What was typed must not be typed twice.
    let outcome = ask_all(context, std::slice::from_ref(&vm), &Call::Send(call), false).pop();
    let met = outcome.unwrap_or_else(|| Err(Error::failed("it was not asked")));
    let met = met.map_err(|error| error.about("cannot send to", &vm.name))?;
    say(&mut output, &vm, &met)?;
    output.finish()?;
    Ok(0)
}

/// The conditions of the command line.
fn wanted(context: &Context<'_>) -> Result<WaitCall> {
    let all = |flag| context.invocation.values(flag).map(Written::parse).collect::<Result<_>>();
    let (wanted, unwanted) = (all(Flag::For)?, all(Flag::Fail)?);
    Ok(WaitCall { wanted, any: context.invocation.has(Flag::Any), unwanted, from: Mark::Start })
}

/// What is to be typed: the operand with its escapes, or standard input as it is.
pub(super) fn text(context: &Context<'_>) -> Result<Vec<u8>> {
    let word = context.invocation.operands.get(1).map_or("", String::as_str);
    if word != "-" {
        return unescape(word);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(LONGEST_TEXT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io("read standard input", &error))?;
    match bytes.len() {
        ..=LONGEST_TEXT => Ok(bytes),
        _ => Err(Error::usage("standard input is longer than the 64 KiB that are sent at once")),
    }
}

/// Asks every VM the same, side by side; the conditions that have come, each with its mark.
fn ask_all(
    context: &Context<'_>,
    vms: &[Vm],
    call: &Call,
    repeatable: bool,
) -> Vec<Result<Vec<Came>>> {
    let question =
        |vm: &Vm| Question { id: vm.id.clone(), request: Request::from(call.clone()), repeatable };
    let questions: Vec<Question> = vms.iter().map(question).collect();
    let answered = Some(context.deadline(LIMIT));
    let patience = Patience { authenticated: Instant::now() + RUNNER_LIMIT, answered };
    let replies = ask(&context.folders, &questions, patience).into_iter();
    replies
        .map(|reply| match reply {
            Reply::Answer(answer) => answer.map(|answer| met(&answer)),
            Reply::NoRunner => Err(Error::new(Kind::NotRunning, "it is not running")
                .hint("\"maqet start\" starts it, \"maqet why\" tells how its last run ended")),
            Reply::Silent(error) => Err(error),
            Reply::Late(_) => {
                Err(Error::timeout("it has not come in time").hint("--timeout gives it more"))
            }
        })
        .collect()
}

fn met(answer: &Value) -> Vec<Came> {
    let all = answer["met"].as_array().into_iter().flatten();
    let one = |one: &Value| Some((one["condition"].as_str()?.to_owned(), one["mark"].as_u64()));
    all.filter_map(one).collect()
}

/// What a VM that does not run fulfils: that it has stopped.
fn is_over(call: &WaitCall) -> Option<Vec<Came>> {
    let stopped: Vec<&Written> =
        call.wanted.iter().filter(|one| one.condition == Condition::Stopped).collect();
    let fulfilled = if call.any { !stopped.is_empty() } else { stopped.len() == call.wanted.len() };
    fulfilled.then(|| stopped.iter().map(|one| (one.word.clone(), None)).collect())
}

fn say(output: &mut Output, vm: &Vm, met: &[Came]) -> Result<()> {
    for (condition, mark) in met {
        if output.wants_objects() {
            let condition = condition.clone();
            output.object(&Met { name: &vm.name, condition, mark: *mark })?;
        } else {
            let mark = mark.map_or_else(|| "-".to_owned(), |mark| mark.to_string());
            output.guest(format!("{}\t{condition}\t{mark}\n", vm.name).as_bytes())?;
        }
    }
    Ok(())
}
