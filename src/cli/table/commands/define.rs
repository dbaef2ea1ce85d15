//! The rows of the commands that define VMs.

use super::{DRY_RUN, VM, VMS};
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const ADD: Command = Command {
    verb: Verb::Add,
    word: "add",
    group: Group::Define,
    summary: "define a new VM",
    about: "\
The definition comes from files, from flags, or from both: sources merge from
left to right, flags last. NAME may stand in a file instead. Nothing is started
without --start, and no disk is made before the first start. Prints the VM's id.",
    operands: &[Operand { name: "NAME", arity: Arity::Optional }],
    definition: true,
    flags: &[(Flag::Start, "start it, and return when it is up"), DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[
        ("add web --memory 2G --cpu 2 --disk 20G", "two processors and a new disk"),
        ("add -f web.json --start", "from a file, and up at once"),
        ("add old --disk ./old.qcow2 --arg -snapshot", "an image that exists already"),
    ],
};

pub(super) const APPLY: Command = Command {
    verb: Verb::Apply,
    word: "apply",
    group: Group::Define,
    summary: "change definitions, or bring VMs to what a file says",
    about: "\
With VMs: DEF is merged onto each one's definition. Without: each definition in
the files names its VM, which is changed, or added where there is none; flags
hold for each. Nothing is stored unless all of it is right. To apply again
changes nothing. A running VM takes the change at its next start.",
    operands: &[Operand { name: "VM", arity: Arity::Any }],
    definition: true,
    flags: &[
        (Flag::Replace, "the definition is exactly what is given: nothing stored stays"),
        DRY_RUN,
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("apply web --memory 4G --set labels.env=prod", "two keys of one VM"),
        ("apply -l env=test --protect=false", "every VM with that label"),
        ("apply -f fleet.json -n", "what the file would change"),
    ],
};

pub(super) const SHOW: Command = Command {
    verb: Verb::Show,
    word: "show",
    group: Group::Define,
    summary: "print definitions",
    about: "\
Prints the stored definition of each VM as JSON, in the form in which -f reads
it: what was given, with paths made absolute and without defaults, and the
machine type that the first start pinned.

With --diff, what running VMs were started with against what is stored: a line
\"- PATH: VALUE\" of the one, \"+ PATH: VALUE\" of the other, and the same of the
options of QEMU's command line. Nothing where nothing differs.",
    operands: &[VMS],
    definition: false,
    flags: &[(Flag::Diff, "what the next start changes of VMs that run")],
    excludes: &[],
    objects: true,
    examples: &[
        ("show web", "one definition"),
        ("show web > web.json", "a file that \"add -f\" reads"),
        ("show --all -o name,memory", "two keys of each, divided by TABs"),
        ("show web --diff", "what a restart would change"),
    ],
};

pub(super) const EDIT: Command = Command {
    verb: Verb::Edit,
    word: "edit",
    group: Group::Define,
    summary: "change a definition in an editor",
    about: "\
Opens what \"show\" prints in $VISUAL or $EDITOR, else vi, and stores what is
saved. A mistake opens it again with the message on top. Nothing is stored where
the editor fails, or another command has changed the definition meanwhile. A
running VM takes the change at its next start.",
    operands: &[VM],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[("edit web", "in the editor of your choice")],
};

pub(super) const RENAME: Command = Command {
    verb: Verb::Rename,
    word: "rename",
    group: Group::Define,
    summary: "give a VM another name",
    about: "\
The id and the files stay as they are. A running VM may be renamed; QEMU knows
it under the old name until the next start.",
    operands: &[VM, Operand { name: "NEW", arity: Arity::One }],
    definition: false,
    flags: &[DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[("rename web www", "web is www from now on")],
};

pub(super) const CLONE: Command = Command {
    verb: Verb::Clone,
    word: "clone",
    group: Group::Define,
    summary: "make a new VM that is a copy of a stopped one",
    about: "\
Copies the definition, with DEF merged onto it, and the disks with all that is
in them, sharing blocks where the file system can. Discs and read-only images
that lie elsewhere are used by both. A copy gets hardware addresses of its own.
Prints the new VM's id.",
    operands: &[VM, Operand { name: "NEW", arity: Arity::One }],
    definition: true,
    flags: &[
        (Flag::Linked, "of a template: disks that stand on its own and hold changes alone"),
        DRY_RUN,
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("clone web web2", "with a copy of each disk"),
        ("clone base ci --linked --memory 4G", "in no time, from a template"),
    ],
};

pub(super) const RM: Command = Command {
    verb: Verb::Rm,
    word: "rm",
    group: Group::Define,
    summary: "remove VMs",
    about: "\
Removes the definition and what maqet keeps about the VM. Disk images stay, and
each that stays is named with its size. A running VM is refused without --force,
a protected one always. --delete-storage and --all ask first on a terminal;
elsewhere they want -y.",
    operands: &[VMS],
    definition: false,
    flags: &[
        (Flag::Force, "stop a running VM first, without asking its guest"),
        (Flag::DeleteStorage, "delete the disk images that maqet made, too"),
        (Flag::IfExists, "a VM that does not exist is no error"),
        DRY_RUN,
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("rm web", "the VM goes, its disks stay"),
        ("rm web --force --delete-storage --if-exists -y", "for scripts: nothing is left"),
    ],
};

pub(super) const CHECK: Command = Command {
    verb: Verb::Check,
    word: "check",
    group: Group::Define,
    summary: "find what is wrong with definitions, and start nothing",
    about: "\
Reads the definitions of VMs, with DEF merged onto them, or those in files, and
looks whether QEMU is there, and at the files that they name as a start does.
All that is wrong is told at once, each fault with its JSON path; with --json as
\"problems\". A port that another VM has, too, is a note. Silent when all is well.",
    operands: &[Operand { name: "VM", arity: Arity::Any }],
    definition: true,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[
        ("check -f web.json", "a file, before it is added"),
        ("check --all", "every VM there is"),
        ("check web --cpu 64", "a change, before it is applied"),
    ],
};
