//! The rows of the commands that change the parts of VMs: their disks.

use crate::cli::table::{Arity, Command, Group, Operand, Verb};

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
