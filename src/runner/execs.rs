//! The commands that run in the guest for clients: each with its stream, and how far it is.
//!
//! What is asked of the agent and what its answers mean is `qemu::agent::exec`'s. A client that does
//! not read stalls its own command alone; one that has left has its command ended.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::agent::{ANSWER_LIMIT, Agent, Asker, Told};
use super::session::{Holder, Sessions};
use crate::error::{Error, Result};
use crate::qemu::agent::exec::{Exec, Exit, Next, Report, Task};
use crate::qemu::agent::simple::Simple;
use crate::qemu::agent::{Lost, Said};
use crate::wire::guest::{ExecCall, ExecEnd};
use crate::wire::stream::{self, Input};

/// How many there may be, those that are being cleaned up behind included.
pub(super) const MOST: usize = 32;

#[derive(Debug)]
enum Job {
    Full(Box<Exec>),
    Simple(Box<Simple>),
}

/// For QEMU to tell that the guest was reset, or ended, when its agent has gone.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// One command and its client.
#[derive(Debug)]
struct Running {
    number: u64,
    session: u64,
    id: Value,
    job: Job,
    task: Task,
    /// The agent was given something for it.
    begun: bool,
    /// The agent owes it an answer.
    waits: bool,
    /// It will get none, for the agent has gone; told then, for it may turn out why.
    gone: Option<(Lost, Instant)>,
    /// When it is to be looked at again.
    wake: Option<Instant>,
    /// Its client has had its answer, or has left.
    told: bool,
    cut: bool,
    /// There is nothing left to be done.
    over: bool,
}

#[derive(Debug, Default)]
pub(super) struct Execs {
    all: Vec<Running>,
    next: u64,
}

impl Execs {
    /// Begins to run a command for a client; [`Execs::attend`] goes on with it.
    ///
    /// # Errors
    /// `Kind::Usage` where the id has a stream; `Kind::Conflict` where too many run.
    pub(super) fn begin(
        &mut self,
        sessions: &mut Sessions,
        session: u64,
        id: &Value,
        call: ExecCall,
        now: Instant,
    ) -> Result<()> {
        if self.all.iter().any(|one| one.session == session && one.id == *id && !one.told) {
            return Err(Error::usage("this id has a stream already"));
        }
        if self.all.len() >= MOST {
            return Err(Error::conflict("too many commands run in the guest already"));
        }
        let ExecCall { words, env, cwd, timeout, simple } = call;
        let task = Task {
            words,
            env,
            cwd: cwd.unwrap_or_default(),
            number: secret_number()?,
            until: timeout.and_then(|timeout| now.checked_add(timeout)),
        };
        let job = match simple {
            true => Job::Simple(Box::new(Simple::new(task.clone(), false))),
            false => Job::Full(Box::new(Exec::new(task.clone()))),
        };
        sessions.stream(session, &stream::opened(id));
        let number = self.next;
        self.next += 1;
        self.all.push(Running {
            number,
            session,
            id: id.clone(),
            job,
            task,
            begun: false,
            waits: false,
            gone: None,
            wake: None,
            told: false,
            cut: false,
            over: false,
        });
        Ok(())
    }

    /// Takes a frame of a client's; of a stream that is none of these nothing happens.
    pub(super) fn take(&mut self, sessions: &mut Sessions, session: u64, id: &Value, input: Input) {
        let is_it = |one: &&mut Running| one.session == session && one.id == *id && !one.told;
        let Some(one) = self.all.iter_mut().find(is_it) else { return };
        match (input, &mut one.job) {
            (Input::Bytes(bytes), Job::Full(exec)) => exec.feed(&bytes),
            (Input::Bytes(bytes), Job::Simple(simple)) => simple.feed(&bytes),
            (Input::Eof, Job::Full(exec)) => exec.end_input(),
            (Input::Eof, Job::Simple(simple)) => simple.end_input(),
            (Input::Cancel, _) => {
                one.cancel();
                sessions.answer(session, Some(id), Ok(Value::Null));
            }
        }
        self.hold(sessions);
    }

    /// Reads on of those whose input was taken, and no further of others.
    fn hold(&self, sessions: &mut Sessions) {
        let is_full = |one: &Running| match &one.job {
            Job::Full(exec) => !one.told && !exec.takes_more(),
            Job::Simple(_) => false,
        };
        for Running { session, .. } in &self.all {
            let held = self.all.iter().any(|one| one.session == *session && is_full(one));
            sessions.hold(*session, Holder::Guest, held);
        }
    }

    /// When something is due that no answer of the agent's announces.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all.iter().filter_map(Running::deadline).min()
    }

    /// Goes on with every command that does not wait for the agent.
    pub(super) fn attend(&mut self, sessions: &mut Sessions, agent: &mut Agent, now: Instant) {
        if self.all.is_empty() {
            return;
        }
        for one in &mut self.all {
            if !one.told && !sessions.has(one.session) {
                one.cancel();
            }
            if let Some((lost, _)) = one.gone.take_if(|(_, until)| *until <= now) {
                one.answered(now, Err(lost));
                one.tell(sessions);
            }
            if one.waits {
                one.overdue(now);
                one.tell(sessions);
            }
            // What runs goes on when its guest does.
            while !(one.waits || one.begun && agent.is_paused()) {
                let may_tell = one.told || sessions.takes_more(one.session);
                let next = match &mut one.job {
                    Job::Full(exec) => exec.next(now, may_tell),
                    Job::Simple(simple) => simple.next(now, may_tell),
                };
                one.tell(sessions);
                let command = match next {
                    Next::Ask(command) => command,
                    Next::Over => {
                        one.over = true;
                        break;
                    }
                    Next::Sleep(until) => {
                        one.wake = until;
                        break;
                    }
                };
                one.waits = true;
                let began = std::mem::replace(&mut one.begun, true);
                let asker = match &one.job {
                    Job::Full(_) => Asker::Exec(one.number),
                    Job::Simple(_) => Asker::Simple(one.number),
                };
                // Refused at once, where there is no agent.
                for Told { answer, .. } in agent.ask(now, asker, &command, ANSWER_LIMIT) {
                    match answer {
                        Err(lost) if began && !agent.is_open() => one.left(lost, now),
                        answer => one.answered(now, answer),
                    }
                    one.tell(sessions);
                }
            }
        }
        self.hold(sessions);
        self.all.retain(|one| one.waits || !one.over);
    }

    /// Takes the agent's answer for one of them.
    pub(super) fn answered(
        &mut self,
        sessions: &mut Sessions,
        number: u64,
        answer: Result<Said, Lost>,
        now: Instant,
    ) {
        if let Some(one) = self.all.iter_mut().find(|one| one.number == number) {
            one.answered(now, answer);
            one.tell(sessions);
        }
    }

    /// The agent has gone and owes this one an answer: because it ended, or its guest did, of which
    /// [`Execs::end`] is told then.
    pub(super) fn left(&mut self, number: u64, lost: Lost, now: Instant) {
        if let Some(one) = self.all.iter_mut().find(|one| one.number == number) {
            one.left(lost, now);
        }
    }

    /// The guest that they ran in is gone.
    pub(super) fn end(&mut self, sessions: &mut Sessions, error: &Error) {
        for one in std::mem::take(&mut self.all) {
            if !one.told {
                sessions.answer(one.session, Some(&one.id), Err(error.clone()));
                sessions.hold(one.session, Holder::Guest, false);
            }
        }
    }
}

impl Running {
    fn deadline(&self) -> Option<Instant> {
        let gone = self.gone.as_ref().map(|(_, until)| *until);
        let job = match &self.job {
            _ if !self.waits => self.wake,
            Job::Full(exec) => exec.overdue_at(),
            Job::Simple(simple) => simple.overdue_at(),
        };
        gone.into_iter().chain(job).min()
    }

    fn left(&mut self, lost: Lost, now: Instant) {
        self.gone = Some((lost, now + END_PATIENCE));
    }

    fn overdue(&mut self, now: Instant) {
        match &mut self.job {
            Job::Full(exec) => exec.overdue(now),
            Job::Simple(simple) => simple.overdue(now),
        }
    }

    fn cancel(&mut self) {
        self.told = true;
        match &mut self.job {
            Job::Full(exec) => exec.cancel(),
            Job::Simple(simple) => simple.cancel(),
        }
    }

    fn answered(&mut self, now: Instant, answer: Result<Said, Lost>) {
        self.waits = false;
        match &mut self.job {
            Job::Full(exec) => {
                let line = answer.as_ref().map(|said| said.line.as_slice());
                exec.answered(now, line.map_err(Clone::clone));
            }
            Job::Simple(simple) => simple.answered(now, answer),
        }
    }

    /// Gives the client what there is for it.
    fn tell(&mut self, sessions: &mut Sessions) {
        let reports = match &mut self.job {
            Job::Full(exec) => exec.reports(),
            Job::Simple(simple) => simple.reports(),
        };
        for report in reports {
            let (session, id) = (self.session, &self.id);
            match report {
                _ if self.told => {}
                Report::Stdout(bytes) => {
                    sessions.stream(session, &stream::frame(id, "stdout", &bytes, 0));
                }
                Report::Stderr(bytes) => {
                    sessions.stream(session, &stream::frame(id, "stderr", &bytes, 0));
                }
                Report::Cut => self.cut = true,
                Report::Ended(end) => {
                    let cut = self.cut;
                    let value = |exit| match exit {
                        Exit::Code(code) => ExecEnd { exit_code: Some(code), cut }.to_value(),
                        Exit::TimedOut => ExecEnd { exit_code: None, cut }.to_value(),
                    };
                    sessions.answer(session, Some(id), end.map(value));
                    sessions.hold(session, Holder::Guest, false);
                    self.told = true;
                }
                Report::IsWindows => self.make_simple(),
            }
        }
    }

    /// The same command for a guest without a shell.
    fn make_simple(&mut self) {
        let Job::Full(exec) = &mut self.job else { return };
        let mut simple = Simple::new(self.task.clone(), true);
        let (input, ended) = exec.take_input();
        simple.feed(&input);
        if ended {
            simple.end_input();
        }
        self.job = Job::Simple(Box::new(simple));
    }
}

/// A number that nobody in the guest can guess.
fn secret_number() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::failed(format!("cannot get a random number: {error}")))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
