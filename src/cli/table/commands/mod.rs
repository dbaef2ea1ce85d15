//! The rows of the table: each command as a person types it. What several rows share stands here,
//! and the order in which they are shown; a row stands in the file of its subject.

use super::{Arity, Command, Family, Flag, Operand};

mod define;
mod device;
mod guest;
mod host;
mod look;
mod parts;
mod run;
mod snapshot;
mod talk;

const VM: Operand = Operand { name: "VM", arity: Arity::One };
const VMS: Operand = Operand { name: "VM", arity: Arity::Some };
const DRY_RUN: (Flag, &str) = (Flag::DryRun, "say what would be done, and do nothing");

/// How a command that takes several VMs is told which, beside their names.
pub(super) const SELECTION: &[(Flag, &str)] = &[
    (Flag::All, "every VM there is"),
    (Flag::Selector, "the VMs with this label, and with each further one"),
];

/// The flags that every command takes, before and after its word.
pub(crate) const GLOBALS: &[(Flag, &str)] = &[
    (Flag::Json, "results and errors as JSON"),
    (Flag::Columns, "these columns alone, divided by TABs, without a header"),
    (Flag::Quiet, "no notes; from a list, the names alone"),
    (Flag::Verbose, "tell what is done; twice, every step of it"),
    (Flag::Yes, "answer every question with yes"),
    (Flag::Timeout, "the longest time that the command may take, and for stop the guest's time"),
    (Flag::Jobs, "how many VMs to start at once"),
    (Flag::Color, "colours: on a terminal (auto), always, or never"),
    (Flag::DataDir, "where definitions and the VMs' files lie"),
    (Flag::RuntimeDir, "where sockets of VMs being started are made"),
    (Flag::ConfigDir, "where settings lie"),
    (Flag::Help, "this help, or that of a command"),
    (Flag::Version, "the version"),
];

/// Global flags of which at most one may be given.
pub(crate) const GLOBAL_EXCLUDES: &[&[Flag]] = &[&[Flag::Json, Flag::Columns]];

/// The flags of DEF that are no scalar keys.
pub(super) const DEFINITION: &[(Flag, &str)] = &[
    (Flag::File, "read the definition from FILE; - is standard input"),
    (Flag::Disk, "a disk: 20G | ./x.qcow2 | name=data,size=50G"),
    (Flag::Cdrom, "a CD-ROM drive with the disc in this file: ./x.iso"),
    (Flag::Share, "a folder that the guest mounts by 9p: .,tag=src,readonly"),
    (Flag::Net, "a network card: user | none | user,model=e1000"),
    (Flag::Port, "a port of the host that leads into the guest: 8080:80 | auto:22"),
    (Flag::Label, "a word of your own about the VM: env=prod"),
    (Flag::Set, "any key: cpu.cores=2, storage.data.cache=none; null is the default"),
    (Flag::Arg, "one word more for QEMU, whatever it begins with"),
];

/// The commands of two words by the first of them.
pub(crate) const FAMILIES: &[Family] = &[
    Family { word: "disk", summary: "the disks of VMs, while they run and while they do not" },
    Family { word: "port", summary: "the ports of the host that lead into guests" },
    Family { word: "device", summary: "the devices of VMs that run" },
    Family { word: "db", summary: "the database: a copy of it, and the way back" },
    Family { word: "snapshot", summary: "what VMs were at some time, kept and gone back to" },
];

/// Every command, by group, in the order in which help shows them.
pub(crate) const COMMANDS: &[Command] = &[
    define::ADD,
    define::APPLY,
    define::SHOW,
    define::EDIT,
    define::RENAME,
    define::CLONE,
    define::RM,
    define::CHECK,
    run::START,
    run::STOP,
    run::RESTART,
    run::RESET,
    run::PAUSE,
    run::RESUME,
    run::RUN,
    look::LS,
    look::STATUS,
    look::INFO,
    look::WHY,
    look::LOGS,
    look::EVENTS,
    look::STATS,
    look::WAIT,
    talk::CONSOLE,
    talk::SEND,
    guest::EXEC,
    guest::CP,
    talk::TYPE,
    talk::KEYS,
    talk::SCREEN,
    talk::QMP,
    parts::DISK_LS,
    parts::DISK_ADD,
    parts::DISK_RM,
    parts::DISK_RESIZE,
    parts::PORT_LS,
    parts::PORT_ADD,
    parts::PORT_RM,
    device::LS,
    device::ADD,
    device::RM,
    snapshot::LS,
    snapshot::CREATE,
    snapshot::LOAD,
    snapshot::RM,
    host::EXPORT,
    host::IMPORT,
    host::CMDLINE,
    host::GENERATE,
    host::DOCTOR,
    host::DB_BACKUP,
    host::DB_RESTORE,
    host::BATCH,
    host::HELP,
];
