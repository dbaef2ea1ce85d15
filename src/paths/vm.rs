//! What lies in the two folders of one VM: that which keeps what happened, and that which keeps what is
//! now.
//!
//! Which folders these are is decided by [`super::Folders`].

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::remove_file;
use crate::error::{Error, Kind, Result};
use crate::private::{check_private, make_private, open_private};
use crate::sys;

/// The longest path of a socket address, in bytes (unix(7): 108 with the closing zero byte).
const LONGEST_SOCKET_PATH: usize = 107;

/// The name of the image of the firmware's variables, in the VM's folder.
pub(crate) const VARIABLES: &str = "firmware-vars.qcow2";

/// The folder of one VM that keeps what happened: `<data>/vms/<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmFolder(pub(super) PathBuf);

impl VmFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn guard(&self) -> PathBuf {
        self.0.join("guard")
    }

    pub(crate) fn disks(&self) -> PathBuf {
        self.0.join("disks")
    }

    /// The image of its firmware's variables.
    pub(crate) fn variables(&self) -> PathBuf {
        self.0.join(VARIABLES)
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.0.join("runs.ndjson")
    }

    /// What happened, the last of it.
    pub(crate) fn events(&self) -> PathBuf {
        self.0.join("events.ndjson")
    }

    /// The name of the snapshot that is being made.
    pub(crate) fn unfinished_snapshot(&self) -> PathBuf {
        self.0.join("snapshot.unfinished")
    }

    pub(crate) fn log(&self, log: Log) -> PathBuf {
        self.0.join(log.file_name())
    }

    /// How many pictures of the screen there may be at once.
    pub(crate) const PICTURES: usize = 8;

    /// The name of one of them, in this folder.
    pub(crate) fn picture(number: usize) -> String {
        format!("screen-{number}")
    }

    /// The name of what the screen's memory held at its time.
    pub(crate) fn picture_memory(number: usize) -> String {
        format!("screen-{number}.memory")
    }

    /// The paths of all of them, which may not be there.
    pub(crate) fn pictures(&self) -> impl Iterator<Item = PathBuf> {
        let names = |number| [VmFolder::picture(number), VmFolder::picture_memory(number)];
        (0..VmFolder::PICTURES).flat_map(names).map(|name| self.0.join(name))
    }

    /// A folder for a test.
    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> VmFolder {
        VmFolder(path.to_owned())
    }
}

/// The three logs of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    Qemu,
    Runner,
    Console,
}

impl Log {
    pub(crate) const ALL: [Log; 3] = [Log::Qemu, Log::Runner, Log::Console];

    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Log::Qemu => "qemu.log",
            Log::Runner => "runner.log",
            Log::Console => "console.log",
        }
    }
}

/// A log's previous part, where rotation put it.
pub(crate) fn rotated(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

/// The folder of one live VM that keeps what is now: `<runtime>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeFolder(pub(super) PathBuf);

impl RuntimeFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn secret(&self) -> PathBuf {
        self.0.join("secret")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("ipc.sock")
    }

    pub(crate) fn status(&self) -> PathBuf {
        self.0.join("status")
    }

    /// What the VM was started with: the definition that its runner was handed.
    pub(crate) fn definition(&self) -> PathBuf {
        self.0.join("definition")
    }

    /// Binds or connects the socket by a path that fits into its address, through the folder's
    /// descriptor where the real one is too long.
    pub(crate) fn with_socket_address<T>(
        &self,
        action: impl FnOnce(&Path) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let path = self.socket();
        if path.as_os_str().len() <= LONGEST_SOCKET_PATH {
            return action(&path);
        }
        let folder = File::open(&self.0)?;
        action(&sys::short_path(&folder).join("ipc.sock"))
    }

    /// Opens a file that its runner has put here.
    ///
    /// # Errors
    /// Where the folder or the file is not ours alone: another user may have made one in its place.
    pub(crate) fn open(&self, path: &Path) -> Result<File> {
        check_private(&self.0)?;
        open_private(path)
    }

    /// Makes this very folder again where it was removed, with its parents.
    pub(crate) fn remake(&self) -> Result<()> {
        make_private(self.0.parent().unwrap_or(Path::new("/")))?;
        make_private(&self.0)
    }

    /// Removes what a runner puts here, and the folder. Only a holder of the VM's lock calls this;
    /// a folder that is not safely ours is left alone, and so is what somebody else put into it.
    ///
    /// # Errors
    /// What cannot be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        let cannot = |error| Error::io(format_args!("remove {}", self.0.display()), &error);
        if let Err(error) = std::fs::symlink_metadata(&self.0) {
            let gone = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
            return if gone { Ok(()) } else { Err(cannot(error)) };
        }
        match check_private(&self.0) {
            Err(error) if error.kind == Kind::Permission => return Ok(()),
            other => other?,
        }
        let replaced = [self.status(), self.definition()];
        let half = replaced.iter().map(|path| path.with_extension("new")).collect::<Vec<_>>();
        for file in [self.secret(), self.socket()].iter().chain(&replaced).chain(&half) {
            remove_file(file)?;
        }
        match std::fs::remove_dir(&self.0) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) =>
            {
                Err(cannot(error))
            }
            _ => Ok(()),
        }
    }
}
