//! The disks of VMs: what there is, and one file for each way to change it.
//!
//! Definitions are changed through the store and images through `qemu`; what a running QEMU is asked
//! is `plug`'s.

mod add;
mod list;
mod plug;
mod resize;
mod rm;

use crate::definition::types::Disk;
use crate::error::{Error, Result, quote};

pub(super) use self::add::add;
pub(super) use self::list::ls;
pub(super) use self::resize::resize;
pub(super) use self::rm::rm;

/// What the `file` table calls an image.
const KIND: &str = "disk";

/// The disk of this name in a definition.
fn named<'a>(storage: &'a [Disk], name: &str) -> Result<&'a Disk> {
    storage.iter().find(|disk| disk.name.as_str() == name).ok_or_else(|| {
        Error::not_found(format!("it has no disk {}", quote(name)))
            .hint("\"maqet disk ls\" shows those that it has")
    })
}
