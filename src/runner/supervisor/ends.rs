//! What follows when a QEMU has ended: the next one, after a pause, or the end of all.
//!
//! From one to the next the locks, the runtime folder and the clients stay. Whether there is to be a
//! next one is told by `again`, and what may happen in the pause by `state`.

use std::time::Instant;

use serde_json::json;

use super::serve::Until;
use super::{Ended, Supervisor};
use crate::error::{Error, Kind};
use crate::qemu::hint;
use crate::runner::copying::not_again;
use crate::runner::never_started;
use crate::runner::state::{Machine, Terms};
use crate::time::Timestamp;
use crate::wire::runs::End;

impl Supervisor<'_> {
    /// Goes on after the end of QEMU, where the definition wants that; false where all is over.
    pub(super) fn rests(&mut self) -> bool {
        let end = self.machine.end(Timestamp::now());
        let stderr = self.qemu.stderr.tail();
        let error = (!self.machine.came_up()).then(|| start_error(&end, &stderr));
        self.rest_after(&end, error.as_ref(), &stderr)
    }

    /// The pause is over: the next run begins. Where there comes no QEMU of it, another pause does.
    pub(super) fn spawn_again(&mut self) {
        self.record.begin_next();
        match self.recipe.spawn(&mut not_again) {
            Ok((facts, qemu)) => {
                // Nobody is there who would resume it.
                let terms = Terms { start_paused: false, ..self.terms };
                self.machine = Machine::new(terms, facts.spawned);
                (self.facts, self.qemu) = (facts, qemu);
                self.begin_state();
            }
            Err(error) => drop(self.rest_after(&never_started(&error), Some(&error), "")),
        }
    }

    fn rest_after(&mut self, end: &End, error: Option<&Error>, stderr: &str) -> bool {
        let now = Instant::now();
        let Some(pause) = self.again.pause_after(end, now) else { return false };
        self.end_attendance(end);
        log::info!("ended: {end:?}; there is a new try in {} s", pause.as_secs());
        self.record.end(end.clone(), error, stderr);
        self.followers.serve(&self.record.events, &mut self.sessions);
        self.machine = Machine::resting(self.terms, now + pause);
        self.begin_state();
        true
    }

    fn begin_state(&mut self) {
        self.since = Timestamp::now();
        self.home.write_status(&self.status());
    }

    /// Puts the end together, and tells it to those who waited for it.
    pub(super) fn conclude(mut self) -> Ended {
        if let Some(front) = self.front.take() {
            front.end();
        }
        let end = self.machine.end(Timestamp::now());
        self.end_attendance(&end);
        let mut stderr = self.qemu.stderr.tail();
        if !self.machine.has_qemu() {
            // A run that was called off in the pause before it.
            self.record.begin_next();
            stderr.clear();
        }
        let error = (!self.machine.came_up()).then(|| start_error(&end, &stderr));
        self.record.state_at_end(&end);
        self.followers.end(&self.record.events, &mut self.sessions);
        let result = json!({ "state": self.machine.state(), "last_exit": end });
        self.answer_waiting(Until::Ended, || Ok(result.clone()));
        let told =
            error.clone().unwrap_or_else(|| Error::new(Kind::NotRunning, "the VM has ended"));
        self.answer_waiting(Until::Up, || Err(told.clone()));
        Ended { end, error, stderr }
    }
}

/// Why a start failed, in QEMU's own words where it said something.
pub(in crate::runner) fn start_error(end: &End, stderr: &str) -> Error {
    let why = match (&end.detail, &end.asked_by) {
        (Some(detail), _) => detail.clone(),
        (None, Some(who)) => format!("it was stopped by {who} before it ran"),
        (None, None) => "QEMU ended before it ran".into(),
    };
    let error = Error::failed(why).quoting(stderr);
    match hint::for_words(stderr) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
