//! Asks any number of runners one thing each, side by side in one thread, each with its deadlines.
//!
//! It tells apart a runner that answers, one that is gone, and one that does not answer. It knows no
//! method: what is asked and what the answer means is the caller's.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::talk::{Progress, Talk};
use crate::error::{Error, Kind, Result};
use crate::lock::{self, Holder};
use crate::paths::Folders;
use crate::sys::{self, Interest, Signal};
use crate::wire::message::{Call, Request};

/// The pauses between attempts to connect: doubling from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long a runner may be without a usable socket before it is asked to make a new one: longer
/// than a start or an end takes between its lock and its socket.
const SOCKET_PATIENCE: Duration = Duration::from_millis(200);

/// What one runner is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) request: Request,
    /// Whether it may be asked again where the connection broke before the answer.
    pub(crate) repeatable: bool,
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until the runner has proved itself: past this it counts as not responding.
    pub(crate) authenticated: Instant,
    /// Until the answer; `None` is for ever.
    pub(crate) answered: Option<Instant>,
}

impl Patience {
    /// The same time for both.
    pub(crate) fn of(limit: Duration) -> Patience {
        let until = Instant::now() + limit;
        Patience { authenticated: until, answered: Some(until) }
    }
}

/// What became of a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(Result<Value>),
    /// Nobody holds the VM's lock.
    NoRunner,
    /// The lock is held, and no authenticated answer came in time: why, as far as it is known.
    Silent(Error),
    /// The runner has proved itself, but the answer did not come in time.
    Late(Error),
}

/// Asks each runner its question; the replies come in the same order.
pub(crate) fn ask(folders: &Folders, questions: &[Question], patience: Patience) -> Vec<Reply> {
    let mut inquiries: Vec<Inquiry<'_>> =
        questions.iter().map(|question| Inquiry::new(folders, question.clone())).collect();
    conclude(&mut inquiries, patience);
    let unasked = || Reply::Silent(Error::failed("it was not asked"));
    inquiries.into_iter().map(|inquiry| inquiry.reply.unwrap_or_else(unasked)).collect()
}

/// Works on all inquiries until each has its reply.
fn conclude(inquiries: &mut [Inquiry<'_>], patience: Patience) {
    loop {
        let now = Instant::now();
        for inquiry in inquiries.iter_mut() {
            inquiry.step(now, patience);
        }
        let mut waiting: Vec<(usize, (BorrowedFd<'_>, Interest))> = Vec::new();
        let mut wake = None::<Instant>;
        let mut pending = false;
        for (number, inquiry) in inquiries.iter().enumerate() {
            if inquiry.reply.is_some() {
                continue;
            }
            pending = true;
            wake = wake.into_iter().chain(inquiry.wake(patience)).min();
            waiting.extend(inquiry.source().map(|source| (number, (source, Interest::Read))));
        }
        if !pending {
            return;
        }
        let sources: Vec<_> = waiting.iter().map(|(_, source)| *source).collect();
        let ready = match sys::poll(&sources, wake) {
            Ok(ready) => ready,
            Err(error) => {
                let error = Error::io("wait for the runners", &error);
                for inquiry in inquiries.iter_mut() {
                    inquiry.reply.get_or_insert_with(|| Reply::Silent(error.clone()));
                }
                return;
            }
        };
        let numbers: Vec<usize> =
            waiting.iter().zip(ready).filter(|(_, ready)| *ready).map(|((n, _), _)| *n).collect();
        for number in numbers {
            inquiries[number].hear();
        }
    }
}

/// A talk with one runner that has answered a ping, and may be asked more.
///
/// # Errors
/// [`Kind::NotRunning`] where nobody holds the VM's lock; [`Kind::Timeout`] where the runner does not
/// answer in time; [`Kind::Permission`] where it is not to be trusted.
pub(super) fn converse(folders: &Folders, id: &str, patience: Patience) -> Result<Talk> {
    let request = Request::from(Call::Ping);
    let question = Question { id: id.to_owned(), request, repeatable: true };
    let mut inquiry = [Inquiry::new(folders, question)];
    conclude(&mut inquiry, patience);
    let [inquiry] = inquiry;
    inquiry.into_talk()
}

/// The error of a VM without a runner.
pub(crate) fn not_running() -> Error {
    Error::new(Kind::NotRunning, "it is not running")
        .hint("\"maqet start\" starts it, \"maqet why\" tells how its last run ended")
}

/// Asks one runner.
pub(crate) fn ask_one(folders: &Folders, question: Question, patience: Patience) -> Reply {
    let no_reply = || Reply::Silent(Error::failed("it was not asked"));
    ask(folders, &[question], patience).pop().unwrap_or_else(no_reply)
}

/// One question on its way to its reply, which never waits by itself.
#[derive(Debug)]
pub(super) struct Inquiry<'a> {
    folders: &'a Folders,
    question: Question,
    began: Instant,
    talk: Option<Talk>,
    /// When to connect again.
    next_attempt: Instant,
    pause: Duration,
    /// Whether it was asked to make its socket anew.
    hung_up: bool,
    obstacle: Error,
    reply: Option<Reply>,
}

impl<'a> Inquiry<'a> {
    pub(super) fn new(folders: &'a Folders, question: Question) -> Inquiry<'a> {
        let now = Instant::now();
        Inquiry {
            folders,
            question,
            began: now,
            talk: None,
            next_attempt: now,
            pause: FIRST_PAUSE,
            hung_up: false,
            obstacle: Error::timeout("its runner does not answer"),
            reply: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.reply.is_some()
    }

    /// What to poll for; `None` between two attempts to connect.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.talk.as_ref().map(Talk::source)
    }

    /// The connection over which it was answered, to be asked more.
    ///
    /// # Errors
    /// As of [`converse`].
    pub(super) fn into_talk(self) -> Result<Talk> {
        match (self.reply, self.talk) {
            (Some(Reply::Answer(Ok(_))), Some(talk)) => Ok(talk),
            (Some(Reply::Answer(Err(error)) | Reply::Silent(error) | Reply::Late(error)), _) => {
                Err(error)
            }
            (Some(Reply::NoRunner), _) => Err(not_running()),
            _ => Err(Error::timeout("its runner does not answer")),
        }
    }

    /// When it must be looked at even if nothing is read.
    pub(super) fn wake(&self, patience: Patience) -> Option<Instant> {
        match &self.talk {
            None => Some(self.next_attempt.min(patience.authenticated)),
            Some(talk) if talk.is_authenticated() => patience.answered,
            Some(_) => Some(patience.authenticated),
        }
    }

    /// Connects where it is time to, and gives up where it is too late.
    pub(super) fn step(&mut self, now: Instant, patience: Patience) {
        if self.reply.is_some() {
            return;
        }
        if self.talk.is_none() && now >= self.next_attempt {
            self.connect(now);
        }
        if self.reply.is_some() {
            return;
        }
        let proved = self.talk.as_ref().is_some_and(Talk::is_authenticated);
        if proved && patience.answered.is_some_and(|at| now >= at) {
            let late = Error::timeout("its runner has not answered in time");
            self.reply = Some(Reply::Late(late));
        } else if !proved && now >= patience.authenticated {
            self.reply = Some(Reply::Silent(self.obstacle.clone()));
        }
    }

    fn connect(&mut self, now: Instant) {
        let lock = self.folders.vm(&self.question.id).lock();
        match lock::holder(&lock) {
            Ok(Holder::Nobody) => self.reply = Some(Reply::NoRunner),
            Ok(Holder::Elsewhere) => self.reply = Some(Reply::Answer(Err(lock::elsewhere()))),
            Ok(Holder::Process(_)) => {
                let request = self.question.request.to_line();
                match Talk::open(self.folders, &self.question.id, request) {
                    Ok(talk) => self.talk = Some(talk),
                    Err(error) => {
                        self.stumble(error);
                        self.ask_for_a_socket(now);
                    }
                }
            }
            Err(error) => self.reply = Some(Reply::Answer(Err(error))),
        }
    }

    /// Takes what has come where [`Inquiry::source`] is ready.
    pub(super) fn hear(&mut self) {
        let Some(talk) = &mut self.talk else { return };
        match talk.advance() {
            Ok(Progress::More) => {}
            Ok(Progress::Done(answer)) => self.reply = Some(Reply::Answer(answer)),
            Ok(Progress::Closed { asked: true }) if !self.question.repeatable => {
                let error = Error::failed("its runner ended before it answered");
                self.reply = Some(Reply::Answer(Err(error)));
            }
            Ok(Progress::Closed { .. }) => {
                self.stumble(Error::timeout("its runner does not answer"));
            }
            Err(error) => {
                self.stumble(error);
                self.ask_for_a_socket(Instant::now());
            }
        }
    }

    /// Tries again later, and remembers what stood in the way if it never goes better. Only what
    /// must not be trusted is told as such: the rest is a runner that does not answer.
    fn stumble(&mut self, error: Error) {
        log::debug!("{}: {error}", self.question.id);
        self.talk = None;
        self.next_attempt = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if error.kind == Kind::Permission {
            self.obstacle = error;
        }
    }

    /// A runner whose folder was taken from it, or that holds another secret than the folder, makes
    /// all of it anew at SIGHUP, which ends no runner. The link tells that it came far enough to know
    /// the signal.
    fn ask_for_a_socket(&mut self, now: Instant) {
        let id = &self.question.id;
        let due = now >= self.began + SOCKET_PATIENCE;
        if self.hung_up || !due || self.folders.live_runtime(id).is_none() {
            return;
        }
        self.hung_up = true;
        if let Ok(Some((pid, pidfd))) = lock::holder_pidfd(&self.folders.vm(id).lock()) {
            log::info!("{id}: asking runner {pid} to make its socket anew");
            let _ = sys::pidfd_send(&pidfd, Signal::HUP);
        }
    }
}
