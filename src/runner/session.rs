//! The clients of a runner: who may connect, what they have said, what waits for them.
//!
//! Every limit of the protocol on connections, lines and waiting bytes is kept here. What a request
//! means is not known here.

mod client;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::client::{Session, Standing};
use crate::error::Error;
use crate::sys::{self, Interest};
use crate::wire::auth::{self, Challenge};
use crate::wire::line::Lines;
use crate::wire::message::{Refused, Request};
use crate::wire::reply::{self, REPLY_LIMIT};
use crate::wire::secret::Key;
use crate::wire::stream::Input;

/// Clients that have not authenticated; one more, and the oldest is dropped.
const STRANGERS: usize = 16;
/// Clients that have.
const CLIENTS: usize = 64;
/// For a client to authenticate, in all.
const AUTHENTICATION_LIMIT: Duration = Duration::from_secs(10);
/// Bytes read from one client in a turn of the loop.
const READ_PER_TURN: usize = 64 << 10;
/// Requests taken from one client in a turn of the loop.
pub(super) const REQUESTS_PER_TURN: usize = 8;
/// Connections accepted in a turn of the loop.
const ACCEPTS_PER_TURN: usize = 32;
/// For how long nobody is accepted after the kernel refused to, as it does when descriptors run out:
/// a listener that stays ready would else keep the loop busy.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that may wait for one client that reads slowly, and for all of them.
const WAITING_FOR_ONE: usize = REPLY_LIMIT;
const WAITING_FOR_ALL: usize = 32 << 20;
/// Bytes of streams that may wait for one client.
const STREAM_WINDOW: usize = 256 << 10;

/// What a client says.
#[derive(Debug)]
pub(super) enum Line {
    Request(Result<Request, Box<Refused>>),
    /// A frame of the stream with this id.
    Input(Value, Input),
}

/// Who has a client read no further: what it sent before has not been taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Console = 0,
    Guest = 1,
}

/// All connections, by a number that is never reused.
#[derive(Debug)]
pub(super) struct Sessions {
    listener: UnixListener,
    id: String,
    key: Key,
    sessions: BTreeMap<u64, Session>,
    next: u64,
    paused_until: Option<Instant>,
}

impl Sessions {
    /// Serves the VM `id` on `listener`, which does not block.
    pub(super) fn new(listener: UnixListener, id: String, key: Key) -> Sessions {
        Sessions { listener, id, key, sessions: BTreeMap::new(), next: 1, paused_until: None }
    }

    /// Serves on another socket, with another key, from here on. Clients that have authenticated
    /// stay.
    pub(super) fn listen_anew(&mut self, listener: UnixListener, key: Key) {
        self.listener = listener;
        self.key = key;
    }

    /// What to poll for new connections; `None` while none is accepted.
    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.paused_until.is_none().then(|| self.listener.as_fd())
    }

    /// What to poll for, connection by connection. Who still owes us an answer's reading, or whose
    /// request is being worked on, is not read from: the kernel makes it wait.
    pub(super) fn sources(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, Interest)> {
        self.sessions.iter().map(|(&number, session)| {
            let interest = match (session.wants_read(), !session.unsent.is_empty()) {
                (true, true) => Interest::ReadWrite,
                (true, false) => Interest::Read,
                (false, true) => Interest::Write,
                (false, false) => Interest::Nothing,
            };
            (number, session.stream.as_fd(), interest)
        })
    }

    /// When the next stranger's time runs out, or connections are accepted again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sessions.values().filter_map(Session::until).chain(self.paused_until).min()
    }

    /// Whether a request waits that no byte will announce.
    pub(super) fn has_work(&self) -> bool {
        self.sessions.values().any(Session::has_request)
    }

    /// Whether this client is still there.
    pub(super) fn has(&self, number: u64) -> bool {
        self.sessions.contains_key(&number)
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.sessions.keys().copied().collect()
    }

    /// Takes new connections. A peer of another user is closed without a byte.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        log::warn!("cannot accept a connection: {error}");
                        self.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
                    }
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: UnixStream) {
        let Ok((pid, uid)) = sys::peer(&stream) else { return };
        if uid != sys::effective_uid() {
            log::warn!("closed a connection of uid {uid}");
            return;
        }
        let (Ok(challenge), Ok(())) = (Challenge::new(&self.id), stream.set_nonblocking(true))
        else {
            return;
        };
        let strangers = self.sessions.iter().filter(|(_, session)| session.until().is_some());
        let oldest = strangers.clone().next().map(|(&number, _)| number);
        if strangers.count() >= STRANGERS
            && let Some(oldest) = oldest
        {
            self.sessions.remove(&oldest);
        }
        let mut unsent = challenge.line().into_bytes();
        unsent.push(b'\n');
        let until = Instant::now() + AUTHENTICATION_LIMIT;
        let mut session = Session {
            stream,
            pid,
            standing: Standing::Stranger { challenge, until },
            lines: Lines::new(auth::LINE_LIMIT),
            unsent,
            busy: false,
            unanswered: 0,
            read_closed: false,
            closing: false,
            held: [false; 2],
        };
        if session.flush() {
            self.sessions.insert(self.next, session);
            self.next += 1;
        }
    }

    /// Refuses strangers whose time is over, and ends a pause that is.
    pub(super) fn expire(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| now < *until);
        self.sessions.retain(|_, session| {
            let late = session.until().is_some_and(|until| until <= now);
            if late && !session.closing {
                session.say_last(auth::REFUSAL.into());
            }
            !late
        });
    }

    /// Reads and writes what one connection is ready for.
    pub(super) fn turn(&mut self, number: u64) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        // Asked for nothing and yet ready: it has hung up. One whose requests wait asks for nothing
        // either, and may have been ready for an answer that was sent since.
        let waits_for_us = session.wants_read() || session.has_request();
        let hung_up = !waits_for_us && session.unsent.is_empty();
        let failed = !session.flush() || (session.wants_read() && !session.read());
        if hung_up || failed || session.is_done() {
            self.sessions.remove(&number);
        }
    }

    /// What one client says next, if it says something and its turn has come.
    pub(super) fn next_line(&mut self, number: u64) -> Option<Line> {
        loop {
            let clients = self.sessions.values().filter(|s| s.until().is_none()).count();
            let session = self.sessions.get_mut(&number)?;
            if !session.may_take() {
                if session.is_done() {
                    self.sessions.remove(&number);
                }
                return None;
            }
            let line = match session.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    if session.is_done() {
                        self.sessions.remove(&number);
                    }
                    return None;
                }
                Err(_) => {
                    session.refuse_line();
                    continue;
                }
            };
            match &session.standing {
                Standing::Stranger { challenge, .. } => {
                    let accepted = challenge.verify(&self.key, &line);
                    session.authenticate(accepted, clients);
                }
                Standing::Client => {
                    if let Some((id, input)) = Input::parse(&line) {
                        return Some(Line::Input(id, input));
                    }
                    let request = Request::parse(&line);
                    let has_id = match &request {
                        Ok(request) => request.id.is_some(),
                        Err(refused) => refused.0.is_some(),
                    };
                    session.busy = !has_id;
                    session.unanswered += usize::from(has_id);
                    return Some(Line::Request(request));
                }
            }
        }
    }

    /// Answers the request that came under this id, or the one without an id.
    pub(super) fn answer(&mut self, number: u64, id: Option<&Value>, answer: Result<Value, Error>) {
        let line = match &answer {
            Ok(result) => reply::success(id, result),
            Err(error) => reply::failure(id, error),
        };
        // It may be large, and its line is.
        drop(answer);
        self.answer_with(number, id, line);
    }

    /// The same with a result that is JSON already, on one line.
    pub(super) fn answer_as_it_is(&mut self, number: u64, id: Option<&Value>, result: &[u8]) {
        self.answer_with(number, id, reply::success_as_it_is(id, result));
    }

    fn answer_with(&mut self, number: u64, id: Option<&Value>, mut line: Vec<u8>) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        if line.len() > REPLY_LIMIT {
            let limit = Error::failed("the answer is longer than the protocol allows");
            line = reply::failure(id, &limit);
        }
        match id {
            None => session.busy = false,
            Some(_) => session.unanswered = session.unanswered.saturating_sub(1),
        }
        match session.unsent.is_empty() {
            true => session.unsent = line,
            false => session.unsent.extend(line),
        }
        if session.unsent.len() > WAITING_FOR_ONE || !session.flush() {
            self.sessions.remove(&number);
        }
        self.bound_waiting();
    }

    /// Sends a line of a stream; nothing where the client has left.
    pub(super) fn stream(&mut self, number: u64, line: &[u8]) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.unsent.extend_from_slice(line);
        if !session.flush() {
            self.sessions.remove(&number);
        }
        self.bound_waiting();
    }

    /// Whether this client takes more of its streams: what waits for it is less than 256 KiB.
    pub(super) fn takes_more(&self, number: u64) -> bool {
        self.sessions.get(&number).is_some_and(|session| session.unsent.len() < STREAM_WINDOW)
    }

    /// Reads nothing more of this client, or goes on reading, as far as it goes by this one.
    pub(super) fn hold(&mut self, number: u64, by: Holder, held: bool) {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.held[by as usize] = held;
        }
    }

    /// Who is at the other end, for the record of a stop.
    pub(super) fn describe(&self, number: u64) -> String {
        let pid = self.sessions.get(&number).map_or(0, |session| session.pid);
        format!("a client with pid {pid}")
    }

    /// Closes those who read slowest while too much waits for all.
    fn bound_waiting(&mut self) {
        let waiting = |sessions: &BTreeMap<u64, Session>| -> usize {
            sessions.values().map(|session| session.unsent.len()).sum()
        };
        while waiting(&self.sessions) > WAITING_FOR_ALL {
            let slowest = self.sessions.iter().max_by_key(|(_, session)| session.unsent.len());
            match slowest.map(|(&number, _)| number) {
                Some(number) => drop(self.sessions.remove(&number)),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
