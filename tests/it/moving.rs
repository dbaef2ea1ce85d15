//! Definitions that were written for the program that maqet succeeds, as JSON, on the real QEMU.

use serde_json::{Value, json};

use crate::harness::Host;

#[test]
fn a_definition_of_the_predecessor_starts_and_means_what_it_meant() {
    let host = Host::new();
    std::fs::create_dir(host.root().join("src")).unwrap();
    std::fs::write(host.root().join("install.img"), vec![0; 65_536]).unwrap();
    host.shell("qemu-img create -q -f qcow2 base.qcow2 2M").exits(0);
    let old = json!({
        "name": "old",
        "binary": "qemu-system-x86_64",
        "memory": 64,
        "cpu": "2",
        "display": "none",
        "vga": "std",
        "args": ["-no-reboot"],
        "arguments": [{ "accel": "tcg" }, { "machine": "q35" }, { "serial": "mon:stdio" },
            { "m": "96M" }],
        "storage": [
            { "name": "hdd", "type": "qcow2", "size": "1G", "interface": "sata" },
            { "name": "delta", "type": "qcow2", "file": "./a,b.qcow2",
              "backing_file": "./base.qcow2", "backing_format": "qcow2" },
            { "name": "cd", "type": "cdrom", "path": "./install.img" },
            { "name": "share", "type": "virtfs", "path": "./src",
              "options": { "mount_tag": "code", "id": "fs0", "readonly": true,
                           "security_model": "mapped-xattr" } },
        ],
    });
    std::fs::write(host.root().join("old.json"), old.to_string()).unwrap();
    host.shell("maqet add -f old.json").exits(0);
    let shown = host.maqet(["show", "old", "--json"]).json();
    for (key, value) in [
        ("memory", json!("96M")),
        ("cpu", json!(2)),
        ("accel", json!("tcg")),
        ("arguments", Value::Null),
    ] {
        assert_eq!(shown[key], value, "{shown}");
    }
    let again = host.shell("maqet apply -f old.json -o changed").exits(0);
    assert_eq!(again.stdout, "false\n", "applying it again changes nothing");
    host.maqet(["start", "old"]).exits(0);
    let block = host.maqet(["qmp", "old", "query-block"]).json();
    let of = |name: &str| {
        let id = format!("disk-{name}");
        let all = block.as_array().unwrap().iter();
        all.clone().find(|drive| drive["inserted"]["node-name"] == *id).cloned().unwrap()
    };
    assert!(of("hdd")["inserted"]["image"]["virtual-size"] == 1 << 30, "{block}");
    let delta = of("delta")["inserted"]["file"].to_string();
    assert!(delta.contains("a,b.qcow2"), "{block}");
    assert_eq!((&of("cd")["inserted"]["ro"], &of("cd")["removable"]), (&json!(true), &json!(true)));
    let line = host.maqet(["cmdline", "old"]).exits(0).stdout;
    assert!(line.contains("\"mount_tag\":\"code\""), "{line}");
    let memory = host.maqet(["qmp", "old", "query-memory-size-summary", "-o", "base-memory"]);
    assert_eq!(memory.stdout.trim(), (96 << 20).to_string());
    assert_eq!(host.maqet(["qmp", "old", "query-cpus-fast"]).json().as_array().unwrap().len(), 2);
}

/// A port of this host that nobody has.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn every_form_of_an_argument_reaches_qemu() {
    let host = Host::new();
    std::fs::write(host.root().join("a.img"), vec![0; 65_536]).unwrap();
    std::fs::create_dir(host.root().join("src")).unwrap();
    for (place, (arguments, keys, words)) in [
        // A text in QEMU's own syntax, whose paths begin where the file lies.
        (
            json!([{ "netdev": "user,id=n,hostfwd=tcp:127.0.0.1:0-:22" },
                { "device": "virtio-net-pci,netdev=n" },
                { "drive": "file=./a.img,if=none,id=d,format=raw" },
                { "device": "virtio-blk-pci,drive=d" },
                { "chardev": "socket,path=./c.sock,server,nowait,id=c" },
                { "device": "virtio-serial-pci,id=p" },
                { "device": "virtserialport,chardev=c,name=x,bus=p.0" }]),
            json!({}),
            vec!["user,id=n,hostfwd=tcp:127.0.0.1:0-:22", "virtio-blk-pci,drive=d",
                "file=ROOT/a.img,if=none,id=d,format=raw",
                "socket,path=ROOT/c.sock,server,nowait,id=c"],
        ),
        // A key alone, a key and a value, several keys, an object, a list.
        (
            json!(["no-shutdown", { "usb": null }, { "boot": { "menu": "on" } },
                { "rtc": ["base=utc", "clock=host"] }, { "device": "usb-tablet", "id": "t" },
                { "device": { "virtio-balloon-pci": null, "id": "b" } },
                { "object": { "memory-backend-ram": {}, "id": "m", "size": "1M" } },
                { "fw_cfg": "name=opt/x,string=y" }, { "k": "de" },
                { "global": "virtio-rng-pci.max-bytes=1024" }]),
            json!({}),
            vec!["-no-shutdown", "-usb", "menu=on", "base=utc,clock=host", "usb-tablet,id=t",
                "virtio-balloon-pci,id=b", "memory-backend-ram,id=m,size=1M",
                "name=opt/x,string=y", "virtio-rng-pci.max-bytes=1024"],
        ),
        // What QEMU reads by other rules is left as it is.
        (
            json!([{ "serial": "file:s,x.log" }, { "monitor": "unix:./m,server,nowait" },
                { "qmp": "unix:./q,server=on,wait=off" }, { "d": "guest_errors,unimp" },
                { "D": "d,x.log" }, { "cpu": "max,-svm,+pku" }, { "parallel": "null" },
                { "debugcon": ["unix:a,b.sock", "server=on", "wait=off"] }]),
            json!({}),
            vec!["file:s,x.log", "unix:ROOT/m,server,nowait", "guest_errors,unimp",
                "max,-svm,+pku", "unix:a,,b.sock,server=on,wait=off"],
        ),
        // Those that are keys now.
        (
            json!([{ "machine": "pc,vmport=off" }, { "smp": "cpus=2,cores=2" },
                { "m": "80M,slots=2,maxmem=1G" }, { "vga": "cirrus" }, { "display": "none" },
                { "virtfs": "local,path=./src,mount_tag=x,security_model=none,writeout=immediate" }]),
            json!({ "cpu": { "sockets": 1, "cores": 2, "threads": 1 }, "memory": "80M",
                "vga": "cirrus", "display": "none" }),
            vec!["vmport=off", "sockets=1,cores=2,threads=1", "80M", "maxmem=1G,slots=2",
                "local,path=ROOT/src,mount_tag=x,security_model=none,writeout=immediate"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("vm{place}");
        let old = json!({ "name": name, "memory": "64M", "display": "none",
            "args": ["-no-reboot"], "arguments": arguments });
        std::fs::write(host.root().join("old.json"), old.to_string()).unwrap();
        host.maqet(["add", "-f", "old.json", "--accel", "tcg"]).exits(0);
        host.maqet(["start", &name]).exits(0);
        let shown = host.maqet(["show", &name, "--json"]).json();
        for (key, value) in keys.as_object().unwrap() {
            assert_eq!(&shown[key], value, "{shown}");
        }
        let argv = host.maqet(["cmdline", &name, "--json"]).json();
        for word in words {
            let word = word.replace("ROOT", host.root().to_str().unwrap());
            assert!(argv.as_array().unwrap().contains(&json!(word)), "{word}: {argv}");
        }
        host.maqet(["stop", &name, "--force"]).exits(0);
    }
    // The file is the one that was named, comma and all.
    let folder = host.vm_folder("vm2");
    assert!(folder.join("s,x.log").exists() && folder.join("d,x.log").exists());
}

#[test]
fn the_screen_in_qemus_own_words_is_shown_where_it_was_or_not_to_everyone() {
    let host = Host::new();
    for (how, place) in [("vnc=:", 0), ("vnc=localhost:", 0), ("vnc=127.0.0.1:", 1)] {
        let port = free_port();
        let word = format!("{how}{}", port - 5900);
        let old = match place {
            0 => json!({ "display": word }),
            _ => json!({ "display": "none", "arguments": [{ "display": word }] }),
        };
        std::fs::write(host.root().join("old.json"), old.to_string()).unwrap();
        host.maqet(["add", "vm", "-f", "old.json", "--accel", "tcg", "--memory", "64M"]).exits(0);
        host.maqet(["start", "vm"]).exits(0);
        let told = host.maqet(["info", "vm", "-o", "display"]).stdout;
        assert_eq!(told.trim(), format!("vnc://127.0.0.1:{port}"));
        let vnc = host.maqet(["qmp", "vm", "query-vnc"]).json();
        assert_eq!(
            (&vnc["host"], &vnc["service"]),
            (&json!("127.0.0.1"), &json!(port.to_string()))
        );
        host.maqet(["stop", "vm", "--force"]).exits(0);
        host.maqet(["rm", "vm"]).exits(0);
    }
    for (word, shown) in [
        ("gtk", "'-display' 'gtk'"),
        ("gtk,zoom-to-fit=on,gl=off", "'-display' 'gtk,gl=off,zoom-to-fit=on'"),
        ("sdl,gl=on", "'-display' 'sdl,gl=on'"),
        ("none", "'-display' 'none'"),
    ] {
        let old = json!({ "display": word }).to_string();
        std::fs::write(host.root().join("old.json"), old).unwrap();
        let line = host.maqet(["cmdline", "-f", "old.json"]).exits(0).stdout;
        let plain = shown.replace('\'', "");
        assert!(line.contains(shown) || line.replace('\n', " ").contains(&plain), "{line}");
    }
}

#[test]
fn what_cannot_work_any_more_says_what_to_write() {
    let host = Host::new();
    std::fs::create_dir(host.root().join("src")).unwrap();
    for (old, hint) in [
        (json!({ "display": "curses" }), "\"args\": [\"-display\", \"curses\"]"),
        (json!({ "display": "vnc=:1,password=on" }), "{\"vnc\": {\"port\": 5901}}"),
        (json!({ "display": "vnc=0.0.0.0:1" }), "needs a password_file"),
        (json!({ "storage": [{ "type": "qcow2" }] }), "\"size\": \"10G\""),
        (json!({ "storage": [{ "type": "qcow2", "size": 10_737_418_240_u64 }] }), "20G"),
        (
            json!({ "storage": [{ "size": "1G", "interface": "ide" }] }),
            "it has virtio, scsi, sata; the machine pc has ide",
        ),
        (
            json!({ "storage": [{ "type": "virtfs", "path": "./src",
                "options": { "writeout": "immediate" } }] }),
            "an argument: {\"virtfs\":",
        ),
        (
            json!({ "storage": [{ "file": "./i/d.qcow2", "backing_file": "b.qcow2" }] }),
            "/b.qcow2\nhint: say \"backing_format\"",
        ),
        (json!({ "cpus": 2 }), "that is \"cpu\""),
        (json!({ "machine_type": "pc" }), "that is \"machine\""),
        (json!({ "vnc_port": 1 }), "{\"vnc\": {\"port\": …}}"),
        (json!({ "arguments": [{ "accel": "tcg,thread=single" }] }), "say \"accel\""),
        (json!({ "arguments": ["daemonize"] }), "runs in the background"),
        (json!({ "arguments": ["-device edu"] }), "words of argv go into \"args\""),
        (json!({ "arguments": [{ "name": "a,process=b" }] }), "write it with its key"),
    ] {
        std::fs::write(host.root().join("old.json"), old.to_string()).unwrap();
        let ran = host.maqet(["check", "-f", "old.json"]).exits(2);
        assert!(ran.stderr.contains(hint), "{old}: {}", ran.stderr);
    }
    // What only QEMU finds is told at the start.
    for (old, hint) in [
        (json!({ "arguments": [{ "monitor": "stdio" }] }), "give the other a socket"),
        (json!({ "storage": [{ "type": "virtfs", "path": "./gone" }] }), "it must be there"),
        (
            json!({ "storage": [{ "type": "qcow2", "file": "./new.qcow2" }] }),
            "give the disk a size",
        ),
    ] {
        std::fs::write(host.root().join("old.json"), old.to_string()).unwrap();
        host.maqet(["add", "vm", "-f", "old.json", "--accel", "tcg", "--memory", "64M"]).exits(0);
        let ran = host.maqet(["start", "vm"]).exits(1);
        assert!(ran.stderr.contains(hint), "{old}: {}", ran.stderr);
        host.maqet(["rm", "vm"]).exits(0);
    }
}
