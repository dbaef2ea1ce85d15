//! A connection to one runner that stays open: any number of requests, and the frames of streams.
//!
//! It never waits by itself but in [`Link::wait`], one poll in which the owner's own descriptors wait
//! too. What is asked, and what is done with what comes, is the owner's.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ask::{Patience, converse};
use super::talk::Talk;
use crate::error::{Error, Result};
use crate::paths::Folders;
use crate::sys::{self, Interest};
use crate::wire::line::Lines;
use crate::wire::message::{Call, Request};
use crate::wire::stream::{Input, Said};

/// For a runner to prove itself.
const RUNNER_LIMIT: Duration = Duration::from_secs(3);
/// Bytes that may wait for the runner before its owner is to say no more.
const WINDOW: usize = 256 << 10;
/// Bytes read at a time.
const PIECE: usize = 64 << 10;

/// An authenticated connection to the runner of one VM.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    lines: Lines,
    unsent: Vec<u8>,
    is_open: bool,
    /// Nothing is read of it.
    is_held: bool,
}

impl Link {
    /// Connects to the runner of the VM `id`, which answers once its QEMU is up: until `deadline` at
    /// the latest.
    ///
    /// # Errors
    /// `Kind::NotRunning` where nobody holds the VM's lock; `Kind::Timeout` where the runner does not
    /// prove itself within 3 s, or is not up in time; `Kind::Permission` where it is not to be trusted.
    pub(crate) fn open(folders: &Folders, id: &str, deadline: Instant) -> Result<Link> {
        let authenticated = Instant::now() + RUNNER_LIMIT;
        let patience = Patience { authenticated, answered: Some(deadline) };
        Link::over(converse(folders, id, patience)?)
    }

    /// A connection that has been made.
    ///
    /// # Errors
    /// `Kind::Failed` where the kernel refuses.
    pub(super) fn over(talk: Talk) -> Result<Link> {
        let (stream, lines) = talk.into_parts();
        let cannot = |error| Error::io("talk with its runner", &error);
        stream.set_nonblocking(true).map_err(cannot)?;
        Ok(Link { stream, lines, unsent: Vec::new(), is_open: true, is_held: false })
    }

    /// Asks for something under an id of the owner's choice.
    pub(crate) fn ask(&mut self, id: &Value, call: Call) {
        self.say(&Request { id: Some(id.clone()), call }.to_line());
    }

    /// Says something within the stream of this id.
    pub(crate) fn input(&mut self, id: &Value, input: &Input) {
        self.say(&input.to_line(id));
    }

    /// Sends a line as it is, with its newline: now as far as the runner takes it, the rest in
    /// [`Link::wait`].
    pub(crate) fn say(&mut self, line: &[u8]) {
        self.unsent.extend_from_slice(line);
        self.flush();
    }

    /// Whether less than 256 KiB wait for the runner: past that its owner says no more.
    pub(crate) fn takes_more(&self) -> bool {
        self.unsent.len() < WINDOW
    }

    /// Reads nothing more of what the runner says, or goes on: what waits then waits at its side, which
    /// has limits.
    pub(crate) fn hold(&mut self, held: bool) {
        self.is_held = held;
    }

    /// False once the runner has closed it: what has come before can still be heard.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Sleeps until the runner says something, one of the owner's descriptors is ready, a signal
    /// comes, or `deadline` passes; tells which of the owner's are ready. Returns at once while a
    /// whole line waits to be heard.
    ///
    /// # Errors
    /// `Kind::Failed` where the kernel refuses to wait.
    pub(crate) fn wait(
        &mut self,
        others: &[(BorrowedFd<'_>, Interest)],
        deadline: Option<Instant>,
    ) -> Result<Vec<bool>> {
        let has_news = !self.is_held && self.lines.has_line();
        let deadline = if has_news { Some(Instant::now()) } else { deadline };
        let sources: Vec<_> = others.iter().copied().chain(self.source()).collect();
        let cannot = |error| Error::io("wait for its runner", &error);
        let mut ready = sys::poll(&sources, deadline).map_err(cannot)?;
        if ready.len() > others.len() && ready.pop() == Some(true) {
            self.turn();
        }
        Ok(ready)
    }

    /// What to poll for, for who waits for several at once; `None` once it is closed.
    pub(super) fn source(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        let interest = match (self.is_held, self.unsent.is_empty()) {
            // Not even its end is waited for while nothing is read: it would be told without end.
            (true, true) => return None,
            (true, false) => Interest::Write,
            (false, true) => Interest::Read,
            (false, false) => Interest::ReadWrite,
        };
        self.is_open.then(|| (self.stream.as_fd(), interest))
    }

    /// Writes and reads what it is ready for.
    pub(super) fn turn(&mut self) {
        self.flush();
        if !self.is_held {
            self.read();
        }
    }

    /// The next line that has come, without its newline.
    ///
    /// # Errors
    /// `Kind::Failed` for a line longer than the protocol allows.
    pub(crate) fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        self.lines.next_line().map_err(|_| {
            self.is_open = false;
            Error::failed("the runner's answer is longer than the protocol allows")
        })
    }

    /// The same, read.
    ///
    /// # Errors
    /// As of [`Link::next_line`], and for what the protocol does not know.
    pub(crate) fn hear(&mut self) -> Result<Option<Said>> {
        self.next_line()?.map(|line| Said::parse(&line)).transpose()
    }

    fn flush(&mut self) {
        while self.is_open && !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The runner may have said its last words: reading tells the end.
                Err(_) => self.unsent.clear(),
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = vec![0; PIECE];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.is_open = false,
            Ok(count) => self.lines.push(&buffer[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.is_open = false,
        }
    }
}
