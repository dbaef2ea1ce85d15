//! What the runner answers its clients: at once, when QEMU has answered, or when something happened.
//!
//! Requests are taken in turns, so that no client starves another. How they came and how answers go
//! is `session`'s.

use serde_json::{Map, Value, json};

use super::Supervisor;
use crate::error::{Error, quote};
use crate::qemu::reach::reach;
use crate::runner::monitor::Asker;
use crate::runner::session::{Line, REQUESTS_PER_TURN};
use crate::runner::state::{Input, StopRequest};
use crate::wire::message::{Call, Request, StopCall};

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Up,
    Ended,
}

/// A request that is answered when something has happened.
#[derive(Debug)]
pub(in crate::runner) struct Waiting {
    session: u64,
    request: Option<Value>,
    until: Until,
}

impl Supervisor<'_> {
    pub(super) fn take_requests(&mut self) {
        for number in self.sessions.numbers() {
            for _ in 0..REQUESTS_PER_TURN {
                match self.sessions.next_line(number) {
                    Some(Line::Request(Ok(request))) => self.serve(number, request),
                    Some(Line::Input(id, input)) => {
                        self.qemu.console.take(&mut self.sessions, number, &id, input.clone());
                        self.execs.take(&mut self.sessions, number, &id, input);
                    }
                    Some(Line::Request(Err(refused))) => {
                        let (id, error) = *refused;
                        self.sessions.answer(number, id.as_ref(), Err(error));
                    }
                    None => break,
                }
            }
        }
    }

    fn serve(&mut self, session: u64, Request { id: request, call }: Request) {
        let answer = match call {
            Call::Qmp { ref command, ref arguments, unsafe_: false }
                if reach(command, arguments).is_some() =>
            {
                Err(refusal(command, arguments))
            }
            Call::Ping if self.machine.came_up() => Ok("pong".into()),
            Call::Ping => {
                self.wait_for(Until::Up, session, request);
                return;
            }
            Call::Status => Ok(json!(self.status())),
            Call::Qmp { .. } if !self.machine.came_up() => {
                Err(Error::conflict("the VM is still starting"))
            }
            Call::Qmp { .. } if !self.machine.monitor_usable() => {
                Err(Error::failed("QEMU's monitor is closed: this VM can only be stopped"))
            }
            Call::Qmp { .. } if !self.qemu.monitor.has_room() => {
                Err(Error::conflict("too many QMP commands wait for QEMU's answer"))
            }
            Call::Qmp { command, arguments, .. } => {
                let asker = Asker::Client { session, request };
                let news = self.qemu.monitor.execute(asker, &command, arguments);
                self.hear(news);
                return;
            }
            Call::Wait(call) => match self.wait(session, request.clone(), call) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Call::Send(call) => match self.send(session, request.clone(), call) {
                Ok(None) => return,
                Ok(Some(sent)) => Ok(sent),
                Err(error) => Err(error),
            },
            Call::Console(call) => match self.attach(session, request.as_ref(), call) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Call::Agent(call) => {
                self.ask_agent(session, request, &call);
                return;
            }
            Call::Exec(call) => match self.exec(session, request.as_ref(), call) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Call::Stop(StopCall { manner, guest_time, at_once }) => {
                let asked_by = self.sessions.describe(session);
                if !at_once {
                    self.wait_for(Until::Ended, session, request.clone());
                }
                self.tell(Input::Stop(StopRequest { manner, guest_time, asked_by }));
                if !at_once {
                    return;
                }
                Ok(json!({ "state": self.machine.state() }))
            }
        };
        self.sessions.answer(session, request.as_ref(), answer);
    }

    /// Answers later. Those who have left in the meantime are forgotten here: else a stop without an
    /// end would gather them.
    fn wait_for(&mut self, until: Until, session: u64, request: Option<Value>) {
        let sessions = &self.sessions;
        self.waiting.retain(|one| sessions.has(one.session));
        self.waiting.push(Waiting { session, request, until });
    }

    pub(super) fn answer_waiting(
        &mut self,
        until: Until,
        answer: impl Fn() -> Result<Value, Error>,
    ) {
        let (due, rest) =
            std::mem::take(&mut self.waiting).into_iter().partition(|one| one.until == until);
        self.waiting = rest;
        let due: Vec<Waiting> = due;
        for Waiting { session, request, .. } in due {
            self.sessions.answer(session, request.as_ref(), answer());
        }
    }
}

/// The refusal of a command that reaches the host, where that is not said to be meant.
fn refusal(command: &str, arguments: &Map<String, Value>) -> Error {
    let why = reach(command, arguments).unwrap_or_default();
    Error::permission(format!("{} is refused: {why}", quote(command)))
        .hint("if that is meant, --unsafe says so, in the protocol {\"unsafe\":true}")
}
