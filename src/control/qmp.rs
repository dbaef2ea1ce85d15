//! QMP commands to a VM that runs, one after the other, through its runner.
//!
//! What QEMU is asked and what its answers mean is the caller's.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::ask::{Patience, Question, Reply, ask_one};
use crate::backoff;
use crate::error::{Error, Kind, Result};
use crate::paths::Folders;
use crate::wire::message::{Call, Request};

/// For the runner to prove itself.
const RUNNER_LIMIT: Duration = Duration::from_secs(3);

/// The monitor of one running VM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Qmp<'a> {
    folders: &'a Folders,
    id: &'a str,
    deadline: Instant,
}

impl<'a> Qmp<'a> {
    /// All answers must have come by `deadline`.
    pub(crate) fn of(folders: &'a Folders, id: &'a str, deadline: Instant) -> Qmp<'a> {
        Qmp { folders, id, deadline }
    }

    /// The same monitor with other time.
    pub(crate) fn until(self, deadline: Instant) -> Qmp<'a> {
        Qmp { deadline, ..self }
    }

    /// Gives one command of maqet's own with its arguments, an object, and waits for QEMU's answer:
    /// what it reaches of the host is meant.
    ///
    /// # Errors
    /// `Kind::Failed` in QEMU's words; `Kind::NotRunning`; `Kind::Timeout`.
    pub(crate) fn execute(&self, command: &str, arguments: &Value) -> Result<Value> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let answer = self.pass(command, arguments, true)?;
        match answer["error"]["desc"].as_str() {
            Some(desc) => Err(Error::failed("QEMU refused").quoting(desc)),
            None => Ok(answer["return"].clone()),
        }
    }

    /// Gives a command of somebody else's and QEMU's own answer, an error of QEMU's too; `unsafe_`:
    /// what it reaches of the host is meant.
    ///
    /// # Errors
    /// `Kind::Permission` where it reaches the host and that is not said to be meant;
    /// `Kind::NotRunning`; `Kind::Timeout`.
    pub(crate) fn pass(
        &self,
        command: &str,
        arguments: Map<String, Value>,
        unsafe_: bool,
    ) -> Result<Value> {
        let call = Call::Qmp { command: command.to_owned(), arguments, unsafe_ };
        let question =
            Question { id: self.id.to_owned(), request: Request::from(call), repeatable: false };
        let authenticated = Instant::now() + RUNNER_LIMIT;
        let patience = Patience { authenticated, answered: Some(self.deadline) };
        match ask_one(self.folders, question, patience) {
            Reply::Answer(answer) => answer,
            Reply::NoRunner => Err(Error::new(Kind::NotRunning, "it is not running")),
            Reply::Silent(error) => Err(error),
            Reply::Late(_) => {
                Err(Error::timeout("QEMU has not answered in time")
                    .hint("give it more with --timeout"))
            }
        }
    }

    /// Repeats a question until `found` makes something of its answer; `None` when the deadline has
    /// passed.
    ///
    /// # Errors
    /// As of [`Qmp::execute`].
    pub(crate) fn await_answer<T>(
        &self,
        command: &str,
        arguments: &Value,
        found: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let patient = self.until(self.deadline + RUNNER_LIMIT);
        let waited = backoff::retry(self.deadline, || match patient.execute(command, arguments) {
            Ok(answer) => found(&answer).map(Ok),
            Err(error) => Some(Err(error)),
        });
        waited.transpose()
    }
}
