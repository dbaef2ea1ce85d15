//! What flows between QEMU and the runner besides QMP: the console, standard error, and
//! the signals that the runner gets.
//!
//! Everything here is drained without ever waiting. What the bytes mean is not known here.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::logs::{CappedLog, Tail};
use crate::error::{Error, Result};
use crate::sys;

/// Bytes read from one stream in a turn of the loop.
const READ_PER_TURN: usize = 64 << 10;
/// What is asked of the kernel for the console's pipe: the more, the longer the guest runs on while
/// the runner is held up.
const CONSOLE_PIPE: usize = 1 << 20;
/// How much of the console a late client sees, in bytes.
const CONSOLE_KEPT: usize = 64 << 10;
/// How much of QEMU's standard error is kept for errors and the post-mortem.
const STDERR_KEPT: usize = 16 << 10;

/// An output of QEMU that goes into a log.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Option<File>,
    log: CappedLog,
    tail: Tail,
}

impl Output {
    /// The console, whose last 64 KiB are kept: the pipe's other end, for QEMU, beside.
    pub(super) fn console(log: CappedLog) -> std::io::Result<(Output, OwnedFd)> {
        let (output, theirs) = Output::piped(log, CONSOLE_KEPT)?;
        sys::enlarge_pipe(&theirs, CONSOLE_PIPE);
        Ok((output, theirs))
    }

    /// Standard error, whose last 16 KiB are kept.
    pub(super) fn stderr(log: CappedLog) -> std::io::Result<(Output, OwnedFd)> {
        Output::piped(log, STDERR_KEPT)
    }

    fn piped(log: CappedLog, kept: usize) -> std::io::Result<(Output, OwnedFd)> {
        let (ours, theirs) = sys::pipe()?;
        sys::set_nonblocking(&ours)?;
        Ok((Output { pipe: Some(ours.into()), log, tail: Tail::new(kept) }, theirs))
    }

    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once into the log, and gives `tap` what was read; false when there was nothing.
    pub(super) fn drain(&mut self, tap: impl FnOnce(&[u8])) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut buffer = vec![0; READ_PER_TURN];
        match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(count) => {
                self.log.append(&buffer[..count]);
                self.tail.push(&buffer[..count]);
                tap(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                self.pipe = None;
                false
            }
        }
    }

    /// The last bytes.
    pub(super) fn recent(&self) -> Vec<u8> {
        self.tail.bytes()
    }

    pub(super) fn log(&self) -> &CappedLog {
        &self.log
    }

    /// The last bytes as text.
    pub(super) fn tail(&self) -> String {
        self.tail.text()
    }
}

/// The signals that mean something to a runner, as bytes on two sockets.
#[derive(Debug)]
pub(super) struct Signals {
    stop: UnixStream,
    hang_up: UnixStream,
}

impl Signals {
    /// From here on SIGTERM, SIGINT and SIGHUP end nothing by themselves.
    pub(super) fn register() -> Result<Signals> {
        let cannot = |error| Error::io("handle signals", &error);
        let watch = |signals: &[i32]| -> std::io::Result<UnixStream> {
            let (ours, handlers) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            for &signal in signals {
                pipe::register(signal, handlers.try_clone()?)?;
            }
            Ok(ours)
        };
        let stop = watch(&[SIGTERM, SIGINT]).map_err(cannot)?;
        let hang_up = watch(&[SIGHUP]).map_err(cannot)?;
        Ok(Signals { stop, hang_up })
    }

    pub(super) fn stop_source(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    pub(super) fn hang_up_source(&self) -> BorrowedFd<'_> {
        self.hang_up.as_fd()
    }

    /// How many times SIGTERM or SIGINT came since the last look.
    pub(super) fn stops(&mut self) -> usize {
        count(&mut self.stop)
    }

    /// How many times SIGHUP came since the last look.
    pub(super) fn hang_ups(&mut self) -> usize {
        count(&mut self.hang_up)
    }
}

fn count(stream: &mut UnixStream) -> usize {
    stream.read(&mut [0; 64]).unwrap_or(0)
}
