//! What `query-pci` tells: which root ports of a running machine are free.

use serde_json::Value;

/// The id of the first root port that maqet made and that holds nothing.
pub(crate) fn free_port(buses: &Value) -> Option<String> {
    let is_free =
        |port: &&Value| port["pci_bridge"]["devices"].as_array().is_none_or(Vec::is_empty);
    let free = ports(buses).filter(is_free);
    free.filter_map(|port| port["qdev_id"].as_str()).min().map(str::to_owned)
}

/// Whether the machine has root ports that maqet made, free or not.
pub(crate) fn has_ports(buses: &Value) -> bool {
    ports(buses).next().is_some()
}

fn ports(buses: &Value) -> impl Iterator<Item = &Value> {
    let buses = buses.as_array().into_iter().flatten();
    let devices = buses.filter_map(|bus| bus["devices"].as_array()).flatten();
    devices.filter(|device| device["qdev_id"].as_str().is_some_and(|id| id.starts_with("slot")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_port_is_free_where_nothing_is_behind_it() {
        let port = |id: &str, behind: Value| json!({"qdev_id": id, "pci_bridge": {"bus": {"number": 1}, "devices": behind}});
        let bare = json!({"qdev_id": "slot3", "pci_bridge": {"bus": {"number": 1}}});
        let used = port("slot1", json!([{"qdev_id": "disk-a"}]));
        let others = [json!({"qdev_id": "rng"}), port("their-port", json!([]))];
        for (devices, expected) in [
            (json!([used, others[0], others[1], port("slot2", json!([])), bare]), Some("slot2")),
            (json!([used, bare]), Some("slot3")),
            (json!([used, others[1]]), None),
        ] {
            assert_eq!(free_port(&json!([{ "devices": devices }])).as_deref(), expected);
        }
        assert_eq!(free_port(&json!({})), None);
        assert!(has_ports(&json!([{ "devices": [used] }])));
        assert!(!has_ports(&json!([{ "devices": [others[1]] }])) && !has_ports(&json!(3)));
    }
}
