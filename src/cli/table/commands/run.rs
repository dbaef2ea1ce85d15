//! The rows of the commands that start VMs, stop them and press their buttons.

use super::{DRY_RUN, VMS};
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const START: Command = Command {
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
    flags: &[
        (Flag::Autostart, "the VMs whose definition says autostart"),
        (Flag::Paused, "do not let the guest run yet"),
        (Flag::Console, "attach to the VM's console then, as \"console\" does"),
        DRY_RUN,
    ],
    excludes: &[
        &[Flag::Console, Flag::DryRun],
        &[Flag::Console, Flag::Json],
        &[Flag::Console, Flag::Columns],
    ],
    objects: true,
    examples: &[
        ("start web", "one VM"),
        ("start web db", "two, side by side"),
        ("start --autostart", "for an init script, or a unit of systemd"),
        ("start web --console", "and see it boot"),
        ("start web --paused", "until \"resume web\" the guest stands still"),
    ],
};

pub(super) const STOP: Command = Command {
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
        (Flag::Force, "do not ask the guest: end QEMU now"),
        (Flag::NoKill, "never end a guest that goes on: exit 5, and it runs"),
        (Flag::NoWait, "ask the guest, and do not wait for it"),
        DRY_RUN,
    ],
    excludes: &[&[Flag::Force, Flag::NoKill, Flag::NoWait]],
    objects: true,
    examples: &[
        ("stop web", "an orderly shutdown"),
        ("stop --all --timeout 2m", "every VM, side by side"),
        ("stop web --force", "a power cut"),
    ],
};

pub(super) const RESTART: Command = Command {
    verb: Verb::Restart,
    word: "restart",
    group: Group::Run,
    summary: "stop VMs, and start them again",
    about: "\
As \"stop\" and then \"start\" do, each VM on its own. A stopped VM is started. The
new QEMU is what the definition says now.",
    operands: &[VMS],
    definition: false,
    flags: &[(Flag::Force, "do not ask the guest: end QEMU now"), DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[
        ("restart web", "an orderly shutdown, and up again"),
        ("restart -l env=test --force", "power cuts"),
    ],
};

pub(super) const RESET: Command = Command {
    verb: Verb::Reset,
    word: "reset",
    group: Group::Run,
    summary: "press the reset button of VMs",
    about: "\
The guest starts anew without being asked, in the same QEMU. A paused VM stays
paused.",
    operands: &[VMS],
    definition: false,
    flags: &[DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[("reset web", "as the button does")],
};

pub(super) const PAUSE: Command = Command {
    verb: Verb::Pause,
    word: "pause",
    group: Group::Run,
    summary: "let VMs stand still",
    about: "\
The guest's processors stop; its memory and its devices stay. A paused VM is
left as it is.",
    operands: &[VMS],
    definition: false,
    flags: &[DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[("pause web", "until \"resume web\"")],
};

pub(super) const RESUME: Command = Command {
    verb: Verb::Resume,
    word: "resume",
    group: Group::Run,
    summary: "let paused VMs go on",
    about: "A VM that runs is left as it is.",
    operands: &[VMS],
    definition: false,
    flags: &[DRY_RUN],
    excludes: &[],
    objects: true,
    examples: &[("resume web", "go on where it was paused")],
};

pub(super) const RUN: Command = Command {
    verb: Verb::Run,
    word: "run",
    group: Group::Run,
    summary: "run a VM in the foreground, its console here",
    about: "\
For a terminal or a service manager: this process is the VM's runner. The serial
console is its standard output, standard input goes to it; SIGTERM and SIGINT
shut the guest down, a second one ends it at once. Exits with 0 when the guest
has shut down or was stopped, else with QEMU's own code, or 1 for a signal.
Readiness is told to NOTIFY_SOCKET and to --ready-fd.

With --rm the VM is not stored: DEF describes it, FILE is its disk, and what the
guest writes to disks is thrown away.",
    operands: &[Operand { name: "VM|FILE", arity: Arity::Optional }],
    definition: true,
    flags: &[
        (Flag::Rm, "a VM that is described here and gone afterwards"),
        (Flag::Keep, "with --rm: store it as NAME after all, with its disks"),
        (Flag::ReadyFd, "write a newline to descriptor N when the guest runs"),
    ],
    excludes: &[],
    objects: false,
    examples: &[
        ("run web", "until the guest shuts down, or ^C"),
        ("run --rm ./disk.qcow2 --memory 2G", "try an image, and leave it as it was"),
        ("run --rm --cdrom ./rescue.iso", "no disk at all"),
    ],
};
