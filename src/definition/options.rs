//! What a definition must know of QEMU's options (QEMU 7.2): which key of several is one, and how
//! QEMU reads the text behind one.
//!
//! No item is read and no word of argv is written here.

use serde_json::{Map, Value};

/// Which of several keys is the option: the first of these that is there. One that others name as a
/// property, as a device names its netdev, stands behind them.
const OPTIONS: [&str; 42] = [
    "device",
    "object",
    "mon",
    "numa",
    "machine",
    "accel",
    "drive",
    "blockdev",
    "netdev",
    "nic",
    "net",
    "fsdev",
    "virtfs",
    "chardev",
    "audiodev",
    "audio",
    "tpmdev",
    "smp",
    "m",
    "cpu",
    "rtc",
    "boot",
    "vnc",
    "spice",
    "display",
    "sandbox",
    "overcommit",
    "icount",
    "fw_cfg",
    "smbios",
    "acpitable",
    "msg",
    "action",
    "set",
    "global",
    "run-with",
    "trace",
    "plugin",
    "option-rom",
    "add-fd",
    "compat",
    "name",
];
/// The options that take a text as it is: in none of them does a comma end anything.
pub(super) const TEXTS: [&str; 28] = [
    "loadvm",
    "readconfig",
    "dump-vmstate",
    "prom-env",
    "chroot",
    "runas",
    "append",
    "kernel",
    "initrd",
    "dtb",
    "bios",
    "pflash",
    "cdrom",
    "hda",
    "hdb",
    "hdc",
    "hdd",
    "fda",
    "fdb",
    "sd",
    "mtdblock",
    "uuid",
    "pidfile",
    "D",
    "L",
    "incoming",
    "dfilter",
    "mem-path",
];
/// The options that take no value (QEMU 7.2): a word behind one of them would be an image.
pub(super) const BARE: [&str; 31] = [
    "S",
    "daemonize",
    "enable-kvm",
    "enable-sync-profile",
    "full-screen",
    "mem-prealloc",
    "no-acpi",
    "no-fd-bootchk",
    "no-hpet",
    "no-reboot",
    "no-shutdown",
    "no-user-config",
    "nodefaults",
    "nographic",
    "only-migratable",
    "preconfig",
    "singlestep",
    "snapshot",
    "usb",
    "win2k-hack",
    "xen-attach",
    "xen-domid-restrict",
    "curses",
    "version",
    "audio-help",
    "h",
    "help",
    "old-param",
    "portrait",
    "s",
    "semihosting",
];
/// The options of which QEMU takes all behind the first `=` for a value, commas too, where there is
/// a dot in front of it.
pub(super) const DOTTED: [&str; 2] = ["global", "set"];

/// The options whose text is a list in a way of its own: QEMU takes each comma for an end, two as
/// well.
pub(super) const LISTS: [&str; 2] = ["cpu", "d"];
/// The options that take the address of a character device, as `qemu_chr_parse_compat` reads it.
const STREAMS: [&str; 7] =
    ["serial", "parallel", "monitor", "qmp", "qmp-pretty", "debugcon", "gdb"];
/// The addresses behind which option syntax begins; in any other a comma is a comma.
const ADDRESSES: [&str; 6] = ["unix:", "tcp:", "telnet:", "tn3270:", "websocket:", "udp:"];

/// Which key of an item is the option: a sole one is.
pub(super) fn option_of(item: &Map<String, Value>) -> Option<&str> {
    let mut keys = item.keys().map(String::as_str);
    match (keys.next(), keys.next()) {
        (Some(only), None) => Some(only),
        _ => OPTIONS.into_iter().find(|name| item.contains_key(*name)),
    }
}

/// Whether QEMU would take the next option for the value of one that has none.
pub(super) fn needs_value(option: &str) -> bool {
    let all = OPTIONS.iter().chain(&TEXTS).chain(&LISTS).chain(&STREAMS);
    all.into_iter().any(|known| *known == option)
}

/// Whether QEMU takes this text as it is: doubling its commas would change it.
pub(super) fn is_text(option: &str, text: &str) -> bool {
    TEXTS.contains(&option)
        || LISTS.contains(&option)
        || (STREAMS.contains(&option) && !is_address(text))
}

/// Whether the option takes the address of a character device, and this is one with option syntax.
pub(super) fn is_stream(option: &str, text: &str) -> bool {
    STREAMS.contains(&option) && is_address(text)
}

fn is_address(text: &str) -> bool {
    let text = text.strip_prefix("mon:").unwrap_or(text);
    ADDRESSES.iter().any(|kind| text.starts_with(kind))
}

/// Whether QEMU reads this as one key, and nothing in it as the end of it.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
