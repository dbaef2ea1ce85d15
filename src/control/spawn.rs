//! Starts a VM: spawns its runner, hands over the definition, and waits until the VM is up.
//!
//! Whoever calls reads the definition when it is asked for, which is once the runner holds the VM's
//! locks. A runner that this command spawned and that did not come up is reaped here before the
//! failure is told.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::life;
use super::readiness::{Readiness, Until, wait_for_vm_ready};
use crate::backoff;
use crate::error::{Error, Result};
use crate::lock;
use crate::sys;
use crate::wire::copied::Copied;
use crate::wire::handoff::{FromRunner, LINE_LIMIT, Mission, Order, to_line};
use crate::wire::line::Lines;

/// For a runner that failed to clean up and end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// For a runner to take the definition.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How a start ended, where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// By the runner that we spawned.
    Now,
    /// Another runner held the lock, and its VM is up.
    ByAnother,
    /// Another runner held the lock, and is gone: it was ending. Start again.
    TryAgain,
}

/// A start under way. Dropped before its end, it takes its runner with it: that sees the end of the
/// pair and stops.
#[derive(Debug)]
pub(crate) struct Start {
    mission: Mission,
    child: Child,
    pair: UnixStream,
    lines: Lines,
    deadline: Instant,
    ours: bool,
}

impl Start {
    /// Spawns a runner: the same binary, in a session of its own, with no descriptor of ours but
    /// one end of a socket pair.
    pub(crate) fn begin(mission: Mission, deadline: Instant) -> Result<Start> {
        let cannot = |error| Error::io("start a runner", &error);
        let (pair, theirs) = UnixStream::pair().map_err(cannot)?;
        let also_theirs = theirs.try_clone().map_err(cannot)?;
        pair.set_write_timeout(Some(WRITE_LIMIT)).map_err(cannot)?;
        sys::close_inherited_on_exec();
        // The literal path leads to this very program, though its file may have been replaced.
        let child = Command::new("/proc/self/exe")
            .arg0("maqet")
            .args(mission.to_words())
            .current_dir("/")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::from(std::os::fd::OwnedFd::from(also_theirs)))
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        Ok(Start { mission, child, pair, lines: Lines::new(LINE_LIMIT), deadline, ours: true })
    }

    /// Waits until the runner holds the VM's locks, and gives it what `order` then reads; `None`
    /// where the VM is gone.
    pub(crate) fn hand_over(
        &mut self,
        order: impl FnOnce() -> Result<Option<Order>>,
    ) -> Result<()> {
        match self.hear() {
            Ok(Some(FromRunner::Locked { .. })) => {}
            Ok(Some(FromRunner::Held { .. })) => {
                self.ours = false;
                return Ok(());
            }
            Ok(Some(FromRunner::Failed(error))) => return Err(error),
            Ok(None) => return Err(self.last_words()),
            Err(error) => return Err(error),
        }
        let order = order();
        if let Ok(Some(order)) = &order {
            let cannot = |error| Error::io("hand the definition to the runner", &error);
            return self.pair.write_all(&to_line(order)).map_err(cannot);
        }
        let _ = self.pair.shutdown(std::net::Shutdown::Write);
        order.and(Err(Error::not_found("there is no such VM any more")))
    }

    /// Waits until the VM is up; for `until` and `copying` see [`wait_for_vm_ready`].
    ///
    /// # Errors
    /// Why it did not come up: in the runner's words, which are QEMU's where QEMU said something.
    pub(crate) fn finish(
        mut self,
        until: &mut Until,
        copying: &mut dyn FnMut(Copied),
    ) -> Result<Started> {
        let id = self.mission.id.to_string();
        match wait_for_vm_ready(&self.mission.folders, &id, until, copying) {
            Readiness::Ready if self.ours => Ok(Started::Now),
            Readiness::Ready => Ok(Started::ByAnother),
            Readiness::Over if self.ours => Err(self.last_words()),
            Readiness::Over => {
                let run = life::last_run(&self.mission.folders.vm(&id));
                run.and_then(|run| run.error).map_or(Ok(Started::TryAgain), Err)
            }
            Readiness::TimedOut(obstacle) => {
                let late = Error::timeout("it was not up in time")
                    .hint("give it more with --timeout; \"maqet logs --qemu\" may tell more");
                self.abandon();
                Err(obstacle.unwrap_or(late))
            }
        }
    }

    /// Ends the runner where it is ours, and waits for it.
    pub(crate) fn abandon(mut self) {
        let _ = self.pair.shutdown(std::net::Shutdown::Both);
        self.reap();
    }

    /// The error of a runner that ended, or how it ended where it could not say.
    fn last_words(&mut self) -> Error {
        self.deadline = self.deadline.max(Instant::now() + END_LIMIT);
        let said = loop {
            match self.hear() {
                Ok(Some(FromRunner::Failed(error))) => break Some(error),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break None,
            }
        };
        let status = self.reap();
        said.unwrap_or_else(|| match status {
            Some(status) => Error::failed(format!("its runner ended without a word ({status})")),
            None => Error::timeout("its runner does not end"),
        })
    }

    fn reap(&mut self) -> Option<std::process::ExitStatus> {
        let child = &mut self.child;
        backoff::retry(Instant::now() + END_LIMIT, || child.try_wait().ok().flatten())
    }

    /// The runner's next line; `None` at the end.
    fn hear(&mut self) -> Result<Option<FromRunner>> {
        let cannot = |error| Error::io("listen to the runner", &error);
        let mut buffer = [0; 8192];
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    return serde_json::from_slice(&line).map(Some).map_err(|error| {
                        Error::failed(format!("cannot read the runner: {error}"))
                    });
                }
                Ok(None) => {}
                Err(_) => return Err(Error::failed("the runner does not stop talking")),
            }
            if !sys::wait_readable(&self.pair, self.deadline).map_err(cannot)? {
                return Err(Error::timeout("its runner did not take the VM's lock in time"));
            }
            match self.pair.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.lines.push(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // The runner ended with our order unread: what it said is read already.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(None);
                }
                Err(error) => return Err(cannot(error)),
            }
        }
    }
}

/// Waits until nobody holds the VM's locks; false when `deadline` passes first.
pub(crate) fn wait_until_free(mission: &Mission, deadline: Instant) -> Result<bool> {
    let folder = mission.folders.vm(&mission.id.to_string());
    let free = || -> Result<bool> {
        let unlocked = lock::holder(&folder.lock())? == lock::Holder::Nobody;
        Ok(unlocked && lock::guard_is_free(&folder.guard())?)
    };
    let waited = backoff::retry(deadline, || match free() {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    });
    waited.transpose().map(|found| found.is_some())
}
