//! The whole command line of a VM, and what no value may do to it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Host, Vm, Wires, accel, build, wants_agent};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Format};
use crate::error::{Kind, Result};
use crate::qemu::firmware::Image;

mod storage;

fn host(binary: &str) -> Host {
    Host {
        binary: PathBuf::from(binary),
        kvm: false,
        block_devices: vec!["/dev/vg/x".into()],
        firmware: Some(Image { path: "/fw/a, b.fd".into(), format: Format::Raw }),
    }
}

fn argv_on(host: &Host, definition: Value) -> Result<Vec<String>> {
    let definition = Definition::read(definition.as_object().unwrap()).unwrap();
    let agent = wants_agent(&definition, &host.binary).then_some(6);
    let vm = Vm {
        id: &VmId::parse("0e3f1b9c-7a52-4d8e-9f10-2b6c4d8e0f1a").unwrap(),
        name: &VmName::parse("web").unwrap(),
        definition: &definition,
        folder: Path::new("/vms/w b,c"),
    };
    build(&vm, host, &Wires { qmp: 5, agent })
}

pub(super) fn argv(definition: Value) -> Vec<String> {
    argv_on(&host("/usr/bin/qemu-system-x86_64"), definition).unwrap()
}

/// The word behind each `option`.
fn after<'a>(argv: &'a [String], option: &str) -> Vec<&'a str> {
    argv.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str()).collect()
}

fn drivers(argv: &[String]) -> Vec<String> {
    after(argv, "-device")
        .iter()
        .map(|word| serde_json::from_str::<Value>(word).unwrap()["driver"].as_str().unwrap().into())
        .collect()
}

#[test]
fn the_default_vm() {
    assert_eq!(
        argv(json!({})),
        [
            "/usr/bin/qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-name",
            "guest=web",
            "-uuid",
            "0e3f1b9c-7a52-4d8e-9f10-2b6c4d8e0f1a",
            "-S",
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-machine",
            "type=q35",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-smp",
            "cpus=1",
            "-m",
            "1024M",
            "-chardev",
            "socket,id=qmp,fd=5",
            "-mon",
            "chardev=qmp,mode=control",
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
            "-display",
            "none",
            "-vga",
            "std",
            "-device",
            r#"{"chassis":1,"driver":"pcie-root-port","id":"slot1"}"#,
            "-device",
            r#"{"chassis":2,"driver":"pcie-root-port","id":"slot2"}"#,
            "-device",
            r#"{"chassis":3,"driver":"pcie-root-port","id":"slot3"}"#,
            "-device",
            r#"{"chassis":4,"driver":"pcie-root-port","id":"slot4"}"#,
            "-netdev",
            "user,id=net-net0",
            "-device",
            r#"{"driver":"virtio-net-pci","id":"net-net0","mac":"52:54:00:87:cd:e6","netdev":"net-net0"}"#,
            "-chardev",
            "socket,id=agent,fd=6",
            "-device",
            r#"{"driver":"virtio-serial-pci","id":"ports"}"#,
            "-device",
            r#"{"bus":"ports.0","chardev":"agent","driver":"virtserialport","id":"agent","name":"org.qemu.guest_agent.0"}"#,
            "-device",
            r#"{"driver":"virtio-rng-pci","id":"rng"}"#,
        ]
    );
}

#[test]
fn a_machine_gets_only_what_it_takes() {
    for (definition, expected) in [
        (
            json!({"machine": "microvm"}),
            &["virtio-net-device", "virtio-serial-device", "virtserialport", "virtio-rng-device"][..],
        ),
        (json!({"machine": "none"}), &[]),
        (
            json!({"machine": "pc"}),
            &["virtio-net-pci", "virtio-serial-pci", "virtserialport", "virtio-rng-pci"],
        ),
        (
            json!({"machine": "microvm", "network": [], "agent": false, "rng": false, "storage": [{"size": "1G"}]}),
            &["virtio-blk-device"],
        ),
        (
            json!({"machine": "none", "vga": "none", "hotplug_slots": 0, "network": [{"type": "none"}]}),
            &[],
        ),
        (
            json!({"hotplug_slots": 1, "agent": false, "rng": false, "network": [{"model": "e1000e"}, {"type": "none"}]}),
            &["pcie-root-port", "e1000e"],
        ),
    ] {
        let argv = argv(definition.clone());
        assert_eq!(drivers(&argv), expected, "{definition}");
        let has_cpu = definition["machine"] != "none";
        assert_eq!(argv.contains(&"-cpu".to_owned()), has_cpu, "{definition}");
    }
}

#[test]
fn what_is_asked_for_and_cannot_be_had_is_an_error() {
    let host = host("/usr/bin/qemu-system-x86_64");
    for (definition, key) in [
        (json!({"machine": "none", "agent": true}), "agent:"),
        (json!({"machine": "none", "rng": true}), "rng:"),
        (json!({"machine": "none", "vga": "std"}), "vga:"),
        (json!({"machine": "none", "cpu_model": "max"}), "cpu_model:"),
        (json!({"machine": "none", "storage": [{"size": "1G"}]}), "disk \"disk0\""),
        (json!({"machine": "none", "network": [{}]}), "network card \"net0\""),
        (json!({"machine": "microvm", "hotplug_slots": 1}), "hotplug_slots:"),
        (json!({"machine": "microvm", "vga": "virtio"}), "vga:"),
        (json!({"machine": "microvm", "network": [{"model": "e1000"}]}), "network card \"net0\""),
        (json!({"machine": "pc", "hotplug_slots": 1}), "hotplug_slots:"),
        (json!({"machine": "microvm", "firmware": "uefi"}), "firmware:"),
        (json!({"machine": "none", "firmware": {"code": "/c", "vars": "/v"}}), "firmware:"),
    ] {
        let error = argv_on(&host, definition.clone()).unwrap_err();
        assert!(error.message.contains(key), "{definition}: {error}");
        assert_eq!(error.kind, Kind::Usage);
    }
}

#[test]
fn a_firmware_is_code_that_is_only_read_and_variables_of_the_vms_own() {
    let argv = argv(json!({"firmware": "uefi"}));
    let machine = "type=q35,pflash0=firmware-code,pflash1=firmware-vars";
    assert_eq!(after(&argv, "-machine"), [machine]);
    let nodes: Vec<Value> =
        after(&argv, "-blockdev").iter().map(|word| serde_json::from_str(word).unwrap()).collect();
    assert_eq!(nodes[0]["node-name"], "firmware-code");
    assert_eq!(nodes[0]["file"]["filename"], "/fw/a, b.fd");
    assert_eq!((&nodes[0]["driver"], &nodes[0]["read-only"]), (&json!("raw"), &json!(true)));
    assert_eq!(nodes[1]["node-name"], "firmware-vars");
    assert_eq!(nodes[1]["file"]["filename"], "/vms/w b,c/firmware-vars.qcow2");
    assert_eq!((&nodes[1]["driver"], &nodes[1]["backing"]), (&json!("qcow2"), &Value::Null));
}

#[test]
fn kvm_is_for_guests_of_this_host() {
    let of = |word: &str| Definition::read(json!({ "accel": word }).as_object().unwrap()).unwrap();
    let native = crate::qemu::machine::default_program();
    for (word, binary, kvm, expected) in [
        ("auto", &*native, true, "kvm"),
        ("auto", &*native, false, "tcg"),
        ("auto", "qemu-system-sparc", true, "tcg"),
        ("kvm", &*native, false, "kvm"),
        ("tcg", &*native, true, "tcg"),
    ] {
        let host = Host { kvm, ..host(binary) };
        assert_eq!(accel(&of(word), &host), expected, "{word} {binary} {kvm}");
    }
    let host = Host { kvm: true, ..host(&native) };
    assert_eq!(after(&argv_on(&host, json!({})).unwrap(), "-cpu"), ["host"]);
}

#[test]
fn a_card_keeps_its_address_and_no_two_share_one() {
    let mac_of = |definition| {
        let argv = argv(definition);
        let cards: Vec<Value> = after(&argv, "-device")
            .iter()
            .map(|word| serde_json::from_str(word).unwrap())
            .filter(|device: &Value| device["mac"].is_string())
            .collect();
        cards.iter().map(|card| card["mac"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let default = mac_of(json!({}));
    assert_eq!(default, mac_of(json!({"network": [{"model": "e1000"}], "memory": "2G"})));
    let two = mac_of(json!({"network": [{"name": "a"}, {}, {"mac": "02:00:00:00:00:01"}]}));
    assert!(two[0] != two[1] && two[0].starts_with("52:54:00:"), "{two:?}");
    assert_eq!(two[2], "02:00:00:00:00:01");
}

#[test]
fn no_value_becomes_an_option_of_its_own() {
    // Keys that take any text, and where it must be found again, whole.
    for evil in
        ["a,id=evil", "-daemonize", " -x ", "q\"uo'te\\", "line\nbreak", "é…", "{}", ",,", "a=b"]
    {
        let path = format!("/{evil}");
        let words = argv(json!({
            "kernel": path, "initrd": path, "append": evil, "cpu_model": format!("max{}", evil.replace([',', '\n'], "")),
            "description": evil, "labels": {evil: evil}, "args": [evil, evil],
            "storage": [{"file": path, "type": "qcow2", "serial": evil,
                         "backing_file": path, "backing_format": "raw"}],
        }));
        let plain = argv(json!({
            "kernel": "/k", "initrd": "/i", "append": "", "cpu_model": "max", "args": ["", ""],
            "storage": [{"file": "/f", "type": "qcow2", "serial": "s",
                         "backing_file": "/b", "backing_format": "raw"}],
        }));
        assert_eq!(words.len(), plain.len(), "{evil:?}");
        assert_eq!(after(&words, "-kernel"), [&path]);
        assert_eq!(after(&words, "-initrd"), [&path]);
        assert_eq!(after(&words, "-append"), [evil]);
        assert_eq!(words[words.len() - 2..], [evil, evil]);
        let node: Value = serde_json::from_str(after(&words, "-blockdev")[0]).unwrap();
        assert_eq!(node["file"]["filename"], path);
        assert_eq!(node["backing"]["file"]["filename"], path);
        let device = after(&words, "-device")
            .iter()
            .map(|word| serde_json::from_str::<Value>(word).unwrap())
            .find(|device| device["driver"] == "virtio-blk-pci")
            .unwrap();
        assert_eq!(device["serial"], evil);
        // Where words differ, it is in values only: the options are the same, in the same order.
        for (place, (one, other)) in words.iter().zip(&plain).enumerate() {
            let is_option =
                other.starts_with('-') && place > 0 && !plain[place - 1].starts_with('-');
            assert!(!is_option || one == other, "{evil:?}: {one} {other}");
        }
    }
}

#[test]
fn memory_and_boot_are_told_with_their_units() {
    let argv = argv(json!({
        "memory": "1000000001B", "cpu": {"cores": 2}, "boot": {"order": "nc", "menu": false},
        "sandbox": false, "serial": false, "args": ["-device", "edu"],
    }));
    assert_eq!(after(&argv, "-m"), ["1000000001B"]);
    assert_eq!(after(&argv, "-smp"), ["sockets=1,cores=2,threads=1"]);
    assert_eq!(after(&argv, "-boot"), ["order=nc,menu=off"]);
    assert!(after(&argv, "-sandbox").is_empty() && after(&argv, "-serial").is_empty());
    assert_eq!(argv[argv.len() - 2..], ["-device", "edu"]);
}

#[test]
fn ports_are_forwarded_from_the_address_that_is_given_or_from_this_host_alone() {
    let ports = json!(["8080:80", "auto:22", "0.0.0.0:5353:53/udp"]);
    let argv = argv(json!({"network": [{"ports": ports}]}));
    assert_eq!(
        after(&argv, "-netdev"),
        ["user,id=net-net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:0-:22,\
          hostfwd=udp:0.0.0.0:5353-:53"]
    );
}

#[test]
fn arguments_in_every_form_become_one_option_each() {
    for (item, expected) in [
        (json!("no-shutdown"), &["-no-shutdown"][..]),
        (json!({"no-shutdown": null}), &["-no-shutdown"]),
        (json!({"no-shutdown": true}), &["-no-shutdown"]),
        (json!({"smp": {"cores": 2}}), &["-smp", "cores=2"]),
        (json!({"m": 512}), &["-m", "512"]),
        (
            json!({"device": "virtio-net-pci", "netdev": "n0"}),
            &["-device", "virtio-net-pci,netdev=n0"],
        ),
        (
            json!({"device": {"virtio-rng-pci": null, "id": "r0"}}),
            &["-device", "virtio-rng-pci,id=r0"],
        ),
        (json!({"rtc": ["base=utc", "clock=host"]}), &["-rtc", "base=utc,clock=host"]),
        (json!({"name": "a, b"}), &["-name", "a,, b"]),
        (json!({"display": "gtk", "zoom-to-fit": true}), &["-display", "gtk,zoom-to-fit=on"]),
        (
            json!({"blockdev": {"driver": "raw", "file": {"driver": "file", "filename": "/a,b"}}}),
            &["-blockdev", "driver=raw,file.driver=file,file.filename=/a,,b"],
        ),
        (json!({"global": {"PIIX4_PM.x": "a,b"}}), &["-global", "PIIX4_PM.x=a,b"]),
        (
            json!({"global": {"driver": "d", "property": "p", "value": "a,b"}}),
            &["-global", "driver=d,property=p,value=a,,b"],
        ),
        (json!({"append": "console=ttyS0,115200 a=b"}), &["-append", "console=ttyS0,115200 a=b"]),
        (
            json!({"netdev": "user", "id": "u", "hostfwd": ["tcp::1-:2", "tcp::3-:4"]}),
            &["-netdev", "user,hostfwd=tcp::1-:2,hostfwd=tcp::3-:4,id=u"],
        ),
        (
            json!({"object": "filter-dump", "netdev": "n", "file": "/x,y"}),
            &["-object", "filter-dump,file=/x,,y,netdev=n"],
        ),
    ] {
        let argv = argv(json!({"arguments": [item], "args": ["last"]}));
        assert_eq!(argv[argv.len() - expected.len() - 1..argv.len() - 1], *expected, "{item}");
    }
}

#[test]
fn a_card_is_connected_as_its_type_says() {
    for (card, expected) in [
        (json!({"type": "tap"}), "tap,id=net-net0,script=no,downscript=no"),
        (
            json!({"type": "tap", "ifname": "a,b"}),
            "tap,id=net-net0,ifname=a,,b,script=no,downscript=no",
        ),
        (
            json!({"type": "tap", "ifname": "t0", "options": {"script": "/x", "vhost": true}}),
            "tap,id=net-net0,ifname=t0,script=/x,vhost=on",
        ),
        (json!({"type": "bridge", "bridge": "lan"}), "bridge,id=net-net0,br=lan"),
        (json!({"type": "socket", "options": {"listen": ":9"}}), "socket,id=net-net0,listen=:9"),
        (
            json!({"ports": ["8080:80"], "options": {"hostfwd": ["a,id=x", "b"], "restrict": true}}),
            "user,id=net-net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=a,,id=x,hostfwd=b,restrict=on",
        ),
    ] {
        let argv = argv(json!({ "network": [card] }));
        assert_eq!(after(&argv, "-netdev"), [expected]);
        let is_bridge = card["type"] == "bridge";
        assert_eq!(after(&argv, "-sandbox").is_empty(), is_bridge, "{card}");
    }
}
