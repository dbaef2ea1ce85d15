//! Whether a QEMU that has ended is started again, and after which pause.
//!
//! Pure: it is told how a run ended and when, and reads no clock. What a start is made of is not
//! known here.

use std::time::{Duration, Instant};

use crate::definition::types::Restart;
use crate::wire::runs::{End, EndedBy, Outcome};

/// The pauses before a new try: doubling from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A guest that has run for so long is not one that fails at once: its next pause is the first again.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// What is remembered of a VM's runs under one runner.
#[derive(Debug)]
pub(super) struct Again {
    policy: Restart,
    /// Whether any run has come up.
    came_up: bool,
    /// When the present one did.
    up_since: Option<Instant>,
    pause: Duration,
}

impl Again {
    pub(super) fn new(policy: Restart) -> Again {
        Again { policy, came_up: false, up_since: None, pause: FIRST_PAUSE }
    }

    /// The guest runs from `now` on.
    pub(super) fn up(&mut self, now: Instant) {
        self.came_up = true;
        self.up_since = Some(now);
    }

    /// The pause before QEMU is started again, given how it ended at `now`; `None` where that is
    /// not to be.
    pub(super) fn pause_after(&mut self, end: &End, now: Instant) -> Option<Duration> {
        let up_since = self.up_since.take();
        // QMP's quit and a SIGTERM are somebody's wish, too, whoever sent them past the runner.
        let asked = end.asked_by.is_some() || matches!(end.by, Some(EndedBy::Quit | EndedBy::Term));
        let wanted = match (self.policy, end.outcome) {
            (Restart::Never, _) | (_, Outcome::HostDown) => false,
            (Restart::OnFailure, Outcome::Stopped) => false,
            (Restart::Always, Outcome::Stopped) | (_, Outcome::Crashed) => true,
            // What has never come up is told to who started it.
            (_, Outcome::Failed) => self.came_up,
        };
        if asked || !wanted {
            return None;
        }
        if up_since.is_some_and(|since| now.duration_since(since) >= LONG_ENOUGH) {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(outcome: Outcome, by: Option<EndedBy>, asked_by: Option<&str>) -> End {
        End {
            outcome,
            exit_code: None,
            signal: None,
            by,
            asked_by: asked_by.map(str::to_owned),
            detail: None,
            ended_at: None,
        }
    }

    #[test]
    fn the_definition_and_the_end_decide() {
        use EndedBy::{Guest, Kill, Quit, Term};
        use Outcome::{Crashed, Failed, HostDown, Stopped};
        use Restart::{Always, Never, OnFailure};
        for (outcome, by, asked, expected) in [
            (Crashed, None, None, [false, true, true]),
            (Stopped, Some(Guest), None, [false, false, true]),
            (Stopped, None, None, [false, false, true]),
            (Failed, None, None, [false, true, true]),
            // Somebody wanted it to end.
            (Stopped, Some(Guest), Some("a client"), [false; 3]),
            (Stopped, Some(Kill), Some("a client"), [false; 3]),
            (Stopped, Some(Quit), None, [false; 3]),
            (Stopped, Some(Term), None, [false; 3]),
            (Crashed, Some(Term), None, [false; 3]),
            (HostDown, None, None, [false; 3]),
        ] {
            for (policy, expected) in [Never, OnFailure, Always].into_iter().zip(expected) {
                let now = Instant::now();
                let mut again = Again::new(policy);
                again.up(now);
                let pause = again.pause_after(&end(outcome, by, asked), now);
                assert_eq!(pause.is_some(), expected, "{policy:?} {outcome:?} {by:?} {asked:?}");
            }
        }
    }

    #[test]
    fn what_never_came_up_is_not_started_again() {
        for policy in [Restart::OnFailure, Restart::Always] {
            let mut again = Again::new(policy);
            assert_eq!(again.pause_after(&end(Outcome::Failed, None, None), Instant::now()), None);
        }
    }

    #[test]
    fn the_pause_doubles_to_a_minute_and_begins_anew_after_a_minute_of_running() {
        let crash = end(Outcome::Crashed, None, None);
        let failure = end(Outcome::Failed, None, None);
        let mut again = Again::new(Restart::OnFailure);
        let begin = Instant::now();
        again.up(begin);
        let just_short = begin + LONG_ENOUGH - Duration::from_millis(1);
        let mut pauses = vec![again.pause_after(&crash, just_short)];
        // Runs that come up for a moment, and runs that do not come up at all.
        for round in 0..8 {
            if round % 2 == 0 {
                again.up(begin);
                pauses.push(again.pause_after(&crash, begin));
            } else {
                pauses.push(again.pause_after(&failure, begin + LONG_ENOUGH * 9));
            }
        }
        let seconds = [1, 2, 4, 8, 16, 32, 60, 60, 60];
        assert_eq!(pauses, seconds.map(|seconds| Some(Duration::from_secs(seconds))));
        again.up(begin);
        assert_eq!(again.pause_after(&crash, begin + LONG_ENOUGH), Some(FIRST_PAUSE));
        again.up(begin);
        assert_eq!(again.pause_after(&crash, begin), Some(FIRST_PAUSE * 2));
    }
}
