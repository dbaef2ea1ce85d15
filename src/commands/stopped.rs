//! A VM that is stopped and stays so: both its locks are held, for whoever works on its disks.
//!
//! While one of these lives, nothing may look at that VM's lock (`control::life`): to close another
//! descriptor of the file would give the lock away.

use std::time::{Duration, Instant};

use super::context::{Context, Vm};
use crate::backoff;
use crate::error::{Error, Result};
use crate::lock::{self, Attempt, Guard, RunnerLock};

/// For a QEMU that is dying, or another command that works on the VM, to be gone.
const LIMIT: Duration = Duration::from_secs(10);

/// Both locks of one VM, until this is dropped.
#[derive(Debug)]
pub(super) struct Stopped {
    // Dropped first: who takes the lock next finds the guard free.
    _guard: Guard,
    _lock: RunnerLock,
}

impl Stopped {
    /// Takes the lock, then the guard. A command that holds them is waited for, 10 s at most; a VM
    /// that runs is not.
    ///
    /// # Errors
    /// `Kind::Conflict` where it runs, or is worked on all that time.
    pub(super) fn take(context: &Context<'_>, vm: &Vm) -> Result<Stopped> {
        Stopped::take_if_there(context, vm)?.ok_or_else(|| {
            Error::failed("its folder is not there").hint("\"maqet doctor\" tells what is missing")
        })
    }

    /// The same; `None` where the VM has no lock: its folder is not there, or is being removed.
    ///
    /// # Errors
    /// As of [`Stopped::take`].
    pub(super) fn take_if_there(context: &Context<'_>, vm: &Vm) -> Result<Option<Stopped>> {
        let deadline = Instant::now() + LIMIT;
        let folder = context.folders.vm(&vm.id);
        let attempt = || match lock::take(&folder.lock()) {
            // Only a runner has such a link.
            Ok(Attempt::Held) if !context.folders.live_link(&vm.id).is_symlink() => None,
            other => Some(other),
        };
        match backoff::retry(deadline, attempt) {
            Some(Ok(Attempt::Taken(lock))) => {
                // Before any wait: who finds the lock held and the link there takes us for a runner
                // that lost its socket, and sends us a SIGHUP.
                context.folders.clear_live(&vm.id)?;
                let guard = Guard::take(&folder.guard(), deadline)?;
                Ok(Some(Stopped { _guard: guard, _lock: lock }))
            }
            Some(Ok(Attempt::Held)) => Err(running(&vm.name)),
            Some(Ok(Attempt::Gone)) => Ok(None),
            Some(Err(error)) => Err(error),
            None => Err(Error::conflict("another command is working on it")
                .hint("wait until that has ended")),
        }
    }
}

/// The refusal of a VM that runs.
pub(super) fn running(name: &str) -> Error {
    Error::conflict("it is running").hint(format!("stop it first: maqet stop {name}"))
}
