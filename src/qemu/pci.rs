//! What `query-pci` tells: where the devices of a running machine sit.

use serde_json::Value;

/// Where a device sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: String,
    /// The bridge behind which it is, where that has an id.
    pub(crate) port: Option<String>,
    /// BUS:SLOT.FUNCTION, in hexadecimal as lspci writes it.
    pub(crate) address: String,
}

/// The places of all devices that have an id.
pub(crate) fn places(buses: &Value) -> Vec<Place> {
    let mut all = Vec::new();
    for bus in buses.as_array().into_iter().flatten() {
        gather(&bus["devices"], None, &mut all);
    }
    all
}

fn gather(devices: &Value, port: Option<&str>, all: &mut Vec<Place>) {
    for device in devices.as_array().into_iter().flatten() {
        let number = |name: &str| device[name].as_u64().unwrap_or(0);
        let id = device["qdev_id"].as_str().filter(|id| !id.is_empty());
        if let Some(id) = id {
            let (bus, slot, function) = (number("bus"), number("slot"), number("function"));
            let address = format!("{bus:02x}:{slot:02x}.{function}");
            all.push(Place { id: id.to_owned(), port: port.map(str::to_owned), address });
        }
        gather(&device["pci_bridge"]["devices"], id, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn devices_are_found_in_their_places_behind_bridges_too() {
        let behind = json!([{"qdev_id": "dev0", "bus": 1, "slot": 0, "function": 0}]);
        let devices = json!([
            {"qdev_id": "", "bus": 0, "slot": 31, "function": 3},
            {"qdev_id": "slot1", "bus": 0, "slot": 18, "function": 1, "pci_bridge": {"devices": behind}},
        ]);
        let place = |id: &str, port: Option<&str>, address: &str| Place {
            id: id.into(),
            port: port.map(Into::into),
            address: address.into(),
        };
        let expected = [place("slot1", None, "00:12.1"), place("dev0", Some("slot1"), "01:00.0")];
        assert_eq!(places(&json!([{ "devices": devices }])), expected);
        assert!(places(&json!(7)).is_empty());
    }
}
