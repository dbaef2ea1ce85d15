//! The disks of a VM that are its own, with their images, each judged as a start would: what `clone`
//! copies and `export` packs.

use std::path::PathBuf;

use super::context::{Context, Vm};
use crate::definition::copied::is_own;
use crate::definition::types::{Definition, Disk};
use crate::error::{Error, Result, quote};
use crate::paths::VmFolder;
use crate::qemu::image::{self, Header};
use crate::qemu::look::look;

/// A disk of the VM's own.
#[derive(Debug)]
pub(super) struct Own<'a> {
    pub(super) disk: &'a Disk,
    pub(super) path: PathBuf,
    /// `None`: it is not made yet.
    pub(super) header: Option<Header>,
}

/// The VM's own disks, in the definition's order.
///
/// # Errors
/// An image that is missing, damaged, or names what the definition does not.
pub(super) fn own_disks<'a>(definition: &'a Definition, folder: &VmFolder) -> Result<Vec<Own<'a>>> {
    let own = definition.storage.iter().filter(|disk| is_own(disk, folder.path()));
    own.map(|disk| judged(disk, folder)).collect()
}

fn judged<'a>(disk: &'a Disk, folder: &VmFolder) -> Result<Own<'a>> {
    let path = disk.path(folder.path());
    let header = look(&path)?.map(|(header, _)| header);
    match &header {
        Some(header) => image::check(disk, &path, header)?,
        None if disk.is_made_when_absent() => {}
        None => {
            let (name, path) = (quote(disk.name.as_str()), path.display());
            return Err(Error::failed(format!(
                "the image of its disk {name} is not there: {path}"
            ))
            .hint("correct its file"));
        }
    }
    Ok(Own { disk, path, header })
}

/// The VM as it is stored now, for whoever holds its locks: it may have been changed before that.
///
/// # Errors
/// `Kind::NotFound` where it has been removed.
pub(super) fn stored_now(context: &Context<'_>, vm: &Vm) -> Result<Vm> {
    let row = context.store_to_read()?.map(|store| store.by_id(&vm.id)).transpose()?;
    row.flatten().map(Vm::from).ok_or_else(|| Error::not_found("it has been removed"))
}
