//! A port of the host that leads into the guest: `[ADDR:]HOST:GUEST[/udp]`.
//!
//! Only the text and its type are known here. Whether the port is free, QEMU finds out; which number
//! an `auto` port got, the running QEMU tells.

use std::fmt;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result, quote};

/// What stands for a port of the host that the kernel chooses.
const AUTO: &str = "auto";

/// A port of the host that leads to one of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Where the host listens: 127.0.0.1 unless another address is given.
    pub(crate) address: Ipv4Addr,
    /// 1 to 65535; `None`: any that is free.
    pub(crate) host: Option<u16>,
    /// 1 to 65535.
    pub(crate) guest: u16,
    pub(crate) protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As QEMU's `hostfwd` writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl Port {
    /// Reads `[ADDR:]HOST:GUEST[/udp]`, HOST a number or `auto`, ADDR an IPv4 address: a name would
    /// have to be looked up, and slirp takes no IPv6 here (QEMU 7.2).
    ///
    /// # Errors
    /// `Kind::Usage`, with a hint.
    pub(crate) fn parse(text: &str) -> Result<Port> {
        let wrong = |why: &str| {
            Error::usage(format!("the port {} {why}", quote(text)))
                .hint("write [ADDR:]HOST:GUEST[/udp], such as 8080:80 or auto:22")
        };
        let (ends, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.split('/').next().unwrap_or(text), Protocol::Tcp),
            Some((ends, "udp")) => (ends, Protocol::Udp),
            Some(_) => return Err(wrong("has a protocol other than tcp and udp")),
        };
        let parts: Vec<&str> = ends.split(':').collect();
        let (address, host, guest) = match parts[..] {
            [host, guest] => (Ipv4Addr::LOCALHOST, host, guest),
            [address, host, guest] => {
                let address = address.parse();
                (address.map_err(|_| wrong("has no IPv4 address before its host"))?, host, guest)
            }
            _ => return Err(wrong("is not a host's and a guest's port")),
        };
        let host = match host {
            AUTO => None,
            number => Some(self::number(number).ok_or_else(|| {
                wrong("has a host's port that is neither \"auto\" nor a number from 1 to 65535")
            })?),
        };
        let guest = number(guest)
            .ok_or_else(|| wrong("has a guest's port that is not a number from 1 to 65535"))?;
        Ok(Port { address, host, guest, protocol })
    }

    /// QEMU's `hostfwd` rule; port 0 is any that is free.
    pub(crate) fn rule(&self) -> String {
        let Port { address, host, guest, protocol } = self;
        format!("{}:{address}:{}-:{guest}", protocol.as_str(), host.unwrap_or(0))
    }

    /// The host's end as QEMU's `hostfwd_remove` takes it.
    pub(crate) fn place(&self) -> String {
        let Port { address, host, protocol, .. } = self;
        format!("{}:{address}:{}", protocol.as_str(), host.unwrap_or(0))
    }

    /// Whether this port, on which a host listens, is what `wanted` asks for: an `auto` port may have
    /// any number.
    pub(crate) fn leads_as(&self, wanted: &Port) -> bool {
        Port { host: wanted.host.and(self.host), ..*self } == *wanted
    }

    /// Whether both cannot stand side by side: the same place on the host, or for `auto` ports the
    /// same way into the guest.
    pub(crate) fn collides(&self, other: &Port) -> bool {
        let same_end = match (self.host, other.host) {
            (None, None) => self.guest == other.guest,
            (one, another) => one == another,
        };
        let anywhere = Ipv4Addr::UNSPECIFIED;
        let same_address = self.address == other.address
            || (self.host.is_some() && (self.address == anywhere || other.address == anywhere));
        same_end && same_address && self.protocol == other.protocol
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address != Ipv4Addr::LOCALHOST {
            write!(f, "{}:", self.address)?;
        }
        match self.host {
            Some(host) => write!(f, "{host}:{}", self.guest)?,
            None => write!(f, "{AUTO}:{}", self.guest)?,
        }
        if self.protocol == Protocol::Udp { f.write_str("/udp") } else { Ok(()) }
    }
}

/// A port as it is named to be removed: `[ADDR:]HOST[:GUEST][/udp]`. What is left out may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    address: Option<Ipv4Addr>,
    /// `None`: `auto`, which names the port as its definition has it.
    host: Option<u16>,
    guest: Option<u16>,
    protocol: Protocol,
}

impl Place {
    /// Reads the name of a port. All that names a port to be added names it here too.
    ///
    /// # Errors
    /// `Kind::Usage`, with a hint.
    pub(crate) fn parse(text: &str) -> Result<Place> {
        let (ends, slash) = text.split_at(text.find('/').unwrap_or(text.len()));
        let (address, host) = match ends.split_once(':') {
            // A host alone, or with an address and no guest: else it is all of a port.
            None => (None, ends),
            Some((address, host)) if address.contains('.') && !host.contains(':') => {
                (address.parse().ok(), host)
            }
            Some(_) => {
                let Port { address, host, guest, protocol } = Port::parse(text)?;
                return Ok(Place { address: Some(address), host, guest: Some(guest), protocol });
            }
        };
        let protocol = match slash {
            "" | "/tcp" => Some(Protocol::Tcp),
            "/udp" => Some(Protocol::Udp),
            _ => None,
        };
        match (number(host), protocol, address.is_some() == ends.contains(':')) {
            (Some(host), Some(protocol), true) => {
                Ok(Place { address, host: Some(host), guest: None, protocol })
            }
            _ => Err(Error::usage(format!("{} is no port of the host", quote(text)))
                .hint("write [ADDR:]HOST[/udp], such as 8080, or all of it as it was given")),
        }
    }

    /// Whether it names this port.
    pub(crate) fn names(&self, port: &Port) -> bool {
        self.host == port.host
            && self.protocol == port.protocol
            && self.address.is_none_or(|address| address == port.address)
            && self.guest.is_none_or(|guest| guest == port.guest)
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

/// Adds a port to a definition that is being merged: to its first card of type `user`, which is made
/// where it says nothing of networks. It takes the place of a port that it collides with, so that
/// adding it twice is adding it once.
///
/// # Errors
/// `Kind::Usage` for what is no port, and where there are cards but none of type `user`.
pub(crate) fn add(definition: &mut Map<String, Value>, text: &str) -> Result<()> {
    let port = Port::parse(text)?;
    let network = definition.entry("network").or_insert_with(|| json!([{ "name": "net0" }]));
    let is_user = |card: &Value| card["type"].is_null() || card["type"] == "user";
    let cards = network.as_array_mut().into_iter().flatten();
    let Some(Value::Object(card)) = cards.into_iter().find(|card| is_user(card)) else {
        return Err(Error::usage(format!("the port {} needs a network card", quote(text)))
            .hint("ports belong to a card of type user: --net user"));
    };
    let ports = card.entry("ports").or_insert_with(|| json!([]));
    if ports.is_null() {
        *ports = json!([]);
    }
    let Value::Array(ports) = ports else {
        return Ok(());
    };
    let other = |known: &Value| {
        let known = known.as_str().and_then(|known| Port::parse(known).ok());
        known.is_some_and(|known| known.collides(&port))
    };
    match ports.iter_mut().find(|known| other(known)) {
        Some(known) => *known = port.to_string().into(),
        None => ports.push(port.to_string().into()),
    }
    Ok(())
}

/// Takes a port from a card of a stored definition; false where the card does not have it.
pub(crate) fn remove(definition: &mut Map<String, Value>, card: &str, port: &Port) -> bool {
    let cards = definition.get_mut("network").and_then(Value::as_array_mut);
    let card = cards.and_then(|cards| cards.iter_mut().find(|one| one["name"] == card));
    let Some(ports) = card.and_then(|card| card["ports"].as_array_mut()) else { return false };
    let before = ports.len();
    let is_it = |known: &Value| {
        known.as_str().and_then(|known| Port::parse(known).ok()).is_some_and(|known| known == *port)
    };
    ports.retain(|known| !is_it(known));
    ports.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_and_written_and_is_a_rule_of_qemus() {
        for (text, written, rule) in [
            ("8080:80", "8080:80", "tcp:127.0.0.1:8080-:80"),
            ("8080:80/tcp", "8080:80", "tcp:127.0.0.1:8080-:80"),
            ("auto:22", "auto:22", "tcp:127.0.0.1:0-:22"),
            ("5353:53/udp", "5353:53/udp", "udp:127.0.0.1:5353-:53"),
            ("0.0.0.0:1:65535", "0.0.0.0:1:65535", "tcp:0.0.0.0:1-:65535"),
            ("127.0.0.1:8080:80", "8080:80", "tcp:127.0.0.1:8080-:80"),
        ] {
            let port = Port::parse(text).unwrap();
            assert_eq!((port.to_string().as_str(), port.rule().as_str()), (written, rule));
        }
    }

    #[test]
    fn what_is_no_port_is_refused_with_a_hint() {
        for text in [
            "",
            "80",
            ":80",
            "80:",
            "0:80",
            "80:0",
            "80:auto",
            "65536:1",
            "+1:1",
            "1:1/sctp",
            "1:1/udp/tcp",
            "localhost:1:1",
            "::1:1:1",
            "a:b",
            "1:2:3:4",
            "1:1,hostfwd=x",
        ] {
            let error = Port::parse(text).unwrap_err();
            assert!(error.hint.is_some() && error.kind.exit_code() == 2, "{text}");
        }
    }

    #[test]
    fn a_port_is_added_once_to_the_first_card_of_type_user() {
        for (before, ports, after) in [
            (json!({}), vec!["8080:80"], json!([{"name":"net0","ports":["8080:80"]}])),
            (
                json!({"network":[{"name":"a","type":"none"},{"name":"b","type":"user"}]}),
                vec!["1:1", "2:2/udp", "1:1"],
                json!([{"name":"a","type":"none"},{"name":"b","type":"user","ports":["1:1","2:2/udp"]}]),
            ),
            (
                json!({"network":[{"name":"a","ports":["8080:80","auto:22"]}]}),
                vec!["0.0.0.0:8080:81", "auto:22", "8080:80/udp"],
                json!([{"name":"a","ports":["0.0.0.0:8080:81","auto:22","8080:80/udp"]}]),
            ),
        ] {
            let mut definition = before.as_object().unwrap().clone();
            ports.iter().for_each(|port| add(&mut definition, port).unwrap());
            assert_eq!(definition["network"], after);
        }
        for cards in [json!([]), json!([{"name":"a","type":"none"}])] {
            let mut definition = Map::from_iter([("network".to_owned(), cards)]);
            assert!(add(&mut definition, "1:1").unwrap_err().hint.is_some());
        }
    }

    #[test]
    fn a_port_is_named_by_its_place_on_the_host_or_by_all_of_it() {
        let names = |place: &str, port: &str| {
            Place::parse(place).unwrap().names(&Port::parse(port).unwrap())
        };
        for place in ["8080", "8080/tcp", "127.0.0.1:8080", "8080:80", "127.0.0.1:8080:80"] {
            assert!(names(place, "8080:80") && !names(place, "8080:80/udp"), "{place}");
            assert!(!names(place, "auto:80"), "{place}");
        }
        assert!(names("8080", "0.0.0.0:8080:80") && !names("8080:80", "0.0.0.0:8080:80"));
        assert!(names("53/udp", "53:53/udp") && names("auto:22", "auto:22"));
        for wrong in ["", "auto", "x", "0", "1/sctp", "a.b:1", "1.2.3.4", "1.2.3.4:", "::1:8"] {
            assert_eq!(Place::parse(wrong).unwrap_err().kind.exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn a_port_is_taken_from_its_card_and_from_no_other() {
        let cards =
            json!([{"name":"a","ports":["auto:22","8080:80"]},{"name":"b","ports":["8080:80"]}]);
        let mut definition = Map::from_iter([("network".to_owned(), cards)]);
        let port = Port::parse("8080:80").unwrap();
        assert!(remove(&mut definition, "a", &port) && !remove(&mut definition, "a", &port));
        assert!(!remove(&mut definition, "c", &port));
        let left = json!([{"name":"a","ports":["auto:22"]},{"name":"b","ports":["8080:80"]}]);
        assert_eq!(definition["network"], left);
    }
}
