//! What the runner does with the guest's agent: for clients, for what runs in the guest, and for
//! those who wait until it is there.

use std::time::Instant;

use serde_json::{Map, Value};

use super::Supervisor;
use crate::error::{Error, Kind, Result};
use crate::qemu::agent::Command;
use crate::runner::agent::{ANSWER_LIMIT, Asker, Told};
use crate::wire::guest::{AgentCall, ExecCall};

/// What QEMU calls the agent's port; see `qemu::argv`.
const PORT: &str = "agent";

impl Supervisor<'_> {
    pub(super) fn hear_agent(&mut self) {
        let told = self.qemu.agent.turn(Instant::now());
        self.hear_told(told);
    }

    /// What is due in each turn: what the agent has not answered in its time, those who wait for it,
    /// and the next steps of what runs in the guest.
    pub(super) fn attend_agent(&mut self, now: Instant) {
        let told = self.qemu.agent.expire(now);
        self.hear_told(told);
        if self.qemu.agent.is_open() && self.watches.wants_agent() {
            let told = self.qemu.agent.greet(now);
            self.hear_told(told);
        }
        self.execs.attend(&mut self.sessions, &mut self.qemu.agent, now);
    }

    fn hear_told(&mut self, told: Vec<Told>) {
        for Told { asker, answer } in told {
            match asker {
                Asker::Client { session, request } => match answer {
                    Ok(said) => {
                        self.sessions.answer_as_it_is(session, request.as_ref(), &said.line);
                    }
                    Err(lost) => {
                        self.sessions.answer(session, request.as_ref(), Err(lost.error));
                    }
                },
                Asker::Exec(number) | Asker::Simple(number) => {
                    let now = Instant::now();
                    match answer {
                        Err(lost) if !self.qemu.agent.is_open() => {
                            self.execs.left(number, lost, now);
                        }
                        answer => {
                            self.execs.answered(&mut self.sessions, number, answer, now);
                        }
                    }
                }
                Asker::Watches => {
                    self.watches.agent(answer.is_ok(), self.qemu.console.written());
                }
            }
        }
    }

    /// Heeds what QEMU tells of the guest as far as its agent is concerned.
    pub(super) fn heed_event(&mut self, name: &str, data: &Map<String, Value>) {
        let told = match name {
            "VSERPORT_CHANGE" if data.get("id").and_then(Value::as_str) == Some(PORT) => {
                let is_open = data.get("open").and_then(Value::as_bool).unwrap_or(false);
                log::debug!("the guest's agent: open {is_open}");
                self.qemu.agent.opened(is_open, Instant::now())
            }
            "STOP" | "RESUME" => {
                self.qemu.agent.paused(name == "STOP", Instant::now());
                Vec::new()
            }
            "RESET" => {
                self.end_execs("the guest was reset");
                Vec::new()
            }
            "GUEST_PANICKED" => {
                self.end_execs("the guest has panicked");
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.hear_told(told);
    }

    /// Tells those whose commands run in the guest that it is gone.
    pub(super) fn end_execs(&mut self, why: &str) {
        self.execs.end(&mut self.sessions, &Error::new(Kind::NotRunning, why));
    }

    /// Answers later, with what the agent says.
    pub(super) fn ask_agent(&mut self, session: u64, request: Option<Value>, call: &AgentCall) {
        if !self.machine.came_up() {
            let error = Error::conflict("the VM is still starting");
            return self.sessions.answer(session, request.as_ref(), Err(error));
        }
        let AgentCall { command, arguments, limit } = call;
        let command = Command { name: command.clone(), arguments: arguments.clone() };
        let limit = limit.unwrap_or(ANSWER_LIMIT);
        let asker = Asker::Client { session, request };
        let told = self.qemu.agent.ask(Instant::now(), asker, &command, limit);
        self.hear_told(told);
    }

    /// Begins to run a command in the guest.
    pub(super) fn exec(
        &mut self,
        session: u64,
        request: Option<&Value>,
        call: ExecCall,
    ) -> Result<()> {
        let Some(id) = request else {
            return Err(Error::usage("a stream needs an id"));
        };
        if !self.machine.came_up() {
            return Err(Error::conflict("the VM is still starting"));
        }
        self.execs.begin(&mut self.sessions, session, id, call, Instant::now())
    }
}
