//! A flag for each scalar key of a definition: `cpu_model` is typed `--cpu-model`.
//!
//! The keys and their help belong to `definition`; here they only become flags.

/// One key of a definition as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DefinitionFlag {
    /// The key as it stands in a definition.
    pub(crate) key: &'static str,
    /// The name of its value in help; none where it is true or false: `--rng`, `--rng=false`.
    pub(crate) value: Option<&'static str>,
    pub(crate) help: &'static str,
    /// What holds without it, for a person.
    pub(crate) default: &'static str,
}

impl DefinitionFlag {
    /// The flag with its dashes.
    pub(crate) fn written(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }
}

/// Every scalar key as a flag, in the order of the keys' own table.
pub(crate) fn definition_flags() -> impl Iterator<Item = DefinitionFlag> {
    KEYS.iter().map(|&(key, value, help, default)| DefinitionFlag { key, value, help, default })
}

/// Key, value name, help, default.
type Row = (&'static str, Option<&'static str>, &'static str, &'static str);

const KEYS: &[Row] = &[
    ("name", Some("TEXT"), "what the VM is called", "none"),
    ("description", Some("TEXT"), "a text for people", "none"),
    ("binary", Some("FILE"), "the QEMU to run: a path, or a name in PATH", "qemu-system-ARCH"),
    ("machine", Some("TEXT"), "QEMU's machine type", "q35 on x86, virt elsewhere"),
    ("accel", Some("WORD"), "how the guest's code is run: auto, kvm or tcg", "auto"),
    ("cpu_model", Some("TEXT"), "QEMU's CPU model", "host with KVM, max with TCG"),
    ("cpu", Some("N"), "how many CPUs the guest has", "1"),
    ("memory", Some("SIZE"), "the guest's memory", "1G"),
    ("firmware", Some("WORD"), "what starts the guest", "bios"),
    ("kernel", Some("FILE"), "a kernel to start directly", "none"),
    ("initrd", Some("FILE"), "the initial RAM disk of that kernel", "none"),
    ("append", Some("TEXT"), "the command line of that kernel", "none"),
    ("display", Some("WORD"), "where the guest's screen is shown", "none"),
    ("vga", Some("WORD"), "the graphics card", "std where the machine has VGA"),
    ("serial", None, "a serial console", "true"),
    ("agent", None, "a channel for the guest agent", "true"),
    ("rng", None, "random numbers from the host", "true"),
    ("hotplug_slots", Some("N"), "empty root ports for devices added later", "4"),
    ("sandbox", None, "QEMU's system call filter", "true"),
    ("stop_timeout", Some("DUR"), "how long the guest may take to shut down", "60s"),
    ("restart", Some("WORD"), "what follows when QEMU has ended", "never"),
    ("protect", None, "refuse to remove the VM and its disks", "false"),
];
