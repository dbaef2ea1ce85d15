//! How far a long piece of work is: on a terminal one line that is drawn anew, elsewhere a line for
//! every tenth; nothing for work under half a second.
//!
//! What to say is decided by `Meter`, which is pure; here alone it is written, to stderr, and a
//! write that fails is no failure of the work.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::definition::units;

/// Shorter work is over before anybody asks.
const SILENT: Duration = Duration::from_millis(500);
/// How often the line on a terminal is drawn at most.
const REDRAW: Duration = Duration::from_millis(100);
/// Carriage return, then erase to the end of the line (ECMA-48 EL).
const CLEAR: &str = "\r\u{1b}[K";

/// One piece of work, told until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    meter: Meter,
    began: Instant,
    done: u64,
}

impl Progress {
    /// Begins work on `total` bytes, `None` where nobody knows how many. `what` is said before the
    /// figures: `copying web`. `quiet` is `Invocation::quiet`.
    pub(crate) fn new(quiet: bool, what: impl Into<String>, total: Option<u64>) -> Progress {
        let place = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Place::Nowhere,
            (false, true) => Place::Terminal,
            (false, false) => Place::Lines,
        };
        Progress { meter: Meter::new(place, what, total), began: Instant::now(), done: 0 }
    }

    /// The same, of work of which so many bytes are done already: they tell nothing of its rate.
    pub(crate) fn from(mut self, done: u64) -> Progress {
        self.meter.first = done;
        self.done = done;
        self
    }

    /// So many bytes more are done.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        self.show();
    }

    /// So many bytes are done now.
    pub(crate) fn reach(&mut self, done: u64) {
        self.done = done;
        self.show();
    }

    fn show(&mut self) {
        if let Some(text) = self.meter.say(self.done, self.began.elapsed()) {
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.meter.is_drawn() {
            let _ = io::stderr().write_all(CLEAR.as_bytes());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Terminal,
    Lines,
}

/// What has been said, and so what is to be said next.
#[derive(Debug)]
struct Meter {
    place: Place,
    what: String,
    total: Option<u64>,
    /// How many bytes were done when this began.
    first: u64,
    /// When the line was last drawn.
    drawn: Option<Duration>,
    /// The last tenth that was told.
    tenth: u64,
}

impl Meter {
    fn new(place: Place, what: impl Into<String>, total: Option<u64>) -> Meter {
        Meter { place, what: what.into(), total, first: 0, drawn: None, tenth: 0 }
    }

    fn is_drawn(&self) -> bool {
        self.place == Place::Terminal && self.drawn.is_some()
    }

    /// What is written now, with `done` bytes done after `elapsed`; mostly nothing.
    fn say(&mut self, done: u64, elapsed: Duration) -> Option<String> {
        if elapsed < SILENT {
            return None;
        }
        let percent = self.total.map(|total| percent(done, total));
        match self.place {
            Place::Nowhere => None,
            Place::Terminal => {
                if self.drawn.is_some_and(|before| elapsed < before + REDRAW) {
                    return None;
                }
                self.drawn = Some(elapsed);
                Some(format!("{CLEAR}maqet: {}", self.line(done, elapsed)))
            }
            Place::Lines => {
                let tenth = percent? / 10;
                if tenth <= self.tenth {
                    return None;
                }
                self.tenth = tenth;
                Some(format!("maqet: {}\n", self.line(done, elapsed)))
            }
        }
    }

    fn line(&self, done: u64, elapsed: Duration) -> String {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let since = done.saturating_sub(self.first);
        let rate = whole(u128::from(since) * 1000 / u128::from(millis));
        let (what, speed) = (&self.what, units::bytes(rate));
        match self.total {
            None => format!("{what}: {}, {speed}/s", units::bytes(done)),
            Some(total) if since == 0 => format!("{what}: {} %, {speed}/s", percent(done, total)),
            Some(total) => {
                let left = whole(
                    u128::from(total.saturating_sub(done)) * u128::from(millis)
                        / u128::from(since)
                        / 1000,
                );
                format!("{what}: {} %, {speed}/s, {} left", percent(done, total), time(left))
            }
        }
    }
}

/// 0 to 100; work of no bytes is done.
fn percent(done: u64, total: u64) -> u64 {
    match total {
        0 => 100,
        total => whole(u128::from(done.min(total)) * 100 / u128::from(total)),
    }
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn time(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_line_tells_percent_rate_and_time_left() {
        for (done, total, millis, expected) in [
            (0, Some(100 * MIB), 1000, "copying web: 0 %, 0 B/s"),
            (50 * MIB, Some(100 * MIB), 1000, "copying web: 50 %, 50 MiB/s, 1 s left"),
            (MIB, Some(4000 * MIB), 1000, "copying web: 0 %, 1 MiB/s, 1 h 06 min left"),
            (10 * MIB, Some(1000 * MIB), 1000, "copying web: 1 %, 10 MiB/s, 1 min 39 s left"),
            (9 * MIB, Some(8 * MIB), 1000, "copying web: 100 %, 9 MiB/s, 0 s left"),
            (0, Some(0), 1000, "copying web: 100 %, 0 B/s"),
            (u64::MAX, Some(u64::MAX), 1, "copying web: 100 %, 15.9 EiB/s, 0 s left"),
            (3 * MIB, None, 2000, "copying web: 3 MiB, 1.5 MiB/s"),
        ] {
            let meter = Meter::new(Place::Terminal, "copying web", total);
            assert_eq!(meter.line(done, Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn what_was_done_before_it_began_does_not_count_for_the_rate() {
        for (done, expected) in [
            (90 * MIB, "copying web: 90 %, 0 B/s"),
            (95 * MIB, "copying web: 95 %, 5 MiB/s, 1 s left"),
            (MIB, "copying web: 1 %, 0 B/s"),
        ] {
            let meter = Meter {
                first: 90 * MIB,
                ..Meter::new(Place::Terminal, "copying web", Some(100 * MIB))
            };
            assert_eq!(meter.line(done, Duration::from_secs(1)), expected);
        }
    }

    /// What is said after each of these pairs of percent and milliseconds.
    fn said(place: Place, total: Option<u64>, steps: &[(u64, u64)]) -> Vec<bool> {
        let mut meter = Meter::new(place, "x", total);
        let say = |(done, millis): &(u64, u64)| {
            meter.say(*done, Duration::from_millis(*millis)).is_some()
        };
        steps.iter().map(say).collect()
    }

    #[test]
    fn on_a_terminal_the_line_is_drawn_ten_times_a_second_and_elsewhere_for_each_tenth() {
        let steps = [(1, 499), (34, 500), (35, 590), (39, 600), (40, 601), (41, 1000), (100, 1001)];
        assert_eq!(
            said(Place::Terminal, Some(100), &steps),
            [false, true, false, true, false, true, false]
        );
        assert_eq!(
            said(Place::Lines, Some(100), &steps),
            [false, true, false, false, true, false, true]
        );
        assert_eq!(said(Place::Nowhere, Some(100), &steps), [false; 7]);
        assert_eq!(said(Place::Lines, None, &steps), [false; 7]);
        assert!(said(Place::Terminal, None, &steps)[1]);
    }

    #[test]
    fn a_line_on_a_terminal_takes_the_place_of_the_one_before() {
        let mut meter = Meter::new(Place::Terminal, "x", Some(100));
        assert!(!meter.is_drawn());
        let text = meter.say(50, Duration::from_secs(1)).unwrap();
        assert!(text.starts_with(CLEAR) && !text.ends_with('\n') && meter.is_drawn(), "{text}");
        let mut meter = Meter::new(Place::Lines, "x", Some(100));
        assert!(meter.say(50, Duration::from_secs(1)).unwrap().ends_with('\n'));
        assert!(!meter.is_drawn());
    }
}
