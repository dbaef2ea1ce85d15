//! The console of a VM in the foreground: what the guest writes goes to standard output, what comes
//! on standard input goes to the guest.
//!
//! Neither side is ever waited for. A reader that is slow loses output, and is told how much; a guest
//! that does not read holds standard input back, and nothing else. Standard input and output are
//! shared with whoever started us, so they are never set non-blocking themselves.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::turn::Source;
use crate::outlet::Outlet;
use crate::sys::{self, Interest};
use crate::terminal::{Manner, Terminal};

/// How much of the console may wait for standard output, in bytes.
const WAITING: usize = 256 << 10;
/// How much of standard input may wait for the guest, in bytes.
const TYPED: usize = 4096;
/// For the last words to be taken, once QEMU has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How soon it is noticed that our terminal is ours again.
const BACKGROUND: Duration = Duration::from_secs(1);

/// The two streams of a VM in the foreground.
#[derive(Debug)]
pub(super) struct Front {
    /// Standard output, or another opening of it; none once its reader is gone.
    output: Option<Outlet>,
    waiting: Vec<u8>,
    /// Bytes that standard output did not take in time.
    lost: u64,
    /// Whether standard input has not ended yet.
    reads_input: bool,
    typed: Vec<u8>,
    terminal: Option<Terminal>,
}

impl Front {
    /// Takes standard input and output. A terminal gives each key as it is typed and leaves the echo
    /// to the guest; ^C stays SIGINT.
    pub(super) fn new() -> Front {
        Front {
            output: Some(Outlet::standard_output()),
            waiting: Vec::new(),
            lost: 0,
            reads_input: true,
            typed: Vec::new(),
            terminal: Terminal::take(Manner::Unbuffered),
        }
    }

    /// What to wait for.
    pub(super) fn sources<'a>(
        &'a self,
        console_input: &'a File,
    ) -> impl Iterator<Item = (Source, BorrowedFd<'a>, Interest)> {
        let output = self.output.as_ref().filter(|_| !self.waiting.is_empty());
        let output = output.map(|outlet| (Source::Front, outlet.source(), Interest::Write));
        let reads = self.reads_input && self.typed.is_empty() && !self.is_in_background();
        let input = reads.then(|| (Source::Input, sys::standard_input(), Interest::Read));
        let console = (!self.typed.is_empty())
            .then(|| (Source::ConsoleInput, console_input.as_fd(), Interest::Write));
        output.into_iter().chain(input).chain(console)
    }

    /// When to look again whether the terminal is ours: nothing else would tell.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.reads_input && self.is_in_background()).then(|| Instant::now() + BACKGROUND)
    }

    /// To read from a terminal in the background would stop this process, and its VM with it.
    fn is_in_background(&self) -> bool {
        let stdin = io::stdin();
        stdin.is_terminal() && !sys::owns_terminal(&stdin)
    }

    /// Takes what the guest wrote.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.output.is_none() {
            return;
        }
        if self.waiting.len() + bytes.len() > WAITING {
            self.lost += bytes.len() as u64;
            return;
        }
        self.waiting.extend_from_slice(bytes);
        self.write();
    }

    /// Writes what standard output takes now.
    pub(super) fn write(&mut self) {
        let Some(outlet) = &mut self.output else { return };
        // Nobody reads any more: that is no reason to end a guest.
        if outlet.write(&mut self.waiting).is_err() {
            self.output = None;
            self.waiting.clear();
        }
    }

    /// Moves input towards the guest; `readable`: standard input has something.
    pub(super) fn feed(&mut self, readable: bool, console_input: &mut File) {
        if readable && self.typed.is_empty() {
            let mut buffer = [0; TYPED];
            // Read as descriptor: the standard library's buffer would hide what poll does not see.
            match sys::read(sys::standard_input(), &mut buffer) {
                Ok(0) => self.reads_input = false,
                Ok(count) => self.typed.extend_from_slice(&buffer[..count]),
                Err(error) if passes(&error) => {}
                Err(_) => self.reads_input = false,
            }
        }
        match console_input.write(&self.typed) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(error) if passes(&error) => {}
            Err(_) => {
                self.reads_input = false;
                self.typed.clear();
            }
        }
    }

    /// Writes the last words, for a reader that takes them in time, and leaves the terminal as it was.
    pub(super) fn end(mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        self.write();
        while !self.waiting.is_empty() && Instant::now() < deadline {
            let Some(outlet) = &self.output else { break };
            if sys::poll(&[(outlet.source(), Interest::Write)], Some(deadline)).is_err() {
                break;
            }
            self.write();
        }
        drop(self.terminal.take());
        let lost = self.lost + self.waiting.len() as u64;
        if lost > 0 {
            let _ = writeln!(
                io::stderr(),
                "maqet: {lost} bytes of the console were not read in time; \"maqet logs\" has them"
            );
        }
    }
}

/// Whether the next turn may do better.
fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
