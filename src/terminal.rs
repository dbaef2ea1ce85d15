//! The terminal on standard input, while it is other than it was found: one owner, one place that
//! remembers what it was.
//!
//! It becomes that again when the owner is dropped, and when the program panics, whether or not
//! owners are dropped then. Signals end no owner by themselves: who takes a terminal heeds them. No
//! program can mend it after SIGKILL.

use std::io::{ErrorKind, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, Once, PoisonError};

use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::low_level::pipe;

use crate::error::{Error, Result};
use crate::sys::{self, Modes};

/// What the terminal was like, while it is other.
static BEFORE: Mutex<Option<Modes>> = Mutex::new(None);

/// How it is to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Each key as it is typed, without an echo; ^C, ^\\ and ^Z stay signals.
    Unbuffered,
    /// Every byte as it is.
    Raw,
}

/// The terminal on standard input.
#[derive(Debug)]
pub(crate) struct Terminal {
    manner: Manner,
}

impl Terminal {
    /// Changes the terminal, where standard input is one. One in whose background we are is changed
    /// by [`Terminal::resume`], when it is ours.
    pub(crate) fn take(manner: Manner) -> Option<Terminal> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        heed_panics();
        let terminal = Terminal { manner };
        terminal.resume();
        Some(terminal)
    }

    /// Changes it, again where somebody else has had it in between.
    pub(crate) fn resume(&self) {
        if !sys::owns_terminal(sys::standard_input()) {
            return;
        }
        let Ok(now) = Modes::of_input() else { return };
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        let modes = before.get_or_insert(now);
        let changed = match self.manner {
            Manner::Unbuffered => modes.unbuffered(),
            Manner::Raw => modes.raw(),
        };
        let _ = changed.set();
    }

    /// Makes it what it was.
    pub(crate) fn release(&self) {
        restore();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// In the background a change would stop this process; whoever has the terminal then has made it
/// what he wants.
fn restore() {
    // Whoever panics while he holds it has not changed it half-way.
    let before = match BEFORE.try_lock() {
        Ok(mut before) => before.take(),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
        Err(std::sync::TryLockError::WouldBlock) => None,
    };
    if let Some(before) = before
        && sys::owns_terminal(sys::standard_input())
    {
        let _ = before.set();
    }
}

/// A panic's words are to be read on a terminal that is what it was.
fn heed_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            next(info);
        }));
    });
}

/// SIGTSTP and SIGCONT, for who has taken a terminal: it is given back while this process is stopped.
#[derive(Debug)]
pub(crate) struct JobControl {
    stop: UnixStream,
    go_on: UnixStream,
    /// Can be read when one of them has come.
    pipe: UnixStream,
}

impl JobControl {
    /// From here on SIGTSTP stops this process only in [`JobControl::obey`].
    ///
    /// # Errors
    /// Only where the kernel has no descriptor left.
    pub(crate) fn heed() -> Result<JobControl> {
        let cannot = |error| Error::io("heed signals", &error);
        let (stop, go_on, pipe) = watch().map_err(cannot)?;
        Ok(JobControl { stop, go_on, pipe })
    }

    /// Does what the signals ask for that have come.
    pub(crate) fn obey(&mut self, terminal: Option<&Terminal>) {
        has_come(&mut self.pipe);
        has_come(&mut self.go_on);
        if has_come(&mut self.stop) {
            if let Some(terminal) = terminal {
                terminal.release();
            }
            let _ = sys::stop_ourselves();
        }
        if let Some(terminal) = terminal {
            terminal.resume();
        }
    }
}

impl AsFd for JobControl {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

fn watch() -> std::io::Result<(UnixStream, UnixStream, UnixStream)> {
    let (wakes, both) = UnixStream::pair()?;
    wakes.set_nonblocking(true)?;
    let watch = |signal| -> std::io::Result<UnixStream> {
        let (ours, handler) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // First which, then that there is one.
        pipe::register(signal, handler)?;
        pipe::register(signal, both.try_clone()?)?;
        Ok(ours)
    };
    Ok((watch(SIGTSTP)?, watch(SIGCONT)?, wakes))
}

/// Whether a signal has come since the last look.
fn has_come(pipe: &mut UnixStream) -> bool {
    let mut bytes = [0; 64];
    let mut come = false;
    loop {
        match pipe.read(&mut bytes) {
            Ok(0) => return come,
            Ok(_) => come = true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return come,
        }
    }
}
