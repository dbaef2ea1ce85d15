//! The ports on which running QEMUs listen, as they tell it themselves, and what is asked of one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::commands::context::{Context, Vm};
use crate::control::ask::{Patience, Question, Reply, ask};
use crate::control::qmp::Qmp;
use crate::error::{Error, Kind, Result};
use crate::qemu::usernet::{self, Listening};
use crate::wire::message::{Call, Request};

/// For QEMU to answer, where --timeout says nothing.
const LIMIT: Duration = Duration::from_secs(5);
/// For the runner to prove itself.
const RUNNER_LIMIT: Duration = Duration::from_secs(2);

/// What each of these VMs, which run, listens on: they are asked side by side.
///
/// # Errors
/// `Kind::NotRunning` for one that has just ended; `Kind::Timeout` for one that does not answer.
pub(in crate::commands) fn listening(
    context: &Context<'_>,
    vms: &[Vm],
) -> Vec<Result<Vec<Listening>>> {
    let arguments = json!({ "command-line": "info usernet" });
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let command = "human-monitor-command".into();
    let call = Call::Qmp { command, arguments, unsafe_: true };
    let question = |vm: &Vm| Question {
        id: vm.id.clone(),
        request: Request::from(call.clone()),
        repeatable: true,
    };
    let questions: Vec<Question> = vms.iter().map(question).collect();
    let answered = Some(context.deadline(LIMIT));
    let patience = Patience { authenticated: Instant::now() + RUNNER_LIMIT, answered };
    let replies = ask(&context.folders, &questions, patience).into_iter();
    replies
        .map(|reply| match reply {
            Reply::Answer(answer) => {
                Ok(usernet::ports(answer?["return"].as_str().unwrap_or_default()))
            }
            Reply::NoRunner => {
                Err(Error::new(Kind::NotRunning, "it has just ended").hint("try again"))
            }
            Reply::Silent(error) | Reply::Late(error) => Err(error),
        })
        .collect()
}

/// Gives one command of QEMU's monitor for people, which is the only one that knows ports; what it
/// answers.
pub(super) fn order(context: &Context<'_>, vm: &Vm, line: &str) -> Result<String> {
    let qmp = Qmp::of(&context.folders, &vm.id, context.deadline(LIMIT));
    let answer = qmp.execute("human-monitor-command", &json!({ "command-line": line }))?;
    Ok(answer.as_str().unwrap_or_default().trim().to_owned())
}
