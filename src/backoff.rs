//! The only place of maqet that sleeps: 1 ms, doubling to 50 ms, until a deadline.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// Pauses between the attempts of one wait.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    deadline: Instant,
}

impl Backoff {
    pub(crate) fn until(deadline: Instant) -> Backoff {
        Backoff { pause: FIRST, deadline }
    }

    /// Goes on until another deadline.
    pub(crate) fn extend(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Sleeps the next pause, the last one cut at the deadline; false, at once, when the deadline
    /// has passed.
    pub(crate) fn wait(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(self.pause.min(left));
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}

/// Repeats `attempt` until it gives a value or `deadline` has passed (`None`); it is made once at
/// least, and once more at the deadline.
pub(crate) fn retry<T>(deadline: Instant, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let mut backoff = Backoff::until(deadline);
    loop {
        let value = attempt();
        if value.is_some() || !backoff.wait() {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_one_millisecond_to_fifty() {
        let mut backoff = Backoff::until(Instant::now() + Duration::from_secs(10));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(backoff.pause.as_millis());
            assert!(backoff.wait());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 50, 50]);
    }

    #[test]
    fn an_attempt_is_made_even_when_the_deadline_has_passed() {
        assert_eq!(retry(Instant::now(), || Some(7)), Some(7));
    }

    #[test]
    fn without_success_it_ends_at_the_deadline() {
        let deadline = Instant::now() + Duration::from_millis(30);
        let mut attempts = 0;
        let found = retry(deadline, || {
            attempts += 1;
            None::<()>
        });
        assert_eq!(found, None);
        assert!(Instant::now() >= deadline && attempts >= 3);
    }
}
