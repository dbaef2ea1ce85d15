//! A definition as the rest of the program sees it: every value is right by its type.
//!
//! `read` makes these from JSON. What follows from the machine, from the host or from the VM's id is
//! not decided here: such a value is `None` where the definition says nothing. What has more than
//! a few words to it has a file of its own, by its key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::name::VmName;
use super::units::Limit;

mod arguments;
mod firmware;
mod network;
mod screen;
mod storage;

pub(crate) use self::arguments::{Argument, Part};
pub(crate) use self::firmware::{Firmware, VARIABLES};
pub(crate) use self::network::{Card, Link, Mac, Model};
pub(crate) use self::screen::{Display, Screen};
pub(crate) use self::storage::{
    Aio, Backing, Cache, Discard, Disk, Format, Interface, Media, SecurityModel, Share,
};

/// What a person has decided about one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) name: Option<VmName>,
    pub(crate) description: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// `None`: the system emulator of this host's architecture.
    pub(crate) binary: Option<Program>,
    /// `None`: the default for the binary's architecture.
    pub(crate) machine: Option<MachineType>,
    pub(crate) accel: Accel,
    /// `None`: `host` with KVM, `max` with TCG.
    pub(crate) cpu_model: Option<CpuModel>,
    pub(crate) cpu: Cpu,
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) firmware: Firmware,
    pub(crate) direct_boot: Option<DirectBoot>,
    pub(crate) boot: Boot,
    pub(crate) display: Display,
    /// `None`: std where the machine has VGA.
    pub(crate) vga: Option<Vga>,
    /// The items of `storage` that are disks.
    pub(crate) storage: Vec<Disk>,
    /// The items of `storage` that are folders of the host. A name stands once among both.
    pub(crate) shares: Vec<Share>,
    /// `None`: one of type user where the machine takes one.
    pub(crate) network: Option<Vec<Card>>,
    pub(crate) serial: bool,
    /// `None`: true where the machine takes one. The same holds for the next two.
    pub(crate) agent: Option<bool>,
    pub(crate) rng: Option<bool>,
    /// `None`: 4 where the machine has PCI Express.
    pub(crate) hotplug_slots: Option<u8>,
    pub(crate) sandbox: bool,
    pub(crate) stop_timeout: Limit,
    pub(crate) restart: Restart,
    /// Whether `start --autostart` means it.
    pub(crate) autostart: bool,
    pub(crate) protect: bool,
    /// Never starts, and may be the base of linked clones.
    pub(crate) template: bool,
    pub(crate) arguments: Vec<Argument>,
    /// Words of argv; none holds a zero byte.
    pub(crate) args: Vec<String>,
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// To be found in PATH; without a `/`.
    Name(String),
    /// Absolute.
    Path(PathBuf),
}

/// QEMU's name of a machine: `[A-Za-z0-9][A-Za-z0-9_.+-]*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MachineType(pub(in crate::definition) String);

impl MachineType {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// QEMU's name of a CPU, without its features: QEMU knows no way to write a comma that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuModel(pub(in crate::definition) String);

impl CpuModel {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How the guest's code is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accel {
    /// KVM where it can be had, else TCG.
    Auto,
    Kvm,
    Tcg,
}

/// When QEMU is started again, where nobody asked it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Never,
    /// When it ended with an error or a signal.
    OnFailure,
    /// When the guest shut down by itself, too.
    Always,
}

/// The guest's CPUs, 1 to 4096 in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cpu {
    Count(u32),
    Topology { sockets: u32, cores: u32, threads: u32 },
}

/// A kernel to start without any firmware's help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectBoot {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) append: Option<String>,
}

/// From what the firmware starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Boot {
    /// Letters a to p, each once.
    pub(crate) order: Option<String>,
    pub(crate) menu: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vga {
    Std,
    None,
    Virtio,
    Cirrus,
    Qxl,
    Vmware,
}

/// The name of a disk or a card, once in its list: 1 to 26 bytes of `[A-Za-z0-9_.-]`, the first a
/// letter or a digit. With a prefix of five it fits into QEMU's 31 bytes of a node name
/// (`BlockDriverState.node_name`), and it is safe as a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemName(pub(in crate::definition) String);

impl ItemName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
