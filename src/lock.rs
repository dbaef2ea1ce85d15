//! The two locks of a VM's folder, by which the kernel knows what is alive.
//!
//! `lock` is a POSIX record lock, the runner's own and not inherited; F_GETLK tests it without
//! taking it and names its holder. `guard` is an flock on a descriptor that QEMU inherits: it comes
//! free only when the runner *and* QEMU are gone. Nothing here removes a file or sends a signal.
//!
//! Closing *any* descriptor of the lock file frees a record lock that this process holds: a process
//! that takes the lock opens that file here, once, and never calls [`holder`] on it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use crate::backoff;
use crate::error::{Error, Result};
use crate::sys;

/// The runner's lock, held until this value is dropped.
#[derive(Debug)]
pub(crate) struct RunnerLock {
    _file: File,
}

/// How an attempt to take the runner's lock ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    Taken(RunnerLock),
    /// Another process holds it.
    Held,
    /// There is no such file: the VM has been removed, or never was.
    Gone,
}

/// Tries to take the lock at `path`, which `add` made. The file that was locked must still be the
/// one at the path, for `rm` may have unlinked it in between: else it starts over.
pub(crate) fn take(path: &Path) -> Result<Attempt> {
    let cannot = |error| Error::io(format_args!("lock {}", path.display()), &error);
    loop {
        let file = match open(path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Attempt::Gone),
            Err(error) => return Err(cannot(error)),
        };
        if !sys::try_record_lock(&file).map_err(cannot)? {
            return Ok(Attempt::Held);
        }
        if is_at(&file, path).map_err(cannot)? {
            return Ok(Attempt::Taken(RunnerLock { _file: file }));
        }
    }
}

/// Tries to take the flock of what was opened at `path`: false where another holds it, or who held it
/// has removed it in between.
pub(crate) fn hold(file: &File, path: &Path) -> std::io::Result<bool> {
    Ok(sys::try_flock(file, false)? && is_at(file, path)?)
}

/// Whether this is what still lies at the path.
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        there => there.map(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())),
    }
}

/// Who holds the runner's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    /// A process of this pid namespace.
    Process(i32),
    /// A process that we cannot name: of another host, or another pid namespace.
    Elsewhere,
}

/// Tests the lock at `path` without taking it. A missing file is held by nobody.
pub(crate) fn holder(path: &Path) -> Result<Holder> {
    let cannot = |error| Error::io(format_args!("test the lock {}", path.display()), &error);
    let file = match look(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(error) => return Err(cannot(error)),
    };
    Ok(match sys::record_lock_holder(&file).map_err(cannot)? {
        None => Holder::Nobody,
        Some(pid) if pid > 0 => Holder::Process(pid),
        Some(_) => Holder::Elsewhere,
    })
}

/// A descriptor for the process that holds the lock at `path`, confirmed: the lock is tested again
/// once the pidfd is open, so that a reused pid is never mistaken for the runner. `None` when
/// nobody holds it; a holder that we cannot name is a conflict, and is never signalled.
pub(crate) fn holder_pidfd(path: &Path) -> Result<Option<(i32, OwnedFd)>> {
    loop {
        let pid = match holder(path)? {
            Holder::Nobody => return Ok(None),
            Holder::Process(pid) => pid,
            Holder::Elsewhere => return Err(elsewhere()),
        };
        if let Ok(pidfd) = sys::pidfd_open(pid)
            && holder(path)? == Holder::Process(pid)
        {
            return Ok(Some((pid, pidfd)));
        }
    }
}

/// The refusal of a lock whose holder lives where no signal of ours reaches.
pub(crate) fn elsewhere() -> Error {
    Error::conflict("its runner lives on another host or in another pid namespace")
        .hint("run the command there")
}

/// The flock that a runner shares with its QEMU.
#[derive(Debug)]
pub(crate) struct Guard {
    file: File,
}

impl Guard {
    /// Takes the guard at `path`, made where it is missing, waiting until `deadline` for a QEMU
    /// that is still dying. Only a holder of the VM's lock may call this.
    pub(crate) fn take(path: &Path, deadline: Instant) -> Result<Guard> {
        let cannot = |error| Error::io(format_args!("lock {}", path.display()), &error);
        let file = open(path, true).map_err(cannot)?;
        let taken = backoff::retry(deadline, || {
            sys::try_flock(&file, false).map(|taken| taken.then_some(())).transpose()
        });
        match taken.transpose().map_err(cannot)? {
            Some(()) => Ok(Guard { file }),
            None => Err(Error::conflict("the QEMU of its previous run is still there")
                .hint("it may be dying slowly; look for it in ps, and try again")),
        }
    }

    /// Lets QEMU inherit the guard, or not.
    pub(crate) fn set_inheritable(&self, inheritable: bool) -> std::io::Result<()> {
        sys::set_inheritable(&self.file, inheritable)
    }
}

/// Whether neither a runner nor a QEMU holds the guard at `path`. It is tried shared, so that those
/// who only look never stand in each other's way.
pub(crate) fn guard_is_free(path: &Path) -> Result<bool> {
    let cannot = |error| Error::io(format_args!("test the lock {}", path.display()), &error);
    match look(path) {
        Ok(file) => sys::try_flock(&file, true).map_err(cannot),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(cannot(error)),
    }
}

/// Makes a new VM's lock file, 0600.
pub(crate) fn create(path: &Path) -> Result<()> {
    open(path, true)
        .map(drop)
        .map_err(|error| Error::io(format_args!("make {}", path.display()), &error))
}

/// For a test alone: F_GETLK and a shared flock need no right to write, which read-only media give
/// nobody.
fn look(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(sys::NO_FOLLOW).open(path)
}

fn open(path: &Path, create: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .mode(0o600)
        .custom_flags(sys::NO_FOLLOW)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_lock_that_was_unlinked_is_gone_and_one_never_made_too() {
        let folder = Folder::new();
        let path = folder.path().join("lock");
        assert!(matches!(take(&path).unwrap(), Attempt::Gone));
        create(&path).unwrap();
        assert!(matches!(take(&path).unwrap(), Attempt::Taken(_)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(take(&path).unwrap(), Attempt::Gone));
    }

    #[test]
    fn a_free_lock_has_no_holder_and_no_pidfd() {
        let folder = Folder::new();
        let path = folder.path().join("lock");
        create(&path).unwrap();
        assert_eq!(holder(&path).unwrap(), Holder::Nobody);
        assert!(holder_pidfd(&path).unwrap().is_none());
    }

    #[test]
    fn a_lock_is_never_followed_through_a_link() {
        let folder = Folder::new();
        let path = folder.path().join("lock");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(take(&path).is_err());
        assert!(Guard::take(&path, Instant::now()).is_err());
    }

    #[test]
    fn a_held_guard_is_seen_and_waited_for_until_the_deadline() {
        let folder = Folder::new();
        let path = folder.path().join("guard");
        assert!(guard_is_free(&path).unwrap());
        let held = Guard::take(&path, Instant::now()).unwrap();
        assert!(!guard_is_free(&path).unwrap());
        let error = Guard::take(&path, Instant::now() + Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind, crate::error::Kind::Conflict);
        drop(held);
        assert!(guard_is_free(&path).unwrap());
        assert!(Guard::take(&path, Instant::now()).is_ok());
    }
}
