//! An item of `network`: a card, and what it is connected to.

use std::fmt;

use super::ItemName;
use crate::definition::port::Port;

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) name: ItemName,
    pub(crate) link: Link,
    pub(crate) model: Model,
    /// `None`: made of the VM's id and the card's name.
    pub(crate) mac: Option<Mac>,
    /// Only with a link of `User`.
    pub(crate) ports: Vec<Port>,
    /// What else QEMU is told of the network, in order; a key may stand twice. Keys are
    /// `[A-Za-z0-9_.-]+`, never `id` or `type`.
    pub(crate) options: Vec<(String, String)>,
}

impl Card {
    /// The card of a VM that says nothing of networks.
    pub(crate) fn default_one() -> Card {
        Card {
            name: ItemName("net0".to_owned()),
            link: Link::User,
            model: Model::Virtio,
            mac: None,
            ports: Vec::new(),
            options: Vec::new(),
        }
    }
}

/// What a card is connected to. Interfaces and bridges have the names that Linux lets them have: 1 to
/// 15 bytes, no `/`, nothing blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// QEMU's own network, for which no right is needed.
    User,
    /// An interface of the host; `None`: one that QEMU makes.
    Tap { ifname: Option<String> },
    /// A bridge of the host, by QEMU's set-id helper; `None`: br0, as QEMU has it.
    Bridge { bridge: Option<String> },
    /// Another QEMU; `Card::options` say where.
    Socket,
    /// Nothing: the card is not there.
    None,
}

impl Link {
    /// As definitions and QEMU write it.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Link::User => "user",
            Link::Tap { .. } => "tap",
            Link::Bridge { .. } => "bridge",
            Link::Socket => "socket",
            Link::None => "none",
        }
    }
}

/// What the guest sees of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Virtio,
    E1000,
    E1000e,
    Rtl8139,
    Vmxnet3,
    Pcnet,
    Ne2kPci,
}

/// A hardware address of one card: not a group's, not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(pub(in crate::definition) [u8; 6]);

impl Mac {
    /// An address below QEMU's prefix 52:54:00, which is locally administered.
    pub(crate) fn below_qemus_prefix(last: [u8; 3]) -> Mac {
        Mac([0x52, 0x54, 0x00, last[0], last[1], last[2]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
