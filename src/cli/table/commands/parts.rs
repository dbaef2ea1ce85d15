//! The rows of the commands that change the parts of VMs: their disks and ports.

use super::{DRY_RUN, VM};
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const DISK_LS: Command = Command {
    verb: Verb::DiskLs,
    word: "disk ls",
    group: Group::Parts,
    summary: "list the disks of VMs",
    about: "\
Every disk of every VM, or of those named: the image and its sizes, what the
guest sees, and whether maqet made it.",
    operands: &[Operand { name: "VM", arity: Arity::Any }],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[("disk ls", "the table"), ("disk ls web -o name,file", "the images of one VM")],
};

const DISK: Operand = Operand { name: "DISK", arity: Arity::One };
const NAME: Operand = Operand { name: "NAME", arity: Arity::One };
const LIVE: (Flag, &str) = (Flag::Live, "the running VM alone: its next start knows nothing of it");

pub(super) const DISK_ADD: Command = Command {
    verb: Verb::DiskAdd,
    word: "disk add",
    group: Group::Parts,
    summary: "add a disk to a VM",
    about: "\
DISK is written as for --disk: a size, or a file and its keys. The image is made
now where it is to be made. A running VM gets the disk at once, where its
interface can be plugged in. Prints the disk's name.",
    operands: &[VM, DISK],
    definition: false,
    flags: &[LIVE, DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[
        ("disk add web 20G", "a new disk"),
        ("disk add web name=data,size=50G,interface=scsi", "with a name, on SCSI"),
        ("disk add web ./old.raw,readonly", "an image that is there"),
    ],
};

pub(super) const DISK_RM: Command = Command {
    verb: Verb::DiskRm,
    word: "disk rm",
    group: Group::Parts,
    summary: "take a disk from a VM",
    about: "\
The image stays, and is named. The guest of a running VM must let the disk go: 5
is the exit code where it has not in 30 s, or --timeout. A protected VM is
refused. --delete-storage asks first on a terminal; elsewhere it wants -y.",
    operands: &[VM, NAME],
    definition: false,
    flags: &[
        (Flag::DeleteStorage, "delete the image, if maqet made it and no other VM uses it"),
        LIVE,
        DRY_RUN,
    ],
    excludes: &[&[Flag::DeleteStorage, Flag::Live]],
    objects: true,
    examples: &[
        ("disk rm web data", "the image stays"),
        ("disk rm web data --delete-storage -y", "it does not"),
    ],
};

pub(super) const DISK_RESIZE: Command = Command {
    verb: Verb::DiskResize,
    word: "disk resize",
    group: Group::Parts,
    summary: "make a disk larger, or smaller",
    about: "\
To SIZE, or by as much more. The guest's partitions and file systems stay as
they are. A running VM sees the new size at once; its disks can only grow.",
    operands: &[VM, NAME, Operand { name: "SIZE|+SIZE", arity: Arity::One }],
    definition: false,
    flags: &[(Flag::Shrink, "make it smaller: what lies behind is lost"), DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[
        ("disk resize web disk0 40G", "40 GiB in all"),
        ("disk resize web disk0 +10G", "10 GiB more"),
    ],
};

const PORT: Operand = Operand { name: "PORT", arity: Arity::One };

pub(super) const PORT_LS: Command = Command {
    verb: Verb::PortLs,
    word: "port ls",
    group: Group::Parts,
    summary: "list the ports that lead into guests",
    about: "\
Every port of every VM, of VM, or those that lead to the guest's port GUEST.
Of a VM that runs: those on which the host listens now; of another, those that
its definition has. -q gives the host's ends alone, as 127.0.0.1:2222.",
    operands: &[
        Operand { name: "VM", arity: Arity::Optional },
        Operand { name: "GUEST", arity: Arity::Optional },
    ],
    definition: false,
    flags: &[],
    excludes: &[&[Flag::Quiet, Flag::Json, Flag::Columns]],
    objects: true,
    examples: &[
        ("port ls", "the table"),
        ("port ls -q web 22", "where the guest's ssh is to be had: 127.0.0.1:2222"),
    ],
};

pub(super) const PORT_ADD: Command = Command {
    verb: Verb::PortAdd,
    word: "port add",
    group: Group::Parts,
    summary: "let a port of the host lead into a guest",
    about: "\
PORT is [ADDR:]HOST:GUEST[/udp]: HOST a number, or auto for any that is free;
ADDR is 127.0.0.1 unless given. It belongs to the first card of type user. A VM
that runs has it at once. Prints the host's port.",
    operands: &[VM, PORT],
    definition: false,
    flags: &[LIVE, DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[
        ("port add web 8080:80", "from port 8080 to the guest's port 80"),
        ("port add web auto:22", "from any port that is free, which is printed"),
    ],
};

pub(super) const PORT_RM: Command = Command {
    verb: Verb::PortRm,
    word: "port rm",
    group: Group::Parts,
    summary: "close a port that leads into a guest",
    about: "\
PORT is the host's, [ADDR:]HOST[/udp], of a VM that runs the number that auto
got too; or all of it, as it was given. Connections that there are go on.",
    operands: &[VM, PORT],
    definition: false,
    flags: &[LIVE, DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[
        ("port rm web 8080", "from the running VM and the definition"),
        ("port rm web auto:22", "by what the definition has"),
    ],
};
