//! What the guest sees of a disk: its device, and the controller or port to which it is connected.
//!
//! One controller serves all disks of its kind. Images are `disks`'.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ids::node_name;
use crate::definition::name::VmId;
use crate::definition::types::{Cache, Disk, Interface, Media};
use crate::error::{Error, Result, quote};
use crate::qemu::machine::{Ata, Bus, Machine};

/// The ports of an AHCI controller (q35's own and QEMU's ich9-ahci).
const SATA_PORTS: usize = 6;
/// Two channels with two drives each.
const IDE_PORTS: usize = 4;
/// The most ports of QEMU's xHCI controller, and how many it has by itself.
const USB_PORTS: usize = 15;
const USUAL_USB_PORTS: usize = 4;
/// What the controllers are called that are added here.
const SCSI: &str = "scsi";
const SATA: &str = "sata";
const USB: &str = "usb";

/// The places for the disks of one VM, given out in the order of the disks.
#[derive(Debug)]
pub(super) struct Places {
    machine: Machine,
    scsi: usize,
    sata: usize,
    usb: usize,
    next_sata: usize,
    next_ide: usize,
}

impl Places {
    /// Counts what these disks take.
    ///
    /// # Errors
    /// `Kind::Usage` for an interface that the machine has not, and for more disks than ports.
    pub(super) fn of(disks: &[Disk], machine: Machine) -> Result<Places> {
        let mut all: Vec<Interface> = Vec::new();
        for disk in disks {
            all.push(interface(disk, machine)?);
        }
        let count = |kind| all.iter().filter(|interface| **interface == kind).count();
        for (kind, ports) in [
            (Interface::Sata, SATA_PORTS),
            (Interface::Ide, IDE_PORTS),
            (Interface::Usb, USB_PORTS),
        ] {
            if count(kind) > ports {
                let (word, wanted) = (word(kind), count(kind));
                return Err(Error::usage(format!(
                    "storage: {wanted} disks on {word} are too many: there are {ports} ports"
                ))
                .hint("virtio and scsi take any number"));
            }
        }
        Ok(Places {
            machine,
            scsi: count(Interface::Scsi),
            sata: count(Interface::Sata),
            usb: count(Interface::Usb),
            next_sata: 0,
            next_ide: 0,
        })
    }

    /// The controllers that the machine does not have by itself.
    pub(super) fn controllers(&self) -> impl Iterator<Item = Value> {
        let scsi = (self.scsi > 0).then(|| {
            let driver = match self.machine.bus {
                Bus::Mmio => "virtio-scsi-device",
                Bus::Pci | Bus::None => "virtio-scsi-pci",
            };
            json!({ "driver": driver, "id": SCSI })
        });
        let sata = (self.sata > 0 && self.machine.ata != Some(Ata::Sata))
            .then(|| json!({ "driver": "ich9-ahci", "id": SATA }));
        let usb = (self.usb > 0).then(|| {
            let mut usb = json!({ "driver": "qemu-xhci", "id": USB });
            if self.usb > USUAL_USB_PORTS {
                usb["p2"] = json!(self.usb);
                usb["p3"] = json!(self.usb);
            }
            usb
        });
        [scsi, sata, usb].into_iter().flatten()
    }

    /// The devices of the next disk, on its port; none for a disk without an interface.
    ///
    /// # Errors
    /// As of [`Places::of`].
    pub(super) fn next(&mut self, disk: &Disk, vm: &VmId) -> Result<Vec<Value>> {
        let id = node_name(disk.name.as_str());
        let is_disk = disk.media == Media::Disk;
        let mut before = None;
        let mut device = match interface(disk, self.machine)? {
            Interface::Absent => return Ok(Vec::new()),
            Interface::Virtio => json!({ "driver": self.virtio() }),
            Interface::Scsi => {
                let driver = if is_disk { "scsi-hd" } else { "scsi-cd" };
                json!({ "driver": driver, "bus": format!("{SCSI}.0") })
            }
            Interface::Sata => {
                let port = self.next_sata;
                self.next_sata += 1;
                let controller = if self.machine.ata == Some(Ata::Sata) { "ide" } else { SATA };
                json!({ "driver": ata(is_disk), "bus": format!("{controller}.{port}") })
            }
            Interface::Ide => {
                let (channel, unit) = (self.next_ide / 2, self.next_ide % 2);
                self.next_ide += 1;
                json!({ "driver": ata(is_disk), "bus": format!("ide.{channel}"), "unit": unit })
            }
            Interface::Nvme => json!({ "driver": "nvme", "serial": stable_serial(vm, disk) }),
            Interface::Usb if is_disk => {
                json!({ "driver": "usb-storage", "bus": format!("{USB}.0") })
            }
            Interface::Usb => {
                let bridge = format!("bridge-{}", disk.name);
                let bus = format!("{bridge}.0");
                before =
                    Some(json!({ "driver": "usb-bot", "id": bridge, "bus": format!("{USB}.0") }));
                json!({ "driver": "scsi-cd", "bus": bus })
            }
        };
        device["id"] = json!(id);
        device["drive"] = json!(id);
        if let Some(serial) = &disk.serial {
            device["serial"] = json!(serial);
        }
        if let Some(bootindex) = disk.bootindex {
            device["bootindex"] = json!(bootindex);
        }
        if matches!(disk.cache, Some(Cache::Writethrough | Cache::Directsync)) {
            device["write-cache"] = json!("off");
        }
        Ok(before.into_iter().chain([device]).collect())
    }

    fn virtio(&self) -> &'static str {
        match self.machine.bus {
            Bus::Mmio => "virtio-blk-device",
            Bus::Pci | Bus::None => "virtio-blk-pci",
        }
    }
}

/// What a disk is connected to on this machine.
///
/// # Errors
/// `Kind::Usage` where the machine does not have it.
fn interface(disk: &Disk, machine: Machine) -> Result<Interface> {
    let default = match (disk.media, machine.ata) {
        (Media::Disk, _) => Interface::Virtio,
        (Media::Cdrom, Some(Ata::Sata)) => Interface::Sata,
        (Media::Cdrom, Some(Ata::Ide)) => Interface::Ide,
        (Media::Cdrom, None) => Interface::Scsi,
    };
    let wanted = disk.interface.unwrap_or(default);
    if has(machine, wanted) {
        return Ok(wanted);
    }
    let error = Error::usage(format!(
        "the machine cannot take the disk {} on {}",
        quote(disk.name.as_str()),
        word(wanted)
    ));
    let can: Vec<&str> = [Interface::Virtio, Interface::Scsi, Interface::Sata, Interface::Ide]
        .into_iter()
        .filter(|other| has(machine, *other))
        .map(word)
        .collect();
    let other = if wanted == Interface::Ide { "; the machine pc has ide" } else { "" };
    Err(match can.is_empty() {
        true => error,
        false => error.hint(format!("it has {}{other}", can.join(", "))),
    })
}

fn has(machine: Machine, interface: Interface) -> bool {
    match interface {
        Interface::Virtio | Interface::Scsi => machine.bus != Bus::None,
        Interface::Sata => machine.bus == Bus::Pci || machine.ata == Some(Ata::Sata),
        Interface::Ide => machine.ata == Some(Ata::Ide),
        Interface::Nvme | Interface::Usb => machine.bus == Bus::Pci,
        Interface::Absent => true,
    }
}

fn word(interface: Interface) -> &'static str {
    match interface {
        Interface::Virtio => "virtio",
        Interface::Scsi => "scsi",
        Interface::Sata => "sata",
        Interface::Ide => "ide",
        Interface::Nvme => "nvme",
        Interface::Usb => "usb",
        Interface::Absent => "none",
    }
}

fn ata(is_disk: bool) -> &'static str {
    if is_disk { "ide-hd" } else { "ide-cd" }
}

/// A serial number that a disk keeps as long as the VM's id and the disk's name are what they are, for
/// devices that QEMU does not make without one: the first ten bytes of SHA-256 over both.
fn stable_serial(vm: &VmId, disk: &Disk) -> String {
    let hash = Sha256::digest(format!("maqet-serial/1\0{vm}\0{}", disk.name));
    hash[..10].iter().map(|byte| format!("{byte:02x}")).collect()
}
