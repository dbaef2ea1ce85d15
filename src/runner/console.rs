//! The guest's serial console: who looks at it, who types on it, and how much it has said.
//!
//! Nobody is ever waited for: a viewer that is slow loses bytes and is told how many, and who types
//! faster than the guest reads is read no further. How bytes travel to clients is `session`'s.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

use serde_json::{Value, json};

use super::session::{Holder, Sessions};
use super::streams::Output;
use crate::error::{Error, Result};
use crate::wire::runs::End;
use crate::wire::stream::{self, Input};
use crate::wire::talk::ConsoleCall;

/// How much may wait for a guest that does not read, in bytes.
const TYPED: usize = 64 << 10;
/// The name of its stream.
const STREAM: &str = "console";

/// A client that is attached.
#[derive(Debug)]
struct Viewer {
    session: u64,
    id: Value,
    /// It has the one place of those who type.
    types: bool,
    /// Bytes that it did not take in time, and has not been told of.
    missed: u64,
}

#[derive(Debug)]
pub(super) struct Console {
    output: Output,
    /// Kept open in any case: QEMU would see the end of its console's input.
    input: File,
    /// Bytes that the guest has written in this run.
    written: u64,
    typed: Vec<u8>,
    viewers: Vec<Viewer>,
}

impl Console {
    /// `output` is what the guest writes; `input` is where it reads, and does not block.
    pub(super) fn new(output: Output, input: File) -> Console {
        Console { output, input, written: 0, typed: Vec::new(), viewers: Vec::new() }
    }

    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.output.source()
    }

    /// The guest's input, while something waits for it.
    pub(super) fn blocked_input(&self) -> Option<BorrowedFd<'_>> {
        (!self.typed.is_empty()).then(|| self.input.as_fd())
    }

    pub(super) fn input(&self) -> &File {
        &self.input
    }

    pub(super) fn input_mut(&mut self) -> &mut File {
        &mut self.input
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes what the guest wrote, once: for the log, for those who look, and for `tap`; false where
    /// it wrote nothing.
    pub(super) fn drain(&mut self, sessions: &mut Sessions, tap: impl FnOnce(&[u8])) -> bool {
        let (viewers, written) = (&mut self.viewers, &mut self.written);
        self.output.drain(|bytes| {
            *written += bytes.len() as u64;
            viewers.retain(|viewer| sessions.has(viewer.session));
            for viewer in viewers {
                if viewer.missed == 0 && sessions.takes_more(viewer.session) {
                    let frame = stream::frame(&viewer.id, STREAM, bytes, 0);
                    sessions.stream(viewer.session, &frame);
                } else {
                    viewer.missed += bytes.len() as u64;
                }
            }
            tap(bytes);
        })
    }

    /// Gives those who were slow, and take more again, the last of what they have missed, and tells
    /// how much of it is lost.
    pub(super) fn catch_up(&mut self, sessions: &mut Sessions) {
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.missed > 0) {
            if sessions.takes_more(viewer.session) {
                let recent = self.output.recent();
                let count = usize::try_from(viewer.missed).unwrap_or(usize::MAX).min(recent.len());
                let lost = viewer.missed - count as u64;
                let last = &recent[recent.len() - count..];
                sessions.stream(viewer.session, &stream::frame(&viewer.id, STREAM, last, lost));
                viewer.missed = 0;
            }
        }
    }

    /// What was written from `position` on, as far as the log has it, at most one buffer of it; and
    /// where that begins.
    pub(super) fn read_at(&self, position: u64, buffer: &mut [u8]) -> (u64, usize) {
        let (at, count) = self.output.log().read_at(position, buffer);
        // A log that could not be written ends before the guest's last byte: the rest is lost.
        if count == 0 && at <= position { (self.written, 0) } else { (at, count) }
    }

    /// Attaches a client, which sees what was written last.
    ///
    /// # Errors
    /// `Kind::Conflict` where it wants the place of another who types, and names that one.
    pub(super) fn attach(
        &mut self,
        sessions: &mut Sessions,
        session: u64,
        id: &Value,
        call: ConsoleCall,
    ) -> Result<()> {
        self.viewers.retain(|viewer| sessions.has(viewer.session));
        if self.viewers.iter().any(|one| one.session == session && one.id == *id) {
            return Err(Error::usage("this id has a stream already"));
        }
        if !call.read_only
            && let Some(place) = self.viewers.iter().position(|viewer| viewer.types)
        {
            let there = sessions.describe(self.viewers[place].session);
            if !call.force {
                return Err(Error::conflict(format!("{there} types on it already"))
                    .hint("look on with --read-only, or take its place with --force"));
            }
            let gone = self.viewers.remove(place);
            let error = Error::conflict(format!("{} took its place", sessions.describe(session)));
            sessions.hold(gone.session, Holder::Console, false);
            sessions.answer(gone.session, Some(&gone.id), Err(error));
        }
        sessions.stream(session, &stream::opened(id));
        let recent = self.output.recent();
        if !recent.is_empty() {
            sessions.stream(session, &stream::frame(id, STREAM, &recent, 0));
        }
        let types = !call.read_only;
        self.viewers.push(Viewer { session, id: id.clone(), types, missed: 0 });
        Ok(())
    }

    /// Takes a frame of an attached client; of any other nothing happens.
    pub(super) fn take(&mut self, sessions: &mut Sessions, session: u64, id: &Value, input: Input) {
        let is_it = |viewer: &Viewer| viewer.session == session && viewer.id == *id;
        let Some(place) = self.viewers.iter().position(is_it) else { return };
        match input {
            Input::Bytes(bytes) if self.viewers[place].types => {
                self.typed.extend_from_slice(&bytes);
                self.write_typed(sessions);
            }
            Input::Bytes(_) => {}
            Input::Eof => self.viewers[place].types = false,
            Input::Cancel => {
                self.viewers.remove(place);
                sessions.answer(session, Some(id), Ok(Value::Null));
            }
        }
    }

    /// Types for a client that is not attached.
    ///
    /// # Errors
    /// `Kind::Conflict` where too much waits for the guest already.
    pub(super) fn send(&mut self, sessions: &mut Sessions, bytes: &[u8]) -> Result<()> {
        if self.typed.len() + bytes.len() > 2 * TYPED {
            return Err(Error::conflict("the guest does not read its console")
                .hint("what was typed before still waits for it"));
        }
        self.typed.extend_from_slice(bytes);
        self.write_typed(sessions);
        Ok(())
    }

    /// Gives the guest what it takes, and reads on of who types where there is room again.
    pub(super) fn write_typed(&mut self, sessions: &mut Sessions) {
        while !self.typed.is_empty() {
            match self.input.write(&self.typed) {
                Ok(count) => drop(self.typed.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // QEMU is gone, and says so elsewhere.
                Err(_) => self.typed.clear(),
            }
        }
        let full = self.typed.len() >= TYPED;
        for viewer in self.viewers.iter().filter(|viewer| viewer.types) {
            sessions.hold(viewer.session, Holder::Console, full);
        }
    }

    /// Tells those who look that there is nothing more to see, and how the run has ended.
    pub(super) fn end(&mut self, sessions: &mut Sessions, end: &End) {
        for viewer in std::mem::take(&mut self.viewers) {
            let end = json!({ "ended": true, "lost": viewer.missed, "last_exit": end });
            sessions.answer(viewer.session, Some(&viewer.id), Ok(end));
        }
    }
}
