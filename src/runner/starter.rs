//! Who started the runner, and is told how the start goes: a command at the other end of a private
//! pair, or, for a VM in the foreground, whoever waits for its readiness.
//!
//! The pair carries a few lines once; see `wire::handoff`. Its end of file, before the VM runs, means
//! that nobody waits for this start any more.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::notify::Readiness;
use crate::error::{Error, Result};
use crate::sys;
use crate::wire::handoff::{FromRunner, LINE_LIMIT, Order, to_line};
use crate::wire::line::Lines;

/// For the command to read the definition and hand it over.
const ORDER_LIMIT: Duration = Duration::from_secs(10);
/// For one line to be taken from us.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) enum Starter {
    /// `None` once nobody is to be told anything more.
    Command(Option<UnixStream>),
    Foreground(Readiness),
}

impl Starter {
    /// Takes the pair from standard input and output, which become /dev/null.
    pub(super) fn take() -> Result<Starter> {
        let cannot = |error| Error::io("speak with the command that starts the VM", &error);
        let fd = std::io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?;
        let stream = UnixStream::from(fd);
        sys::peer(&stream).map_err(cannot)?;
        stream.set_write_timeout(Some(WRITE_LIMIT)).map_err(cannot)?;
        sys::detach_standard_streams().map_err(cannot)?;
        Ok(Starter::Command(Some(stream)))
    }

    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Starter::Command(stream) => stream.as_ref().map(AsFd::as_fd),
            Starter::Foreground(_) => None,
        }
    }

    /// Writes one line; a command that is gone misses nothing.
    pub(super) fn say(&mut self, message: &FromRunner) {
        if let Starter::Command(Some(stream)) = self {
            let _ = stream.write_all(&to_line(message));
        }
    }

    /// Waits for the order; `None` when the command has closed the pair instead, for the VM is gone.
    pub(super) fn order(&mut self) -> Result<Option<Order>> {
        let cannot = |error| Error::io("read the definition from the command", &error);
        let stream = match self {
            Starter::Command(Some(stream)) => stream,
            Starter::Command(None) | Starter::Foreground(_) => return Ok(None),
        };
        let deadline = Instant::now() + ORDER_LIMIT;
        let mut lines = Lines::new(LINE_LIMIT);
        let mut buffer = [0; 8192];
        loop {
            if !sys::wait_readable(&*stream, deadline).map_err(cannot)? {
                return Err(Error::timeout("the command handed over no definition"));
            }
            let count = stream.read(&mut buffer).map_err(cannot)?;
            lines.push(&buffer[..count]);
            match lines.next_line() {
                Ok(Some(line)) => {
                    return serde_json::from_slice(&line)
                        .map(Some)
                        .map_err(|error| Error::failed(format!("cannot read the order: {error}")));
                }
                Ok(None) if count == 0 => return Ok(None),
                Ok(None) => {}
                Err(_) => return Err(Error::failed("the definition is too long")),
            }
        }
    }

    /// Whether the command has gone; to be asked when the source is ready.
    pub(super) fn has_left(&mut self) -> bool {
        let Starter::Command(Some(stream)) = self else { return false };
        let left = matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_));
        if left {
            *self = Starter::Command(None);
        }
        left
    }

    /// The VM runs: the command has nothing left to hear, and who waits for readiness is told.
    pub(super) fn dismiss(&mut self) {
        match self {
            Starter::Command(stream) => *stream = None,
            Starter::Foreground(readiness) => readiness.ready(),
        }
    }

    /// The VM is being stopped.
    pub(super) fn stopping(&mut self) {
        if let Starter::Foreground(readiness) = self {
            readiness.stopping();
        }
    }
}
