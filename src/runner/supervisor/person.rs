//! What the runner does for clients that use the guest as a person does who sits before it: its
//! keyboard, and its screen.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Supervisor;
use crate::error::{Error, Result};
use crate::qemu::keys::Chord;
use crate::qemu::qmp::Answer;
use crate::runner::monitor::Asker;
use crate::runner::pictures::{Command, Next};
use crate::wire::screen::ScreenCall;
use crate::wire::status::State;

impl Supervisor<'_> {
    /// Answers later, when these keys have been pressed.
    pub(super) fn press(
        &mut self,
        session: u64,
        request: Option<Value>,
        chords: Vec<Chord>,
        hold: Duration,
    ) -> Result<()> {
        self.refuse_without_monitor()?;
        if self.machine.state() == State::Paused {
            return Err(Error::conflict("it is paused").hint("\"maqet resume\" lets it go on"));
        }
        self.keyboard.begin(session, request, chords, hold)
    }

    pub(super) fn press_keys(&mut self, now: Instant) {
        let (runs, sessions) = (self.guest_runs(), &self.sessions);
        let (command, due) = self.keyboard.turn(now, runs, |session| sessions.has(session));
        self.answer_due(due);
        if let Some((name, arguments)) = command {
            let news = self.qemu.monitor.execute(Asker::Keyboard, name, arguments);
            self.hear(news);
        }
    }

    /// Whether keys reach the guest.
    pub(super) fn guest_runs(&self) -> bool {
        matches!(self.machine.state(), State::Running | State::Stopping)
    }

    pub(super) fn hear_keyboard(&mut self, answer: Answer) {
        let due = self.keyboard.hear(answer, Instant::now());
        self.answer_due(due);
    }

    pub(super) fn end_keyboard(&mut self, why: &Error) {
        let due = self.keyboard.end(Instant::now(), why);
        self.answer_due(due);
    }

    /// Answers later, when QEMU has written what is on the screen.
    pub(super) fn shoot(
        &mut self,
        session: u64,
        request: Option<Value>,
        call: ScreenCall,
    ) -> Result<()> {
        self.refuse_without_monitor()?;
        let command = self.pictures.begin(session, request, call.format)?;
        self.ask_for_picture(command);
        Ok(())
    }

    fn ask_for_picture(&mut self, (place, name, arguments): Command) {
        let news = self.qemu.monitor.execute(Asker::Pictures(place), name, arguments);
        self.hear(news);
    }

    pub(super) fn hear_picture(&mut self, place: usize, answer: Answer) {
        match self.pictures.hear(place, answer) {
            Some(Next::Ask(command)) => self.ask_for_picture(command),
            Some(Next::Answer(due)) => self.answer_due([due]),
            None => {}
        }
    }

    pub(super) fn tidy_pictures(&mut self) {
        let sessions = &self.sessions;
        self.pictures.tidy(|session| sessions.has(session));
    }

    /// The monitor is closed: what was asked for is not answered any more.
    pub(super) fn lose_monitor(&mut self) {
        let why = Error::failed("QEMU closed its monitor before it answered");
        self.end_keyboard(&why);
        let due = self.pictures.lose(&why);
        self.answer_due(due);
    }
}
