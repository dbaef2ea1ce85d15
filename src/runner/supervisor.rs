//! The runner's loop: it sleeps until something happens, tells the state machine, does what it says,
//! and answers clients.
//!
//! It is a set of descriptors and decides nothing by itself: what an input means is `state`'s, what
//! may wait and how long is each part's own. It never opens the database and never waits for a
//! client, a disk or QEMU.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::Instant;

use serde_json::Value;

use super::Recipe;
use super::again::Again;
use super::agent::Agent;
use super::console::Console;
use super::events::Followers;
use super::execs::Execs;
use super::front::Front;
use super::home::Home;
use super::keyboard::Keyboard;
use super::logs::Lost;
use super::monitor::{Asker, Monitor, News};
use super::pictures::Pictures;
use super::record::Record;
use super::session::Sessions;
use super::starter::Starter;
use super::state::{Action, Exit, Input, Machine, Order, Phase, Terms};
use super::streams::{Output, Signals};
use super::turn::{self, Source};
use super::watch::Watches;
use crate::error::Error;
use crate::qemu::machine;
use crate::qemu::qmp::{Answer, OLDEST, Version};
use crate::sys::{self, Interest, Signal};
use crate::time::Timestamp;
use crate::wire::runs::End;
use crate::wire::status::{State, Status};

mod agent;
mod attend;
mod ends;
mod person;
mod serve;

pub(super) use self::ends::start_error;
use self::serve::{Until, Waiting};

/// What does not change while QEMU lives.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) accel: &'static str,
    pub(super) sandbox: bool,
    pub(super) exceptions: Vec<String>,
    /// The files that were made for this start.
    pub(super) created: Vec<PathBuf>,
    pub(super) spawned: Instant,
}

/// QEMU's process and everything that leads to it.
#[derive(Debug)]
pub(super) struct Qemu {
    pub(super) child: Child,
    pub(super) pidfd: OwnedFd,
    pub(super) monitor: Monitor,
    pub(super) console: Console,
    pub(super) stderr: Output,
    pub(super) agent: Agent,
}

/// The end of a VM's run, and what is left to be done about it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    /// Where it never came up: what the command that started it is to be told.
    pub(super) error: Option<Error>,
    /// The end of QEMU's standard error.
    pub(super) stderr: String,
}

/// One VM, from QEMU's spawn to its end, and to that of each QEMU that follows.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    pub(super) recipe: Recipe<'a>,
    pub(super) terms: Terms,
    pub(super) again: Again,
    pub(super) facts: Facts,
    pub(super) machine: Machine,
    /// In a pause between two, the one that has ended.
    pub(super) qemu: Qemu,
    pub(super) sessions: Sessions,
    pub(super) signals: Signals,
    pub(super) starter: &'a mut Starter,
    pub(super) home: &'a mut Home,
    pub(super) record: &'a mut Record,
    pub(super) lost: Lost,
    /// In the foreground: the console's other way.
    pub(super) front: Option<Front>,
    /// When the present state began.
    pub(super) since: Timestamp,
    pub(super) waiting: Vec<Waiting>,
    pub(super) watches: Watches,
    pub(super) execs: Execs,
    pub(super) keyboard: Keyboard,
    pub(super) followers: Followers,
    pub(super) pictures: Pictures,
}

impl Supervisor<'_> {
    /// Runs until QEMU has ended, and there is to be no other.
    ///
    /// # Errors
    /// Only where the kernel refuses to `poll`; QEMU then ends with the runner.
    pub(super) fn run(mut self) -> std::io::Result<Ended> {
        self.home.write_status(&self.status());
        let mut written = self.machine.state();
        loop {
            let behind = self.watches.has_work(self.qemu.console.written());
            let behind = behind || self.qemu.monitor.has_line();
            let behind = behind || self.followers.has_work(&self.record.events, &self.sessions);
            let busy = behind || self.sessions.has_work();
            let deadline = if busy { Some(Instant::now()) } else { self.deadline() };
            let ready = turn::wait(&self.sources(), deadline)?;
            for source in ready {
                self.take(source);
            }
            // After the end nothing is answered any more: what is true then stands in the runs, once
            // it has been written there, and who asks again reads it there.
            if self.machine.phase() != Phase::Ended && self.qemu.monitor.has_line() {
                self.hear_monitor();
            }
            if self.machine.phase() != Phase::Ended {
                self.take_requests();
                let now = Instant::now();
                self.attend(now);
                self.sessions.expire(now);
                if self.machine.deadline().is_some_and(|at| at <= now) {
                    self.tell(Input::DeadlinePassed);
                }
            }
            if self.machine.phase() == Phase::Ended && !self.rests() {
                break;
            }
            // Once a turn, however often it has changed.
            if self.machine.state() != written {
                written = self.machine.state();
                self.home.write_status(&self.status());
            }
        }
        Ok(self.conclude())
    }

    fn deadline(&self) -> Option<Instant> {
        let front = self.front.as_ref().and_then(Front::deadline);
        let own = self.machine.deadline().into_iter().chain(self.sessions.deadline());
        let execs = self.execs.deadline().filter(|_| !self.qemu.agent.is_paused());
        let guest = self.qemu.agent.deadline().into_iter().chain(execs);
        let keyboard = self.keyboard.deadline(self.guest_runs());
        let guest = guest.chain(keyboard);
        own.chain(front).chain(self.watches.deadline()).chain(guest).min()
    }

    /// What to poll for, the console first.
    fn sources(&self) -> Vec<(Source, std::os::fd::BorrowedFd<'_>, Interest)> {
        let qemu = &self.qemu;
        let reads = [
            (Source::Console, qemu.console.source()),
            (Source::Stderr, qemu.stderr.source()),
            (Source::StopSignal, Some(self.signals.stop_source())),
            (Source::HangUp, Some(self.signals.hang_up_source())),
            (Source::Starter, self.starter.source()),
            (Source::Listener, self.sessions.listener()),
            (Source::Exit, self.machine.has_qemu().then(|| qemu.pidfd.as_fd())),
        ];
        let mut sources: Vec<_> = reads
            .into_iter()
            .filter_map(|(source, fd)| Some((source, fd?, Interest::Read)))
            .collect();
        if let Some(front) = &self.front {
            sources.extend(front.sources(qemu.console.input()));
        }
        let typed = qemu.console.blocked_input();
        sources.extend(typed.map(|fd| (Source::ConsoleInput, fd, Interest::Write)));
        sources.extend(qemu.monitor.source().map(|(fd, what)| (Source::Monitor, fd, what)));
        sources.extend(qemu.agent.source().map(|(fd, what)| (Source::Agent, fd, what)));
        let sessions = self.sessions.sources();
        sources.extend(sessions.map(|(number, fd, what)| (Source::Session(number), fd, what)));
        sources
    }

    fn take(&mut self, source: Source) {
        match source {
            Source::Console => drop(self.drain_console()),
            Source::Stderr => drop(self.qemu.stderr.drain(|_| {})),
            Source::Input | Source::ConsoleInput => {
                if let Some(front) = &mut self.front {
                    front.feed(source == Source::Input, self.qemu.console.input_mut());
                }
                self.qemu.console.write_typed(&mut self.sessions);
            }
            Source::Front => {
                if let Some(front) = &mut self.front {
                    front.write();
                }
            }
            Source::Agent => self.hear_agent(),
            Source::Monitor => drop(self.hear_monitor()),
            Source::Exit => self.reap(),
            Source::StopSignal => {
                for _ in 0..self.signals.stops() {
                    self.tell(Input::StopSignal);
                }
            }
            Source::HangUp => {
                if self.signals.hang_ups() > 0 {
                    self.renew_home();
                }
            }
            Source::Starter => {
                if self.starter.has_left() {
                    self.tell(Input::StarterLeft);
                }
            }
            // Nothing is copied any more.
            Source::Copy => {}
            Source::Listener => self.sessions.accept(),
            Source::Session(number) => self.sessions.turn(number),
        }
    }

    /// Takes what the guest wrote; false when it wrote nothing.
    fn drain_console(&mut self) -> bool {
        let (front, watches) = (&mut self.front, &mut self.watches);
        let before = self.qemu.console.written();
        self.qemu.console.drain(&mut self.sessions, |bytes| {
            watches.console(bytes, before);
            if let Some(front) = front {
                front.push(bytes);
            }
        })
    }

    /// Tells the machine what happened, and does what it says.
    fn tell(&mut self, input: Input) {
        let before = self.machine.state();
        log::debug!("{:?}: {input:?}", self.machine.phase());
        let actions = self.machine.handle(input, Instant::now());
        let after = self.machine.state();
        if after != before {
            log::info!("{before} -> {after}");
            self.since = Timestamp::now();
            self.watches.state(after, self.qemu.console.written());
            if self.machine.phase() != Phase::Ended {
                self.record.state(before, after);
            }
            if after == State::Stopping {
                self.starter.stopping();
            }
        }
        for action in actions {
            log::debug!("{action:?}");
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Spawn => self.spawn_again(),
            Action::Execute(order) => {
                let news = self.qemu.monitor.order(order);
                self.hear(news);
            }
            Action::Terminate => self.signal(Signal::TERM),
            // It ends one that stands still, too (signal(7)). Woken first, such a QEMU would now and then
            // obey the SIGTERM that waits for it before, and be told to have done so.
            Action::Kill => self.signal(Signal::KILL),
            Action::Ready => {
                self.again.up(Instant::now());
                self.starter.dismiss();
                self.answer_waiting(Until::Up, || Ok("pong".into()));
            }
            Action::GiveUpStopping => self.answer_waiting(Until::Ended, || {
                Err(Error::timeout("the guest did not shut down in time; it runs on"))
            }),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = sys::pidfd_send(&self.qemu.pidfd, signal) {
            log::error!("cannot send {signal:?} to QEMU: {error}");
        }
    }

    /// Takes what QEMU says; false when it said nothing.
    fn hear_monitor(&mut self) -> bool {
        let news = self.qemu.monitor.turn();
        let heard = !news.is_empty();
        self.hear(news);
        heard
    }

    fn hear(&mut self, news: impl IntoIterator<Item = News>) {
        for news in news {
            match news {
                News::Greeting(version) => self.greet(version),
                News::Answer(Asker::Machine(order), answer) => self.hear_answer(order, answer),
                News::Answer(Asker::Nobody, _) => {}
                News::Answer(Asker::Keyboard, answer) => self.hear_keyboard(answer),
                News::Answer(Asker::Pictures(place), answer) => self.hear_picture(place, answer),
                News::Answer(Asker::Watches, answer) => self.hear_connections(answer),
                News::Answer(Asker::Client { session, request }, answer) => {
                    self.sessions.answer(session, request.as_ref(), Ok(answer.into_value()));
                }
                News::Event { name, data } => {
                    self.watches.event(&name, self.qemu.console.written());
                    self.heed_event(&name, &data);
                    self.record.saw(&name, data.clone());
                    match name.as_str() {
                        "STOP" => self.tell(Input::GuestPaused),
                        "RESUME" => self.tell(Input::GuestResumed),
                        "SHUTDOWN" => {
                            let reason = data.get("reason").and_then(Value::as_str);
                            self.tell(Input::ShutDown(reason.unwrap_or_default().into()));
                        }
                        _ => {}
                    }
                }
                News::Lost(why) => {
                    log::info!("the monitor is closed: {why}");
                    for asker in self.qemu.monitor.unanswered() {
                        if let Asker::Client { session, request } = asker {
                            let error = Error::failed("QEMU closed its monitor before it answered");
                            self.sessions.answer(session, request.as_ref(), Err(error));
                        }
                    }
                    self.lose_monitor();
                    self.tell(Input::MonitorLost(why));
                }
            }
        }
    }

    /// An older QEMU is refused by its version, not by the first thing that it lacks.
    fn greet(&mut self, version: Option<Version>) {
        self.pictures.greeted(version);
        self.tell(Input::Greeted);
        if let Some((major, minor)) = version.filter(|version| *version < OLDEST) {
            let why = format!("QEMU {major}.{minor} is too old: 7.0 is the oldest that will do");
            self.tell(Input::Refused(Order::Capabilities, why));
        }
    }

    fn hear_answer(&mut self, order: Order, answer: Answer) {
        match answer {
            Answer::Return(value) => {
                if order == Order::MachineType
                    && let Some(pinned) = value.as_str().and_then(machine::from_qom)
                {
                    self.recipe.pin(pinned);
                    self.record.up(pinned, &self.facts.created);
                }
                self.tell(Input::Returned(order));
            }
            Answer::Error { desc, .. } => {
                self.tell(Input::Refused(order, crate::error::excerpt(&desc)));
            }
        }
    }

    /// QEMU has ended: its last words are taken first, for they say why.
    fn reap(&mut self) {
        while self.drain_console() {}
        while self.qemu.stderr.drain(|_| {}) {}
        while self.hear_monitor() {}
        let exit = match self.qemu.child.wait() {
            Ok(status) => Exit { code: status.code(), signal: status.signal() },
            Err(error) => {
                log::error!("cannot learn how QEMU ended: {error}");
                Exit { code: None, signal: None }
            }
        };
        self.tell(Input::Exited(exit));
    }

    fn renew_home(&mut self) {
        log::info!("SIGHUP: making the runtime folder anew");
        match self.home.renew() {
            Ok((listener, key)) => {
                self.sessions.listen_anew(listener, key);
                self.home.write_status(&self.status());
            }
            Err(error) => log::error!("{error}"),
        }
    }

    fn status(&self) -> Status {
        let lives = self.machine.has_qemu() && self.machine.phase() != Phase::Ended;
        let uptime = if lives { self.facts.spawned.elapsed().as_secs() } else { 0 };
        Status {
            vm_id: self.facts.id.clone(),
            name: self.facts.name.clone(),
            state: self.machine.state(),
            running: lives,
            runner_pid: std::process::id(),
            qemu_pid: lives.then(|| self.qemu.child.id()),
            accel: self.facts.accel.to_owned(),
            uptime,
            since: self.since,
            socket_path: self.home.socket_path(),
            sandbox: self.facts.sandbox,
            exceptions: self.facts.exceptions.clone(),
            log_bytes_lost: self.lost.bytes(),
        }
    }
}
