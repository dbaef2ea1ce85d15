//! What QEMU's monitor says of user networking: the ports that it really listens on.
//!
//! A table for people, the only way in which QEMU 7.2 tells them. A line that does not look like one
//! is passed over.

use std::net::Ipv4Addr;

use crate::definition::port::{Port, Protocol};

/// The forwarded ports of each network, in the order of the text: its netdev's id, and the port with
/// the number on which the host listens.
pub(crate) fn ports(info: &str) -> Vec<(String, Port)> {
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

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = ports(&text);
        }
    }
}
