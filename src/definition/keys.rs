//! The table of every key that a definition may have.
//!
//! Flags, hints, merging and reading all follow it: a key that is not here does not exist. It says
//! what a key looks like, never what QEMU makes of it. To add a key: a row here, its type in
//! `types`, its line in `read`.

use serde_json::Value;

use super::units::Bare;
use crate::error::{Error, Result, quote};

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What holds when the key is not given, for a person.
    pub(crate) default: &'static str,
    /// One line for `--help` and the manual.
    pub(crate) help: &'static str,
}

/// What a key's value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Bool,
    /// A whole number within a range.
    Count {
        min: u64,
        max: u64,
    },
    /// A count, or an object whose keys have a table of their own.
    CountOr {
        min: u64,
        max: u64,
    },
    /// A size in bytes; `Bare` tells what one without a unit means.
    Size(Bare),
    Duration,
    /// A file or folder; a relative one is relative to the source that names it.
    Path,
    /// A program: a path where it has a `/`, else a name to be found in PATH.
    Program,
    Choice(Choice),
    Object(&'static [Key]),
    /// An object of strings under any key.
    Labels,
    /// A list of objects with names; one without is called `prefix` and its place in the list.
    Items {
        prefix: &'static str,
        keys: &'static [Key],
    },
    /// A list of strings, to which every source adds.
    Words,
    /// A list of strings, of which the last one given holds.
    List,
    /// A list of anything, to which every source adds.
    Anything,
    /// An object of words for QEMU, under any key that QEMU could know.
    Options,
}

/// One word of a few.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) words: &'static [&'static str],
    /// The keys of the object that may stand for a word; empty where none may.
    pub(crate) object: &'static [Key],
}

/// The keys of a definition, in the order in which they are shown.
pub(crate) const DEFINITION: &[Key] = &[
    key("name", Kind::Text, "none", "what the VM is called"),
    key("description", Kind::Text, "none", "a text for people"),
    key("labels", Kind::Labels, "none", "words of your own about the VM"),
    key(
        "binary",
        Kind::Program,
        "qemu-system-ARCH of this machine",
        "the QEMU to run: a path, or a name in PATH",
    ),
    key("machine", Kind::Text, "q35 on x86, virt elsewhere", "QEMU's machine type"),
    key("accel", one_of(&["auto", "kvm", "tcg"]), "auto", "how the guest's code is run"),
    key("cpu_model", Kind::Text, "host with KVM, max with TCG", "QEMU's CPU model"),
    key("cpu", Kind::CountOr { min: 1, max: 4096 }, "1", "how many CPUs the guest has"),
    key("memory", Kind::Size(Bare::Mebibytes), "1G", "the guest's memory"),
    key("firmware", word_or(&["bios", "uefi"], FIRMWARE), "bios", "what starts the guest"),
    key("kernel", Kind::Path, "none", "a kernel to start directly"),
    key("initrd", Kind::Path, "none", "the initial RAM disk of that kernel"),
    key("append", Kind::Text, "none", "the command line of that kernel"),
    key("boot", Kind::Object(BOOT), "the firmware's", "from what the firmware starts"),
    key(
        "display",
        word_or(&["none", "vnc", "spice", "gtk", "sdl"], DISPLAY),
        "none",
        "where the guest's screen is shown",
    ),
    key(
        "vga",
        one_of(&["std", "none", "virtio", "cirrus", "qxl", "vmware"]),
        "std where the machine has VGA",
        "the graphics card",
    ),
    key(
        "storage",
        Kind::Items { prefix: "disk", keys: STORAGE },
        "none",
        "disks, and shared folders",
    ),
    key(
        "network",
        Kind::Items { prefix: "net", keys: NETWORK },
        "one of type user",
        "network cards",
    ),
    key("serial", Kind::Bool, "true", "a serial console"),
    key("agent", Kind::Bool, "true", "a channel for the guest agent"),
    key("rng", Kind::Bool, "true", "random numbers from the host"),
    key(
        "hotplug_slots",
        count(0, 16),
        "4 on PCI Express",
        "empty root ports for devices added to the running VM",
    ),
    key("sandbox", Kind::Bool, "true", "QEMU's system call filter"),
    key("stop_timeout", Kind::Duration, "60s", "how long the guest may take to shut down"),
    key(
        "restart",
        one_of(&["never", "on-failure", "always"]),
        "never",
        "when QEMU is started again that nobody has stopped",
    ),
    key("autostart", Kind::Bool, "false", "started by \"maqet start --autostart\""),
    key(
        "protect",
        Kind::Bool,
        "false",
        "refuse to remove the VM, its disks and snapshots, or to load one",
    ),
    key("template", Kind::Bool, "false", "never start, and allow linked clones"),
    key("arguments", Kind::Anything, "none", "QEMU options as structured values"),
    key("args", Kind::Words, "none", "QEMU options as words of argv, verbatim"),
];

/// The keys of `cpu` as an object.
pub(crate) const CPU: &[Key] = &[
    key("sockets", count(1, 4096), "1", "sockets of the machine"),
    key("cores", count(1, 4096), "1", "cores of a socket"),
    key("threads", count(1, 4096), "1", "threads of a core"),
];

/// The keys of `firmware` as an object, of which both are given.
pub(crate) const FIRMWARE: &[Key] = &[
    key("code", Kind::Path, "none", "the firmware itself, a raw image"),
    key("vars", Kind::Path, "none", "what its variables are at first, a raw image"),
];

/// The keys of `boot`.
pub(crate) const BOOT: &[Key] = &[
    key("order", Kind::Text, "the firmware's", "QEMU's drive letters in order, such as cdn"),
    key("menu", Kind::Bool, "false", "the firmware's boot menu"),
];

/// The keys of `display` as an object, of which one is given.
pub(crate) const DISPLAY: &[Key] = &[
    key("vnc", Kind::Object(VNC), "on a socket in the VM's folder", "a VNC server"),
    key("spice", Kind::Object(SPICE), "on a socket in the VM's folder", "a SPICE server"),
    key("gtk", Kind::Options, "none", "a window, and options of QEMU's display gtk"),
    key("sdl", Kind::Options, "none", "a window, and options of QEMU's display sdl"),
];

/// The keys of `display.vnc`. QEMU counts its displays from port 5900.
pub(crate) const VNC: &[Key] = &[ADDRESS, port(5900), PASSWORD_FILE];
/// The keys of `display.spice`.
pub(crate) const SPICE: &[Key] = &[ADDRESS, port(1), PASSWORD_FILE];

const ADDRESS: Key = key("address", Kind::Text, "127.0.0.1", "an IP address on which it listens");
const PASSWORD_FILE: Key =
    key("password_file", Kind::Path, "none", "the file that holds the password");

const fn port(least: u64) -> Key {
    key("port", count(least, 65535), "none", "a TCP port, in place of the socket")
}

/// The keys of an item of `storage`.
pub(crate) const STORAGE: &[Key] = &[
    key("name", Kind::Text, "disk and its place", "what the disk is called"),
    key(
        "type",
        one_of(&["qcow2", "raw", "vdi", "vhdx", "vpc", "vmdk", "virtfs"]),
        "that of the file, else qcow2",
        "the format of the image; virtfs: a folder of the host",
    ),
    key("file", Kind::Path, "disks/NAME.TYPE in the VM's folder", "the image"),
    key(
        "size",
        Kind::Size(Bare::Refused),
        "none",
        "how large the image is made where it does not exist",
    ),
    key("from", Kind::Path, "none", "an image to copy at the first start"),
    key(
        "interface",
        one_of(&["virtio", "scsi", "sata", "ide", "nvme", "usb", "none"]),
        "virtio; for a cdrom what the machine has",
        "what the guest sees; none: no device",
    ),
    key(
        "media",
        one_of(&["disk", "cdrom"]),
        "cdrom for a file that ends in .iso, else disk",
        "what kind of drive it is",
    ),
    key("readonly", Kind::Bool, "false", "the guest may not write"),
    key("backing_file", Kind::Path, "none", "the image that this one stands on"),
    key(
        "backing_format",
        one_of(&["qcow2", "raw", "vdi", "vhdx", "vpc", "vmdk"]),
        "that of the file",
        "the format of that image",
    ),
    key(
        "cache",
        one_of(&["writeback", "none", "writethrough", "directsync", "unsafe"]),
        "writeback",
        "how the host caches it",
    ),
    key(
        "aio",
        one_of(&["threads", "native", "io_uring"]),
        "threads",
        "how the host reads and writes it",
    ),
    key("discard", one_of(&["ignore", "unmap"]), "ignore", "whether the guest can give space back"),
    key("serial", Kind::Text, "none", "a serial number, at most 20 bytes"),
    key("bootindex", count(0, i32::MAX as u64), "none", "the place in the order of starting"),
    key("path", Kind::Path, "none", "virtfs: the folder to share"),
    key("tag", Kind::Text, "the name", "virtfs: what the guest mounts it by"),
    key(
        "security_model",
        one_of(&["mapped-xattr", "mapped-file", "passthrough", "none"]),
        "mapped-xattr",
        "virtfs: whose files they are",
    ),
];

/// The keys of an item of `network`.
pub(crate) const NETWORK: &[Key] = &[
    key("name", Kind::Text, "net and its place", "what the card is called"),
    key(
        "type",
        one_of(&["user", "tap", "bridge", "socket", "none"]),
        "user",
        "what the card is connected to; none: no card",
    ),
    key(
        "model",
        one_of(&["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "pcnet", "ne2k_pci"]),
        "virtio",
        "what the guest sees",
    ),
    key("mac", Kind::Text, "made of the VM's id and the card's name", "the hardware address"),
    key("ports", Kind::List, "none", "user: ports of the host that lead into the guest"),
    key("ifname", Kind::Text, "one that QEMU makes", "tap: the interface of the host"),
    key("bridge", Kind::Text, "br0", "bridge: the bridge of the host"),
    key("options", Kind::Options, "none", "further options of QEMU's netdev"),
];

/// The row of `name` in a table.
pub(crate) fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}

/// The keys of a definition that a flag of the same name gives. `name` is none of
/// them: it is an operand.
pub(crate) fn flags() -> impl Iterator<Item = &'static Key> {
    DEFINITION.iter().filter(|key| key.is_scalar() && key.name != "name")
}

impl Key {
    /// What stands for the value in help texts.
    pub(crate) fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "true|false",
            Kind::Count { .. } | Kind::CountOr { .. } => "N",
            Kind::Size(_) => "SIZE",
            Kind::Duration => "DUR",
            Kind::Path => "FILE",
            Kind::Program => "PROGRAM",
            Kind::Choice(_) => "WORD",
            Kind::Text => "TEXT",
            Kind::Object(_)
            | Kind::Labels
            | Kind::Options
            | Kind::Items { .. }
            | Kind::Words
            | Kind::List
            | Kind::Anything => "JSON",
        }
    }

    /// Whether the key has one value that can be written as one word.
    fn is_scalar(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Object(_)
                | Kind::Labels
                | Kind::Options
                | Kind::Items { .. }
                | Kind::Words
                | Kind::List
                | Kind::Anything
        )
    }

    /// The value that a flag or a `KEY=VALUE` gives in JSON: booleans and counts as such; for a list
    /// or an object JSON, or the one string of a list of strings; anything else as a string, which
    /// `read` takes as it stands.
    pub(crate) fn value_of(&self, text: &str) -> Result<Value> {
        match self.kind {
            Kind::Bool => match text {
                "true" | "on" | "yes" => Ok(true.into()),
                "false" | "off" | "no" => Ok(false.into()),
                _ => Err(self.refuse(text, "true or false")),
            },
            Kind::Count { .. } | Kind::CountOr { .. } => match text.parse::<u64>() {
                Ok(count) => Ok(count.into()),
                Err(_) => Err(self.refuse(text, "a whole number")),
            },
            Kind::Words | Kind::List if !text.starts_with('[') => Ok(Value::from(vec![text])),
            Kind::Object(_)
            | Kind::Labels
            | Kind::Options
            | Kind::Items { .. }
            | Kind::Words
            | Kind::List
            | Kind::Anything => serde_json::from_str(text).map_err(|error| {
                Error::usage(format!("{}: {} is not JSON: {error}", self.name, quote(text)))
            }),
            Kind::Choice(choice) if !choice.object.is_empty() && text.starts_with('{') => {
                serde_json::from_str(text).map_err(|error| {
                    Error::usage(format!("{}: {} is not JSON: {error}", self.name, quote(text)))
                })
            }
            _ => Ok(text.into()),
        }
    }

    fn refuse(&self, text: &str, expected: &str) -> Error {
        Error::usage(format!("{}: expected {expected}, found {}", self.name, quote(text)))
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, default, help }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const fn one_of(words: &'static [&'static str]) -> Kind {
    Kind::Choice(Choice { words, object: &[] })
}

const fn word_or(words: &'static [&'static str], object: &'static [Key]) -> Kind {
    Kind::Choice(Choice { words, object })
}

#[cfg(test)]
mod tests;
