//! The rows of the commands on a VM's snapshots.

use super::{DRY_RUN, VM};
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

const NAME: Operand = Operand { name: "NAME", arity: Arity::One };

pub(super) const LS: Command = Command {
    verb: Verb::SnapshotLs,
    word: "snapshot ls",
    group: Group::Parts,
    summary: "list a VM's snapshots",
    about: "\
Name, date, size of the memory that was kept, how long the guest had run, and
the drives that have it. A drive under MISSING could have it and does not: the
snapshot is of some drives only, or was never finished.",
    operands: &[VM],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[
        ("snapshot ls web", "all of them, oldest first"),
        ("snapshot ls web -q", "their names alone"),
    ],
};

pub(super) const CREATE: Command = Command {
    verb: Verb::SnapshotCreate,
    word: "snapshot create",
    group: Group::Parts,
    summary: "keep what a VM is now",
    about: "\
Keeps the disks of a VM, and of a running one its memory too, inside its qcow2
images, under NAME or the time. All drives that are written to must be able to,
or nothing is done, and each that cannot is named with the reason. A running VM
stands still meanwhile. Prints the name.",
    operands: &[VM, Operand { name: "NAME", arity: Arity::Optional }],
    definition: false,
    flags: &[
        (Flag::Replace, "put it in the place of the one of that name"),
        (Flag::Drive, "only this drive, and each further one: without memory"),
        DRY_RUN,
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("snapshot create web before-upgrade", "all drives, and memory if it runs"),
        ("snapshot create web nightly --replace", "the same name every night"),
        ("snapshot create web -n", "only whether it could be done"),
    ],
};

pub(super) const LOAD: Command = Command {
    verb: Verb::SnapshotLoad,
    word: "snapshot load",
    group: Group::Parts,
    summary: "go back to a snapshot",
    about: "\
What the disks hold now is lost, and of a running VM its memory: it asks first
on a terminal, and elsewhere wants -y. A running VM goes on from the snapshot's
memory, a paused one stays paused; a stopped one gets its disks alone. A
protected VM is refused.",
    operands: &[VM, NAME],
    definition: false,
    flags: &[(Flag::Drive, "only this drive, and each further one, of a stopped VM"), DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[("snapshot load web before-upgrade -y", "as it was then")],
};

pub(super) const RM: Command = Command {
    verb: Verb::SnapshotRm,
    word: "snapshot rm",
    group: Group::Parts,
    summary: "delete snapshots",
    about: "\
Deletes each from every drive that has it; the VM stays as it is. A protected VM
is refused.",
    operands: &[VM, Operand { name: "NAME", arity: Arity::Some }],
    definition: false,
    flags: &[DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[("snapshot rm web nightly", "it is gone, the VM stays as it is")],
};
