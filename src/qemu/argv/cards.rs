//! A network card as QEMU's netdev and its device.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::words::Words;
use crate::definition::name::VmId;
use crate::definition::port::Port;
use crate::definition::types::{Card, ItemName, Link, Mac, Model};
use crate::error::{Error, Result, quote};
use crate::qemu::machine::Bus;

/// The cards that a VM has: with their addresses, and one of type user where its definition says
/// nothing of networks and the machine has a bus for it.
pub(super) fn of(cards: Option<&[Card]>, vm: &VmId, bus: Bus) -> Vec<Card> {
    let default = match bus {
        Bus::None => Vec::new(),
        Bus::Pci | Bus::Mmio => vec![Card::default_one()],
    };
    let mut all = cards.map_or(default, <[Card]>::to_vec);
    all.retain(|card| card.link == Link::User);
    for card in &mut all {
        card.mac.get_or_insert_with(|| stable_mac(vm, card.name.as_str()));
    }
    all
}

/// Adds the cards.
pub(super) fn add(words: &mut Words, cards: Option<&[Card]>, vm: &VmId, bus: Bus) -> Result<()> {
    for card in of(cards, vm, bus) {
        let driver = driver(card.model, bus).ok_or_else(|| lacking(&card.name))?;
        let id = netdev_id(card.name.as_str());
        let rules: Vec<String> = card.ports.iter().map(Port::rule).collect();
        let forwards = rules.iter().map(|rule| ("hostfwd", rule.as_str()));
        let pairs: Vec<_> = std::iter::once(("id", id.as_str())).chain(forwards).collect();
        words.option("-netdev", Some("user"), &pairs);
        let mac = card.mac.map(|mac| mac.to_string());
        words.json("-device", &json!({ "driver": driver, "id": id, "netdev": id, "mac": mac }));
    }
    Ok(())
}

/// What QEMU calls the network of a card.
pub(crate) fn netdev_id(card: &str) -> String {
    format!("net-{card}")
}

fn driver(model: Model, bus: Bus) -> Option<&'static str> {
    match (model, bus) {
        (Model::Virtio, Bus::Pci) => Some("virtio-net-pci"),
        (Model::Virtio, Bus::Mmio) => Some("virtio-net-device"),
        (Model::E1000, Bus::Pci) => Some("e1000"),
        (Model::E1000e, Bus::Pci) => Some("e1000e"),
        (Model::Rtl8139, Bus::Pci) => Some("rtl8139"),
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
