//! The ports of the host that lead into guests: which there are, and one file for each way to change
//! them.
//!
//! A port is known twice: as the definition has it, and as the running QEMU listens on it. Here both
//! are brought together; what QEMU is asked is `listening`'s.

mod add;
mod list;
mod listening;
mod rm;

use super::context::{Context, Vm};
use crate::definition::name::VmId;
use crate::definition::port::{Place, Port};
use crate::definition::types::{Card, Definition, Link};
use crate::error::{Error, Result, quote};
use crate::qemu::usernet::Listening;
use crate::qemu::{argv, usernet};

pub(super) use self::add::add;
pub(super) use self::list::ls;
pub(super) use self::listening::listening;
pub(super) use self::rm::rm;

/// A port of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Forward {
    card: String,
    /// As the definition has it.
    defined: Option<Port>,
    /// As the host listens on it now.
    now: Option<Port>,
}

impl Forward {
    /// What is true of it: what is now, where it is.
    fn port(&self) -> Option<Port> {
        self.now.or(self.defined)
    }

    fn is_named_by(&self, place: &Place) -> bool {
        self.defined.iter().chain(&self.now).any(|port| place.names(port))
    }
}

/// The cards of a VM that can have ports.
fn cards(vm: &Vm, definition: &Definition) -> Result<Vec<Card>> {
    let binary = argv::Host::unseen(definition).binary;
    let mut cards = argv::cards(definition, &VmId::parse(&vm.id)?, &binary);
    cards.retain(|card| card.link == Link::User);
    Ok(cards)
}

/// The ports of these cards and those on which a QEMU listens, each once.
fn forwards(cards: &[Card], live: &[Listening]) -> Vec<Forward> {
    let mut rest = live.to_vec();
    let mut all = Vec::new();
    for card in cards {
        let now = usernet::now(live, &argv::netdev_id(card.name.as_str()), &card.ports);
        for (port, now) in card.ports.iter().zip(now) {
            rest.retain(|one| Some(one) != now);
            let now = now.map(|(_, now)| *now);
            all.push(Forward { card: card.name.to_string(), defined: Some(*port), now });
        }
    }
    let alone = |(netdev, port): Listening| Forward {
        card: argv::card_of(&netdev).to_owned(),
        defined: None,
        now: Some(port),
    };
    all.extend(rest.into_iter().map(alone));
    all
}

/// The one port that is meant.
fn named<'a>(all: &'a [Forward], place: &Place, text: &str) -> Result<&'a Forward> {
    let mut named = all.iter().filter(|one| one.is_named_by(place));
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::not_found(format!("it has no port {}", quote(text)))
            .hint("\"maqet port ls\" shows those that it has")),
        (Some(_), Some(_)) => Err(Error::conflict(format!("several ports are {}", quote(text)))
            .hint("write all of it: ADDR:HOST:GUEST")),
    }
}

/// The ports of one VM as they are: where it runs, what its QEMU listens on now.
fn look(
    context: &Context<'_>,
    vm: &Vm,
    definition: &Definition,
    is_running: bool,
) -> Result<Vec<Forward>> {
    let live = match is_running {
        true => listening(context, std::slice::from_ref(vm)).pop().unwrap_or_else(|| Ok(vec![]))?,
        false => Vec::new(),
    };
    Ok(forwards(&cards(vm, definition)?, &live))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(ports: &[&str]) -> Definition {
        let map = json!({ "network": [{ "name": "lan", "ports": ports }] });
        Definition::read(map.as_object().unwrap()).unwrap()
    }

    fn port(text: &str) -> Port {
        Port::parse(text).unwrap()
    }

    #[test]
    fn what_is_defined_and_what_is_now_are_brought_together() {
        let vm = Vm {
            id: "0b1c6c1e-7a55-4f7e-9d57-1f1e6f1c2d3e".into(),
            name: "web".into(),
            definition: None,
        };
        let cards = cards(&vm, &definition(&["8080:22", "auto:22", "9:9"])).unwrap();
        let live =
            ["8080:22", "40000:22", "5353:53/udp"].map(|text| ("net-lan".to_owned(), port(text)));
        let all = forwards(&cards, &live);
        let of = |defined: Option<&str>, now: Option<&str>| Forward {
            card: "lan".into(),
            defined: defined.map(port),
            now: now.map(port),
        };
        assert_eq!(
            all,
            [
                of(Some("8080:22"), Some("8080:22")),
                of(Some("auto:22"), Some("40000:22")),
                of(Some("9:9"), None),
                of(None, Some("5353:53/udp")),
            ]
        );
        for (text, found) in [
            ("8080", Some(0)),
            ("127.0.0.1:8080:22", Some(0)),
            ("40000", Some(1)),
            ("auto:22", Some(1)),
            ("5353/udp", Some(3)),
            ("5353", None),
            ("0.0.0.0:8080", None),
        ] {
            let one = named(&all, &Place::parse(text).unwrap(), text).ok();
            assert_eq!(one, found.map(|place| &all[place]), "{text}");
        }
    }
}
