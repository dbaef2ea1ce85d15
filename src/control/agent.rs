//! The agent of one guest, asked one thing after the other over one connection to its runner.
//!
//! What it is asked and what the answers mean is the caller's.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::link::Link;
use crate::backoff::Backoff;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::paths::Folders;
use crate::qemu::agent::Command;
use crate::qemu::agent::command::{ExecStatus, Started, exec_status, shell};
use crate::sys::Interest;
use crate::wire::guest::AgentCall;
use crate::wire::message::Call;
use crate::wire::stream::Frame;

/// For a script of ours to end.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30);

/// A connection to the agent of one VM.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    link: Link,
    interrupt: &'a Interrupt,
    deadline: Instant,
    next: u64,
    /// Signals are heeded no more: what was made is being taken away.
    cleans: bool,
}

/// How a script in the guest ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'a> Agent<'a> {
    /// Connects to the runner of the VM `id`; all answers must have come by `deadline`.
    ///
    /// # Errors
    /// As of [`Link::open`].
    pub(crate) fn open(
        folders: &Folders,
        id: &str,
        interrupt: &'a Interrupt,
        deadline: Instant,
    ) -> Result<Agent<'a>> {
        let link = Link::open(folders, id, deadline)?;
        Ok(Agent { link, interrupt, deadline, next: 1, cleans: false })
    }

    /// From here on no signal breaks it off, for so long.
    pub(crate) fn clean_up(&mut self, limit: Duration) {
        (self.cleans, self.deadline) = (true, Instant::now() + limit);
    }

    /// The agent's answer to one command.
    ///
    /// # Errors
    /// `Kind::Failed` in the agent's words, or where there is none; `Kind::Timeout`;
    /// `Kind::Interrupted` and `Kind::Terminated`.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, command: Command) -> Result<T> {
        let Command { name, arguments } = command;
        let id = json!(self.next);
        self.next += 1;
        self.link.ask(&id, Call::Agent(AgentCall { command: name, arguments, limit: None }));
        let mut answer = self.answer(&id)?;
        if let Some(desc) = answer["error"]["desc"].as_str() {
            return Err(Error::failed(format!("the guest's agent refused: {desc}")));
        }
        serde_json::from_value(answer["return"].take())
            .map_err(|_| Error::failed("the guest's agent answered something else than was asked"))
    }

    fn answer(&mut self, id: &Value) -> Result<Value> {
        loop {
            while let Some(said) = self.link.hear()? {
                if let (true, Frame::Answer(answer)) = (said.id.as_ref() == Some(id), said.frame) {
                    return answer;
                }
            }
            if !self.cleans {
                self.interrupt.check()?;
            }
            if !self.link.is_open() {
                return Err(Error::new(Kind::NotRunning, "its runner has ended"));
            }
            if self.deadline <= Instant::now() {
                return Err(Error::timeout("its time ran out").hint("--timeout gives it more"));
            }
            let signals = [(self.interrupt.as_fd(), Interest::Read)];
            let others = if self.cleans { &[][..] } else { &signals[..] };
            self.link.wait(others, Some(self.deadline))?;
        }
    }

    /// Runs a script in the guest's shell to its end.
    ///
    /// # Errors
    /// As of [`Agent::ask`]; `Kind::Timeout` where it does not end.
    pub(crate) fn run(&mut self, script: &str, arguments: &[&str]) -> Result<Ran> {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let Started { pid } = self.ask(shell(script, &arguments, true))?;
        let mut backoff = Backoff::until(Instant::now() + SCRIPT_LIMIT);
        loop {
            let status: ExecStatus = self.ask(exec_status(pid))?;
            if status.exited {
                let (output, complaint) = status.output();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
                let (stdout, stderr) = (text(&output), text(&complaint));
                return Ok(Ran { code: status.code(), stdout, stderr });
            }
            if !backoff.wait() {
                return Err(Error::timeout("a script in the guest does not end"));
            }
        }
    }
}
