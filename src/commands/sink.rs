//! Where an archive is written to: standard output, or a file that appears when it is whole.
//!
//! What is written is not known here.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::sys::{self, Interest};

/// A pipe that is ready takes as much at once without a wait (PIPE_BUF).
const PIPE_PIECE: usize = 4096;

/// Why no more is written.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody reads standard output any more.
    ReaderGone,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

/// An output that can be interrupted.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    interrupt: &'a Interrupt,
    /// `None`: standard output.
    file: Option<Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    file: File,
    unfinished: PathBuf,
    finished: PathBuf,
    is_finished: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = std::fs::remove_file(&self.unfinished);
        }
    }
}

impl<'a> Sink<'a> {
    /// `-` is standard output; else a file of this name is made, 0600, in the place of one that is there.
    ///
    /// # Errors
    /// `Kind::Usage` for a device or a FIFO, in whose place a file would be in everybody's way.
    pub(super) fn to(name: &str, interrupt: &'a Interrupt) -> Result<Sink<'a>> {
        if name == "-" {
            return Ok(Sink { interrupt, file: None });
        }
        let cannot = |error| Error::io(format_args!("write {}", quote(name)), &error);
        // Through a symbolic link, as every program writes.
        let finished = std::fs::canonicalize(name).unwrap_or_else(|_| PathBuf::from(name));
        if std::fs::metadata(&finished).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            return Err(Error::usage(format!("{} is no regular file", quote(name)))
                .hint(format!("write \"-\" for the file, and > {name} behind the command")));
        }
        let last = finished
            .file_name()
            .ok_or_else(|| Error::usage(format!("{} is no name for a file", quote(name))))?;
        // One name for each file: what a kill left is found again by the next export to it.
        let unfinished = finished.with_file_name(format!(".maqet-{}.new", last.to_string_lossy()));
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
            _ => {}
        }
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(0o600);
        let file = options.open(&unfinished).map_err(cannot)?;
        let file = Unfinished { file, unfinished, finished, is_finished: false };
        Ok(Sink { interrupt, file: Some(file) })
    }

    /// Writes all of it, unless a signal comes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.interrupt.check()?;
        match &mut self.file {
            Some(to) => {
                to.file.write_all(bytes).map_err(|error| cannot(&to.finished, &error).into())
            }
            None => self.write_out(bytes),
        }
    }

    fn write_out(&self, mut bytes: &[u8]) -> Result<(), Ended> {
        use std::os::fd::AsFd;
        let output = sys::standard_output();
        while !bytes.is_empty() {
            let sources = [(output, Interest::Write), (self.interrupt.as_fd(), Interest::Read)];
            let ready = sys::poll(&sources, None);
            let ready = ready.map_err(|error| Error::io("wait for the output", &error))?;
            self.interrupt.check()?;
            if !ready[0] {
                continue;
            }
            match sys::write(output, &bytes[..bytes.len().min(PIPE_PIECE)]) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Err(Ended::ReaderGone);
                }
                Err(error) => return Err(Error::io("write to standard output", &error).into()),
            }
        }
        Ok(())
    }

    /// The file's permissions are to be these, as far as the umask lets a new file have them.
    pub(super) fn set_mode(&self, mode: u32) -> Result<()> {
        let Some(to) = &self.file else { return Ok(()) };
        let mode = mode & 0o777 & !sys::umask();
        let set = to.file.set_permissions(Permissions::from_mode(mode));
        set.map_err(|error| cannot(&to.finished, &error))
    }

    /// The file gets its name; `replace` lets it take the place of another.
    ///
    /// # Errors
    /// `Kind::Conflict` where there is one of that name and it may not.
    pub(super) fn finish(self, replace: bool) -> Result<()> {
        let Some(mut to) = self.file else { return Ok(()) };
        to.file.sync_all().map_err(|error| cannot(&to.finished, &error))?;
        self.interrupt.check()?;
        let done = match replace {
            true => std::fs::rename(&to.unfinished, &to.finished),
            false => sys::rename_new(&to.unfinished, &to.finished),
        };
        match done {
            Ok(()) => {
                to.is_finished = true;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::conflict(format!("{} exists already", to.finished.display()))
                    .hint("name another file, or let --force write over it"))
            }
            Err(error) => Err(cannot(&to.finished, &error)),
        }
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("write {}", path.display()), error)
}
