//! The rows of the commands that tell what VMs do and did.

use super::{VM, VMS};
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const LS: Command = Command {
    verb: Verb::Ls,
    word: "ls",
    group: Group::Look,
    summary: "list VMs and their states",
    about: "\
Every VM, or those named. The table is for eyes; for scripts there are -o, -q
and --json, which gives one array.",
    operands: &[Operand { name: "VM", arity: Arity::Any }],
    definition: false,
    flags: &[
        (
            Flag::State,
            "those in STATE: stopped, starting, running, paused, stopping, crashed or failed",
        ),
        (Flag::Sort, "in the order of this column (name)"),
    ],
    excludes: &[&[Flag::Quiet, Flag::Json, Flag::Columns]],
    objects: true,
    examples: &[
        ("ls", "the table"),
        ("ls -q --state running", "the names of those that run"),
        ("ls -o name,state,last_exit.signal", "three columns, divided by TABs"),
    ],
};

pub(super) const STATUS: Command = Command {
    verb: Verb::Status,
    word: "status",
    group: Group::Look,
    summary: "tell what VMs do now",
    about: "\
The state, the processes, and how the last run ended. Exits with 0 when the VM
is up and answers, with 3 when it is not running, with 5 when its runner does
not answer; it prints what is known in each case.",
    operands: &[VMS],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[
        ("status web", "for eyes"),
        ("status web -o state", "one word"),
        ("status web --json", "all there is to know"),
    ],
};

pub(super) const INFO: Command = Command {
    verb: Verb::Info,
    word: "info",
    group: Group::Look,
    summary: "tell what VMs are made of",
    about: "\
The machine, its CPUs and memory, disks and network cards with their addresses
and ports, and where its files lie: defaults filled in, and of a running VM the
numbers that its \"auto\" ports got; the guest's system, addresses and file
systems, where its agent answers.",
    operands: &[VMS],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[
        ("info web", "for eyes"),
        ("info web -o network.0.ports.0.host", "the port that leads into the guest"),
    ],
};

pub(super) const WHY: Command = Command {
    verb: Verb::Why,
    word: "why",
    group: Group::Look,
    summary: "tell how the last run ended, and why",
    about: "\
The outcome, exit code or signal, and who asked; then the end of what QEMU and
the guest's console said.",
    operands: &[VMS],
    definition: false,
    flags: &[(Flag::Runs, "the last N runs (1)")],
    excludes: &[],
    objects: true,
    examples: &[("why web", "the last run"), ("why web --runs 5", "the last five")],
};

pub(super) const LOGS: Command = Command {
    verb: Verb::Logs,
    word: "logs",
    group: Group::Look,
    summary: "print what the console, QEMU or the runner said",
    about: "\
The guest's serial console, unless another log is named. On a terminal control
characters are shown escaped; in a pipe the bytes are as they came.",
    operands: &[VM],
    definition: false,
    flags: &[
        (Flag::Follow, "go on with what is written, until the VM has ended"),
        (Flag::Lines, "the last LINES lines alone"),
        (Flag::Console, "what the guest wrote to its serial console"),
        (Flag::Qemu, "what QEMU wrote to its standard error"),
        (Flag::Runner, "what the runner did"),
        (Flag::Raw, "control characters as they are, on a terminal too"),
    ],
    excludes: &[&[Flag::Console, Flag::Qemu, Flag::Runner]],
    objects: false,
    examples: &[
        ("logs web -n 20", "the end of the console"),
        ("logs web -f", "what the guest says from now on, too"),
        ("logs web --qemu", "QEMU's complaints"),
    ],
};

pub(super) const EVENTS: Command = Command {
    verb: Verb::Events,
    word: "events",
    group: Group::Look,
    summary: "tell what happened with VMs",
    about: "\
QEMU's events, in capitals, and the VM's states, in small letters, one JSON
object a line: the last 256 of every VM, or of those named, whether they run or
not. TIME is as long ago as in \"10m ago\", or RFC 3339.",
    operands: &[Operand { name: "VM", arity: Arity::Any }],
    definition: false,
    flags: &[
        (Flag::Follow, "go on with what happens, until all of them have ended"),
        (Flag::Since, "nothing that happened before TIME"),
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("events web", "what happened last"),
        ("events --all -f -o name,event", "two columns, as it happens"),
        ("events web --since 2026-01-31T12:00:00Z", "since noon"),
    ],
};

pub(super) const STATS: Command = Command {
    verb: Verb::Stats,
    word: "stats",
    group: Group::Look,
    summary: "tell what VMs use of the host",
    about: "\
CPU in percents of one, the memory of QEMU and of the runner, and what disks and
taps moved, between two looks half a second apart. Every VM that runs, or those
named. With --json one array, bytes as numbers, null where nobody counts.",
    operands: &[Operand { name: "VM", arity: Arity::Any }],
    definition: false,
    flags: &[
        (Flag::Follow, "go on, in place on a terminal; with --json an array a line"),
        (Flag::Every, "the time between two looks (with -f 1s)"),
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("stats", "the table"),
        ("stats web -o cpu,memory", "two figures"),
        ("stats -f --every 5s", "until ^C"),
    ],
};

pub(super) const WAIT: Command = Command {
    verb: Verb::Wait,
    word: "wait",
    group: Group::Look,
    summary: "wait until VMs do something",
    about: "\
Returns when every condition has come, or one with --any: running, paused,
stopped, event:NAME of QEMU's, tcp:PORT of the guest's, or console:TEXT, which
is literal text, searched without escape sequences and CR. Prints VM, condition
and mark: the bytes that the guest had written by then. Exits with 1 where a
--fail came first, 3 where the VM has ended, 5 after 60 s or --timeout.",
    operands: &[VMS],
    definition: false,
    flags: &[
        (Flag::For, "what to wait for"),
        (Flag::Any, "one of them is enough"),
        (Flag::Fail, "what ends the wait as a failure"),
        (Flag::From, "from where the console is searched: this run's start, or a mark"),
    ],
    excludes: &[],
    objects: true,
    examples: &[
        ("wait web --for console:login:", "until the guest asks who is there"),
        ("wait web --for tcp:22 --timeout 5m", "until its port 22 answers"),
        ("wait web --for stopped --fail 'console:panic'", "an end, but not that one"),
    ],
};
