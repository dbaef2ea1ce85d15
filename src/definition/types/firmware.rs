//! What starts the guest.

/// What the drive of a firmware's variables is called, in snapshots too: no disk may have this name.
pub(crate) const VARIABLES: &str = "firmware-vars";

use std::path::PathBuf;

/// What starts the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// What QEMU takes by itself.
    Bios,
    /// A UEFI firmware of the host, as QEMU's descriptors name one.
    Uefi,
    /// These files: the code, and what a VM's variables are at first. Both raw.
    Files { code: PathBuf, vars: PathBuf },
}

impl Firmware {
    /// Whether it keeps variables, for which the VM has an image.
    pub(crate) fn has_variables(&self) -> bool {
        *self != Firmware::Bios
    }
}
