//! One connection: what it has said, what waits for it, and whether it may say more.
//!
//! Which connections there are, and what is answered to whom, is not known here.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::{CLIENTS, READ_PER_TURN};
use crate::error::Error;
use crate::wire::auth::{self, Accepted, Challenge};
use crate::wire::line::Lines;
use crate::wire::message::{REQUEST_LIMIT, UNANSWERED};
use crate::wire::reply;

/// Bytes read at a time.
const PIECE: usize = 8 << 10;

#[derive(Debug)]
pub(super) enum Standing {
    Stranger { challenge: Challenge, until: Instant },
    Client,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: UnixStream,
    pub(super) pid: i32,
    pub(super) standing: Standing,
    pub(super) lines: Lines,
    pub(super) unsent: Vec<u8>,
    /// A request without an id is being worked on: the next waits, for answers keep their order.
    pub(super) busy: bool,
    pub(super) unanswered: usize,
    /// The client will send nothing more.
    pub(super) read_closed: bool,
    /// Close once what waits has been sent.
    pub(super) closing: bool,
    /// Nothing more is read of it while any of these is true; see [`super::Holder`].
    pub(super) held: [bool; 2],
}

impl Session {
    /// Until when it must have authenticated; `None` once it has.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.standing {
            Standing::Stranger { until, .. } => Some(until),
            Standing::Client => None,
        }
    }

    pub(super) fn may_take(&self) -> bool {
        let held = self.held.contains(&true);
        !self.busy && !self.closing && !held && self.unanswered < UNANSWERED && self.has_room()
    }

    /// A request waits that may be taken.
    pub(super) fn has_request(&self) -> bool {
        self.may_take() && self.lines.has_line()
    }

    /// What has been said is taken before more is read: else a client that asks faster than its
    /// share of each turn would fill our memory.
    pub(super) fn wants_read(&self) -> bool {
        self.may_take() && !self.read_closed && !self.lines.has_line()
    }

    /// A client that does not read its answers is given no more.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.len() < REQUEST_LIMIT
    }

    pub(super) fn is_done(&self) -> bool {
        let idle = !self.busy && self.unanswered == 0;
        self.unsent.is_empty()
            && (self.closing || (self.read_closed && idle && !self.lines.has_line()))
    }

    /// False when the connection is over.
    pub(super) fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return false,
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.unsent.shrink_to(4096);
        true
    }

    /// Reads what is there, at most its share of a turn; false when the connection failed.
    pub(super) fn read(&mut self) -> bool {
        // Most requests are short, and memory that is not touched need not be cleared.
        let mut buffer = [0; PIECE];
        for _ in 0..READ_PER_TURN / PIECE {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.read_closed = true,
                Ok(count) => {
                    self.lines.push(&buffer[..count]);
                    if count == PIECE {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            return true;
        }
        true
    }

    pub(super) fn authenticate(&mut self, accepted: Option<Accepted>, clients: usize) {
        let Some(accepted) = accepted else { return self.say_last(auth::REFUSAL.into()) };
        // Proof comes before anything that it is to believe.
        if let Accepted::Version2 { proof_line } = accepted {
            self.unsent.extend(proof_line.as_bytes());
            self.unsent.push(b'\n');
        }
        if clients >= CLIENTS {
            let error = Error::conflict("the runner has no room for another client");
            let line = reply::failure(None, &error.hint("try again when others have left"));
            return self.say_last(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        self.standing = Standing::Client;
        self.lines.set_limit(REQUEST_LIMIT);
        self.flush();
    }

    pub(super) fn refuse_line(&mut self) {
        if self.until().is_some() {
            self.say_last(auth::REFUSAL.into());
        } else {
            let error = Error::usage("a request is longer than 1 MiB");
            let line = reply::failure(None, &error);
            self.say_last(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }

    pub(super) fn say_last(&mut self, line: String) {
        self.unsent.extend(line.as_bytes());
        self.unsent.push(b'\n');
        self.closing = true;
        self.flush();
    }
}
