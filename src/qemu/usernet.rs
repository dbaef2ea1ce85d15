//! What QEMU's monitor says of user networking: the ports that it really listens on.
//!
//! A table for people, the only way in which QEMU 7.2 tells them. A line that does not look like one
//! is passed over.

use std::net::Ipv4Addr;

use crate::definition::port::{Port, Protocol};

/// A network's id, and a port of it with the number on which the host listens.
pub(crate) type Listening = (String, Port);

/// The forwarded ports of each network, in the order of the text.
pub(crate) fn ports(info: &str) -> Vec<Listening> {
    let mut all = Vec::new();
    let mut netdev = String::new();
    for line in info.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [.., id] if !line.starts_with(' ') => {
                netdev = id.trim_start_matches('(').trim_end_matches([':', ')']).to_owned();
            }
            [kind, _, address, host, _, guest, ..] => {
                let protocol = match kind {
                    "TCP[HOST_FORWARD]" => Protocol::Tcp,
                    "UDP[HOST_FORWARD]" => Protocol::Udp,
                    _ => continue,
                };
                // QEMU writes an unbound address as a star.
                let address =
                    if address == "*" { Ok(Ipv4Addr::UNSPECIFIED) } else { address.parse() };
                if let (Ok(address), Ok(host), Ok(guest)) = (address, host.parse(), guest.parse()) {
                    let port = Port { address, host: Some(host), guest, protocol };
                    all.push((netdev.clone(), port));
                }
            }
            _ => {}
        }
    }
    all
}

/// What became of the ports that a network was given, each in its place: an `auto` port is one that
/// none of the others is.
pub(crate) fn now<'a>(
    live: &'a [Listening],
    netdev: &str,
    ports: &[Port],
) -> Vec<Option<&'a Listening>> {
    let is_fixed = |one: &Port| ports.iter().any(|port| port.host.is_some() && port == one);
    let found = |port: &Port| {
        live.iter().find(|(on, there)| {
            on == netdev && there.leads_as(port) && (port.host.is_some() || !is_fixed(there))
        })
    };
    ports.iter().map(found).collect()
}

/// Whether a connection from outside to this port of the guest's has been answered by the guest:
/// slirp accepts it on the host before that (SYN_SENT).
pub(crate) fn is_answered(info: &str, guest: u16) -> bool {
    let forwarded: Vec<u16> = ports(info)
        .into_iter()
        .filter(|(_, port)| port.guest == guest && port.protocol == Protocol::Tcp)
        .filter_map(|(_, port)| port.host)
        .collect();
    info.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["TCP[ESTABLISHED]", _, _, host, _, to, ..] = words[..] else { return false };
        to.parse() == Ok(guest) && host.parse().is_ok_and(|host| forwarded.contains(&host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ports_are_read_from_qemus_table() {
        let info = "\
Hub -1 (net-net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   14       127.0.0.1 38001       10.0.2.15    22     0     0
  TCP[HOST_FORWARD]  12       127.0.0.1 38001       10.0.2.15    22     0     0
  UDP[HOST_FORWARD]  13               *  5353       10.0.2.15    53     0     0
net-lan:
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  15       127.0.0.1  8080       10.0.2.15    80     0     0
";
        let found: Vec<(String, String)> =
            ports(info).into_iter().map(|(id, port)| (id, port.to_string())).collect();
        let expected =
            [("net-net0", "38001:22"), ("net-net0", "0.0.0.0:5353:53/udp"), ("net-lan", "8080:80")];
        assert_eq!(found, expected.map(|(id, port)| (id.to_owned(), port.to_owned())));
    }

    #[test]
    fn a_port_is_answered_when_the_guest_has_answered_and_not_before() {
        let row = |state: &str| {
            format!(
                "Hub -1 (net-net0):\n  TCP[{state}]   14  127.0.0.1 38001  10.0.2.15    22  0  0
  TCP[ESTABLISHED] 15  10.0.2.15 40000  192.0.2.1  23  0  0
  TCP[HOST_FORWARD]  12  127.0.0.1 38001  10.0.2.15    22     0     0
  TCP[HOST_FORWARD]  13  127.0.0.1 38002  10.0.2.15    23     0     0\n"
            )
        };
        assert!(is_answered(&row("ESTABLISHED"), 22));
        assert!(!is_answered(&row("SYN_SENT"), 22));
        // The guest's own connection to such a port elsewhere is none of its answers.
        assert!(!is_answered(&row("ESTABLISHED"), 23));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = ports(&text);
        }
    }
}
