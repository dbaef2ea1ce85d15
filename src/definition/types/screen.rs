//! Where the guest's screen is shown.

use std::net::IpAddr;
use std::path::PathBuf;

/// Where the guest's screen is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Display {
    None,
    /// A window, and what QEMU's option of it is told: keys of `[A-Za-z0-9_.-]+`.
    Gtk(Vec<(String, String)>),
    Sdl(Vec<(String, String)>),
    Vnc(Screen),
    Spice(Screen),
}

/// A server of the guest's screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    /// `None`: a Unix socket in the VM's folder. Never an address that others reach without a
    /// password.
    pub(crate) listen: Option<(IpAddr, u16)>,
    pub(crate) password_file: Option<PathBuf>,
}
