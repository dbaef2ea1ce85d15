//! What is true of a VM now: from its lock, from its runner, and from what its last run left.
//!
//! The lock alone tells whether a runner lives. Nothing here changes anything.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use serde::Serialize;

use super::ask::{Patience, Question, Reply, ask};
use crate::error::{Error, Result};
use crate::lock::{self, Holder};
use crate::paths::{Folders, RuntimeFolder, VmFolder};
use crate::sys;
use crate::time::Timestamp;
use crate::wire::events::{self, Event};
use crate::wire::message::{Call, Request};
use crate::wire::runs::{self, End, Outcome, Run};
use crate::wire::status::{State, Status};

/// How long a runner may take to say its status before it is shown as not responding.
const STATUS_LIMIT: Duration = Duration::from_secs(2);
/// How much of `runs.ndjson` is read for the newest run, and for all of them, in bytes.
const LAST_RUN_BYTES: u64 = 64 << 10;
const ALL_RUNS_BYTES: u64 = 4 << 20;

/// A VM as it is now. Its JSON is what `status --json` prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Life {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: State,
    /// Whether its runner answers; `None` without one.
    pub(crate) responding: Option<bool>,
    pub(crate) runner_pid: Option<u32>,
    pub(crate) qemu_pid: Option<u32>,
    pub(crate) accel: Option<String>,
    /// Whole seconds since QEMU was spawned.
    pub(crate) uptime: Option<u64>,
    /// When this state began, where that is known.
    pub(crate) since: Option<Timestamp>,
    /// Whether its memory is saved on disk; never, so far.
    pub(crate) saved: bool,
    pub(crate) socket_path: Option<String>,
    /// Whether QEMU runs in its seccomp sandbox; `None` when it does not run.
    pub(crate) sandbox: Option<bool>,
    /// What QEMU has that is else taken from it; `None` when it does not run.
    pub(crate) exceptions: Option<Vec<String>>,
    /// Bytes of logs that could not be written.
    pub(crate) log_bytes_lost: Option<u64>,
    /// How the last run that has ended did so.
    pub(crate) last_exit: Option<End>,
    /// The name under which the VM was started.
    #[serde(skip)]
    pub(crate) runner_name: Option<String>,
    /// Why the runner is not trusted, or who cannot be reached.
    #[serde(skip)]
    pub(crate) obstacle: Option<Error>,
}

/// Looks at VMs, given by id and name. Runners are asked side by side, for 2 s at most.
pub(crate) fn look(folders: &Folders, vms: &[(String, String)]) -> Vec<Result<Life>> {
    let boot_id = sys::boot_id();
    let lives: Vec<Result<(Life, Holder)>> =
        vms.iter().map(|(id, name)| at_rest(folders, id, name, &boot_id)).collect();
    let live = |life: &Result<(Life, Holder)>| {
        life.as_ref()
            .ok()
            .filter(|(_, holder)| *holder != Holder::Nobody)
            .map(|(life, _)| life.id.clone())
    };
    let questions: Vec<Question> = lives
        .iter()
        .filter_map(live)
        .map(|id| Question { id, request: Request::from(Call::Status), repeatable: true })
        .collect();
    let mut replies = ask(folders, &questions, Patience::of(STATUS_LIMIT)).into_iter();
    let mut complete = |(life, holder): (Life, Holder)| match holder {
        Holder::Nobody => Ok(life),
        _ => match replies.next() {
            Some(reply) => with_reply(folders, life, reply, &boot_id),
            None => Ok(life),
        },
    };
    lives.into_iter().map(|life| life.and_then(&mut complete)).collect()
}

/// Looks at one VM.
pub(crate) fn look_at(folders: &Folders, id: &str, name: &str) -> Result<Life> {
    let vms = [(id.to_owned(), name.to_owned())];
    let none = || Err(Error::failed("it was not looked at"));
    look(folders, &vms).pop().unwrap_or_else(none)
}

/// What the lock and the last run tell.
fn at_rest(folders: &Folders, id: &str, name: &str, boot_id: &str) -> Result<(Life, Holder)> {
    let folder = folders.vm(id);
    // The run is read before the lock: a run that ends in between is then seen as live, and its
    // runner asked, instead of as killed.
    let told = end_of_runs(&folder, LAST_RUN_BYTES);
    let run = runs::last(&told);
    let holder = lock::holder(&folder.lock())?;
    let mut life = Life {
        id: id.to_owned(),
        name: name.to_owned(),
        state: State::Stopped,
        responding: None,
        runner_pid: None,
        qemu_pid: None,
        accel: None,
        uptime: None,
        since: None,
        saved: false,
        socket_path: None,
        sandbox: None,
        exceptions: None,
        log_bytes_lost: None,
        last_exit: None,
        runner_name: None,
        obstacle: None,
    };
    match holder {
        Holder::Nobody => {
            // It may have ended between the two looks.
            let run = if run.as_ref().is_some_and(|run| run.end.is_none()) {
                last_run(&folder)
            } else {
                run
            };
            life.last_exit = run.map(|run| run.end_without_runner(boot_id));
            life.state = life.last_exit.as_ref().map_or(State::Stopped, |end| match end.outcome {
                Outcome::Stopped | Outcome::HostDown => State::Stopped,
                Outcome::Crashed => State::Crashed,
                Outcome::Failed => State::Failed,
            });
            life.since = life.last_exit.as_ref().and_then(|end| end.ended_at);
        }
        Holder::Process(pid) => {
            life.state = State::Starting;
            life.runner_pid = u32::try_from(pid).ok();
            // Of those that have ended the newest.
            life.last_exit = runs::parse(&told).into_iter().rev().find_map(|run| run.end);
        }
        Holder::Elsewhere => {
            life.state = State::Running;
            life.responding = Some(false);
            life.obstacle = Some(lock::elsewhere());
        }
    }
    Ok((life, holder))
}

fn with_reply(folders: &Folders, mut life: Life, reply: Reply, boot_id: &str) -> Result<Life> {
    match reply {
        Reply::Answer(Ok(value)) => {
            let status: Status = serde_json::from_value(value).map_err(|error| {
                Error::failed(format!("cannot read the runner's status: {error}"))
            })?;
            life.responding = Some(true);
            take_status(&mut life, status);
        }
        Reply::NoRunner => {
            let (id, name) = (life.id.clone(), life.name.clone());
            let (again, _) = at_rest(folders, &id, &name, boot_id)?;
            return Ok(again);
        }
        Reply::Answer(Err(error)) | Reply::Silent(error) | Reply::Late(error) => {
            let last_known = folders.live_runtime(&life.id).as_ref().and_then(last_status);
            if let Some(status) = last_known {
                let uptime = status.since.seconds_until(Timestamp::now());
                take_status(&mut life, Status { uptime, ..status });
                life.uptime = None;
            }
            life.responding = Some(false);
            life.obstacle = Some(error);
        }
    }
    Ok(life)
}

fn take_status(life: &mut Life, status: Status) {
    life.state = status.state;
    life.runner_name = Some(status.name);
    life.runner_pid = Some(status.runner_pid);
    life.qemu_pid = status.qemu_pid;
    life.accel = Some(status.accel);
    life.uptime = Some(status.uptime);
    life.since = Some(status.since);
    life.socket_path = Some(status.socket_path);
    life.sandbox = Some(status.sandbox);
    life.exceptions = Some(status.exceptions);
    life.log_bytes_lost = Some(status.log_bytes_lost);
}

/// The status file of a runner that does not answer.
fn last_status(runtime: &RuntimeFolder) -> Option<Status> {
    let mut text = Vec::new();
    runtime.open(&runtime.status()).ok()?.take(64 << 10).read_to_end(&mut text).ok()?;
    Status::parse(&text)
}

/// The newest run of a VM.
pub(crate) fn last_run(folder: &VmFolder) -> Option<Run> {
    runs::last(&end_of_runs(folder, LAST_RUN_BYTES))
}

/// All runs that are kept of a VM, oldest first.
pub(crate) fn all_runs(folder: &VmFolder) -> Vec<Run> {
    runs::parse(&end_of_runs(folder, ALL_RUNS_BYTES))
}

/// What is kept of what happened with a VM, as its runner has written it down.
pub(crate) fn events(folder: &VmFolder) -> Vec<Event> {
    events::parse(&end_of(&folder.events(), ALL_RUNS_BYTES))
}

/// The end of `runs.ndjson`; nothing where there is none. A first line that was cut is passed over
/// by those who read it.
fn end_of_runs(folder: &VmFolder, bytes: u64) -> String {
    end_of(&folder.runs(), bytes)
}

fn end_of(path: &std::path::Path, bytes: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
