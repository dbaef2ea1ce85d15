//! Standard output as something to which a write never waits.
//!
//! It is shared with whoever started us, and so never set non-blocking itself. What is written, and
//! what becomes of what it does not take, is the owner's.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::Instant;

use crate::sys::{self, Interest};

/// What a pipe or a terminal takes, in bytes, that poll(2) calls ready.
const CERTAIN: usize = 64;

/// Where to.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// A write to it never waits.
    Own(File),
    /// Shared with others: a socket, or a terminal of somebody else.
    Shared,
}

impl Outlet {
    /// The way to standard output.
    pub(crate) fn standard_output() -> Outlet {
        let path = "/proc/self/fd/1";
        let kind = std::fs::metadata(path).map(|found| found.file_type());
        match kind {
            // Opened anew it would be written from its beginning, and a disk does not keep us waiting.
            Ok(kind) if kind.is_file() => match io::stdout().as_fd().try_clone_to_owned() {
                Ok(fd) => Outlet::Own(fd.into()),
                Err(_) => Outlet::Shared,
            },
            Ok(kind) if kind.is_fifo() || kind.is_char_device() => {
                let mut options = File::options();
                options.write(true).custom_flags(sys::NON_BLOCKING | sys::NOT_OURS);
                options.open(path).map_or(Outlet::Shared, Outlet::Own)
            }
            _ => Outlet::Shared,
        }
    }

    /// What is ready when more can be written.
    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        match self {
            Outlet::Own(file) => file.as_fd(),
            Outlet::Shared => sys::standard_output(),
        }
    }

    /// Writes what is taken now, and removes that from `waiting`.
    ///
    /// # Errors
    /// Only where nothing will ever be taken any more.
    pub(crate) fn write(&mut self, waiting: &mut Vec<u8>) -> io::Result<()> {
        while !waiting.is_empty() {
            let written = match self {
                Outlet::Own(file) => file.write(waiting),
                Outlet::Shared => write_shared(waiting),
            };
            match written {
                Ok(count) => drop(waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes as much as certainly does not wait.
fn write_shared(bytes: &[u8]) -> io::Result<usize> {
    let stdout = sys::standard_output();
    let ready = sys::poll(&[(stdout, Interest::Write)], Some(Instant::now()))?;
    if !ready.first().copied().unwrap_or(false) {
        return Err(ErrorKind::WouldBlock.into());
    }
    match sys::send_now(stdout, bytes)? {
        Some(count) => Ok(count),
        None => sys::write(stdout, &bytes[..bytes.len().min(CERTAIN)]),
    }
}
