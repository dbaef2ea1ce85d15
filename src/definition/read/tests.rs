//! Reading definitions: what is taken, and what each refusal says.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::definition::keys::{self, Key, Kind};
use crate::definition::types::{
    Accel, Cpu, Definition, Discard, Format, Interface, Link, Model, Program, Restart,
    SecurityModel, Vga,
};
use crate::definition::units::Limit;
use crate::error::{self, Result};

mod storage;

fn read(value: Value) -> Result<Definition> {
    Definition::read(value.as_object().unwrap())
}

#[test]
fn an_empty_definition_is_the_default_vm() {
    let vm = Definition::read(&Map::new()).unwrap();
    assert_eq!((vm.cpu, vm.memory, vm.accel), (Cpu::Count(1), 1 << 30, Accel::Auto));
    assert_eq!((vm.serial, vm.sandbox, vm.protect), (true, true, false));
    assert_eq!((vm.agent, vm.rng, vm.vga, vm.network), (None, None, None, None));
    assert_eq!(vm.stop_timeout, Limit::After(Duration::from_secs(60)));
    assert!(vm.storage.is_empty() && vm.args.is_empty());
}

#[test]
fn a_full_definition_is_read() {
    let vm = read(json!({
        "name": "web", "description": "two\nlines", "labels": {"env": "prod", "a b": ""},
        "binary": "/opt/qemu,x", "machine": "pc-q35-7.2", "accel": "tcg", "cpu_model": "Fujitsu MB86904",
        "cpu": {"sockets": 2, "cores": 4}, "memory": 512, "firmware": "bios",
        "kernel": "/k", "initrd": "/i", "append": "console=ttyS0,115200 root=/dev/vda",
        "boot": {"order": "cdn", "menu": true}, "display": "none", "vga": "virtio",
        "storage": [
            {"name": "root", "type": "raw", "file": "/a.img", "serial": "S1", "bootindex": 0},
            {"size": "20G", "cache": "none", "aio": "native", "discard": "unmap", "readonly": true,
             "interface": "nvme", "media": "disk"},
            {"name": "x", "backing_file": "/base.raw", "backing_format": "raw"},
            {"name": "old", "type": "vmdk", "file": "/old"},
            {"name": "copy", "from": "/old", "file": "/new"},
            {"name": "src", "type": "virtfs", "path": "/src", "readonly": true},
        ],
        "network": [{"model": "e1000"}, {"name": "off", "type": "none", "mac": "52:54:00:Aa:00:01"}],
        "serial": false, "agent": false, "rng": true, "hotplug_slots": 0, "sandbox": false,
        "stop_timeout": "2m", "restart": "on-failure", "autostart": true, "protect": true,
        "template": false, "arguments": [], "args": ["-device", "edu,x=1"],
    }))
    .unwrap();
    assert_eq!(vm.name.unwrap().as_str(), "web");
    assert_eq!(vm.labels["a b"], "");
    assert_eq!(vm.binary, Some(Program::Path("/opt/qemu,x".into())));
    assert_eq!(vm.cpu, Cpu::Topology { sockets: 2, cores: 4, threads: 1 });
    assert_eq!((vm.memory, vm.vga), (512 << 20, Some(Vga::Virtio)));
    assert_eq!(vm.direct_boot.unwrap().append.unwrap(), "console=ttyS0,115200 root=/dev/vda");
    assert_eq!(vm.args, ["-device", "edu,x=1"]);
    assert!(vm.autostart);
    assert_eq!(vm.restart, Restart::OnFailure);
    let folder = Path::new("/vm");
    let [root, second, linked, old, copy] = &vm.storage[..] else { panic!("five disks") };
    assert!(copy.is_made_when_absent() && copy.format == Format::Qcow2);
    assert!(!root.readonly && old.readonly && !old.is_made_when_absent());
    assert_eq!((root.interface, second.interface), (None, Some(Interface::Nvme)));
    let [share] = &vm.shares[..] else { panic!("one share") };
    assert_eq!((share.tag.as_str(), share.path.as_path()), ("src", Path::new("/src")));
    assert_eq!((share.security, share.readonly), (SecurityModel::MappedXattr, true));
    assert_eq!((root.path(folder), root.is_made_when_absent()), ("/a.img".into(), false));
    assert_eq!(second.path(folder), Path::new("/vm/disks/disk1.qcow2"));
    assert_eq!((second.size, second.discard), (Some(20 << 30), Some(Discard::Unmap)));
    assert_eq!(linked.backing.as_ref().unwrap().format, Format::Raw);
    assert!(linked.is_made_when_absent());
    let cards = vm.network.unwrap();
    assert_eq!(
        (cards[0].name.as_str(), cards[0].model, cards[0].mac),
        ("net0", Model::E1000, None)
    );
    assert_eq!(cards[1].link, Link::None);
    assert_eq!(cards[1].mac.unwrap().to_string(), "52:54:00:aa:00:01");
}

#[test]
fn every_refusal_names_the_key_and_the_reason() {
    for (definition, expected) in [
        (json!({"memroy": 1}), "memroy: there is no such key\nhint: did you mean memory?"),
        (json!({"q\n": 1}), "q\\n: there is no such key\nhint: see"),
        (
            json!({"storage": [{"size": "1G"}, {"siez": "1G"}]}),
            "storage[1].siez: there is no such key\nhint: did you mean storage[1].size?",
        ),
        (
            json!({"cpu": {"core": 2}}),
            "cpu.core: there is no such key\nhint: did you mean cpu.cores?",
        ),
        (json!({"name": "a/b"}), "name: \"a/b\" cannot be a VM's name"),
        (json!({"name": 3}), "name: expected a string, found the number 3"),
        (json!({"description": "a\u{0}b"}), "description: a zero byte"),
        (json!({"labels": {"a": 1}}), "labels.\"a\": expected a string, found the number 1"),
        (json!({"labels": []}), "labels: expected an object, found a list"),
        (json!({"binary": ""}), "binary: the name is empty"),
        (json!({"binary": "./q"}), "binary: \"./q\" is not an absolute path"),
        (json!({"machine": "q35,accel=kvm"}), "machine: \"q35,accel=kvm\" is not the name"),
        (json!({"machine": "-x"}), "machine: "),
        (
            json!({"accel": "KVM"}),
            "accel: expected one of auto, kvm, tcg, found \"KVM\"\nhint: did you mean \"kvm\"?",
        ),
        (json!({"accel": true}), "accel: expected one of auto, kvm, tcg, found true"),
        (json!({"cpu_model": "host,+vmx"}), "cpu_model: \"host,+vmx\" is not the name"),
        (json!({"cpu": 0}), "cpu: expected a whole number, 1 to 4096, found the number 0"),
        (json!({"cpu": "2"}), "cpu: expected a whole number, 1 to 4096, found \"2\""),
        (json!({"cpu": 1.5}), "cpu: expected a whole number"),
        (json!({"cpu": {"sockets": 64, "cores": 65}}), "cpu: 4160 CPUs are more"),
        (json!({"cpu": {"cores": 0}}), "cpu.cores: expected a whole number"),
        (json!({"memory": true}), "memory: expected a size such as"),
        (json!({"memory": -1}), "memory: \"-1\" is not a size"),
        (json!({"memory": 1e30}), "memory: "),
        (json!({"memory": 0}), "memory: \"0\" is not a size: it is nothing"),
        (json!({"initrd": "/i"}), "initrd: it needs a kernel"),
        (json!({"append": "x"}), "append: it needs a kernel"),
        (json!({"kernel": "-x"}), "kernel: \"-x\" is not an absolute path"),
        (json!({"kernel": ""}), "kernel: the path is empty"),
        (json!({"boot": "c"}), "boot: expected an object, found \"c\""),
        (json!({"boot": {"order": "c,menu=on"}}), "boot.order: expected letters a to p"),
        (json!({"boot": {"order": "cc"}}), "boot.order: expected letters a to p"),
        (json!({"network": [{"ports": "8080:80"}]}), "network[0].ports: expected a list"),
        (json!({"network": [{"ports": [8080]}]}), "network[0].ports[0]: expected a string"),
        (json!({"network": [{"ports": ["80"]}]}), "network[0].ports[0]: the port \"80\" is not"),
        (
            json!({"network": [{"ports": ["80:80", "0.0.0.0:80:81"]}]}),
            "network[0].ports: 0.0.0.0:80:81 and 80:80 are the same port",
        ),
        (
            json!({"network": [{"type": "none", "ports": ["80:80"]}]}),
            "network[0].ports: only a card of type user",
        ),
        (json!({"network": "none"}), "network: expected a list, found \"none\""),
        (
            json!({"network": [{"type": "usr"}]}),
            "network[0].type: expected one of user, tap, bridge, socket, none, found \"usr\"\nhint: did you mean \"user\"?",
        ),
        (json!({"network": [{"mac": "52:54:00:00:00"}]}), "network[0].mac: expected six pairs"),
        (
            json!({"network": [{"mac": "52:54:00:00:00:00:00"}]}),
            "network[0].mac: expected six pairs",
        ),
        (json!({"network": [{"mac": "52:54:00:00:00:+1"}]}), "network[0].mac: expected six pairs"),
        (
            json!({"network": [{"mac": "01:00:00:00:00:00"}]}),
            "network[0].mac: \"01:00:00:00:00:00\" is not the address",
        ),
        (json!({"network": [{"ifname": "tap0"}]}), "network[0].ifname: only a card of type tap"),
        (
            json!({"network": [{"type": "tap", "ifname": "a/b"}]}),
            "network[0].ifname: \"a/b\" is not an interface's name",
        ),
        (
            json!({"network": [{"type": "bridge", "bridge": "0123456789abcdef"}]}),
            "network[0].bridge: ",
        ),
        (
            json!({"network": [{"type": "tap", "ifname": "t", "options": {"ifname": "u"}}]}),
            "network[0].options: ifname says \"ifname\" already",
        ),
        (
            json!({"network": [{"type": "socket"}]}),
            "network[0].options: a card of type socket needs",
        ),
        (
            json!({"network": [{"options": {"id": "x"}}]}),
            "network[0].options.\"id\": that is told by the card",
        ),
        (
            json!({"network": [{"options": {"a,b": "x"}}]}),
            "network[0].options.\"a,b\": this is not the name",
        ),
        (
            json!({"network": [{"options": {"net": {}}}]}),
            "network[0].options.\"net\": expected a text",
        ),
        (json!({"network": [{"options": "x"}]}), "network[0].options: expected an object"),
        (
            json!({"network": [{"type": "none", "options": {}}]}),
            "network[0].options: a card of type",
        ),
        (json!({"arguments": [1]}), "arguments[0]: expected an option such as"),
        (json!({"arguments": ["-a b"]}), "arguments[0]: \"a b\" is not the name of an option"),
        (json!({"arguments": [{}]}), "arguments[0]: the object is empty"),
        (
            json!({"arguments": [{"foo": 1, "bar": 2}]}),
            "arguments[0]: none of its keys is known as an option of QEMU\nhint: write {\"OPTION\"",
        ),
        (
            json!({"arguments": [{"name": "a b=c"}]}),
            "arguments[0].\"name\": QEMU would take \"a b=c\" for something else",
        ),
        (
            json!({"arguments": [{"device": {"a": null, "b": null}}]}),
            "arguments[0].\"device\": only one of its values can be null",
        ),
        (
            json!({"arguments": [{"no-reboot": "x"}]}),
            "arguments[0]: QEMU's option \"no-reboot\" takes no value",
        ),
        (
            json!({"arguments": ["device", "no-shutdown"]}),
            "arguments[0]: QEMU's option \"device\" needs a value",
        ),
        (json!({"arguments": [{"smp": {}}]}), "arguments[0]: QEMU's option \"smp\" needs a value"),
        (json!({"arguments": [{"s": "x"}]}), "arguments[0]: QEMU's option \"s\" takes no value"),
        (
            json!({"arguments": [{"device": "{\"driver\":\"edu\"}"}]}),
            "arguments[0].\"device\": \"{\\\"driver\\\":\\\"edu\\\"}\" is JSON to QEMU",
        ),
        (
            json!({"arguments": [{"append": ["a", "b"]}]}),
            "arguments[0].\"append\": expected one text, which this option takes as it is",
        ),
        (
            json!({"arguments": [{"global": {"a.b": 1, "c.d": 2}}]}),
            "arguments[0]: QEMU's option \"global\" takes one property",
        ),
        (json!({"arguments": [{"rtc": ["a\u{0}"]}]}), "arguments[0].\"rtc\"[0]: a zero byte"),
        (
            json!({"arguments": [{"device": "x", "a,b": 1}]}),
            "arguments[0].\"a,b\": this is not the name of a property",
        ),
        (json!({"serial": "on"}), "serial: expected true or false, found \"on\""),
        (json!({"hotplug_slots": 17}), "hotplug_slots: expected a whole number, 0 to 16"),
        (json!({"stop_timeout": "1w"}), "stop_timeout: \"1w\" is not a time"),
        (json!({"stop_timeout": []}), "stop_timeout: expected a time such as"),
        (json!({"args": "-x"}), "args: expected a list, found \"-x\""),
        (json!({"args": ["-x", 1]}), "args[1]: expected a string, found the number 1"),
    ] {
        refuses(definition, expected);
    }
}

#[track_caller]
fn refuses(definition: Value, expected: &str) {
    let error = read(definition.clone()).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{definition}\n  {error}\n  {expected}");
    assert_eq!(error.kind, error::Kind::Usage);
}

/// A definition in which `key` of `table` has this value, and its path.
fn with(table: &str, key: &str, value: Value) -> (Value, String) {
    match table {
        "" => (json!({ key: value }), key.to_owned()),
        _ => (json!({ table: [{ key: value }] }), format!("{table}[0].{key}")),
    }
}

const TABLES: [(&str, &[Key]); 3] =
    [("", keys::DEFINITION), ("storage", keys::STORAGE), ("network", keys::NETWORK)];

#[test]
fn every_word_of_the_table_is_read() {
    for (table, keys) in TABLES {
        for key in keys {
            let Kind::Choice(choice) = key.kind else { continue };
            for word in choice.words {
                let (mut definition, path) = with(table, key.name, json!(word));
                match (table, *word) {
                    ("storage", "cdrom" | "vdi" | "vhdx" | "vpc" | "vmdk")
                        if key.name != "backing_format" =>
                    {
                        definition["storage"][0]["file"] = json!("/x");
                    }
                    ("storage", _) if *word == "virtfs" || key.name == "security_model" => {
                        definition["storage"][0]["path"] = json!("/x");
                        definition["storage"][0]["type"] = json!("virtfs");
                    }
                    ("storage", _) => definition["storage"][0]["size"] = json!("1G"),
                    _ => {}
                }
                // What else such a disk needs.
                match (key.name, *word) {
                    ("type", "socket") => {
                        definition["network"][0]["options"] = json!({"mcast": "230.0.0.1:1234"});
                    }
                    ("aio", "native") => definition["storage"][0]["cache"] = json!("none"),
                    ("backing_format", _) => definition["storage"][0]["backing_file"] = json!("/b"),
                    _ => {}
                }
                assert!(read(definition).is_ok(), "{path} {word}");
            }
        }
    }
}

#[test]
fn null_is_as_good_as_nothing() {
    let mut definition = Map::new();
    for key in keys::DEFINITION {
        definition.insert(key.name.to_owned(), Value::Null);
    }
    assert_eq!(Definition::read(&definition).unwrap(), read(json!({})).unwrap());
}

#[test]
fn reading_never_panics_whatever_stands_where() {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("é,\n\""),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"name": 1}),
        json!([{"": {}}]),
    ];
    for (table, keys) in TABLES {
        for key in keys {
            for value in &values {
                let _ = read(with(table, key.name, value.clone()).0);
            }
        }
    }
}
