//! A network card as QEMU's netdev and its device.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::words::Words;
use crate::definition::name::VmId;
use crate::definition::types::{Card, ItemName, Link, Mac, Model};
use crate::error::{Error, Result, quote};
use crate::qemu::machine::Bus;

/// The name of the card that a VM has when its definition says nothing of networks.
const DEFAULT_NAME: &str = "net0";

/// Adds the cards; `None` is one of type user where the machine has a bus for it.
pub(super) fn add(words: &mut Words, cards: Option<&[Card]>, vm: &VmId, bus: Bus) -> Result<()> {
    let Some(cards) = cards else {
        if let Some(driver) = virtio(bus) {
            words_of(words, DEFAULT_NAME, driver, stable_mac(vm, DEFAULT_NAME));
        }
        return Ok(());
    };
    for card in cards.iter().filter(|card| card.link == Link::User) {
        let driver = driver(card.model, bus).ok_or_else(|| lacking(&card.name))?;
        let mac = card.mac.unwrap_or_else(|| stable_mac(vm, card.name.as_str()));
        words_of(words, card.name.as_str(), driver, mac);
    }
    Ok(())
}

fn words_of(words: &mut Words, name: &str, driver: &str, mac: Mac) {
    let id = format!("net-{name}");
    words.option("-netdev", Some("user"), &[("id", &id)]);
    let mac = mac.to_string();
    words.json("-device", &json!({ "driver": driver, "id": id, "netdev": id, "mac": mac }));
}

fn driver(model: Model, bus: Bus) -> Option<&'static str> {
    match (model, bus) {
        (Model::Virtio, bus) => virtio(bus),
        (Model::E1000, Bus::Pci) => Some("e1000"),
        (Model::E1000e, Bus::Pci) => Some("e1000e"),
        (Model::Rtl8139, Bus::Pci) => Some("rtl8139"),
        _ => None,
    }
}

fn virtio(bus: Bus) -> Option<&'static str> {
    match bus {
        Bus::Pci => Some("virtio-net-pci"),
        Bus::Mmio => Some("virtio-net-device"),
        Bus::None => None,
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
