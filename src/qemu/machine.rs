//! What QEMU's machine types can take, and which one is meant where a definition does not say.
//!
//! To teach maqet another machine: a row of `TABLE`. What devices are made of it stands in `argv`.

use std::path::Path;

use crate::definition::types::Definition;

/// Where virtio devices go, and so which variant of a device is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    Pci,
    Mmio,
    None,
}

/// Which drives a machine has ports for, without a controller of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ata {
    /// Two channels, `ide.0` and `ide.1`, of two drives each.
    Ide,
    /// Six ports, `ide.0` to `ide.5`, of one drive each.
    Sata,
}

/// What a machine can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) bus: Bus,
    /// Its PCI bus is PCI Express: it wants root ports for devices that come later.
    pub(crate) express: bool,
    pub(crate) ata: Option<Ata>,
    /// `-vga` makes a graphics card.
    pub(crate) vga: bool,
    /// It has flash for a firmware and its variables.
    pub(crate) flash: bool,
    /// It has CPUs of its own; `none` dies of `-cpu` ("apic-id property was not initialized").
    pub(crate) cpu: bool,
}

struct Row {
    /// The type itself, which QEMU makes an alias of its newest version.
    name: &'static str,
    /// What its versioned types begin with; empty where there are none.
    versions: &'static str,
    machine: Machine,
}

const PCI: Machine =
    Machine { bus: Bus::Pci, express: false, ata: None, vga: true, flash: true, cpu: true };

/// As seen with QEMU 7.2; `virt` (Arm, RISC-V) as its documentation has it.
const TABLE: &[Row] = &[
    Row {
        name: "q35",
        versions: "pc-q35-",
        machine: Machine { express: true, ata: Some(Ata::Sata), ..PCI },
    },
    Row { name: "pc", versions: "pc-i440fx-", machine: Machine { ata: Some(Ata::Ide), ..PCI } },
    Row { name: "virt", versions: "virt-", machine: Machine { express: true, vga: false, ..PCI } },
    Row {
        name: "microvm",
        versions: "",
        machine: Machine {
            bus: Bus::Mmio,
            express: false,
            ata: None,
            vga: false,
            flash: false,
            cpu: true,
        },
    },
    Row {
        name: "none",
        versions: "",
        machine: Machine {
            bus: Bus::None,
            express: false,
            ata: None,
            vga: false,
            flash: false,
            cpu: false,
        },
    },
];

impl Machine {
    /// The row of a machine type or of one of its versions. Of an unknown one only a PCI bus is
    /// assumed: QEMU tells where it is wrong.
    pub(crate) fn of(machine_type: &str) -> Machine {
        TABLE
            .iter()
            .find(|row| {
                let is_version = !row.versions.is_empty() && machine_type.starts_with(row.versions);
                machine_type == row.name || is_version
            })
            .map_or(PCI, |row| row.machine)
    }
}

/// Whether `version` is a versioned type of the machine that `alias` names: `pc-q35-7.2` of `q35`.
pub(crate) fn is_version_of(version: &str, alias: &str) -> bool {
    TABLE.iter().any(|row| {
        row.name == alias && !row.versions.is_empty() && version.starts_with(row.versions)
    })
}

/// What the versioned types of the machine that `alias` names begin with.
pub(crate) fn versions_of(alias: &str) -> Option<&'static str> {
    let row = TABLE.iter().find(|row| row.name == alias)?;
    Some(row.versions).filter(|versions| !versions.is_empty())
}

/// The emulator of this host's architecture, to be found in PATH.
pub(crate) fn default_program() -> String {
    let arch = match std::env::consts::ARCH {
        "x86" => "i386",
        "powerpc64" => "ppc64",
        same => same,
    };
    format!("qemu-system-{arch}")
}

/// The machine type that a VM gets from this binary.
pub(crate) fn type_of<'a>(definition: &'a Definition, binary: &Path) -> &'a str {
    match &definition.machine {
        Some(machine) => machine.as_str(),
        None => default_type(binary),
    }
}

/// The machine type for a binary: `q35` on x86, `virt` elsewhere. A binary whose name tells nothing
/// is taken for this host's.
pub(crate) fn default_type(binary: &Path) -> &'static str {
    match arch(binary) {
        Some("x86_64" | "i386" | "x86") => "q35",
        Some(_) => "virt",
        None => default_type(Path::new(&default_program())),
    }
}

/// The architecture of a binary's guests, as QEMU calls it.
pub(crate) fn architecture(binary: &Path) -> String {
    let own = default_program();
    arch(binary).or_else(|| arch(Path::new(&own))).unwrap_or_default().to_owned()
}

/// Whether KVM can run this binary's guests on this host at all.
pub(crate) fn is_native(binary: &Path) -> bool {
    let host = default_program();
    match (arch(binary), host.strip_prefix("qemu-system-")) {
        (Some("i386"), Some("x86_64")) | (None, _) => true,
        (guest, host) => guest == host,
    }
}

/// The machine type in what QMP's `qom-get /machine type` answers: `pc-q35-7.2-machine`. It goes into
/// the definition, and from there into the next command line: it is a plain word, or none.
pub(crate) fn from_qom(qom_type: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = qom_type.strip_suffix("-machine")?;
    ((1..=64).contains(&name.len()) && name.bytes().all(is_plain)).then_some(name)
}

fn arch(binary: &Path) -> Option<&str> {
    binary.file_name()?.to_str()?.strip_prefix("qemu-system-").filter(|arch| !arch.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_what_its_type_has() {
        for (types, bus, express, vga) in [
            (&["q35", "pc-q35-7.2"][..], Bus::Pci, true, true),
            (&["pc", "pc-i440fx-2.12"], Bus::Pci, false, true),
            (&["virt", "virt-8.0"], Bus::Pci, true, false),
            (&["microvm"], Bus::Mmio, false, false),
            (&["none"], Bus::None, false, false),
            (&["pseries", "nonesuch", "microvm-2", ""], Bus::Pci, false, true),
        ] {
            for machine_type in types {
                let machine = Machine::of(machine_type);
                assert_eq!(
                    (machine.bus, machine.express, machine.vga),
                    (bus, express, vga),
                    "{machine_type}"
                );
            }
        }
    }

    #[test]
    fn the_binary_tells_the_machine() {
        for (binary, expected) in [
            ("/usr/bin/qemu-system-x86_64", "q35"),
            ("/usr/bin/qemu-system-i386", "q35"),
            ("/usr/bin/qemu-system-aarch64", "virt"),
            ("/opt/qemu-system-riscv64", "virt"),
        ] {
            assert_eq!(default_type(Path::new(binary)), expected, "{binary}");
        }
        let own = default_program();
        assert_eq!(default_type(Path::new("/opt/my-qemu")), default_type(Path::new(&own)));
        assert!(is_native(Path::new(&own)) && is_native(Path::new("/opt/my-qemu")));
        assert!(!is_native(Path::new("/usr/bin/qemu-system-sparc")));
    }

    #[test]
    fn a_version_is_told_from_its_alias_and_from_another_machines() {
        assert!(is_version_of("pc-q35-7.2", "q35"));
        assert!(is_version_of("pc-i440fx-7.2", "pc"));
        for (version, alias) in [("pc-q35-7.2", "pc"), ("q35", "q35"), ("pc-q35-7.2", "pc-q35-7.2")]
        {
            assert!(!is_version_of(version, alias), "{version} {alias}");
        }
        assert!(!is_version_of("microvm", "microvm"));
    }

    #[test]
    fn qoms_name_of_a_machine_is_its_type() {
        assert_eq!(from_qom("pc-q35-7.2-machine"), Some("pc-q35-7.2"));
        assert_eq!(from_qom("-machine"), None);
        assert_eq!(from_qom("q35"), None);
    }
}
