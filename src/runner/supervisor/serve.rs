//! What the runner answers its clients: at once, when QEMU has answered, or when something happened.
//!
//! Requests are taken in turns, so that no client starves another. How they came and how answers go
//! is `session`'s.

use serde_json::{Map, Value, json};

use super::Supervisor;
use crate::error::{Error, Result, quote};
use crate::qemu::keys::{self, Chord};
use crate::qemu::reach::reach;
use crate::runner::keyboard::TYPED_HOLD;
use crate::runner::monitor::Asker;
use crate::runner::session::{Line, REQUESTS_PER_TURN};
use crate::runner::state::{Input, StopRequest};
use crate::wire::keyboard::{KeysCall, TypeCall};
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
                        self.followers.take(&mut self.sessions, number, &id, &input);
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
        if let Some(answer) = self.obey(session, &request, call).transpose() {
            self.sessions.answer(session, request.as_ref(), answer);
        }
    }

    /// Does what a client asks for; `None` where the answer comes later.
    fn obey(&mut self, session: u64, request: &Option<Value>, call: Call) -> Result<Option<Value>> {
        let request = || request.clone();
        Ok(match call {
            Call::Qmp { command, arguments, unsafe_: false }
                if reach(&command, &arguments).is_some() =>
            {
                return Err(refusal(&command, &arguments));
            }
            Call::Ping if self.machine.came_up() => Some("pong".into()),
            Call::Ping => {
                self.wait_for(Until::Up, session, request());
                None
            }
            Call::Status => Some(json!(self.status())),
            Call::Qmp { command, arguments, .. } => {
                self.refuse_without_monitor()?;
                let asker = Asker::Client { session, request: request() };
                let news = self.qemu.monitor.execute(asker, &command, arguments);
                self.hear(news);
                None
            }
            Call::Wait(call) => {
                self.wait(session, request(), call)?;
                None
            }
            Call::Send(call) => self.send(session, request(), call)?,
            Call::Console(call) => {
                self.attach(session, request().as_ref(), call)?;
                None
            }
            Call::Keys(KeysCall { chords, hold }) => {
                let chords = chords.iter().map(|chord| Chord::parse(chord)).collect::<Result<_>>();
                self.press(session, request(), chords?, hold)?;
                None
            }
            Call::Type(TypeCall { text }) => {
                self.press(session, request(), keys::typed(&text)?, TYPED_HOLD)?;
                None
            }
            Call::Events(call) => {
                self.follow(session, request().as_ref(), call)?;
                None
            }
            Call::Agent(call) => {
                self.ask_agent(session, request(), &call);
                None
            }
            Call::Exec(call) => {
                self.exec(session, request().as_ref(), call)?;
                None
            }
            Call::Screen(call) => {
                self.shoot(session, request(), call)?;
                None
            }
            Call::Stop(StopCall { manner, guest_time, at_once }) => {
                let asked_by = self.sessions.describe(session);
                if !at_once {
                    self.wait_for(Until::Ended, session, request());
                }
                self.tell(Input::Stop(StopRequest { manner, guest_time, asked_by }));
                at_once.then(|| json!({ "state": self.machine.state() }))
            }
        })
    }

    /// # Errors
    /// Where QEMU cannot be asked anything.
    pub(super) fn refuse_without_monitor(&self) -> Result<()> {
        if !self.machine.came_up() {
            return Err(Error::conflict("the VM is still starting"));
        }
        if !self.machine.monitor_usable() {
            return Err(Error::failed("QEMU's monitor is closed: this VM can only be stopped"));
        }
        if !self.qemu.monitor.has_room() {
            return Err(Error::conflict("too many QMP commands wait for QEMU's answer"));
        }
        Ok(())
    }

    /// Answers later. Those who have left in the meantime are forgotten here: else a stop without an
    /// end would gather them.
    fn wait_for(&mut self, until: Until, session: u64, request: Option<Value>) {
        let sessions = &self.sessions;
        self.waiting.retain(|one| sessions.has(one.session));
        self.waiting.push(Waiting { session, request, until });
    }

    pub(super) fn answer_waiting(&mut self, until: Until, answer: impl Fn() -> Result<Value>) {
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
