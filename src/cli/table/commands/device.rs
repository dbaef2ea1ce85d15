//! The rows of the commands that change the devices of VMs that run.

use super::{VM, VMS};
use crate::cli::table::{Arity, Command, Flag, Group, Operand, Verb};

pub(super) const LS: Command = Command {
    verb: Verb::DeviceLs,
    word: "device ls",
    group: Group::Parts,
    summary: "list the devices of VMs that run",
    about: "\
Every device that has an id: its driver, and where it sits on PCI. The ids of
maqet's own begin with disk-, net- and slot (a port for one more device).",
    operands: &[VMS],
    definition: false,
    flags: &[],
    excludes: &[&[Flag::Quiet, Flag::Json, Flag::Columns]],
    objects: true,
    examples: &[("device ls web", "the table"), ("device ls web -q", "the ids alone")],
};

pub(super) const ADD: Command = Command {
    verb: Verb::DeviceAdd,
    word: "device add",
    group: Group::Parts,
    summary: "plug a device into a VM that runs",
    about: "\
DRIVER is QEMU's name of it, KEY=VALUE its properties, id among them; or --net
with a network card. A PCI device that names no bus gets a free port. It is gone
with this run: the definition does not change. Prints the id.",
    operands: &[VM, Operand { name: "DRIVER|KEY=VALUE", arity: Arity::Any }],
    definition: false,
    flags: &[(Flag::Net, "a network card instead: user | tap,ifname=tap0")],
    excludes: &[],
    objects: true,
    examples: &[
        ("device add web virtio-rng-pci max-bytes=1024 period=1000", "with properties"),
        ("device add web usb-tablet id=pen", "on the USB bus that the VM has"),
        ("device add web --net user", "a network card"),
    ],
};

pub(super) const RM: Command = Command {
    verb: Verb::DeviceRm,
    word: "device rm",
    group: Group::Parts,
    summary: "take a device from a VM that runs",
    about: "\
The guest must let it go: 5 is the exit code where it has not in 30 s, or
--timeout. A device that the VM was started with stays, unless it sits on a
port. Disks have a command of their own, disk rm.",
    operands: &[VM, Operand { name: "ID", arity: Arity::One }],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: true,
    examples: &[("device rm web dev0", "by the id that device add printed")],
};
