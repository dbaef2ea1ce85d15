//! Stops VMs, side by side: asks their runners, and sees to it that runner and QEMU are gone.
//!
//! The escalation against QEMU runs in the runner and goes on without us. Here stands the one
//! against a runner that does not answer. "Stopped" is never said while either lock is held.

use std::time::{Duration, Instant};

use super::ask::{Patience, Question, Reply, ask};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::lock::{self, Attempt, Guard, Holder};
use crate::paths::Folders;
use crate::sys::{self, Signal};
use crate::time::Timestamp;
use crate::wire::message::{Call, Manner, Request, StopCall};
use crate::wire::runs::{End, EndedBy, Line, Outcome};

/// For a runner to give an authenticated answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Between one signal to a runner that does not answer and the next.
const SIGNAL_STEP: Duration = Duration::from_secs(2);
/// For runner and QEMU to be gone once the guest has ended.
const GONE_LIMIT: Duration = Duration::from_secs(15);

/// How one stop ended.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Nothing ran.
    Already,
    /// Runner and QEMU are gone; what ended the guest, where it is known.
    Gone(Option<EndedBy>),
    /// It was asked, and nobody waited for more.
    Asked,
}

/// One VM to be stopped: its id, and when its whole stop must be over (`None`: the guest has for
/// ever).
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) id: String,
    pub(crate) until: Option<Instant>,
}

/// Stops the VMs as `call` says; the outcomes come in the same order.
pub(crate) fn stop(folders: &Folders, stops: &[Stop], call: &StopCall) -> Vec<Result<Stopped>> {
    let began = Instant::now();
    let questions: Vec<Question> = stops
        .iter()
        .map(|stop| Question {
            id: stop.id.clone(),
            request: Request::from(Call::Stop(call.clone())),
            repeatable: true,
        })
        .collect();
    let answered = stops
        .iter()
        .map(|stop| stop.until)
        .max_by_key(|until| until.map_or((1, None), |at| (0, Some(at))));
    let patience =
        Patience { authenticated: began + ANSWER_LIMIT, answered: answered.unwrap_or_default() };
    let replies = ask(folders, &questions, patience);
    let mut outcomes: Vec<Option<Result<Stopped>>> = Vec::new();
    for reply in replies {
        outcomes.push(match reply {
            Reply::NoRunner => Some(Ok(Stopped::Already)),
            Reply::Answer(Ok(_)) if call.at_once => Some(Ok(Stopped::Asked)),
            // The runner ends; the locks are waited for below.
            Reply::Answer(Ok(value)) => {
                let by = serde_json::from_value(value["last_exit"]["by"].clone()).unwrap_or(None);
                Some(Ok(Stopped::Gone(by)))
            }
            Reply::Answer(Err(error)) => Some(Err(error)),
            Reply::Late(_) => {
                Some(Err(Error::timeout("its guest has not ended yet; the stop goes on")
                    .hint("\"maqet stop --force\" ends it at once")))
            }
            Reply::Silent(_) => None,
        });
    }
    // A signal would end what --no-kill is to leave alone.
    if call.manner != Manner::NoKill {
        insist(folders, stops, call.manner == Manner::Force, &mut outcomes);
    }
    stops.iter().zip(outcomes).map(|(stop, outcome)| conclude(folders, &stop.id, outcome)).collect()
}

/// Deals with runners that do not answer: SIGHUP, for one that lost its socket; SIGTERM, which is an
/// orderly stop; with force SIGKILL, with which QEMU dies too. All of them go through the steps
/// together.
fn insist(
    folders: &Folders,
    stops: &[Stop],
    force: bool,
    outcomes: &mut [Option<Result<Stopped>>],
) {
    let steps: &[Signal] = if force {
        &[Signal::HUP, Signal::TERM, Signal::KILL]
    } else {
        &[Signal::HUP, Signal::TERM]
    };
    for &signal in steps {
        let silent: Vec<usize> = (0..stops.len()).filter(|&n| outcomes[n].is_none()).collect();
        if silent.is_empty() {
            return;
        }
        for &number in &silent {
            match lock::holder_pidfd(&folders.vm(&stops[number].id).lock()) {
                Ok(Some((pid, pidfd))) => {
                    log::info!("sending {signal:?} to runner {pid}, which does not answer");
                    if let Err(error) = sys::pidfd_send(&pidfd, signal) {
                        outcomes[number] = Some(Err(Error::io("signal the runner", &error)));
                    }
                }
                Ok(None) => outcomes[number] = Some(Ok(Stopped::Gone(None))),
                Err(error) => outcomes[number] = Some(Err(error)),
            }
        }
        let mut backoff = Backoff::until(Instant::now() + SIGNAL_STEP);
        loop {
            for &number in &silent {
                let lock = folders.vm(&stops[number].id).lock();
                if outcomes[number].is_none()
                    && lock::holder(&lock).is_ok_and(|h| h == Holder::Nobody)
                {
                    let by = (signal == Signal::KILL).then_some(EndedBy::Kill);
                    outcomes[number] = Some(Ok(Stopped::Gone(by)));
                }
            }
            if silent.iter().all(|&number| outcomes[number].is_some()) || !backoff.wait() {
                break;
            }
        }
    }
}

/// Waits for both locks, and puts in order what a killed runner left.
fn conclude(folders: &Folders, id: &str, outcome: Option<Result<Stopped>>) -> Result<Stopped> {
    let by = match outcome {
        None => {
            return Err(Error::timeout("its runner does not answer")
                .hint("stop it with --force; its guest then ends as by a power cut"));
        }
        Some(Ok(Stopped::Already)) => None,
        Some(Ok(Stopped::Gone(by))) => by,
        Some(other) => return other,
    };
    let already = matches!(outcome, Some(Ok(Stopped::Already)));
    let folder = folders.vm(id);
    let deadline = Instant::now() + GONE_LIMIT;
    let mut backoff = Backoff::until(deadline);
    while lock::holder(&folder.lock())? != Holder::Nobody || !lock::guard_is_free(&folder.guard())?
    {
        if !backoff.wait() {
            return Err(Error::timeout("its QEMU is still there")
                .hint("it may be waiting for a disk or a network file system that hangs"));
        }
    }
    tidy(folders, id, by)?;
    Ok(if already { Stopped::Already } else { Stopped::Gone(by) })
}

/// Removes what a killed runner left, and writes down how its run ended. Where there is nothing to
/// put in order it takes no lock.
fn tidy(folders: &Folders, id: &str, by: Option<EndedBy>) -> Result<()> {
    let folder = folders.vm(id);
    if folders.live_runtime(id).is_none() {
        return Ok(());
    }
    let Attempt::Taken(_lock) = lock::take(&folder.lock())? else { return Ok(()) };
    let _guard = Guard::take(&folder.guard(), Instant::now())?;
    let unfinished = super::life::last_run(&folder).filter(|run| run.end.is_none());
    if let (Some(run), Some(EndedBy::Kill)) = (unfinished, by) {
        let end = End {
            outcome: Outcome::Stopped,
            exit_code: None,
            signal: None,
            by,
            asked_by: Some("stop --force".into()),
            detail: Some("its runner did not answer and was killed".into()),
            ended_at: Some(Timestamp::now()),
        };
        let line = Line::Ended {
            run: run.number,
            end,
            error: None,
            events: Vec::new(),
            stderr: String::new(),
        };
        append(&folder.runs(), &line.to_text());
    }
    // Its link stays with what cannot be removed now: the next start or stop finds it.
    if let Err(error) = folders.clear_live(id) {
        log::warn!("{id}: {error}");
    }
    Ok(())
}

/// What cannot be written down is only not remembered.
fn append(path: &std::path::Path, text: &str) {
    use std::io::Write;
    let written = std::fs::File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        log::warn!("cannot write to {}: {error}", path.display());
    }
}
