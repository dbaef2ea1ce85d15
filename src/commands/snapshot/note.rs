//! The name of the snapshot that is being made, noted in the VM's folder until it is whole or gone.
//!
//! A command or a QEMU that is killed between two drives leaves what looks like a snapshot that was
//! meant to be of some drives alone; this note tells them apart. Who makes a snapshot holds the note's
//! flock, so what a holder finds noted was cut short. What images hold is not known here.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Instant;

use crate::backoff::retry;
use crate::error::{Error, Result};
use crate::lock;
use crate::paths::VmFolder;
use crate::sys;

/// The longest note that is read, in bytes: a name has fewer.
const LONGEST: u64 = 4096;

/// The note, removed when it is dropped unless it names what was not finished.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    /// `None` where it is only looked at.
    held: Option<File>,
    name: Vec<u8>,
}

impl Note {
    /// Looks what is noted, and by this alone cannot tell whether it goes on.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub(super) fn look(folder: &VmFolder) -> Result<Note> {
        let path = folder.unfinished_snapshot();
        let name = match OpenOptions::new().read(true).custom_flags(sys::NO_FOLLOW).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            note => note.and_then(|note| name_in(&note)),
        };
        let name =
            name.map_err(|error| Error::io(format_args!("read {}", path.display()), &error))?;
        Ok(Note { path, held: None, name })
    }

    /// Takes the note, for who makes a snapshot: waits until `until` for another command that does.
    ///
    /// # Errors
    /// Where it cannot be made, or the time is over.
    pub(super) fn hold(folder: &VmFolder, until: Instant) -> Result<Note> {
        let path = folder.unfinished_snapshot();
        let hold = || -> std::io::Result<Option<File>> {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let note = options.custom_flags(sys::NO_FOLLOW).open(&path)?;
            Ok(lock::hold(&note, &path)?.then_some(note))
        };
        let held = retry(until, || hold().transpose());
        let held = held.ok_or_else(|| Error::timeout("another command makes a snapshot of it"))?;
        let read = held.and_then(|note| Ok((name_in(&note)?, note)));
        let (name, note) =
            read.map_err(|error| Error::io(format_args!("hold {}", path.display()), &error))?;
        Ok(Note { path, held: Some(note), name })
    }

    /// Whether it names this snapshot.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.name == name.as_bytes()
    }

    /// Notes that the making of this one begins.
    ///
    /// # Errors
    /// Where that cannot be written: then nothing may be begun.
    pub(super) fn begin(&mut self, name: &str) -> Result<()> {
        let Some(note) = &mut self.held else { return Ok(()) };
        self.name = name.as_bytes().to_owned();
        let mut write = || {
            note.set_len(0)?;
            note.rewind()?;
            note.write_all(&self.name)?;
            note.sync_data()
        };
        write().map_err(|error| Error::io(format_args!("write {}", self.path.display()), &error))
    }

    /// Forgets what it names, for that is whole or gone.
    pub(super) fn forget(&mut self) {
        self.name.clear();
    }

    /// The same, and the note is gone.
    ///
    /// # Errors
    /// Where it stays: a later command would take the snapshot for one that was cut short.
    pub(super) fn end(mut self) -> Result<()> {
        self.forget();
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(format_args!("remove {}", self.path.display()), &error))
            }
            _ => {
                // Once more, and it could be another command's by now.
                self.held = None;
                Ok(())
            }
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if self.held.is_some() && self.name.is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn name_in(note: &File) -> std::io::Result<Vec<u8>> {
    let mut name = Vec::new();
    note.take(LONGEST).read_to_end(&mut name)?;
    Ok(name)
}
