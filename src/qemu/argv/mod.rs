//! A definition to QEMU's command line: pure, and the same for a start and for `cmdline`.
//!
//! One VM at a time, nothing of other VMs or of a running QEMU: `disks`, `shares`, `cards` and
//! `arguments` make the words of an item, `words` writes them.
//!
//! `-blockdev` and our own `-device` are typed JSON, anything else is option syntax written by
//! `words`. Defaults that need what the machine lacks are left out; explicit ones are an error.
//! Whether files exist is not looked at here.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Accel, Card, Cpu, Definition, Program, Vga};
use crate::error::{Error, Result, quote};
use crate::qemu::firmware::Image;
use crate::qemu::machine::{self, Bus, Machine};

mod arguments;
mod cards;
mod controllers;
mod disks;
mod firmware;
mod ids;
#[cfg(test)]
mod property;
mod screen;
mod shares;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use self::cards::{CardPlug, plug_card};
pub(crate) use self::disks::{Plug, plug};
pub(crate) use self::ids::{card_of, disk_of, netdev_id, node_name};
pub(crate) use self::screen::socket as screen_socket;
use self::words::{Words, utf8};

/// Root ports of a VM that does not say.
const HOTPLUG_SLOTS: u8 = 4;
/// The name by which the guest's agent finds its port (qemu-ga(8)).
const AGENT_PORT: &str = "org.qemu.guest_agent.0";

/// The VM to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vm<'a> {
    pub(crate) id: &'a VmId,
    pub(crate) name: &'a VmName,
    pub(crate) definition: &'a Definition,
    /// The VM's own folder, absolute.
    pub(crate) folder: &'a Path,
}

/// What was found on the host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// QEMU, resolved and absolute.
    pub(crate) binary: PathBuf,
    /// /dev/kvm can be opened.
    pub(crate) kvm: bool,
    /// Those files of the definition that are block devices.
    pub(crate) block_devices: Vec<PathBuf>,
    /// The code of the firmware that the definition asks for, where that is not QEMU's own.
    pub(crate) firmware: Option<Image>,
}

impl Host {
    /// The host as a definition alone lets it be imagined, for a command line that is not to run.
    pub(crate) fn unseen(definition: &Definition) -> Host {
        let binary = match &definition.binary {
            None => machine::default_program().into(),
            Some(Program::Name(name)) => name.into(),
            Some(Program::Path(path)) => path.clone(),
        };
        let firmware = crate::qemu::firmware::unseen(definition);
        Host { binary, kvm: false, block_devices: Vec::new(), firmware }
    }
}

/// The numbers of the descriptors that QEMU inherits, beside its standard ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wires {
    pub(crate) qmp: i32,
    /// Given where `wants_agent` says so.
    pub(crate) agent: Option<i32>,
}

impl Wires {
    /// Numbers for a command line that is not to run.
    pub(crate) const NOMINAL: Wires = Wires { qmp: 3, agent: Some(4) };

    /// The numbers in a command line that runs, the nominal ones where it has none.
    pub(crate) fn of(argv: &[String]) -> Wires {
        let number = |id: &str| argv.iter().find_map(|word| descriptor(word, id));
        let Wires { qmp, agent } = Wires::NOMINAL;
        Wires { qmp: number("qmp").unwrap_or(qmp), agent: number("agent").or(agent) }
    }
}

/// The number of the descriptor, where a word is the chardev `id` on an inherited one.
pub(crate) fn descriptor(word: &str, id: &str) -> Option<i32> {
    word.strip_prefix(&format!("socket,id={id},fd="))?.parse().ok()
}

/// QEMU's argv, its program first. Fails (usage) where the definition asks for what its machine
/// cannot take, and where a path is not UTF-8.
pub(crate) fn build(vm: &Vm<'_>, host: &Host, wires: &Wires) -> Result<Vec<String>> {
    let definition = vm.definition;
    let machine_type = machine::type_of(definition, &host.binary);
    let machine = Machine::of(machine_type);
    let refuse = |key: &str| {
        Err(Error::usage(format!("{key}: the machine {} cannot take it", quote(machine_type))))
    };

    let mut words = Words::new(&host.binary)?;
    words.verbatim(["-nodefaults", "-no-user-config"]);
    words.option("-name", None, &[("guest", vm.name.as_str())]);
    words.verbatim(["-uuid", &vm.id.to_string(), "-S"]);
    if is_sandboxed(definition) {
        let deny = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"];
        words.option("-sandbox", Some("on"), &deny.map(|what| (what, "deny")));
    }
    let flash = self::firmware::add(&mut words, vm, host, machine_type)?;
    let flash = flash.iter().map(|(key, value)| (*key, *value));
    let pairs: Vec<_> = std::iter::once(("type", machine_type)).chain(flash).collect();
    words.option("-machine", None, &pairs);

    let accel = accel(definition, host);
    words.verbatim(["-accel", accel]);
    match &definition.cpu_model {
        Some(_) if !machine.cpu => return refuse("cpu_model"),
        Some(model) => words.verbatim(["-cpu", model.as_str()]),
        None if !machine.cpu => {}
        None => words.verbatim(["-cpu", if accel == "kvm" { "host" } else { "max" }]),
    }
    cpus(&mut words, definition.cpu);
    words.verbatim(["-m", &memory(definition.memory)]);

    socket(&mut words, "qmp", wires.qmp);
    words.option("-mon", None, &[("chardev", "qmp"), ("mode", "control")]);
    if definition.serial {
        words.option("-chardev", Some("stdio"), &[("id", "console"), ("signal", "off")]);
        words.verbatim(["-serial", "chardev:console"]);
    }

    screen::add(&mut words, &definition.display)?;
    match definition.vga {
        Some(Vga::None) => {}
        Some(_) if !machine.vga => return refuse("vga"),
        Some(vga) => words.verbatim(["-vga", vga_word(vga)]),
        None if machine.vga => words.verbatim(["-vga", "std"]),
        None => {}
    }

    match definition.hotplug_slots {
        Some(1..) if !machine.express => return refuse("hotplug_slots"),
        slots if machine.express => root_ports(&mut words, slots.unwrap_or(HOTPLUG_SLOTS)),
        _ => {}
    }
    disks::add(&mut words, vm, &host.block_devices, machine)?;
    shares::add(&mut words, &definition.shares, variant(machine.bus))?;
    cards::add(&mut words, definition.network.as_deref(), vm.id, machine.bus)?;

    match (definition.agent, variant(machine.bus), wires.agent) {
        (Some(false), ..) | (None, None, _) => {}
        (Some(true), None, _) => return refuse("agent"),
        (_, Some(_), None) => {}
        (_, Some(variant), Some(wire)) => agent(&mut words, variant, wire),
    }
    match (definition.rng, variant(machine.bus)) {
        (Some(false), _) | (None, None) => {}
        (Some(true), None) => return refuse("rng"),
        (_, Some(variant)) => {
            words.json(
                "-device",
                &json!({ "driver": format!("virtio-rng-{variant}"), "id": "rng" }),
            );
        }
    }

    boot(&mut words, definition)?;
    arguments::add(&mut words, &definition.arguments);
    Ok(words.into_argv(&definition.args))
}

/// The network cards that a VM gets from this binary, each with its address.
pub(crate) fn cards(definition: &Definition, id: &VmId, binary: &Path) -> Vec<Card> {
    let machine = Machine::of(machine::type_of(definition, binary));
    cards::of(definition.network.as_deref(), id, machine.bus)
}

/// How the guest's code will be run: `kvm` or `tcg`.
pub(crate) fn accel(definition: &Definition, host: &Host) -> &'static str {
    match definition.accel {
        Accel::Kvm => "kvm",
        Accel::Auto if host.kvm && machine::is_native(&host.binary) => "kvm",
        Accel::Auto | Accel::Tcg => "tcg",
    }
}

/// Whether QEMU starts a set-id helper, which must be able to gain its rights.
pub(crate) fn needs_helper(definition: &Definition) -> bool {
    cards::need_helper(definition.network.as_deref())
}

/// Whether QEMU runs in its sandbox, under which a helper gains nothing.
pub(crate) fn is_sandboxed(definition: &Definition) -> bool {
    definition.sandbox && !needs_helper(definition)
}

/// Whether QEMU gets a channel to the guest's agent, for which the caller makes a socket pair.
pub(crate) fn wants_agent(definition: &Definition, binary: &Path) -> bool {
    let machine = Machine::of(machine::type_of(definition, binary));
    definition.agent.unwrap_or(true) && machine.bus != Bus::None
}

/// How virtio's devices end on this bus.
fn variant(bus: Bus) -> Option<&'static str> {
    match bus {
        Bus::Pci => Some("pci"),
        Bus::Mmio => Some("device"),
        Bus::None => None,
    }
}

fn cpus(words: &mut Words, cpu: Cpu) {
    match cpu {
        Cpu::Count(count) => words.option("-smp", None, &[("cpus", &count.to_string())]),
        Cpu::Topology { sockets, cores, threads } => words.option(
            "-smp",
            None,
            &[
                ("sockets", &sockets.to_string()),
                ("cores", &cores.to_string()),
                ("threads", &threads.to_string()),
            ],
        ),
    }
}

/// Always with a unit: QEMU takes a bare number for MiB.
fn memory(bytes: u64) -> String {
    match bytes % (1 << 20) {
        0 => format!("{}M", bytes >> 20),
        _ => format!("{bytes}B"),
    }
}

/// A character device on a socket that is connected already.
fn socket(words: &mut Words, id: &str, descriptor: i32) {
    words.option("-chardev", Some("socket"), &[("id", id), ("fd", &descriptor.to_string())]);
}

fn agent(words: &mut Words, variant: &str, wire: i32) {
    socket(words, "agent", wire);
    words.json("-device", &json!({ "driver": format!("virtio-serial-{variant}"), "id": "ports" }));
    words.json(
        "-device",
        &json!({
            "driver": "virtserialport",
            "id": "agent",
            "bus": "ports.0",
            "chardev": "agent",
            "name": AGENT_PORT,
        }),
    );
}

/// With what the id of a root port begins that maqet makes.
const SLOT: &str = "slot";

/// Whether a root port of this id is one of those that maqet makes.
pub(crate) fn is_slot(id: &str) -> bool {
    id.strip_prefix(SLOT).is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Chassis numbers tell the ports apart; 0 is the machine's own.
fn root_ports(words: &mut Words, count: u8) {
    for chassis in 1..=count {
        let id = format!("{SLOT}{chassis}");
        words.json("-device", &json!({ "driver": "pcie-root-port", "id": id, "chassis": chassis }));
    }
}

fn boot(words: &mut Words, definition: &Definition) -> Result<()> {
    let boot = &definition.boot;
    let order = boot.order.as_deref().map(|order| ("order", order));
    let menu = boot.menu.map(|menu| ("menu", if menu { "on" } else { "off" }));
    let pairs: Vec<_> = order.into_iter().chain(menu).collect();
    if !pairs.is_empty() {
        words.option("-boot", None, &pairs);
    }
    if let Some(direct) = &definition.direct_boot {
        words.verbatim(["-kernel", utf8(&direct.kernel)?]);
        if let Some(initrd) = &direct.initrd {
            words.verbatim(["-initrd", utf8(initrd)?]);
        }
        if let Some(append) = &direct.append {
            words.verbatim(["-append", append]);
        }
    }
    Ok(())
}

fn vga_word(vga: Vga) -> &'static str {
    match vga {
        Vga::Std => "std",
        Vga::None => "none",
        Vga::Virtio => "virtio",
        Vga::Cirrus => "cirrus",
        Vga::Qxl => "qxl",
        Vga::Vmware => "vmware",
    }
}
