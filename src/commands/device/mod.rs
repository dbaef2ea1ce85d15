//! `device`: the devices of VMs that run. They are gone with the run: definitions do not change.
//!
//! Disks and ports have commands of their own, which change definitions too.

mod add;
mod card;
mod list;
mod rm;

use std::time::Duration;

pub(super) use self::add::add;
pub(super) use self::list::ls;
pub(super) use self::rm::rm;

/// For QEMU to answer, and for a guest to let a device go, where --timeout says nothing.
const LIMIT: Duration = Duration::from_secs(30);
