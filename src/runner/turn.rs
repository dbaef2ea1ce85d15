//! The only `poll` of a running VM: which of the runner's descriptors is ready.
//!
//! Descriptors are borrowed for the call alone, so that what follows may close or open any of them.
//! Nothing is read, written or decided here.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::sys::{self, Interest};

/// Everything that can wake the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The guest's console: first, for it must never be the guest's brake.
    Console,
    Stderr,
    Monitor,
    Agent,
    /// QEMU's process has ended.
    Exit,
    /// A qemu-img that copies, before there is a QEMU.
    Copy,
    /// SIGTERM or SIGINT.
    StopSignal,
    /// SIGHUP.
    HangUp,
    /// The command that started this VM.
    Starter,
    /// Standard input has something for the console, in the foreground.
    Input,
    /// The console takes input again.
    ConsoleInput,
    /// Standard output takes more of the console, in the foreground.
    Front,
    Listener,
    /// A client, by its number.
    Session(u64),
}

/// Sleeps until a source is ready or `deadline` passes; the ready ones, in the order given.
pub(super) fn wait(
    sources: &[(Source, BorrowedFd<'_>, Interest)],
    deadline: Option<Instant>,
) -> std::io::Result<Vec<Source>> {
    let fds: Vec<_> = sources.iter().map(|&(_, fd, interest)| (fd, interest)).collect();
    let ready = sys::poll(&fds, deadline)?;
    Ok(sources.iter().zip(ready).filter(|(_, ready)| *ready).map(|(source, _)| source.0).collect())
}
