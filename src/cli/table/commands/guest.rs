//! The rows of the commands that need the guest's agent.

use super::VM;
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const EXEC: Command = Command {
    verb: Verb::Exec,
    word: "exec",
    group: Group::Talk,
    summary: "run a command in a guest",
    about: "\
Through the guest's agent, with standard input, output and error here, and with
its exit code: 128+N where signal N ended it. Flags of the command's own stand
behind --. Exits with 124 where its time ran out, 125 where maqet or the agent
failed, 126 and 127 as a shell does, 255 where the guest died. Whoever ends this
ends the command.",
    operands: &[VM, Operand { name: "COMMAND", arity: Arity::Some }],
    definition: false,
    flags: &[
        (Flag::Env, "a variable for it; once for each"),
        (Flag::Cwd, "where it runs"),
        (Flag::Simple, "without a shell and streams: the output comes at the end"),
    ],
    excludes: &[&[Flag::Simple, Flag::Cwd]],
    objects: false,
    examples: &[
        ("exec web -- uname -a", "a command, and what it says"),
        ("exec web --timeout 5m -- sh -c 'cat > /tmp/x' < x", "a shell's work, with input"),
    ],
};

pub(super) const CP: Command = Command {
    verb: Verb::Cp,
    word: "cp",
    group: Group::Talk,
    summary: "copy a file into a guest or out of it",
    about: "\
Through the guest's agent. A guest's file is VM:PATH, one of this host FILE, of
which ./ before a name with a colon makes one; - is standard input or output. A
file is written under another name and gets its own when it is whole. A folder
takes it under its own name.",
    operands: &[
        Operand { name: "VM:PATH|FILE|-", arity: Arity::One },
        Operand { name: "FILE|VM:PATH|-", arity: Arity::One },
    ],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: false,
    examples: &[
        ("cp web:/var/log/syslog .", "out of a guest"),
        ("cp motd web:/etc/motd", "into one"),
        ("cp web:/etc/motd -", "to standard output"),
    ],
};
