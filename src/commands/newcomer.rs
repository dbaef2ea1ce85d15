//! A VM that is being made with files of its own: the folder first, the row last, and nothing at all
//! where anything in between fails.
//!
//! A kill leaves a folder without a row, which `doctor` names; what is in the files is not known
//! here.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::add::taken;
use super::context::Context;
use crate::cli::progress::Progress;
use crate::copy::{self, Failure};
use crate::definition::name::{VmId, VmName};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lock;
use crate::paths::VmFolder;
use crate::private::make_private;

/// What the `file` table calls an image.
const DISK: &str = "disk";

/// The folder of a VM that is not stored yet; removed with this value unless the VM is stored.
#[derive(Debug)]
pub(super) struct Newcomer {
    id: String,
    folder: VmFolder,
    files: Vec<(String, &'static str)>,
    is_stored: bool,
}

impl Newcomer {
    /// Makes the folder and the lock file in it.
    pub(super) fn make(context: &Context<'_>, id: &VmId) -> Result<Newcomer> {
        context.folders.make_data()?;
        let id = id.to_string();
        let folder = context.folders.vm(&id);
        let made = Newcomer { id, folder, files: Vec::new(), is_stored: false };
        make_private(made.folder.path())?;
        make_private(&made.folder.disks())?;
        lock::create(&made.folder.lock())?;
        Ok(made)
    }

    /// A new, empty file of the VM's own, 0600.
    ///
    /// # Errors
    /// Where there is one of this name already, or it cannot be made.
    pub(super) fn create(&mut self, path: &Path) -> Result<File> {
        let cannot = |error| Error::io(format_args!("make {}", path.display()), &error);
        let shown = path.to_str().ok_or_else(|| {
            Error::usage(format!("the path {} is not UTF-8", path.display()))
                .hint("name another folder with --data-dir")
        })?;
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(cannot)?;
        self.files.push((shown.to_owned(), DISK));
        Ok(file)
    }

    /// Copies an image to `to`, which is made.
    pub(super) fn copy(
        &mut self,
        from: &Path,
        to: &Path,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let doing = || format!("copy {} to {}", from.display(), to.display());
        let cannot = |error| Error::io(doing(), &error);
        let source = File::open(from).map_err(cannot)?;
        let target = self.create(to)?;
        let mut step = |count| {
            progress.add(count);
            interrupt.check()
        };
        copy::whole(&source, &target, &mut step).map_err(|failure| match failure {
            Failure::Io(error) => cannot(error),
            Failure::Ours(error) => error,
        })?;
        // The row is safe on the disk when it is written; what it speaks of must be, too.
        target.sync_all().map_err(cannot)?;
        interrupt.check()
    }

    /// Stores the VM: from here on it is there.
    ///
    /// # Errors
    /// `Kind::Conflict` where the name has been taken meanwhile.
    pub(super) fn store(
        mut self,
        context: &Context<'_>,
        name: &VmName,
        definition: &str,
    ) -> Result<()> {
        let mut store = context.store_to_write()?;
        store.insert_with_files(&self.id, name.as_str(), definition, &self.files)?;
        self.is_stored = true;
        Ok(())
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if !self.is_stored {
            // Nobody else can know a folder whose name is a fresh id.
            let _ = std::fs::remove_dir_all(self.folder.path());
        }
    }
}

/// Refuses a name that a VM has already, before any work is done for it.
///
/// # Errors
/// `Kind::Conflict`.
pub(super) fn refuse_if_taken(context: &Context<'_>, name: &VmName) -> Result<()> {
    let known = context.store_to_read()?.map(|store| store.by_name(name.as_str())).transpose()?;
    match known.flatten() {
        Some(_) => Err(taken().about("cannot add", name.as_str())),
        None => Ok(()),
    }
}

/// How many bytes there are to copy in these files, for telling how far the work is.
pub(super) fn data_bytes<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> u64 {
    let size = |path: &PathBuf| copy::data_bytes(&File::open(path).ok()?).ok();
    paths.into_iter().filter_map(size).sum()
}
