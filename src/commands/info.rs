//! `info`: what VMs are made of, defaults filled in.

use std::path::Path;

use serde::Serialize;

use super::context::{Context, Vm};
use super::info_guest::{self, Filesystem, Inside, Interface};
use super::port::listening;
use crate::cli::output::{Column, Output, Shape, escape_value, plain};
use crate::control::life::{self, Life};
use crate::definition::name::VmId;
use crate::definition::port::Port;
use crate::definition::types::{Cpu, Definition, Disk, Display, Media};
use crate::error::Result;
use crate::qemu::usernet::Listening;
use crate::qemu::{argv, machine, usernet};
use crate::sys;
use crate::wire::status::State;

const SHAPE: Shape = Shape {
    list: false,
    columns: &[Column { title: "NAME", path: "name", show: plain }],
    fields: &[
        "id",
        "name",
        "description",
        "labels.*",
        "state",
        "binary",
        "machine",
        "accel",
        "cpus",
        "memory",
        "display",
        "storage.*",
        "network.*",
        "guest.*",
        "autostart",
        "protect",
        "folder",
    ],
};

/// One VM; sizes are bytes.
#[derive(Debug, Serialize)]
struct Info {
    id: String,
    name: String,
    description: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
    state: State,
    binary: String,
    machine: String,
    accel: String,
    cpus: u32,
    memory: u64,
    /// Where the guest's screen is: `none`, a window's toolkit, or a server's address.
    display: String,
    storage: Vec<Drive>,
    network: Vec<Network>,
    /// What the guest's agent tells; none where none answers.
    guest: Option<Inside>,
    autostart: bool,
    protect: bool,
    folder: String,
}

#[derive(Debug, Serialize)]
struct Drive {
    name: String,
    media: &'static str,
    r#type: &'static str,
    file: String,
    /// As the definition has it: how large the image is made.
    size: Option<u64>,
    /// What the image takes on the host; none where it does not exist yet.
    allocated: Option<u64>,
    readonly: bool,
}

#[derive(Debug, Serialize)]
struct Network {
    name: String,
    r#type: &'static str,
    mac: String,
    ports: Vec<Forward>,
}

#[derive(Debug, Serialize)]
struct Forward {
    address: String,
    /// None for an `auto` port of a VM that does not run.
    host: Option<u16>,
    guest: u16,
    protocol: &'static str,
}

pub(super) fn info(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let vms = context.vms()?;
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    let mut codes = Vec::new();
    let lives = life::look(&context.folders, &names);
    let of_running =
        |(vm, life): (&Vm, &Result<Life>)| life.as_ref().is_ok_and(answers).then(|| vm.clone());
    let running: Vec<Vm> = vms.iter().zip(&lives).filter_map(of_running).collect();
    let mut ports = listening(context, &running).into_iter();
    for (vm, life) in vms.iter().zip(lives) {
        let known = life.and_then(|life| {
            let live = match answers(&life) {
                true => ports.next().transpose()?.unwrap_or_default(),
                false => Vec::new(),
            };
            gather(context, vm, &life, &live)
        });
        codes.push(match known {
            Ok(info) => {
                if output.wants_objects() {
                    output.object(&info)?;
                } else {
                    output.guest(for_eyes(&info).as_bytes())?;
                }
                0
            }
            Err(error) => context.tell("cannot tell what makes up", vm, error),
        });
    }
    context.finish(output, codes)
}

/// Whether QEMU can be asked: it does not answer yet, or is not there in the pause before it is
/// started again.
fn answers(life: &Life) -> bool {
    life.responding == Some(true) && life.state != State::Starting
}

fn gather(context: &Context<'_>, vm: &Vm, life: &Life, live: &[Listening]) -> Result<Info> {
    let definition = context.definition(vm)?;
    let imagined = argv::Host::unseen(&definition);
    let host = argv::Host { kvm: sys::kvm_opens(), ..imagined };
    let folder = context.folders.vm(&vm.id);
    let is_up = answers(life);
    Ok(Info {
        id: vm.id.clone(),
        name: vm.name.clone(),
        state: life.state,
        machine: machine::type_of(&definition, &host.binary).to_owned(),
        accel: life.accel.clone().unwrap_or_else(|| argv::accel(&definition, &host).to_owned()),
        binary: host.binary.display().to_string(),
        cpus: match definition.cpu {
            Cpu::Count(count) => count,
            Cpu::Topology { sockets, cores, threads } => sockets * cores * threads,
        },
        memory: definition.memory,
        display: display(&definition.display, folder.path()),
        storage: definition.storage.iter().map(|disk| drive(disk, folder.path())).collect(),
        network: network(&definition, &VmId::parse(&vm.id)?, &host.binary, live),
        guest: is_up.then(|| info_guest::look(context, vm)).flatten(),
        autostart: definition.autostart,
        protect: definition.protect,
        folder: folder.path().display().to_string(),
        description: definition.description,
        labels: definition.labels,
    })
}

/// Where the guest's screen is shown, as viewers take it where one does.
pub(super) fn display(display: &Display, folder: &Path) -> String {
    let (kind, screen) = match display {
        Display::None => return "none".to_owned(),
        Display::Gtk(_) => return "gtk".to_owned(),
        Display::Sdl(_) => return "sdl".to_owned(),
        Display::Vnc(screen) => ("vnc", screen),
        Display::Spice(screen) => ("spice", screen),
    };
    match (screen.listen, argv::screen_socket(display)) {
        (Some((address, port)), _) => {
            format!("{kind}://{}", std::net::SocketAddr::new(address, port))
        }
        (None, socket) => {
            format!("{kind}+unix://{}", folder.join(socket.unwrap_or_default()).display())
        }
    }
}

fn drive(disk: &Disk, folder: &Path) -> Drive {
    use std::os::unix::fs::MetadataExt;
    let path = disk.path(folder);
    Drive {
        name: disk.name.to_string(),
        media: match disk.media {
            Media::Disk => "disk",
            Media::Cdrom => "cdrom",
        },
        r#type: disk.format.as_str(),
        // stat(2) counts blocks of 512 bytes, whatever the file system's are.
        allocated: std::fs::metadata(&path).ok().map(|found| found.blocks() * 512),
        file: path.display().to_string(),
        size: disk.size,
        readonly: disk.readonly,
    }
}

fn network(definition: &Definition, id: &VmId, binary: &Path, live: &[Listening]) -> Vec<Network> {
    let cards = argv::cards(definition, id, binary).into_iter();
    cards
        .map(|card| {
            let netdev = argv::netdev_id(card.name.as_str());
            let now = usernet::now(live, &netdev, &card.ports).into_iter().zip(&card.ports);
            let now = now.map(|(now, port)| now.map_or(*port, |(_, there)| *there));
            Network {
                name: card.name.to_string(),
                r#type: card.link.as_str(),
                mac: card.mac.map(|mac| mac.to_string()).unwrap_or_default(),
                ports: now.map(forward).collect(),
            }
        })
        .collect()
}

fn forward(port: Port) -> Forward {
    Forward {
        address: port.address.to_string(),
        host: port.host,
        guest: port.guest,
        protocol: port.protocol.as_str(),
    }
}

fn for_eyes(info: &Info) -> String {
    let mut page = String::new();
    let mut row = |key: &str, value: &str| page.push_str(&format!("{key:<12}{value}\n"));
    row("name", &info.name);
    row("id", &info.id);
    if let Some(description) = &info.description {
        row("description", description);
    }
    for (key, value) in &info.labels {
        row("label", &format!("{key}={value}"));
    }
    row("state", info.state.name());
    row("machine", &format!("{}, {} ({})", info.machine, info.accel, info.binary));
    row("cpus", &info.cpus.to_string());
    row("memory", &size(info.memory));
    if info.display != "none" {
        row("display", &info.display);
    }
    for Drive { name, media, r#type, file, size: made, allocated, readonly } in &info.storage {
        let made = made.map(|bytes| format!(", {} in all", size(bytes))).unwrap_or_default();
        let taken = match allocated {
            Some(bytes) => format!(", {} on the host", size(*bytes)),
            None => ", not there yet".to_owned(),
        };
        let readonly = if *readonly { ", read-only" } else { "" };
        row(media, &format!("{name}: {file} ({type}{made}{taken}{readonly})"));
    }
    for Network { name, r#type, mac, ports } in &info.network {
        row("card", &format!("{name}: {type}, {mac}"));
        for Forward { address, host, guest, protocol } in ports {
            let host = host.map_or("auto".to_owned(), |host| host.to_string());
            row("port", &format!("{address}:{host} to {guest}/{protocol}"));
        }
    }
    if let Some(guest) = &info.guest {
        inside(guest, &mut row);
    }
    for (key, holds) in [("autostart", info.autostart), ("protect", info.protect)] {
        if holds {
            row(key, "true");
        }
    }
    row("folder", &info.folder);
    page
}

/// What the guest tells of itself, which may be anything.
fn inside(guest: &Inside, row: &mut impl FnMut(&str, &str)) {
    let told = |text: &str| escape_value(text);
    let Inside { system, kernel, host_name, interfaces, filesystems } = guest;
    let system = system.as_deref().map_or("unknown".to_owned(), told);
    let kernel = kernel.as_deref().map(|kernel| format!(", {}", told(kernel))).unwrap_or_default();
    row("guest", &format!("{system}{kernel}"));
    if let Some(name) = host_name {
        row("host name", &told(name));
    }
    for Interface { name, mac, addresses } in interfaces {
        let mac = mac.as_deref().map(|mac| format!(", {}", told(mac))).unwrap_or_default();
        row("interface", &format!("{}{mac}: {}", told(name), told(&addresses.join(", "))));
    }
    for Filesystem { mountpoint, r#type, total, used } in filesystems {
        let space = used
            .zip(*total)
            .map(|(used, total)| format!(", {} of {} used", size(used), size(total)));
        let space = space.unwrap_or_default();
        row("mounted", &format!("{}: {}{space}", told(mountpoint), told(r#type)));
    }
}

/// Bytes for eyes: in the largest unit of 1024 of which there is at least one.
fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => {
            format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_shown_in_its_largest_unit() {
        for (bytes, text) in
            [(0, "0 bytes"), (1 << 30, "1 GiB"), (196_616, "192.0 KiB"), (3 << 19, "1.5 MiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
