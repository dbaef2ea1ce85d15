//! Network cards of every type and model, as QEMU tells of them.

use serde_json::Value;

use crate::harness::{Host, not_here};

/// A script's beginning: networks, mounts and `/etc/qemu/bridge.conf` of its own. Nothing where the
/// kernel does not let us.
const OWN_NETWORK: &str = "unshare -mn sh -euc '
    ip link set lo up
    mkdir -p \"$HOME/etc\" && echo allow all > \"$HOME/etc/bridge.conf\"
    mkdir -p /etc/qemu && mount --bind \"$HOME/etc\" /etc/qemu
    ip link add lan type bridge
    ip tuntap add dev tap7 mode tap
    ip link set tap7 up
";

fn add(host: &Host, name: &str, definition: &Value) {
    let file = host.root().join(format!("{name}.json"));
    std::fs::write(&file, definition.to_string()).unwrap();
    let file = file.to_str().unwrap();
    host.maqet(["add", name, "--accel", "tcg", "--memory", "64M", "-f", file]).exits(0);
}

/// The addresses of the cards that have a filter, and the vendor and device of all on the PCI bus.
fn cards(host: &Host, name: &str) -> (Vec<String>, Vec<(u64, u64)>) {
    let filters = host.maqet(["qmp", name, "query-rx-filter", "--json"]).exits(0).json();
    let list = |value: &Value| value["return"].as_array().or(value.as_array()).cloned().unwrap();
    let macs =
        list(&filters).iter().map(|card| card["main-mac"].as_str().unwrap().into()).collect();
    let buses = host.maqet(["qmp", name, "query-pci", "--json"]).exits(0).json();
    let devices = list(&buses)[0]["devices"].as_array().unwrap().clone();
    let id = |device: &Value, key: &str| device["id"][key].as_u64().unwrap();
    (macs, devices.iter().map(|one| (id(one, "vendor"), id(one, "device"))).collect())
}

#[test]
fn every_model_is_the_card_that_qemu_then_has() {
    let host = Host::new();
    let models = ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "pcnet", "ne2k_pci"];
    let network: Vec<Value> = models
        .iter()
        .map(|model| serde_json::json!({"name": model, "model": model}))
        .chain([serde_json::json!({"name": "gone", "type": "none"})])
        .collect();
    add(&host, "many", &serde_json::json!({ "network": network }));
    host.maqet(["start", "many", "--paused"]).exits(0);
    let (macs, devices) = cards(&host, "many");
    let info = host.maqet(["info", "many", "--json"]).json();
    let told = info["network"].as_array().unwrap();
    assert_eq!(told.len(), models.len());
    assert!(macs.contains(&told[0]["mac"].as_str().unwrap().to_owned()), "{macs:?} {told:?}");
    for card in [
        (0x1af4, 0x1000),
        (0x8086, 0x100e),
        (0x8086, 0x10d3),
        (0x10ec, 0x8139),
        (0x15ad, 0x07b0),
        (0x1022, 0x2000),
        (0x10ec, 0x8029),
    ] {
        assert!(devices.contains(&card), "{card:x?} {devices:x?}");
    }

    add(&host, "micro", &serde_json::json!({"machine": "microvm", "network": [{}]}));
    host.maqet(["start", "micro", "--paused"]).exits(0);
    let filters = host.maqet(["qmp", "micro", "query-rx-filter", "--json"]).exits(0);
    let mac = host.maqet(["info", "micro", "-o", "network.0.mac"]).stdout;
    assert!(filters.stdout.contains(mac.trim()), "{} {mac}", filters.stdout);
}

#[test]
fn two_vms_meet_on_a_socket_and_options_reach_the_network() {
    let host = Host::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let end = |key: &str| {
        serde_json::json!({"network": [
            {"type": "socket", "options": {key: format!("127.0.0.1:{port}")}},
            {"options": {"restrict": true, "hostname": "a, b", "dnssearch": ["x.org", "y.org"]}},
        ]})
    };
    add(&host, "one", &end("listen"));
    add(&host, "two", &end("connect"));
    host.maqet(["start", "one", "--paused"]).exits(0);
    host.maqet(["start", "two", "--paused"]).exits(0);
    let network = host.maqet([
        "qmp",
        "one",
        "human-monitor-command",
        "command-line=info network",
        "--unsafe",
    ]);
    assert!(network.exits(0).stdout.contains("socket: connection from 127.0.0.1"));
    assert_eq!(cards(&host, "two").0.len(), 2);
}

#[test]
fn a_tap_and_a_bridge_of_the_host_are_what_the_card_is_connected_to() {
    let host = Host::new();
    if host.shell(&format!("{OWN_NETWORK}'")).code != 0 {
        not_here("only root makes a network of its own");
        return;
    }
    let tap = serde_json::json!({"network": [{"type": "tap", "ifname": "tap7"}]});
    let bridge = serde_json::json!({"network": [{"type": "bridge", "bridge": "lan"}]});
    add(&host, "tap", &tap);
    add(&host, "bridge", &bridge);
    let ran = host.shell(&format!(
        "{OWN_NETWORK}
        maqet start tap bridge --paused
        for vm in tap bridge; do maqet qmp $vm query-rx-filter | grep main-mac; done
        ip -o link show tap7
        ip -o link show master lan
        for vm in tap bridge; do
            maqet status $vm -o sandbox
            grep NoNewPrivs /proc/$(maqet status $vm -o qemu_pid)/status
        done
        maqet stop --all --force'"
    ));
    let (out, told) =
        (&ran.stdout, host.maqet(["info", "tap", "bridge", "-o", "network.0.mac"]).stdout);
    assert_eq!(ran.code, 0, "{out} {}", ran.stderr);
    for mac in told.lines() {
        assert!(out.contains(mac), "{out} {told}");
    }
    assert!(out.contains("tap7: <BROADCAST,MULTICAST,UP,LOWER_UP>"), "{out}");
    assert!(out.contains("tap0: <"), "the helper's own interface is on the bridge: {out}");
    let rest: Vec<&str> = out.lines().rev().take(4).collect();
    assert_eq!(rest, ["NoNewPrivs:\t0", "false", "NoNewPrivs:\t1", "true"], "{out}");
}

#[test]
fn arguments_are_options_of_the_qemu_that_runs() {
    let host = Host::new();
    let arguments = serde_json::json!([
        "no-reboot",
        {"object": "iothread", "id": "io0"},
        {"device": {"virtio-rng-pci": null, "id": "r0"}},
        {"device": "virtio-net-pci", "netdev": "n0", "id": "c0"},
        {"netdev": {"user": null, "id": "n0", "hostname": "a, b"}},
        {"rtc": ["base=utc", "clock=host"]},
        {"name": {"process": "x, -y"}},
    ]);
    add(&host, "args", &serde_json::json!({"network": [], "arguments": arguments}));
    host.maqet(["start", "args", "--paused"]).exits(0);
    let devices = host.maqet(["qmp", "args", "qom-list", "path=/machine/peripheral"]).exits(0);
    assert!(devices.stdout.contains("\"r0\"") && devices.stdout.contains("\"c0\""));
    assert!(host.maqet(["qmp", "args", "query-iothreads"]).stdout.contains("io0"));
    let words = host.maqet(["cmdline", "args", "--json"]).json();
    assert!(words.as_array().unwrap().contains(&"process=x,, -y".into()), "{words}");
}

#[test]
fn a_template_never_starts() {
    let host = Host::new();
    host.add_bare("base");
    host.maqet(["apply", "base", "--template"]).exits(0);
    for command in ["start", "run"] {
        let ran = host.maqet([command, "base"]).exits(7);
        assert!(ran.stderr.contains("template") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    assert_eq!(host.state("base"), "stopped");
}
