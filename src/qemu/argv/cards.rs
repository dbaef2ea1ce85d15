//! A network card as QEMU's netdev and its device.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Vm;
use super::ids::netdev_id;
use super::words::Words;
use crate::definition::name::VmId;
use crate::definition::types::{Card, ItemName, Link, Mac, Model};
use crate::error::{Error, Result, quote};
use crate::qemu::machine::{self, Bus, Machine};

/// The cards that a VM has: with their addresses, and one of type user where its definition says
/// nothing of networks and the machine has a bus for it.
pub(super) fn of(cards: Option<&[Card]>, vm: &VmId, bus: Bus) -> Vec<Card> {
    let default = match bus {
        Bus::None => Vec::new(),
        Bus::Pci | Bus::Mmio => vec![Card::default_one()],
    };
    let mut all = cards.map_or(default, <[Card]>::to_vec);
    all.retain(|card| card.link != Link::None);
    for card in &mut all {
        card.mac.get_or_insert_with(|| stable_mac(vm, card.name.as_str()));
    }
    all
}

/// Adds the cards.
pub(super) fn add(words: &mut Words, cards: Option<&[Card]>, vm: &VmId, bus: Bus) -> Result<()> {
    for card in of(cards, vm, bus) {
        let plug = CardPlug::of(&card, bus)?;
        let pairs: Vec<(&str, &str)> =
            plug.netdev.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        words.option("-netdev", Some(plug.kind), &pairs);
        words.json("-device", &plug.device);
    }
    Ok(())
}

/// A card as QEMU's two halves of it.
#[derive(Debug)]
pub(crate) struct CardPlug {
    /// What the card is connected to: its type, and the rest as `-netdev` takes it, `id` first.
    pub(crate) kind: &'static str,
    pub(crate) netdev: Vec<(String, String)>,
    /// For `device_add` and `-device`.
    pub(crate) device: Value,
}

impl CardPlug {
    fn of(card: &Card, bus: Bus) -> Result<CardPlug> {
        let driver = driver(card.model, bus).ok_or_else(|| lacking(&card.name))?;
        let id = netdev_id(card.name.as_str());
        let mut netdev = vec![("id".to_owned(), id.clone())];
        let mut tell = |key: &str, value: &str| netdev.push((key.to_owned(), value.to_owned()));
        match &card.link {
            Link::Tap { ifname: Some(name) } => tell("ifname", name),
            Link::Bridge { bridge: Some(name) } => tell("br", name),
            _ => {}
        }
        card.ports.iter().for_each(|port| tell("hostfwd", &port.rule()));
        card.options.iter().for_each(|(key, value)| tell(key, value));
        if matches!(card.link, Link::Tap { .. }) && card.options.is_empty() {
            // QEMU's own scripts, /etc/qemu-ifup and -ifdown, are programs, which the sandbox forbids.
            tell("script", "no");
            tell("downscript", "no");
        }
        let mac = card.mac.map(|mac| mac.to_string());
        let device = json!({ "driver": driver, "id": id, "netdev": id, "mac": mac });
        Ok(CardPlug { kind: card.link.as_str(), netdev, device })
    }
}

/// The card of this name as it is added to the running VM.
///
/// # Errors
/// `Kind::Usage` where the machine cannot take it, or the definition has no such card.
pub(crate) fn plug_card(vm: &Vm<'_>, binary: &Path, name: &str) -> Result<CardPlug> {
    let machine = Machine::of(machine::type_of(vm.definition, binary));
    let all = of(vm.definition.network.as_deref(), vm.id, machine.bus);
    let card = all.iter().find(|card| card.name.as_str() == name);
    let none = || Error::usage(format!("there is no network card {}", quote(name)));
    CardPlug::of(card.ok_or_else(none)?, machine.bus)
}

/// Whether a card needs QEMU's set-id helper, which gains its rights neither under a sandbox nor
/// under no_new_privs.
pub(super) fn need_helper(cards: Option<&[Card]>) -> bool {
    let is_bridge = |card: &Card| matches!(card.link, Link::Bridge { .. });
    cards.is_some_and(|cards| cards.iter().any(is_bridge))
}

fn driver(model: Model, bus: Bus) -> Option<&'static str> {
    match (model, bus) {
        (Model::Virtio, Bus::Pci) => Some("virtio-net-pci"),
        (Model::Virtio, Bus::Mmio) => Some("virtio-net-device"),
        (Model::E1000, Bus::Pci) => Some("e1000"),
        (Model::E1000e, Bus::Pci) => Some("e1000e"),
        (Model::Rtl8139, Bus::Pci) => Some("rtl8139"),
        (Model::Vmxnet3, Bus::Pci) => Some("vmxnet3"),
        (Model::Pcnet, Bus::Pci) => Some("pcnet"),
        (Model::Ne2kPci, Bus::Pci) => Some("ne2k_pci"),
        _ => None,
    }
}

/// An address that a card keeps as long as the VM's id and the card's name are what they are: the
/// first three bytes of SHA-256 over both.
fn stable_mac(vm: &VmId, card: &str) -> Mac {
    let hash = Sha256::digest(format!("maqet-mac/1\0{vm}\0{card}"));
    Mac::below_qemus_prefix([hash[0], hash[1], hash[2]])
}

fn lacking(name: &ItemName) -> Error {
    let card = quote(name.as_str());
    Error::usage(format!("the machine has no bus for the network card {card} of this model"))
}
