//! The rows of the table: each command as a person types it.

use super::{Arity, Command, Flag, Group, Operand, Verb};

const VM: Operand = Operand { name: "VM", arity: Arity::One };
const VMS: Operand = Operand { name: "VM", arity: Arity::Some };
const ALL: (Flag, &str) = (Flag::All, "every VM there is");

/// The flags that every command takes, before and after its word.
pub(crate) const GLOBALS: &[(Flag, &str)] = &[
    (Flag::Json, "results and errors as JSON"),
    (Flag::Columns, "these columns alone, divided by TABs, without a header"),
    (Flag::Quiet, "no notes; from a list, the names alone"),
    (Flag::Verbose, "tell what is done; twice, every step of it"),
    (Flag::Yes, "answer every question with yes"),
    (Flag::Timeout, "the longest time that the command may take, and for stop the guest's time"),
    (Flag::Jobs, "how many VMs to start at once"),
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
    (Flag::Net, "a network card: user | none | user,model=e1000"),
    (Flag::Arg, "one word more for QEMU, whatever it begins with"),
];

/// Every command, by group, in the order in which help shows them.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
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
        flags: &[(Flag::Start, "start it, and return when it is up")],
        excludes: &[],
        objects: true,
        examples: &[
            ("add web --memory 2G --cpu 2 --disk 20G", "two processors and a new disk"),
            ("add -f web.json --start", "from a file, and up at once"),
            ("add old --disk ./old.qcow2 --arg -snapshot", "an image that exists already"),
        ],
    },
    Command {
        verb: Verb::Show,
        word: "show",
        group: Group::Define,
        summary: "print definitions",
        about: "\
Prints the stored definition of each VM as JSON, in the form in which -f reads
it: what was given, with paths made absolute and without defaults, and the
machine type that the first start pinned.",
        operands: &[VMS],
        definition: false,
        flags: &[ALL],
        excludes: &[],
        objects: true,
        examples: &[
            ("show web", "one definition"),
            ("show web > web.json", "a file that \"add -f\" reads"),
            ("show --all -o name,memory", "two keys of each, divided by TABs"),
        ],
    },
    Command {
        verb: Verb::Rename,
        word: "rename",
        group: Group::Define,
        summary: "give a VM another name",
        about: "\
The id and the files stay as they are. A running VM may be renamed; QEMU knows
it under the old name until the next start.",
        operands: &[VM, Operand { name: "NEW", arity: Arity::One }],
        definition: false,
        flags: &[],
        excludes: &[],
        objects: true,
        examples: &[("rename web www", "web is www from now on")],
    },
    Command {
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
            ALL,
            (Flag::Force, "stop a running VM first, without asking its guest"),
            (Flag::DeleteStorage, "delete the disk images that maqet made, too"),
            (Flag::IfExists, "a VM that does not exist is no error"),
        ],
        excludes: &[],
        objects: true,
        examples: &[
            ("rm web", "the VM goes, its disks stay"),
            ("rm web --force --delete-storage --if-exists -y", "for scripts: nothing is left"),
        ],
    },
    Command {
        verb: Verb::Start,
        word: "start",
        group: Group::Run,
        summary: "start VMs",
        about: "\
Returns when QEMU is up and answers, or at once with QEMU's own words when it
does not come up. A running VM is left as it is, a paused one goes on, a
stopping one is started again when it has ended.",
        operands: &[VMS],
        definition: false,
        flags: &[ALL, (Flag::Paused, "do not let the guest run yet")],
        excludes: &[],
        objects: true,
        examples: &[
            ("start web", "one VM"),
            ("start web db", "two, side by side"),
            ("start web --paused", "until \"resume web\" the guest stands still"),
        ],
    },
    Command {
        verb: Verb::Stop,
        word: "stop",
        group: Group::Run,
        summary: "stop VMs",
        about: "\
Asks the guest to shut down, as its power button does. A guest that has not
ended after its stop_timeout (60 s), or after --timeout, is ended, and a note
says so. Returns when QEMU is gone. A stopped VM is left as it is.",
        operands: &[VMS],
        definition: false,
        flags: &[
            ALL,
            (Flag::Force, "do not ask the guest: end QEMU now"),
            (Flag::NoKill, "never end a guest that goes on: exit 5, and it runs"),
            (Flag::NoWait, "ask the guest, and do not wait for it"),
        ],
        excludes: &[&[Flag::Force, Flag::NoKill, Flag::NoWait]],
        objects: true,
        examples: &[
            ("stop web", "an orderly shutdown"),
            ("stop --all --timeout 2m", "every VM, side by side"),
            ("stop web --force", "a power cut"),
        ],
    },
    Command {
        verb: Verb::Pause,
        word: "pause",
        group: Group::Run,
        summary: "let VMs stand still",
        about: "\
The guest's processors stop; its memory and its devices stay. A paused VM is
left as it is.",
        operands: &[VMS],
        definition: false,
        flags: &[ALL],
        excludes: &[],
        objects: true,
        examples: &[("pause web", "until \"resume web\"")],
    },
    Command {
        verb: Verb::Resume,
        word: "resume",
        group: Group::Run,
        summary: "let paused VMs go on",
        about: "A VM that runs is left as it is.",
        operands: &[VMS],
        definition: false,
        flags: &[ALL],
        excludes: &[],
        objects: true,
        examples: &[("resume web", "go on where it was paused")],
    },
    Command {
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
            (Flag::All, "every VM there is: the same as naming none"),
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
    },
    Command {
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
        flags: &[ALL],
        excludes: &[],
        objects: true,
        examples: &[
            ("status web", "for eyes"),
            ("status web -o state", "one word"),
            ("status web --json", "all there is to know"),
        ],
    },
    Command {
        verb: Verb::Why,
        word: "why",
        group: Group::Look,
        summary: "tell how the last run ended, and why",
        about: "\
The outcome, exit code or signal, and who asked; then the end of what QEMU and
the guest's console said.",
        operands: &[VMS],
        definition: false,
        flags: &[ALL, (Flag::Runs, "the last N runs (1)")],
        excludes: &[],
        objects: true,
        examples: &[("why web", "the last run"), ("why web --runs 5", "the last five")],
    },
    Command {
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
            ("logs web --qemu", "QEMU's complaints"),
        ],
    },
    Command {
        verb: Verb::Qmp,
        word: "qmp",
        group: Group::Talk,
        summary: "send a QMP command to QEMU",
        about: "\
Prints QEMU's answer as JSON, or with -o columns of it, a line for each item of
a list; an error of QEMU's is an error here, too. The value of KEY=VALUE is a
text, that of KEY:=JSON any JSON. The whole request may be given as one JSON
object instead.",
        operands: &[
            VM,
            Operand { name: "COMMAND|JSON", arity: Arity::One },
            Operand { name: "KEY=VALUE|KEY:=JSON", arity: Arity::Any },
        ],
        definition: false,
        flags: &[],
        excludes: &[],
        objects: true,
        examples: &[
            ("qmp web query-status", "a command without arguments"),
            ("qmp web set_link name=net0 up:=false", "a text and a JSON value"),
            ("qmp web '{\"execute\":\"query-block\"}'", "a request word for word"),
        ],
    },
    Command {
        verb: Verb::Cmdline,
        word: "cmdline",
        group: Group::Move,
        summary: "print the command line of a VM's QEMU",
        about: "\
As a shell would read it; with --json as one array, word for word. Of a running
VM it is the command line that runs.",
        operands: &[VM],
        definition: false,
        flags: &[],
        excludes: &[],
        objects: false,
        examples: &[("cmdline web", "what \"start web\" runs")],
    },
    Command {
        verb: Verb::Help,
        word: "help",
        group: Group::Host,
        summary: "explain a command or a topic",
        about: "Without an operand: what there is.",
        operands: &[Operand { name: "COMMAND|TOPIC", arity: Arity::Optional }],
        definition: false,
        flags: &[],
        excludes: &[],
        objects: false,
        examples: &[("help stop", "one command"), ("help exit-codes", "a topic")],
    },
];
