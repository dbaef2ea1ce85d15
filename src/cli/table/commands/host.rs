//! The rows of the commands that move VMs and serve the host.

use super::VM;
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const EXPORT: Command = Command {
    verb: Verb::Export,
    word: "export",
    group: Group::Move,
    summary: "pack a stopped VM into one file",
    about: "\
One tar archive: the definition, then each disk of the VM's own, without the
holes in it. What a disk stands on is packed into it. Files of the host that the
definition names besides, such as a kernel, stay where they are. FILE - is
standard output.",
    operands: &[VM, Operand { name: "FILE", arity: Arity::One }],
    definition: false,
    flags: &[(Flag::Force, "write over a FILE that exists")],
    excludes: &[],
    objects: false,
    examples: &[
        ("export web web.tar", "tar tf web.tar shows what is in it"),
        ("export web - > /mnt/web.tar", "the same through a pipe, or over ssh"),
    ],
};

pub(super) const IMPORT: Command = Command {
    verb: Verb::Import,
    word: "import",
    group: Group::Move,
    summary: "make a VM of what \"maqet export\" has packed",
    about: "\
All of it or nothing. A definition that names a program, words for QEMU, or
files outside the archive is refused, for it could reach anything that you can:
look at it, and say --trust. The VM gets the name that it had, unless NAME is
given. Prints the new VM's id.",
    operands: &[
        Operand { name: "FILE", arity: Arity::One },
        Operand { name: "NAME", arity: Arity::Optional },
    ],
    definition: false,
    flags: &[(Flag::Trust, "take the definition as it is, whatever it names")],
    excludes: &[],
    objects: true,
    examples: &[
        ("import web.tar", "under the name that it had"),
        ("import web.tar web2 --trust", "under another, from a friend"),
    ],
};

pub(super) const CMDLINE: Command = Command {
    verb: Verb::Cmdline,
    word: "cmdline",
    group: Group::Move,
    summary: "print the command line of a VM's QEMU",
    about: "\
As a shell would read it; with --json as one array, word for word. Of a running
VM it is the command line that runs; with DEF, merged onto the VM's definition
or without a VM, the one that would run.",
    operands: &[Operand { name: "VM", arity: Arity::Optional }],
    definition: true,
    flags: &[(Flag::Script, "a file for sh that starts the same VM without maqet")],
    excludes: &[&[Flag::Script, Flag::Json]],
    objects: false,
    examples: &[
        ("cmdline web", "what \"start web\" runs"),
        ("cmdline -f web.json --memory 4G", "of a VM that is not there"),
        ("cmdline web --script > web.sh", "to be started with \"sh web.sh\""),
    ],
};

pub(super) const GENERATE: Command = Command {
    verb: Verb::Generate,
    word: "generate",
    group: Group::Move,
    summary: "print the completion script of a shell, or a JSON Schema",
    about: "\
With the script the shell completes commands, flags, their values and the names
of VMs; print it anew after an update. The schema, JSON Schema 2020-12, tells an
editor what a definition may hold.",
    operands: &[Operand { name: "bash|zsh|fish|schema", arity: Arity::One }],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: false,
    examples: &[
        ("generate bash > maqet.bash", "to be sourced by ~/.bashrc"),
        ("generate zsh > _maqet", "for a folder of zsh's fpath"),
        ("generate fish > maqet.fish", "for ~/.config/fish/completions"),
        ("generate schema > maqet.schema.json", "for an editor"),
    ],
};

pub(super) const DOCTOR: Command = Command {
    verb: Verb::Doctor,
    word: "doctor",
    group: Group::Host,
    summary: "look whether this host can run VMs",
    about: "\
QEMU and what it can do, firmware, the kernel, KVM, the folders, the database,
the VMs that run, and what lies there that belongs to no VM. Changes nothing
without --fix. Exits with 1 where something is wrong, and says what to do.",
    operands: &[],
    definition: false,
    flags: &[(
        Flag::Fix,
        "put right what can be without harm: stale links, files cut short, lost folders",
    )],
    excludes: &[],
    objects: true,
    examples: &[
        ("doctor", "one line a finding"),
        ("doctor --fix", "and what is safe to mend is mended"),
        ("doctor -o check,ok", "for scripts"),
    ],
};

pub(super) const BATCH: Command = Command {
    verb: Verb::Batch,
    word: "batch",
    group: Group::Host,
    summary: "make requests of the protocol from standard input",
    about: "\
Each line is a request of maqet-protocol(7) with the VM that it is for; each
reply is a line with that VM. Connections stay open: one process can make many
thousand requests a second, of many VMs side by side. Ends with standard input,
when all has been answered: with 0, or as the replies that are errors say.",
    operands: &[],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: false,
    examples: &[(
        "batch > replies",
        "each line of standard input a request, each of replies an answer",
    )],
};

const FILE: Operand = Operand { name: "FILE", arity: Arity::One };

pub(super) const DB_BACKUP: Command = Command {
    verb: Verb::DbBackup,
    word: "db backup",
    group: Group::Host,
    summary: "make a copy of the database",
    about: "\
Every definition, in one file of mode 0600 that must not be there yet. Commands
that use the database meanwhile are not held up. Images are not in it.",
    operands: &[FILE],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[("db backup vms.db", "a copy, whatever else is being done")],
};

pub(super) const DB_RESTORE: Command = Command {
    verb: Verb::DbRestore,
    word: "db restore",
    group: Group::Host,
    summary: "put a copy of the database in its place",
    about: "\
What is defined then is what was defined when the copy was made. The database
that was there is kept beside it, a damaged one too. VMs that run go on. Asks
first on a terminal; elsewhere it wants -y.",
    operands: &[FILE],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[("db restore vms.db -y", "from a copy that db backup made")],
};

pub(super) const HELP: Command = Command {
    verb: Verb::Help,
    word: "help",
    group: Group::Host,
    summary: "explain a command or a topic",
    about: "Without an operand: what there is.",
    operands: &[Operand { name: "COMMAND|TOPIC", arity: Arity::Any }],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: false,
    examples: &[("help stop", "one command"), ("help exit-codes", "a topic")],
};
