//! The disks of VMs: what there is, and one file for each way to change it.
//!
//! Definitions are changed through the store and images through `qemu`; what QEMU is asked goes
//! through its runner.

mod list;

pub(super) use self::list::ls;
