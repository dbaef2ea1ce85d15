//! The rows of the commands that talk with the guest or its QEMU.

use super::VM;
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const CONSOLE: Command = Command {
    verb: Verb::Console,
    word: "console",
    group: Group::Talk,
    summary: "attach the terminal to a VM's serial console",
    about: "\
Shows the last 64 KiB that the guest wrote, then what it writes, and types what
is typed. At a terminal ^] detaches, and ^] twice is one for the guest; standard
input may be a pipe as well, and then every byte is the guest's. One client
types, any number look on. Exits with 0 after ^] and when the VM has ended in
order.",
    operands: &[VM],
    definition: false,
    flags: &[
        (Flag::ReadOnly, "look on, and type nothing"),
        (Flag::Force, "take the place of who types now"),
        (Flag::Escape, "another key to detach with, or none"),
    ],
    excludes: &[&[Flag::ReadOnly, Flag::Force]],
    objects: false,
    examples: &[
        ("console web", "^] leaves it"),
        ("console web --read-only > boot.log", "in a pipe, or into a file"),
        ("console web --escape ^A", "for a guest that uses ^] itself"),
    ],
};

pub(super) const SEND: Command = Command {
    verb: Verb::Send,
    word: "send",
    group: Group::Talk,
    summary: "type on a VM's console",
    about: "\
TEXT is literal but for \\r (Enter), \\n, \\t, \\e, \\0, \\\\ and \\xNN; - sends
standard input as it is, at most 64 KiB. With --for it waits then, from the byte
before the first that was sent, and prints what \"wait\" prints.",
    operands: &[VM, Operand { name: "TEXT|-", arity: Arity::One }],
    definition: false,
    flags: &[
        (Flag::Line, "an Enter behind it"),
        (Flag::Break, "a break of the line before it"),
        (Flag::For, "what to wait for then"),
        (Flag::Any, "one of them is enough"),
        (Flag::Fail, "what ends the wait as a failure"),
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("send web root --line --for console:Password:", "a name, and the question behind it"),
        ("send web '\\x03'", "Control-C"),
    ],
};

pub(super) const TYPE: Command = Command {
    verb: Verb::Type,
    word: "type",
    group: Group::Talk,
    summary: "type a text on the guest's keyboard",
    about: "\
As a person at the guest's screen would, on a US keyboard. TEXT is literal but
for \\r (Enter), \\n, \\t, \\e (Escape), \\\\ and \\xNN, \\x03 being Control-C; -
types standard input as it is, at most 64 KiB. Characters that the keyboard does
not have are named, and then nothing is typed. Returns when the guest has taken
all keys.",
    operands: &[VM, Operand { name: "TEXT|-", arity: Arity::One }],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: false,
    examples: &[
        ("type web 'root\\r'", "a name, and Enter"),
        ("type web -", "what comes on standard input"),
    ],
};

pub(super) const KEYS: Command = Command {
    verb: Verb::Keys,
    word: "keys",
    group: Group::Talk,
    summary: "press keys of the guest's keyboard",
    about: "\
One CHORD after the other: keys joined by dashes are held together. Keys are
letters, digits and other characters of a US keyboard, f1 to f12, ctrl, alt,
shift, meta, altgr, ret, esc, tab, spc, backspace, delete, insert, home, end,
pgup, pgdn, up, down, left, right, minus and so on, as QEMU names them. Returns
when the guest has taken them.",
    operands: &[VM, Operand { name: "CHORD", arity: Arity::Some }],
    definition: false,
    flags: &[(Flag::Hold, "how long each is held (100ms)")],
    excludes: &[],
    objects: false,
    examples: &[
        ("keys web ctrl-alt-f2", "another virtual terminal"),
        ("keys web down down ret", "through a menu"),
        ("keys web esc --hold 2s", "for a firmware that wants that"),
    ],
};

pub(super) const SCREEN: Command = Command {
    verb: Verb::Screen,
    word: "screen",
    group: Group::Talk,
    summary: "show what is on the guest's screen",
    about: "\
With FILE as a PNG, or as a PPM where its name ends in .ppm or QEMU is older
than 7.1; - is standard output. Without, it is drawn on the terminal, in half
blocks of 24-bit colours. With --text the 80 by 25 characters of VGA's text mode
are printed.",
    operands: &[VM, Operand { name: "FILE|-", arity: Arity::Optional }],
    definition: false,
    flags: &[(Flag::Text, "print the characters that it shows")],
    excludes: &[],
    objects: false,
    examples: &[
        ("screen web", "a look at it"),
        ("screen web shot.png", "a picture for later"),
        ("screen web --text", "for grep: what the firmware says, or a login prompt"),
    ],
};

pub(super) const QMP: Command = Command {
    verb: Verb::Qmp,
    word: "qmp",
    group: Group::Talk,
    summary: "send a QMP command to QEMU",
    about: "\
Prints QEMU's answer as JSON, or with -o columns of it, a line for each item of
a list; an error of QEMU's is an error here, too. KEY=VALUE is of the type that
QEMU's schema says, KEY:=JSON any JSON, and a dotted key goes into an object. A
whole request may be one JSON object; - reads such requests, one a line, and
prints an answer a line. A command that reaches files or programs of the host is
refused: maqet(1) lists them.",
    operands: &[
        VM,
        Operand { name: "COMMAND|JSON|-", arity: Arity::One },
        Operand { name: "KEY=VALUE|KEY:=JSON", arity: Arity::Any },
    ],
    definition: false,
    flags: &[(Flag::Unsafe, "what it reaches of the host is meant")],
    excludes: &[],
    objects: true,
    examples: &[
        ("qmp web query-status", "a command without arguments"),
        ("qmp web set_link name=net0 up=off", "a text, and a value that is true or false"),
        ("qmp web '{\"execute\":\"query-block\"}'", "a request word for word"),
    ],
};
