//! Locks on files: POSIX record locks, which die with their process and name it, and flock(2), which a
//! descriptor carries into a child.

use std::fs::File;
use std::io;

use rustix::fs::FlockOperation;
use rustix::process::{Flock, FlockType, Pid};

/// Tries to take the POSIX record lock on the whole file (fcntl F_SETLK); false when it is held.
pub(crate) fn try_record_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The process that holds the record lock (fcntl F_GETLK): `None` when it is free, 0 or less when
/// the holder lives in another pid namespace or on another host.
pub(crate) fn record_lock_holder(file: &File) -> io::Result<Option<i32>> {
    let held = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?;
    Ok(held.map(|lock| Pid::as_raw(lock.pid)))
}

/// Tries to take the flock(2) of a file, alone or shared; false when it is held.
pub(crate) fn try_flock(file: &File, shared: bool) -> io::Result<bool> {
    let operation = if shared {
        FlockOperation::NonBlockingLockShared
    } else {
        FlockOperation::NonBlockingLockExclusive
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
