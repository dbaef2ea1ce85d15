//! What the runner does for clients that look at the guest, type on its console, or wait for it.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::Supervisor;
use crate::error::{Error, Kind, Result};
use crate::qemu::qmp::Answer;
use crate::runner::monitor::Asker;
use crate::runner::watch::Due;
use crate::wire::events::EventsCall;
use crate::wire::runs::End;
use crate::wire::talk::{ConsoleCall, Mark, SendCall, WaitCall};

/// What QEMU calls the console's character device; see `qemu::argv`.
const CONSOLE: &str = "console";

impl Supervisor<'_> {
    /// What is due in each turn: a piece of the log for those who are behind, a look at the guest's
    /// connections, and the answers to waits that are over.
    pub(super) fn attend(&mut self, now: Instant) {
        self.watches.catch_up(&self.qemu.console);
        self.qemu.console.catch_up(&mut self.sessions);
        self.record.events.flush();
        self.followers.serve(&self.record.events, &mut self.sessions);
        if self.watches.wants_connections(now) && self.machine.monitor_usable() {
            let arguments = Map::from_iter([("command-line".to_owned(), json!("info usernet"))]);
            let news =
                self.qemu.monitor.execute(Asker::Watches, "human-monitor-command", arguments);
            self.hear(news);
        }
        self.attend_agent(now);
        self.press_keys(now);
        self.tidy_pictures();
        let sessions = &self.sessions;
        let due = self.watches.due(|session| sessions.has(session));
        self.answer_due(due);
    }

    /// Nothing more will come: those who look and those who wait are told.
    pub(super) fn end_attendance(&mut self, end: &End) {
        let due = self.watches.end(self.qemu.console.written());
        self.answer_due(due);
        self.qemu.console.end(&mut self.sessions, end);
        self.end_execs("the VM has ended");
        let why = Error::new(Kind::NotRunning, "the VM has ended");
        self.end_keyboard(&why);
        let due = self.pictures.end(&why);
        self.answer_due(due);
    }

    pub(super) fn answer_due(&mut self, due: impl IntoIterator<Item = Due>) {
        for Due { session, request, answer } in due {
            self.sessions.answer(session, request.as_ref(), answer);
        }
    }

    /// Answers later, when what is waited for has come.
    pub(super) fn wait(
        &mut self,
        session: u64,
        request: Option<Value>,
        call: WaitCall,
    ) -> Result<()> {
        let now = (self.machine.state(), self.qemu.console.written());
        self.watches.begin(session, request, call, now)
    }

    /// Types, and answers with the mark before it, or later where it waits for something then.
    pub(super) fn send(
        &mut self,
        session: u64,
        request: Option<Value>,
        call: SendCall,
    ) -> Result<Option<Value>> {
        if !self.machine.came_up() {
            return Err(Error::conflict("the VM is still starting"));
        }
        let mark = self.qemu.console.written();
        let waits = call.wait.is_some();
        if let Some(wait) = call.wait {
            self.wait(session, request, WaitCall { from: Mark::At(mark), ..wait })?;
        }
        if call.line_break {
            let arguments = Map::from_iter([("id".to_owned(), json!(CONSOLE))]);
            let news = self.qemu.monitor.execute(Asker::Nobody, "chardev-send-break", arguments);
            self.hear(news);
        }
        self.qemu.console.send(&mut self.sessions, &call.bytes)?;
        Ok((!waits).then(|| json!({ "mark": mark })))
    }

    pub(super) fn attach(
        &mut self,
        session: u64,
        request: Option<&Value>,
        call: ConsoleCall,
    ) -> Result<()> {
        let Some(id) = request else {
            return Err(Error::usage("a stream needs an id"));
        };
        self.qemu.console.attach(&mut self.sessions, session, id, call)
    }

    /// Begins to tell what happens.
    pub(super) fn follow(
        &mut self,
        session: u64,
        request: Option<&Value>,
        call: EventsCall,
    ) -> Result<()> {
        let Some(id) = request else {
            return Err(Error::usage("a stream needs an id"));
        };
        let (events, sessions) = (&self.record.events, &mut self.sessions);
        self.followers.begin(events, sessions, (session, id.clone()), call)
    }

    pub(super) fn hear_connections(&mut self, answer: Answer) {
        let text = match answer {
            Answer::Return(text) => text,
            Answer::Error { .. } => Value::Null,
        };
        let written = self.qemu.console.written();
        self.watches.connections(text.as_str().unwrap_or_default(), written);
    }
}
