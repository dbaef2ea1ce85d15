//! The job that maqet has in a running QEMU: followed to its end, cleared away, and asked whether a
//! guest may go on.
//!
//! What the job is to do is the caller's. All that is known of it QEMU keeps: nothing is remembered
//! here.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::context::{Context, Vm};
use crate::backoff::Backoff;
use crate::control::qmp::Qmp;
use crate::error::{Error, Result};
use crate::qemu::snapshot::{failed_load, is_half_loaded};

/// The one job that maqet has in a QEMU at a time: QEMU itself refuses a second of this name.
const JOB: &str = "maqet-snapshot";
/// After this long a job that has ended and lies there was left by a command that was killed: one
/// that lives takes it away within 50 ms.
const ABANDONED: Duration = Duration::from_secs(1);

/// The QMP of one VM.
#[derive(Debug)]
pub(super) struct Monitor<'a> {
    qmp: Qmp<'a>,
    until: Instant,
}

/// How a job failed.
#[derive(Debug)]
pub(super) enum JobError {
    /// QEMU did not take it: nothing has been done.
    Refused(Error),
    /// It was begun, and ended with this error, or its end is not known.
    Broke(Error),
}

impl<'a> Monitor<'a> {
    pub(super) fn new(context: &'a Context<'_>, vm: &'a Vm, until: Instant) -> Monitor<'a> {
        Monitor { qmp: Qmp::of(&context.folders, &vm.id, until), until }
    }

    /// Gives one command and its answer.
    ///
    /// # Errors
    /// As of [`Qmp::execute`].
    pub(super) fn ask(&self, command: &str, arguments: &Value) -> Result<Value> {
        self.qmp.execute(command, arguments)
    }

    /// The answer to a command without arguments.
    pub(super) fn look(&self, command: &str) -> Result<Value> {
        self.ask(command, &json!({}))
    }

    /// Whether a snapshot was loaded half-way: such a guest must not go on.
    fn is_half_loaded(&self) -> Result<bool> {
        Ok(is_half_loaded(&self.look("query-status")?, &self.look("query-jobs")?, JOB))
    }

    /// # Errors
    /// `Kind::Conflict` where the guest must not go on, with what may be done.
    pub(super) fn refuse_half_loaded(&self, name: &str) -> Result<()> {
        if self.is_half_loaded()? { Err(half_loaded(name)) } else { Ok(()) }
    }

    /// Waits until no job of maqet works in this QEMU, and takes away one that a killed command left;
    /// not the load that failed, by which a guest that must not go on is known.
    ///
    /// # Errors
    /// `Kind::Timeout` where another command's job has not ended.
    pub(super) fn clear_jobs(&self) -> Result<()> {
        let abandoned = Instant::now() + ABANDONED;
        let mut backoff = Backoff::until(self.until);
        loop {
            let jobs = self.look("query-jobs")?;
            match ours(&jobs) {
                None => return Ok(()),
                Some(_) if failed_load(&jobs, JOB) => return Ok(()),
                Some(job) if job["status"] == "concluded" && Instant::now() >= abandoned => {
                    self.dismiss();
                    return Ok(());
                }
                Some(_) if backoff.wait() => {}
                Some(_) => return Err(late("another snapshot is being worked on")),
            }
        }
    }

    /// Has QEMU do a job and waits for its end. One that failed lies there afterwards with
    /// `keep_failed`.
    pub(super) fn job_to_its_end(
        &self,
        command: &str,
        mut arguments: Value,
        keep_failed: bool,
    ) -> Result<(), JobError> {
        arguments["job-id"] = json!(JOB);
        self.ask(command, &arguments).map_err(JobError::Refused)?;
        let ended = self.qmp.await_answer("query-jobs", &json!({}), |jobs| match ours(jobs) {
            Some(job) if job["status"] != "concluded" => None,
            job => Some(job.cloned()),
        });
        let job = match ended.map_err(JobError::Broke)? {
            Some(Some(job)) => job,
            Some(None) => {
                let lost = Error::failed("somebody took QEMU's word on it away");
                return Err(JobError::Broke(lost));
            }
            None => return Err(JobError::Broke(late("QEMU is still at it, and goes on"))),
        };
        let error = job["error"].as_str();
        if error.is_none() || !keep_failed {
            self.dismiss();
        }
        match error {
            None => Ok(()),
            Some(why) => Err(JobError::Broke(Error::failed("QEMU failed").quoting(why))),
        }
    }

    /// Takes a load that has failed away: another one begins, or the guest begins anew.
    pub(super) fn forget_failed_load(&self) {
        if self.look("query-jobs").is_ok_and(|jobs| failed_load(&jobs, JOB)) {
            self.dismiss();
        }
    }

    fn dismiss(&self) {
        if let Err(error) = self.ask("job-dismiss", &json!({ "id": JOB })) {
            log::debug!("no job was dismissed: {error}");
        }
    }
}

/// The job of maqet's among those of a QEMU.
fn ours(jobs: &Value) -> Option<&Value> {
    jobs.as_array()?.iter().find(|job| job["id"] == JOB)
}

fn late(what: &str) -> Error {
    Error::timeout(what).hint("give it more with --timeout")
}

/// The refusal to let a guest go on whose memory and disks do not belong together.
pub(super) fn half_loaded(name: &str) -> Error {
    let hint = format!(
        "\"maqet reset {name}\" begins anew with its disks, \"maqet stop {name}\" ends it, another \
         \"maqet snapshot load\" may do"
    );
    Error::conflict("a snapshot was loaded half-way, and its memory fits no disk").hint(hint)
}
