//! Waiting: poll(2), what else can be waited for, and the clock that no one sets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// What one descriptor is asked for in a turn of `poll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Only hang-up and error, which poll(2) always tells.
    Nothing,
    Read,
    Write,
    ReadWrite,
}

/// Waits until one of `sources` is ready or `deadline` passes, and says which are: any nonempty
/// revents counts, for a bare HUP that nobody acts upon would spin. A signal ends the wait early
/// with nothing ready.
pub(crate) fn poll(
    sources: &[(BorrowedFd<'_>, Interest)],
    deadline: Option<Instant>,
) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> =
        sources.iter().map(|(fd, interest)| PollFd::new(fd, flags(*interest))).collect();
    let timeout = deadline.map(|at| round_up(at.saturating_duration_since(Instant::now())));
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; sources.len()]),
        Err(error) => Err(error.into()),
    }
}

/// Waits for one descriptor; false when `deadline` has passed first.
pub(crate) fn wait_readable(fd: impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        if poll(&[(fd.as_fd(), Interest::Read)], Some(deadline))?[0] {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}

/// The monotonic clock, which no one sets: time since some moment of this boot.
pub(crate) fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn flags(interest: Interest) -> PollFlags {
    match interest {
        Interest::Nothing => PollFlags::empty(),
        Interest::Read => PollFlags::IN,
        Interest::Write => PollFlags::OUT,
        Interest::ReadWrite => PollFlags::IN | PollFlags::OUT,
    }
}

/// A wait rounded up to the next millisecond never ends just before its deadline.
fn round_up(wait: Duration) -> Timespec {
    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2_000).saturating_add(1);
    let millis = if wait.is_zero() { 0 } else { millis };
    Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000) * 1_000_000 }
}

/// Tells, by becoming readable, that a file in this folder was written, made or renamed (inotify(7)).
pub(crate) fn watch_folder(folder: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&watch, folder, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_no_wait_is_none() {
        assert_eq!(round_up(Duration::ZERO).tv_nsec, 0);
        assert_eq!(round_up(Duration::from_micros(1)).tv_nsec, 1_000_000);
        let long = round_up(Duration::from_millis(1500));
        assert_eq!((long.tv_sec, long.tv_nsec), (1, 501_000_000));
    }

    #[test]
    fn a_poll_with_nothing_ready_ends_at_its_deadline() {
        let (_a, b) = UnixStream::pair().unwrap();
        let before = Instant::now();
        assert!(!wait_readable(&b, before + Duration::from_millis(20)).unwrap());
        assert!(before.elapsed() >= Duration::from_millis(20));
    }
}
