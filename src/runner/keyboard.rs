//! The guest's keyboard: what clients have pressed on it, one chord after the other and one client
//! after the other, never faster than the guest takes it.
//!
//! A state machine without I/O: it says what QEMU is to be asked, and is told the answers. A PC's
//! keyboard holds 16 bytes and drops what comes when they are full, without a word: so its controller
//! is looked at before each chord. Another keyboard tells nothing, and gets a pause.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::watch::Due;
use crate::error::{Error, Kind, Result};
use crate::qemu::keys::{self, Chord, Look};
use crate::qemu::qmp::Answer;

/// How many requests may wait for the one before them.
const MOST: usize = 16;
/// How long a typed key is held, and the pause after it.
pub(super) const TYPED_HOLD: Duration = Duration::from_millis(5);
const GAP: Duration = Duration::from_millis(1);
/// The pause for each key of a chord where the keyboard tells nothing: a guest asks a USB keyboard
/// every 10 ms, and gets one key pressed or released.
const BLIND_GAP: Duration = Duration::from_millis(24);
/// How long the guest may take to read its keyboard, or to be resumed.
const TAKE_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at it.
const SHORTEST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// What a client has asked for.
#[derive(Debug)]
struct Job {
    session: u64,
    request: Option<Value>,
    chords: Vec<Chord>,
    hold: Duration,
    /// How many of the chords have been pressed.
    pressed: usize,
}

/// How far the first job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is pressed; at this time the keyboard is looked at. And since when that has been done
    /// in vain.
    Resting {
        until: Instant,
        since: Option<Instant>,
    },
    /// QEMU was asked whether the guest has taken all.
    Looking {
        since: Instant,
    },
    /// It has.
    Free,
    /// QEMU was asked to press the keys.
    Pressing,
    Held {
        until: Instant,
    },
    /// QEMU was asked to release them.
    Releasing,
}

/// All who press keys.
#[derive(Debug)]
pub(super) struct Keyboard {
    jobs: VecDeque<Job>,
    step: Step,
}

/// A QMP command and its arguments.
pub(super) type Command = (&'static str, Map<String, Value>);

impl Keyboard {
    pub(super) fn new(now: Instant) -> Keyboard {
        Keyboard { jobs: VecDeque::new(), step: Step::Resting { until: now, since: None } }
    }

    /// Presses these chords, when those are pressed that others have asked for.
    ///
    /// # Errors
    /// `Kind::Conflict` where too many wait.
    pub(super) fn begin(
        &mut self,
        session: u64,
        request: Option<Value>,
        chords: Vec<Chord>,
        hold: Duration,
    ) -> Result<()> {
        if self.jobs.len() >= MOST {
            return Err(Error::conflict("too many clients type already"));
        }
        self.jobs.push_back(Job { session, request, chords, hold, pressed: 0 });
        Ok(())
    }

    /// When [`Keyboard::turn`] is due though nothing has happened; `runs`: the guest does.
    pub(super) fn deadline(&self, runs: bool) -> Option<Instant> {
        match self.step {
            Step::Resting { until, since } if !self.jobs.is_empty() => match (runs, since) {
                (false, Some(since)) => Some(since + TAKE_LIMIT),
                _ => Some(until),
            },
            Step::Held { until } if runs => Some(until),
            _ => None,
        }
    }

    /// What QEMU is to be asked now, and who is to be answered. While the guest does not run, QEMU
    /// drops keys without a word.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        runs: bool,
        is_there: impl Fn(u64) -> bool,
    ) -> (Option<Command>, Option<Due>) {
        let is_pressed = matches!(self.step, Step::Pressing | Step::Held { .. } | Step::Releasing);
        // Who has left while keys were pressed is forgotten when they are released.
        let keep = usize::from(is_pressed);
        let mut place = 0;
        self.jobs.retain(|job| {
            place += 1;
            place <= keep || is_there(job.session)
        });
        let Some(job) = self.jobs.front() else { return (None, None) };
        match self.step {
            Step::Resting { since, .. } if !runs => {
                let since = since.unwrap_or(now);
                self.step = Step::Resting { until: now, since: Some(since) };
                let is_late = now >= since + TAKE_LIMIT;
                (None, if is_late { self.fail(now, paused()) } else { None })
            }
            Step::Resting { until, since } if now >= until => {
                self.step = Step::Looking { since: since.unwrap_or(now) };
                let line = Map::from_iter([("command-line".to_owned(), json!(keys::LOOK))]);
                (Some(("human-monitor-command", line)), None)
            }
            Step::Free if !runs => {
                self.step = Step::Resting { until: now, since: Some(now) };
                (None, None)
            }
            Step::Free => match job.chords.get(job.pressed) {
                Some(chord) => {
                    let command = ("input-send-event", chord.press());
                    self.step = Step::Pressing;
                    (Some(command), None)
                }
                None => {
                    let answer = Ok(json!({ "keys": job.pressed }));
                    (None, self.finish(now, answer))
                }
            },
            Step::Held { until } if runs && (now >= until || !is_there(job.session)) => {
                let chord = job.chords.get(job.pressed);
                let command = chord.map(|chord| ("input-send-event", chord.release()));
                self.step = Step::Releasing;
                (command, None)
            }
            _ => (None, None),
        }
    }

    /// Takes QEMU's answer to what it was asked last.
    pub(super) fn hear(&mut self, answer: Answer, now: Instant) -> Option<Due> {
        let job = self.jobs.front_mut();
        match (self.step, answer) {
            (Step::Looking { since }, answer) => {
                let text = match answer {
                    Answer::Return(Value::String(text)) => text,
                    _ => String::new(),
                };
                let waited = now.saturating_duration_since(since);
                let blind = |job: &mut Job| {
                    let last = job.pressed.checked_sub(1).and_then(|last| job.chords.get(last));
                    last.map_or(Duration::ZERO, |chord| BLIND_GAP * chord.count())
                };
                let blind = job.map_or(Duration::ZERO, blind);
                match keys::look(&text) {
                    Look::Waiting if waited >= TAKE_LIMIT => return self.fail(now, not_taken()),
                    Look::Nobody if waited < blind => {
                        self.step = Step::Resting { until: since + blind, since: Some(since) };
                    }
                    Look::Waiting => {
                        let pause = (waited / 4).clamp(SHORTEST_LOOK, LONGEST_LOOK);
                        self.step = Step::Resting { until: now + pause, since: Some(since) };
                    }
                    Look::Taken | Look::Nobody => self.step = Step::Free,
                }
                None
            }
            (Step::Pressing, Answer::Error { desc, .. }) => {
                self.fail(now, Error::failed("QEMU refused").quoting(&desc))
            }
            (Step::Pressing, Answer::Return(_)) => {
                let hold = job.map_or(Duration::ZERO, |job| job.hold);
                self.step = Step::Held { until: now + hold };
                None
            }
            (Step::Releasing, _) => {
                if let Some(job) = job {
                    job.pressed += 1;
                }
                self.step = Step::Resting { until: now + GAP, since: None };
                None
            }
            _ => None,
        }
    }

    /// The end of all of it, for this reason.
    pub(super) fn end(&mut self, now: Instant, why: &Error) -> Vec<Due> {
        self.step = Step::Resting { until: now, since: None };
        let jobs = std::mem::take(&mut self.jobs).into_iter();
        jobs.map(|Job { session, request, .. }| Due { session, request, answer: Err(why.clone()) })
            .collect()
    }

    fn fail(&mut self, now: Instant, mut why: Error) -> Option<Due> {
        let job = self.jobs.front()?;
        why.message =
            format!("{}; {} of {} keys were pressed", why.message, job.pressed, job.chords.len());
        self.finish(now, Err(why))
    }

    fn finish(&mut self, now: Instant, answer: Result<Value>) -> Option<Due> {
        self.step = Step::Resting { until: now, since: None };
        let Job { session, request, .. } = self.jobs.pop_front()?;
        Some(Due { session, request, answer })
    }
}

fn paused() -> Error {
    Error::conflict("the guest is paused").hint("\"maqet resume\" lets it go on")
}

fn not_taken() -> Error {
    Error::new(Kind::Timeout, "the guest does not read its keyboard")
        .hint("it may be too early, or too late, in its run")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: &str = "portb[0x0064] = 0x1c\r\n";
    const FULL: &str = "portb[0x0064] = 0x1d\r\n";
    const NONE: &str = "portb[0x0064] = 0xff\r\n";

    fn said(text: &str) -> Answer {
        Answer::Return(text.into())
    }

    fn done() -> Answer {
        Answer::Return(json!({}))
    }

    /// A keyboard on which a text is to be typed for client 1.
    fn typing(text: &str, now: Instant) -> Keyboard {
        let mut keyboard = Keyboard::new(now);
        keyboard.begin(1, None, keys::typed(text).unwrap(), TYPED_HOLD).unwrap();
        keyboard
    }

    /// Goes on for as long as QEMU is asked nothing, to the deadline: what it is asked then.
    fn next(keyboard: &mut Keyboard, now: &mut Instant) -> Option<Command> {
        for _ in 0..4 {
            let (command, due) = keyboard.turn(*now, true, |_| true);
            assert!(due.is_none());
            if command.is_some() {
                return command;
            }
            *now = keyboard.deadline(true)?.max(*now);
        }
        None
    }

    #[test]
    fn each_key_waits_until_the_guest_has_taken_the_one_before() {
        let mut now = Instant::now();
        let mut keyboard = typing("aB", now);
        for chord in keys::typed("aB").unwrap() {
            assert_eq!(next(&mut keyboard, &mut now).unwrap().0, "human-monitor-command");
            for _ in 0..3 {
                assert!(keyboard.hear(said(FULL), now).is_none());
                assert_eq!(next(&mut keyboard, &mut now).unwrap().0, "human-monitor-command");
            }
            keyboard.hear(said(CLEAR), now);
            assert_eq!(next(&mut keyboard, &mut now).unwrap(), ("input-send-event", chord.press()));
            let pressed = now;
            keyboard.hear(done(), now);
            let released = next(&mut keyboard, &mut now).unwrap();
            assert_eq!(released, ("input-send-event", chord.release()));
            assert_eq!(now - pressed, TYPED_HOLD);
            keyboard.hear(done(), now);
        }
        assert_eq!(next(&mut keyboard, &mut now).unwrap().0, "human-monitor-command");
        keyboard.hear(said(CLEAR), now);
        let (command, due) = keyboard.turn(now, true, |_| true);
        assert_eq!((command, due.unwrap().answer.unwrap()), (None, json!({ "keys": 2 })));
        assert_eq!(keyboard.deadline(true), None);
    }

    #[test]
    fn a_guest_that_does_not_read_its_keyboard_is_given_up() {
        let mut now = Instant::now();
        let mut keyboard = typing("a", now);
        let began = now;
        let due = loop {
            assert_eq!(next(&mut keyboard, &mut now).unwrap().0, "human-monitor-command");
            if let Some(due) = keyboard.hear(said(FULL), now) {
                break due;
            }
        };
        let error = due.answer.unwrap_err();
        assert_eq!((error.kind, now - began >= TAKE_LIMIT), (Kind::Timeout, true));
        assert!(error.message.ends_with("; 0 of 1 keys were pressed"), "{error}");
    }

    #[test]
    fn a_keyboard_that_tells_nothing_gets_a_pause_after_each_chord() {
        let mut now = Instant::now();
        let mut keyboard = typing("AB", now);
        next(&mut keyboard, &mut now);
        keyboard.hear(said(NONE), now);
        assert_eq!(next(&mut keyboard, &mut now).unwrap().0, "input-send-event");
        keyboard.hear(done(), now);
        next(&mut keyboard, &mut now);
        keyboard.hear(done(), now);
        let released = now;
        while next(&mut keyboard, &mut now).unwrap().0 != "input-send-event" {
            keyboard.hear(said(NONE), now);
        }
        assert!(now - released >= BLIND_GAP * 2, "{:?}", now - released);
    }

    #[test]
    fn keys_of_a_client_that_leaves_are_released_and_no_more_are_pressed() {
        let mut now = Instant::now();
        let mut keyboard = typing("ab", now);
        keyboard.begin(2, None, keys::typed("c").unwrap(), TYPED_HOLD).unwrap();
        next(&mut keyboard, &mut now);
        keyboard.hear(said(CLEAR), now);
        next(&mut keyboard, &mut now);
        keyboard.hear(done(), now);
        let (command, _) = keyboard.turn(now, true, |session| session == 2);
        let a = &keys::typed("a").unwrap()[0];
        assert_eq!(command.unwrap(), ("input-send-event", a.release()));
        keyboard.hear(done(), now);
        assert_eq!(next(&mut keyboard, &mut now).unwrap().0, "human-monitor-command");
        keyboard.turn(now, true, |session| session == 2);
        keyboard.hear(said(CLEAR), now);
        let (command, _) = keyboard.turn(now, true, |session| session == 2);
        let c = &keys::typed("c").unwrap()[0];
        assert_eq!(command.unwrap(), ("input-send-event", c.press()));
    }

    #[test]
    fn nothing_is_pressed_while_the_guest_is_paused() {
        let now = Instant::now();
        let mut keyboard = typing("a", now);
        assert!(matches!(keyboard.turn(now, false, |_| true), (None, None)));
        assert_eq!(keyboard.deadline(false), Some(now + TAKE_LIMIT));
        let (_, due) = keyboard.turn(now + TAKE_LIMIT, false, |_| true);
        assert_eq!(due.unwrap().answer.unwrap_err().kind, Kind::Conflict);
        // What is held is released when it goes on.
        let mut keyboard = typing("a", now);
        keyboard.turn(now, true, |_| true);
        keyboard.hear(said(CLEAR), now);
        keyboard.turn(now, true, |_| true);
        keyboard.hear(done(), now);
        assert_eq!(keyboard.deadline(false), None);
        let later = now + Duration::from_secs(60);
        assert!(keyboard.turn(later, false, |_| true).0.is_none());
        assert!(keyboard.turn(later, true, |_| true).0.is_some());
    }

    #[test]
    fn who_types_is_bounded_and_told_the_end() {
        let now = Instant::now();
        let mut keyboard = Keyboard::new(now);
        for session in 0..MOST as u64 {
            keyboard.begin(session, None, keys::typed("a").unwrap(), TYPED_HOLD).unwrap();
        }
        assert_eq!(keyboard.begin(99, None, Vec::new(), GAP).unwrap_err().kind, Kind::Conflict);
        let ended = keyboard.end(now, &Error::new(Kind::NotRunning, "the VM has ended"));
        assert_eq!(ended.len(), MOST);
        assert!(keyboard.deadline(true).is_none());
    }
}
