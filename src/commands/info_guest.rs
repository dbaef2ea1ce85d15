//! What a guest's agent tells of it, for `info`: the system, addresses and file systems.
//!
//! An agent that is absent or slow costs that part alone: nothing here fails, and nothing waits long.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::context::{Context, Vm};
use crate::control::ask::{Patience, Question, Reply, ask};
use crate::wire::guest::AgentCall;
use crate::wire::message::{Call, Request};

/// For the agent to tell all of it.
const LIMIT: Duration = Duration::from_secs(2);
/// What it is asked.
const COMMANDS: [&str; 4] =
    ["guest-get-osinfo", "guest-get-host-name", "guest-network-get-interfaces", "guest-get-fsinfo"];
/// How many of a kind are shown: a guest may have thousands.
const MOST: usize = 64;

/// A guest, as its agent describes it; sizes are bytes.
#[derive(Debug, Default, Serialize)]
pub(super) struct Inside {
    /// As its makers name it.
    pub(super) system: Option<String>,
    pub(super) kernel: Option<String>,
    pub(super) host_name: Option<String>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) filesystems: Vec<Filesystem>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mac: Option<String>,
    /// Each with the length of its network's prefix.
    pub(super) addresses: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Filesystem {
    pub(super) mountpoint: String,
    pub(super) r#type: String,
    pub(super) total: Option<u64>,
    pub(super) used: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct System {
    pretty_name: Option<String>,
    name: Option<String>,
    kernel_release: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct HostName {
    host_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Card {
    name: String,
    hardware_address: Option<String>,
    #[serde(default)]
    ip_addresses: Vec<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Address {
    ip_address: String,
    prefix: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mounted {
    mountpoint: String,
    r#type: String,
    total_bytes: Option<u64>,
    used_bytes: Option<u64>,
}

/// Asks the agent of a VM that runs; `None` where none answers.
pub(super) fn look(context: &Context<'_>, vm: &Vm) -> Option<Inside> {
    let question = |command: &str| {
        let arguments = Map::new();
        let call = AgentCall { command: command.to_owned(), arguments, limit: Some(LIMIT) };
        Question { id: vm.id.clone(), request: Request::from(Call::Agent(call)), repeatable: true }
    };
    let questions = COMMANDS.map(question);
    let replies = ask(&context.folders, &questions, Patience::of(LIMIT));
    let answers: Vec<Value> = replies
        .into_iter()
        .filter_map(|reply| match reply {
            Reply::Answer(Ok(answer)) => Some(answer),
            _ => None,
        })
        .collect();
    (answers.len() == COMMANDS.len()).then(|| read(&answers))
}

/// What is not told, or not so, is left out.
fn read(answers: &[Value]) -> Inside {
    let mut inside = Inside::default();
    if let Some(System { pretty_name, name, kernel_release }) = returned(&answers[0]) {
        inside.system = pretty_name.or(name);
        inside.kernel = kernel_release;
    }
    inside.host_name = returned::<HostName>(&answers[1]).map(|told| told.host_name);
    let cards: Vec<Card> = returned(&answers[2]).unwrap_or_default();
    let interface = |card: Card| Interface {
        name: card.name,
        mac: card.hardware_address,
        addresses: card
            .ip_addresses
            .into_iter()
            .take(MOST)
            .map(|Address { ip_address, prefix }| format!("{ip_address}/{prefix}"))
            .collect(),
    };
    inside.interfaces = cards.into_iter().take(MOST).map(interface).collect();
    let mounted: Vec<Mounted> = returned(&answers[3]).unwrap_or_default();
    let filesystem = |one: Mounted| Filesystem {
        mountpoint: one.mountpoint,
        r#type: one.r#type,
        total: one.total_bytes,
        used: one.used_bytes,
    };
    inside.filesystems = mounted.into_iter().take(MOST).map(filesystem).collect();
    inside
}

fn returned<T: DeserializeOwned>(answer: &Value) -> Option<T> {
    T::deserialize(&answer["return"]).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_agent_tells_is_read_and_what_it_does_not_is_left_out() {
        let answers = [
            json!({"return": {"pretty-name": "Debian", "kernel-release": "6.1", "id": "debian"}}),
            json!({"return": {"host-name": "web"}}),
            json!({"return": [{
                "name": "eth0",
                "hardware-address": "52:54:00:00:00:01",
                "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "10.0.2.15", "prefix": 24}],
                "statistics": {},
            }, {"name": "eth1"}]}),
            json!({"return": [{
                "name": "vda1", "mountpoint": "/", "type": "ext4", "disk": [],
                "total-bytes": 100, "used-bytes": 7,
            }]}),
        ];
        let inside = read(&answers);
        assert_eq!(inside.system.as_deref(), Some("Debian"));
        assert_eq!(inside.kernel.as_deref(), Some("6.1"));
        assert_eq!(inside.host_name.as_deref(), Some("web"));
        assert_eq!(inside.interfaces[0].addresses, ["10.0.2.15/24"]);
        assert_eq!((inside.interfaces[1].mac.as_ref(), inside.interfaces.len()), (None, 2));
        let root = &inside.filesystems[0];
        assert_eq!((root.mountpoint.as_str(), root.total, root.used), ("/", Some(100), Some(7)));

        let refused = json!({"error": {"class": "CommandNotFound", "desc": "no"}});
        let strange = json!({"return": {"host-name": [1]}});
        let inside = read(&[refused.clone(), strange.clone(), strange, refused]);
        assert!(inside.system.is_none() && inside.host_name.is_none());
        assert!(inside.interfaces.is_empty() && inside.filesystems.is_empty());
    }
}
