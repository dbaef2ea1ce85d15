//! Standard output for who must go on reading while it is slow: it takes what it takes now, and the
//! rest waits.
//!
//! What is written is not known here. A reader that has gone is no error.

use std::io::ErrorKind;

use crate::error::{Error, Kind, Result};
use crate::sys;

/// What may wait before its owner is to bring no more, in bytes.
const LIMIT: usize = 1 << 20;
/// A pipe that is ready takes as much at once without a wait (PIPE_BUF).
const PIECE: usize = 4096;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    waiting: Vec<u8>,
    /// How much of it has been written.
    written: usize,
    closed: bool,
}

impl Outlet {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.waiting.extend_from_slice(bytes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() - self.written >= LIMIT
    }

    /// Whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nobody reads any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
        self.written = 0;
    }

    /// Writes what is taken now: to be called where poll calls standard output ready.
    ///
    /// # Errors
    /// `Kind::Failed` for a write that failed for any reason but a closed pipe.
    pub(super) fn write(&mut self) -> Result<()> {
        let rest = &self.waiting[self.written..];
        match sys::write(sys::standard_output(), &rest[..rest.len().min(PIECE)]) {
            Ok(count) => self.written += count,
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => {
                self.close();
                if error.kind() != ErrorKind::BrokenPipe {
                    return Err(Error::io("write to standard output", &error).of_kind(Kind::Failed));
                }
            }
        }
        if self.written == self.waiting.len() {
            self.waiting.clear();
            self.written = 0;
        } else if self.written >= LIMIT {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}
