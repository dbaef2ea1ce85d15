//! `device`: devices that come to running VMs, and go when their guests let them.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, eventually};

fn ids(host: &Host, name: &str) -> Vec<String> {
    let listed = host.maqet(["device", "ls", name, "-q"]).exits(0).stdout;
    listed.lines().map(str::to_owned).collect()
}

/// The root port behind which a device sits.
fn port(host: &Host, name: &str, id: &str) -> Value {
    let all = host.maqet(["device", "ls", name, "--json"]).exits(0).json();
    let found = all.as_array().unwrap().iter().find(|one| one["name"] == id).unwrap().clone();
    assert!(found["address"].as_str().unwrap().contains(':'), "{found}");
    found["port"].clone()
}

#[test]
fn a_guest_sees_a_device_that_comes_and_lets_it_go() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let words = ["device", "add", "web", "virtio-rng-pci", "max-bytes=1024", "period=1000"];
    assert_eq!(host.maqet(words).exits(0).stdout, "dev0\n");
    assert_eq!(port(&host, "web", "dev0"), "slot1");
    let named =
        host.maqet(["device", "add", "web", "virtio-rng-pci", "id=mine", "--json"]).exits(0);
    assert_eq!((&named.json()["id"], port(&host, "web", "mine")), (&"mine".into(), "slot2".into()));
    host.maqet(["device", "add", "web", "virtio-rng-pci", "id=mine"]).exits(7);
    // Two of them and the one that it was started with.
    let count = "sh cat /sys/bus/pci/devices/*/device | grep -c -e 0x1005 -e 0x1044";
    let three = ["send", "web", count, "--line", "--for", r"console:3\nmaqet-guest: done"];
    eventually(Duration::from_secs(30), "the guest sees three of them", || {
        (host.maqet(three.iter().chain(&["--timeout", "5s"])).code == 0).then_some(())
    });

    host.maqet(["device", "rm", "web", "dev0"]).exits(0);
    assert!(!ids(&host, "web").contains(&"dev0".to_owned()));
    // The port is free again.
    host.maqet(["device", "add", "web", "virtio-rng-pci"]).exits(0);
    assert_eq!(port(&host, "web", "dev0"), "slot1");
    host.maqet(["stop", "web", "--force"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    assert!(!ids(&host, "web").contains(&"mine".to_owned()));
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn what_cannot_be_plugged_in_or_taken_out_is_refused_in_time() {
    let host = Host::new();
    let words = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "name=root,size=8M"];
    host.maqet(words.iter().chain(&["--hotplug-slots", "1"])).exits(0);
    host.maqet(["device", "ls", "web"]).exits(3);
    host.maqet(["device", "add", "web", "virtio-rng-pci"]).exits(3);
    host.maqet(["start", "web", "--paused"]).exits(0);
    for (words, code, says) in [
        (vec!["add", "web", "no-such-thing"], 4, "no-such-thing"),
        (vec!["add", "web", "virtio-rng-pci", "nope=1"], 1, "nope"),
        (vec!["add", "web", "virtio-rng-pci", "max-bytes=some"], 1, "max-bytes"),
        (vec!["add", "web", "usb-tablet"], 1, "usb-bus"),
        (vec!["add", "web"], 2, "no driver"),
        (vec!["add", "web", "virtio-rng-pci", "--net", "user"], 2, "one device"),
        (vec!["rm", "web", "nope"], 4, "no device"),
        (vec!["rm", "web", "rng"], 7, "until it is stopped"),
        (vec!["rm", "web", "disk-root"], 7, "disk rm web root"),
    ] {
        let refused = host.maqet(["device"].iter().chain(&words)).exits(code);
        assert!(refused.stderr.contains(says), "{words:?}: {}", refused.stderr);
    }
    host.maqet(["device", "add", "web", "virtio-rng-pci"]).exits(0);
    let full = host.maqet(["device", "add", "web", "virtio-rng-pci"]).exits(7);
    assert!(full.stderr.contains("hotplug_slots"), "{}", full.stderr);
    // A guest that does not run lets nothing go.
    let late = host.maqet(["device", "rm", "web", "dev0", "--timeout", "1s"]).exits(5);
    assert!(late.stderr.contains("has not let dev0 go"), "{}", late.stderr);
    assert!(ids(&host, "web").contains(&"dev0".to_owned()));
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn a_network_card_comes_with_its_network_and_goes_with_it() {
    let host = Host::new();
    host.add_guest("web", &["--net", "none"]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let spec = r#"{"name":"lan","model":"e1000e","ports":["auto:22"],"options":{"hostname":"inside","restrict":true}}"#;
    assert_eq!(host.maqet(["device", "add", "web", "--net", spec]).exits(0).stdout, "net-lan\n");
    host.maqet(["device", "add", "web", "--net", "user,name=lan"]).exits(7);
    assert_eq!(host.maqet(["device", "add", "web", "--net", "user"]).exits(0).stdout, "net-net0\n");
    let ports = host.maqet(["port", "ls", "web", "22", "-q"]).exits(0).stdout;
    assert!(ports.starts_with("127.0.0.1:"), "{ports}");
    // Its name is free again, for its network went with it.
    host.maqet(["device", "rm", "web", "net-net0"]).exits(0);
    host.maqet(["device", "add", "web", "--net", "user,name=net0"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
}
