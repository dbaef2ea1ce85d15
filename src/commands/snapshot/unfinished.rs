//! The name of a snapshot that is being made, noted in the VM's folder until it is whole or gone.
//!
//! A command or a QEMU that is killed between two drives leaves what looks like a snapshot that was
//! meant to be of some drives alone; this note tells them apart. What images hold is not known here.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::paths::VmFolder;

/// The longest note that is read, in bytes: a name has fewer.
const LONGEST: u64 = 4096;

pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub(super) fn of(folder: &VmFolder) -> Unfinished {
        Unfinished(folder.unfinished_snapshot())
    }

    /// Whether the making of the snapshot of this name was cut short, or goes on.
    pub(super) fn is(&self, name: &str) -> bool {
        let noted = std::fs::symlink_metadata(&self.0)
            .is_ok_and(|note| note.is_file() && note.len() <= LONGEST);
        noted && std::fs::read(&self.0).is_ok_and(|note| note == name.as_bytes())
    }

    /// Notes that it begins.
    ///
    /// # Errors
    /// Where that cannot be written: then nothing may be begun.
    pub(super) fn begin(&self, name: &str) -> Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&self.0).and_then(|mut note| {
            note.write_all(name.as_bytes())?;
            note.sync_data()
        });
        written.map_err(|error| Error::io(format!("write {}", self.0.display()), &error))
    }

    /// Notes that the one of this name is whole, or that nothing of it is left.
    ///
    /// # Errors
    /// Where the note cannot be removed: a later command would take it for one that was cut short.
    pub(super) fn end_of(&self, name: &str) -> Result<()> {
        if !self.is(name) {
            return Ok(());
        }
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", self.0.display()), &error))
            }
            _ => Ok(()),
        }
    }
}
