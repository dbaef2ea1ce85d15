//! The calls about terminals: what one is like, how large it is, and whose.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios};

use super::standard_input;

/// O_NOCTTY as std's `custom_flags` takes it.
pub(crate) const NOT_OURS: i32 = rustix::fs::OFlags::NOCTTY.bits().cast_signed();

/// A terminal's size (TIOCGWINSZ) in columns and rows; none where it does not tell, or is no terminal.
pub(crate) fn terminal_size(terminal: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then(|| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Whether this process group is the one that may read from this terminal.
pub(crate) fn owns_terminal(terminal: impl AsFd) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// What the terminal on standard input is like (termios(3)).
#[derive(Clone, Debug)]
pub(crate) struct Modes(Termios);

impl Modes {
    /// As it is now.
    pub(crate) fn of_input() -> io::Result<Modes> {
        Ok(Modes(rustix::termios::tcgetattr(standard_input())?))
    }

    /// The same, but each key is given as it is typed, without an echo; ^C, ^\\ and ^Z stay signals.
    pub(crate) fn unbuffered(&self) -> Modes {
        let mut modes = self.0.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.input_modes.remove(InputModes::ICRNL);
        Modes(modes)
    }

    /// The same, but every byte passes in both directions as it is (cfmakeraw(3)).
    pub(crate) fn raw(&self) -> Modes {
        let mut modes = self.0.clone();
        modes.make_raw();
        Modes(modes)
    }

    /// Makes the terminal so, now: what has been typed is kept.
    pub(crate) fn set(&self) -> io::Result<()> {
        Ok(rustix::termios::tcsetattr(standard_input(), OptionalActions::Now, &self.0)?)
    }
}
