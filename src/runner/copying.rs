//! What the runner does while an image is being copied, which is before there is a QEMU: it answers
//! clients, and ends the copy when it is told to stop or when who started it has gone.
//!
//! A copy may take hours. Who waits for the VM is told so at each ping, instead of being held: only
//! that lets a wait have a deadline without giving up a start that goes on as it should.

use std::time::Instant;

use serde_json::{Value, json};

use super::Recipe;
use super::home::Home;
use super::launch::Leave;
use super::session::{Line, REQUESTS_PER_TURN, Sessions};
use super::starter::Starter;
use super::streams::Signals;
use super::supervisor::{Ended, start_error};
use super::turn::{self, Source};
use crate::error::{Error, Result};
use crate::qemu::argv::{self, Host};
use crate::qemu::copy::Conversion;
use crate::qemu::img::Run;
use crate::sys::{self, Interest};
use crate::time::Timestamp;
use crate::wire::copied::Copied;
use crate::wire::message::{Call, Request, StopCall};
use crate::wire::runs::{End, Outcome};
use crate::wire::status::{State, Status};

/// The runner before QEMU. It does nothing as long as nothing is copied.
#[derive(Debug)]
pub(super) struct Copying<'a> {
    pub(super) recipe: &'a Recipe<'a>,
    pub(super) sessions: &'a mut Sessions,
    pub(super) signals: &'a mut Signals,
    pub(super) starter: &'a mut Starter,
    pub(super) home: &'a mut Home,
    /// When the start began.
    pub(super) since: Timestamp,
    /// Who wanted it to end.
    pub(super) asked_by: Option<String>,
    /// The clients who wait for that end, each with the id of its request.
    pub(super) waiting: Vec<(u64, Option<Value>)>,
}

impl Copying<'_> {
    /// Runs a qemu-img that copies to its end, or until somebody wants that this start ends.
    ///
    /// # Errors
    /// In qemu-img's words; that it was stopped.
    pub(super) fn run(&mut self, Conversion { img, scale }: Conversion<'_>) -> Result<()> {
        let mut run = img.begin()?;
        let mut copied = Copied { done: 0, total: scale.total };
        self.home.write_status(&self.status());
        while !run.is_over() {
            let busy = self.sessions.has_work();
            let deadline = if busy { Instant::now() } else { self.deadline(&run) };
            let ready = turn::wait(&self.sources(&run), Some(deadline))
                .map_err(|error| Error::io("wait for qemu-img", &error))?;
            for source in ready {
                self.take(source);
            }
            run.turn(&mut |bytes| {
                copied.done = scale.done(bytes).unwrap_or(copied.done);
                Ok(())
            })?;
            self.serve(copied);
            self.sessions.expire(Instant::now());
            if let Some(who) = &self.asked_by {
                return Err(Error::failed(format!("it was stopped by {who} before it ran")));
            }
        }
        run.end()
    }

    fn deadline(&self, run: &Run) -> Instant {
        self.sessions.deadline().into_iter().fold(run.deadline(), Instant::min)
    }

    fn sources<'a>(&'a self, run: &'a Run) -> Vec<(Source, std::os::fd::BorrowedFd<'a>, Interest)> {
        let own = [
            (Source::StopSignal, Some(self.signals.stop_source())),
            (Source::HangUp, Some(self.signals.hang_up_source())),
            (Source::Starter, self.starter.source()),
            (Source::Listener, self.sessions.listener()),
        ];
        let own = own.into_iter().filter_map(|(source, fd)| Some((source, fd?)));
        let own = own.chain(run.sources().map(|fd| (Source::Copy, fd)));
        let sessions = self.sessions.sources();
        own.map(|(source, fd)| (source, fd, Interest::Read))
            .chain(sessions.map(|(number, fd, what)| (Source::Session(number), fd, what)))
            .collect()
    }

    fn take(&mut self, source: Source) {
        match source {
            Source::StopSignal if self.signals.stops() > 0 => {
                self.asked_by.get_or_insert_with(|| "a signal to its runner".into());
            }
            Source::HangUp if self.signals.hang_ups() > 0 => match self.home.renew() {
                Ok((listener, key)) => {
                    self.sessions.listen_anew(listener, key);
                    self.home.write_status(&self.status());
                }
                Err(error) => log::error!("{error}"),
            },
            Source::Starter if self.starter.has_left() => {
                let who = "the end of the command that started it";
                self.asked_by.get_or_insert_with(|| who.into());
            }
            Source::Listener => self.sessions.accept(),
            Source::Session(number) => self.sessions.turn(number),
            _ => {}
        }
    }

    fn serve(&mut self, copied: Copied) {
        for number in self.sessions.numbers() {
            for _ in 0..REQUESTS_PER_TURN {
                match self.sessions.next_line(number) {
                    Some(Line::Request(Ok(request))) => self.answer(number, request, copied),
                    // No stream has been opened that it could belong to.
                    Some(Line::Input(..)) => {}
                    Some(Line::Request(Err(refused))) => {
                        let (id, error) = *refused;
                        self.sessions.answer(number, id.as_ref(), Err(error));
                    }
                    None => break,
                }
            }
        }
    }

    fn answer(&mut self, number: u64, Request { id, call }: Request, copied: Copied) {
        let answer = match call {
            Call::Ping => Err(Error::conflict(copied.to_string())),
            Call::Status => Ok(json!(self.status())),
            Call::Stop(StopCall { at_once, .. }) => {
                let who = self.sessions.describe(number);
                self.asked_by.get_or_insert(who);
                if !at_once {
                    self.waiting.push((number, id));
                    return;
                }
                Ok(json!({ "state": State::Stopping }))
            }
            _ => Err(Error::conflict("the VM is still starting")),
        };
        self.sessions.answer(number, id.as_ref(), answer);
    }

    fn status(&self) -> Status {
        let definition = &self.recipe.definition;
        let host = Host { kvm: sys::kvm_opens(), ..Host::unseen(definition) };
        Status {
            vm_id: self.recipe.mission.id.to_string(),
            name: self.recipe.name.to_string(),
            state: State::Starting,
            running: false,
            runner_pid: std::process::id(),
            qemu_pid: None,
            accel: argv::accel(definition, &host).to_owned(),
            uptime: 0,
            since: self.since,
            socket_path: self.home.socket_path(),
            sandbox: argv::is_sandboxed(definition),
            exceptions: Leave::exceptions(definition),
            log_bytes_lost: self.recipe.held.lost.bytes(),
        }
    }

    /// How a start ended that came to no QEMU: `error`, unless somebody wanted its end.
    ///
    /// # Errors
    /// `error`.
    pub(super) fn end(self, error: Error) -> Result<Ended> {
        if self.asked_by.is_none() {
            return Err(error);
        }
        let end = End {
            outcome: Outcome::Stopped,
            exit_code: None,
            signal: None,
            by: None,
            asked_by: self.asked_by,
            detail: None,
            ended_at: Some(Timestamp::now()),
        };
        for (number, id) in self.waiting {
            let result = json!({ "state": State::Stopped, "last_exit": end });
            self.sessions.answer(number, id.as_ref(), Ok(result));
        }
        let error = start_error(&end, "");
        Ok(Ended { end, error: Some(error), stderr: String::new() })
    }
}

/// For a QEMU that is to come after another: nobody waits for it, and an image that has vanished in
/// between is not to be found made anew.
pub(super) fn not_again(_: Conversion<'_>) -> Result<()> {
    Err(Error::failed("an image has vanished, and is copied at the first start alone")
        .hint("stop the VM and start it, to have the image copied again"))
}
