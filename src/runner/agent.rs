//! The runner's end of the guest agent's channel: who asked what, in a queue, for the agent takes one
//! command at a time.
//!
//! It decides nothing. The other end is the guest: it may be silent, talk nonsense or talk without
//! end, and costs no more than an error after a time. Before the first command, and after anything
//! that was not as it should be, the agent is asked to say a number; until it does, nothing else
//! that it says counts.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Error, Kind};
use crate::qemu::agent::{self, Command, Framer, Heard, Lost, Said};
use crate::sys::Interest;

/// Bytes read in one turn of the loop.
const READ_PER_TURN: usize = 64 << 10;
/// For the agent to say the number.
const SYNC_LIMIT: Duration = Duration::from_secs(5);
/// For an answer to come whole that brings a command's output: as long as it comes on, it has this
/// time.
const OUTPUT_LIMIT: Duration = Duration::from_secs(60);
/// For an answer, where nobody says otherwise.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// QEMU tells of the channel's opening and closing once a second at most: of a guest whose snapshot
/// was loaded first that it is closed, and that it is open behind that.
const NEWS_PAUSE: Duration = Duration::from_millis(1200);
/// Commands that may wait for their turn.
pub(super) const QUEUE: usize = 128;

/// Who asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asker {
    /// A client: it gets the answer as the agent wrote it.
    Client { session: u64, request: Option<Value> },
    /// What runs in the guest, by its number.
    Exec(u64),
    /// The same, where the answer may hold all of its output.
    Simple(u64),
    /// Those who wait for the agent; any answer will do.
    Watches,
}

/// An answer, or why there is none.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub(super) asker: Asker,
    /// What the agent said, which is an answer; of a mere look at whether it is there, nothing.
    pub(super) answer: Result<Said, Lost>,
}

#[derive(Debug)]
struct Asked {
    asker: Asker,
    /// The command's line; `None`: the agent is to be there, no more.
    line: Option<Vec<u8>>,
    limit: Duration,
}

/// What the agent owes an answer to.
#[derive(Debug)]
enum Owed {
    Number(u64),
    Answer(Asker),
}

#[derive(Debug)]
pub(super) struct Agent {
    /// `None`: this VM has no channel.
    stream: Option<UnixStream>,
    /// The guest has the channel open, as QEMU says.
    is_open: bool,
    /// When QEMU's word that it is not counts: until then another may follow.
    closed_for_good: Option<Instant>,
    framer: Framer,
    unsent: Vec<u8>,
    queue: VecDeque<Asked>,
    owed: Option<(Owed, Instant, Duration)>,
    /// Until when what comes of the answer that is owed gives it more time.
    extends: Option<Instant>,
    /// Its next answer is to the next command.
    in_step: bool,
    next_number: u64,
    /// The guest stands still: no time passes for its agent.
    is_paused: bool,
}

impl Agent {
    /// Takes our end of the pair, which is made non-blocking.
    pub(super) fn new(stream: Option<UnixStream>) -> std::io::Result<Agent> {
        if let Some(stream) = &stream {
            stream.set_nonblocking(true)?;
        }
        Ok(Agent {
            stream,
            is_open: false,
            closed_for_good: None,
            framer: Framer::default(),
            unsent: Vec::new(),
            queue: VecDeque::new(),
            owed: None,
            extends: None,
            in_step: false,
            next_number: 1,
            is_paused: false,
        })
    }

    /// What to poll for.
    pub(super) fn source(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        let interest = if self.unsent.is_empty() { Interest::Read } else { Interest::ReadWrite };
        self.stream.as_ref().map(|stream| (stream.as_fd(), interest))
    }

    /// When [`Agent::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if !self.is_open {
            return self.closed_for_good.filter(|_| !self.queue.is_empty());
        }
        self.owed.as_ref().filter(|_| !self.is_paused).map(|(_, until, _)| *until)
    }

    /// Whether somebody in the guest has opened the channel.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the guest stands still.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Asks for one thing; the answer comes with the same asker.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        asker: Asker,
        command: &Command,
        limit: Duration,
    ) -> Vec<Told> {
        self.enqueue(now, Asked { asker, line: Some(command.to_line()), limit })
    }

    /// Asks whether it is there.
    pub(super) fn greet(&mut self, now: Instant) -> Vec<Told> {
        self.enqueue(now, Asked { asker: Asker::Watches, line: None, limit: SYNC_LIMIT })
    }

    fn enqueue(&mut self, now: Instant, asked: Asked) -> Vec<Told> {
        let refused = match &self.stream {
            None => Some(
                Error::failed("this VM has no channel to a guest agent")
                    .hint("give it one with \"agent\": true, and start it again"),
            ),
            Some(_) if self.is_closed(now) => Some(absent()),
            Some(_) if self.is_paused => {
                Some(Error::conflict("the guest is paused").hint("\"maqet resume\" lets it go on"))
            }
            Some(_) if self.queue.len() >= QUEUE => {
                Some(Error::conflict("too many commands wait for the guest's agent"))
            }
            Some(_) => None,
        };
        if let Some(error) = refused {
            let answer = Err(Lost { error, given: false });
            return vec![Told { asker: asked.asker, answer }];
        }
        self.queue.push_back(asked);
        self.pump(now);
        Vec::new()
    }

    /// Gives the next command, where the agent owes nothing.
    fn pump(&mut self, now: Instant) {
        if self.owed.is_some() || !self.is_open {
            return;
        }
        let Some(first) = self.queue.front() else { return };
        if self.in_step && first.line.is_some() {
            let Some(Asked { asker, line, limit }) = self.queue.pop_front() else { return };
            self.unsent.extend(line.unwrap_or_default());
            let sifts = matches!(asker, Asker::Simple(_));
            self.framer.sift(sifts);
            self.extends = sifts.then(|| now + OUTPUT_LIMIT);
            self.owed = Some((Owed::Answer(asker), now + limit, limit));
        } else {
            let number = self.next_number;
            self.next_number += 1;
            // What it has not read of an earlier command it need not read any more.
            self.unsent = agent::sync(number);
            self.framer.sift(false);
            self.extends = None;
            self.in_step = false;
            self.owed = Some((Owed::Number(number), now + SYNC_LIMIT, SYNC_LIMIT));
        }
        self.flush();
    }

    /// Reads once, at most 64 KiB, writes what waits, and gives the answers in order.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Told> {
        self.flush();
        let mut buffer = vec![0; READ_PER_TURN];
        let Some(stream) = &mut self.stream else { return Vec::new() };
        let count = match stream.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            Err(error) if is_passing(&error) => return Vec::new(),
            // QEMU is gone, and says so elsewhere.
            _ => {
                (self.stream, self.is_open) = (None, false);
                return self.leave("QEMU closed the channel to the guest's agent");
            }
        };
        if self.owed.is_none() {
            // Nobody has asked: not worth a look.
            (self.in_step, self.framer) = (false, Framer::default());
            return Vec::new();
        }
        if let (Some((_, until, limit)), Some(latest)) = (&mut self.owed, self.extends) {
            *until = (now + *limit).min(latest).max(*until);
        }
        let mut told = Vec::new();
        for heard in self.framer.push(&buffer[..count]) {
            told.extend(self.hear(heard));
        }
        self.pump(now);
        told
    }

    fn hear(&mut self, heard: Heard) -> Option<Told> {
        match self.owed.take() {
            Some((Owed::Number(number), until, limit)) => {
                let is_it = matches!(&heard, Heard::Line { bytes, delimited: true, .. }
                    if agent::read(bytes) == Ok(Ok(number)));
                if !is_it {
                    self.owed = Some((Owed::Number(number), until, limit));
                    return None;
                }
                self.in_step = true;
                // Else the command follows that the number was for.
                self.queue.front().filter(|asked| asked.line.is_none())?;
                let Asked { asker, .. } = self.queue.pop_front()?;
                Some(Told { asker, answer: Ok(Said::default()) })
            }
            Some((Owed::Answer(asker), ..)) => {
                let answer = match heard {
                    Heard::Line { bytes, output, .. } => match agent::check(&bytes) {
                        Ok(()) => Ok(Said { line: bytes, output }),
                        Err(nonsense) => Err(format!("answered nonsense: {}", nonsense.0)),
                    },
                    Heard::TooLong => Err("answered with more than 1 MiB".to_owned()),
                };
                let answer = answer.map_err(|why| {
                    self.in_step = false;
                    Lost::given(Error::failed(format!("the guest's agent {why}")))
                });
                Some(Told { asker, answer })
            }
            // Nobody has asked.
            None => {
                self.in_step = false;
                None
            }
        }
    }

    /// Gives up on what has not come in its time.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Told> {
        if self.deadline().is_none_or(|until| until > now) {
            return Vec::new();
        }
        if !self.is_open {
            return self.refuse_all(&absent());
        }
        let Some((owed, ..)) = self.owed.take() else { return Vec::new() };
        self.in_step = false;
        let error = Error::timeout("the guest's agent does not answer")
            .hint("it hangs, or its guest is too busy; restart it in the guest");
        let told = match owed {
            // Each would wait as long for the same.
            Owed::Number(_) => self.refuse_all(&error),
            Owed::Answer(asker) => vec![Told { asker, answer: Err(Lost::given(error)) }],
        };
        self.pump(now);
        told
    }

    /// Heeds QEMU's word that the guest has opened the channel, or closed it.
    pub(super) fn opened(&mut self, is_open: bool, now: Instant) -> Vec<Told> {
        let was_open = std::mem::replace(&mut self.is_open, is_open);
        if was_open && !is_open {
            self.closed_for_good = Some(now + NEWS_PAUSE);
            return self.leave("the guest's agent has gone before it answered");
        }
        self.pump(now);
        Vec::new()
    }

    /// Whether nobody in the guest has the channel open.
    fn is_closed(&self, now: Instant) -> bool {
        !self.is_open && self.closed_for_good.is_none_or(|at| at <= now)
    }

    /// While the guest is paused its agent has all the time there is.
    pub(super) fn paused(&mut self, is_paused: bool, now: Instant) {
        if std::mem::replace(&mut self.is_paused, is_paused)
            && !is_paused
            && let Some((_, until, limit)) = &mut self.owed
        {
            *until = now + *limit;
        }
    }

    fn leave(&mut self, why: &str) -> Vec<Told> {
        self.in_step = false;
        self.framer = Framer::default();
        self.unsent = Vec::new();
        let error = Error::failed(why);
        let mut told = Vec::new();
        if let Some((Owed::Answer(asker), ..)) = self.owed.take() {
            told.push(Told { asker, answer: Err(Lost::given(error.clone())) });
        }
        told.extend(self.refuse_all(&error));
        told
    }

    fn refuse_all(&mut self, error: &Error) -> Vec<Told> {
        let lost = Lost { error: error.clone(), given: false };
        let refuse = |Asked { asker, .. }| Told { asker, answer: Err(lost.clone()) };
        self.queue.drain(..).map(refuse).collect()
    }

    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Reading tells the end.
                Err(_) => self.unsent = Vec::new(),
            }
        }
        self.unsent.shrink_to(4096);
    }
}

/// The error where nobody in the guest has the channel open.
fn absent() -> Error {
    Error::new(Kind::Failed, "no guest agent runs in it").hint(
        "install qemu-guest-agent in the guest; \"maqet wait VM --for agent\" waits until it runs",
    )
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
