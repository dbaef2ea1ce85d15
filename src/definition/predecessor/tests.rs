//! What the predecessor's words become.

use super::*;

#[test]
fn what_was_written_for_the_predecessor_is_said_with_todays_keys() {
    for (old, now) in [
        (json!({ "cpu": "4", "memory": "4G" }), json!({ "cpu": 4, "memory": "4G" })),
        (
            json!({ "arguments": [{ "m": "2G" }, { "smp": 2 }, { "enable-kvm": null }] }),
            json!({ "memory": "2G", "cpu": 2, "accel": "kvm" }),
        ),
        (
            json!({ "arguments": ["enable-kvm", { "smp": { "cores": 2 } }, { "cpu": "host" }] }),
            json!({ "accel": "kvm", "cpu": { "cores": 2 }, "cpu_model": "host" }),
        ),
        (json!({ "cpu": 1, "arguments": [{ "smp": "2" }] }), json!({ "cpu": 2 })),
        (
            json!({ "arguments": [{ "serial": "mon:stdio" }, { "kernel": "./k" }] }),
            json!({ "kernel": "./k" }),
        ),
        (
            json!({ "storage": [{ "type": "cdrom", "path": "x.img" }] }),
            json!({ "storage": [{ "media": "cdrom", "file": "x.img" }] }),
        ),
        (
            json!({ "storage": [{ "type": "VHD", "path": "x", "interface": "sata" }] }),
            json!({ "storage": [{ "type": "vpc", "file": "x", "interface": "sata" }] }),
        ),
        (
            json!({ "storage": [{ "type": "virtfs", "path": "./s", "options": {
                "mount_tag": "t", "id": "fs", "readonly": true,
                "security_model": "passthrough" } }] }),
            json!({ "storage": [{ "type": "virtfs", "path": "./s", "tag": "t",
                "readonly": true, "security_model": "passthrough" }] }),
        ),
    ] {
        let mut document = old.as_object().unwrap().clone();
        translate(&mut document, Path::new("/d")).unwrap();
        assert_eq!(Value::Object(document.clone()), now);
        translate(&mut document, Path::new("/d")).unwrap();
        assert_eq!(Value::Object(document), now, "once is enough");
    }
}

#[test]
fn an_argument_means_the_same_in_whichever_form_it_was_written() {
    for (argument, now) in [
        (
            json!({ "m": "2G,slots=2,maxmem=4G" }),
            json!({ "memory": "2G",
            "arguments": [{ "m": { "slots": "2", "maxmem": "4G" } }] }),
        ),
        (json!({ "m": { "size": 512 } }), json!({ "memory": "512" })),
        (
            json!({ "smp": "4,cores=2" }),
            json!({ "cpu": { "sockets": 2, "cores": 2, "threads": 1 } }),
        ),
        (
            json!({ "smp": 4, "sockets": 2, "maxcpus": "4" }),
            json!({ "cpu": { "sockets": 2, "cores": 2, "threads": 1 } }),
        ),
        (
            json!({ "smp": ["cores=2", { "threads": 2 }] }),
            json!({ "cpu": { "cores": 2, "threads": 2 } }),
        ),
        (
            json!({ "machine": "q35,accel=kvm:tcg,vmport=off" }),
            json!({ "machine": "q35", "accel": "auto",
                "arguments": [{ "machine": { "vmport": "off" } }] }),
        ),
        (json!({ "machine": "pc", "accel": "kvm" }), json!({ "machine": "pc", "accel": "kvm" })),
        (
            json!({ "machine": { "q35": {}, "usb": true } }),
            json!({ "machine": "q35", "arguments": [{ "machine": { "usb": "on" } }] }),
        ),
        (json!({ "accel": { "tcg": null } }), json!({ "accel": "tcg" })),
        (json!({ "cpu": { "max": null } }), json!({ "cpu_model": "max" })),
        (
            json!({ "display": "gtk", "zoom-to-fit": true }),
            json!({ "display": { "gtk": { "zoom-to-fit": "on" } } }),
        ),
        (
            json!({ "display": { "sdl": null, "gl": "on" } }),
            json!({ "display": { "sdl": { "gl": "on" } } }),
        ),
        (json!({ "display": { "gtk": null } }), json!({ "display": "gtk" })),
        (
            json!({ "display": "vnc=127.0.0.1:1" }),
            json!({ "display": { "vnc": { "address": "127.0.0.1", "port": 5901 } } }),
        ),
        (
            json!({ "netdev": "user,id=n,hostfwd=tcp::2222-:22" }),
            json!({ "arguments":
            [{ "netdev": ["user", "id=n", "hostfwd=tcp::2222-:22"] }] }),
        ),
        (
            json!({ "drive": "file=./a,,b.img,if=none,id=d" }),
            json!({ "arguments":
            [{ "drive": ["file=/d/a,b.img", "if=none", "id=d"] }] }),
        ),
        (
            json!({ "chardev": "socket,path=s.sock,server,nowait,id=c" }),
            json!({ "arguments":
            [{ "chardev": ["socket", "path=/d/s.sock", "server", "nowait", "id=c"] }] }),
        ),
        (
            json!({ "monitor": "unix:./m,server,nowait" }),
            json!({ "arguments":
            [{ "monitor": ["unix:/d/m", "server", "nowait"] }] }),
        ),
        (
            json!({ "fw_cfg": "name=opt/a,file=./x,y" }),
            json!({ "arguments":
            [{ "fw_cfg": "name=opt/a,file=./x,y" }] }),
        ),
        (json!({ "pflash": "code.fd" }), json!({ "arguments": [{ "pflash": "/d/code.fd" }] })),
        (json!({ "bios": "bios.bin" }), json!({ "arguments": [{ "bios": "bios.bin" }] })),
        (json!({ "bios": "./bios.bin" }), json!({ "arguments": [{ "bios": "/d/bios.bin" }] })),
        (
            json!({ "chardev": "pty", "id": "c", "mux": null }),
            json!({ "arguments":
            [{ "chardev": "pty", "id": "c", "mux": true }] }),
        ),
    ] {
        let mut document = Map::from_iter([("arguments".to_owned(), json!([argument]))]);
        translate(&mut document, Path::new("/d")).unwrap();
        assert_eq!(Value::Object(document.clone()), now);
        translate(&mut document, Path::new("/elsewhere")).unwrap();
        assert_eq!(Value::Object(document), now, "once is enough");
    }
}

#[test]
fn the_screen_may_be_named_as_qemu_does() {
    for (old, now) in [
        ("gtk,zoom-to-fit=on,gl=off", json!({ "gtk": { "zoom-to-fit": "on", "gl": "off" } })),
        ("vnc=:1", json!({ "vnc": { "port": 5901 } })),
        ("vnc=[::1]:2", json!({ "vnc": { "address": "::1", "port": 5902 } })),
        ("vnc=localhost:0", json!({ "vnc": { "port": 5900 } })),
        ("gtk", json!("gtk")),
        ("egl-headless", json!("egl-headless")),
        ("vnc=:1,password=on", json!("vnc=:1,password=on")),
        ("vnc=unix:/tmp/s", json!("vnc=unix:/tmp/s")),
        ("vnc=:70000", json!("vnc=:70000")),
    ] {
        let mut document = Map::from_iter([("display".to_owned(), old.into())]);
        translate(&mut document, Path::new("/d")).unwrap();
        assert_eq!(document["display"], now);
    }
}

#[test]
fn what_says_more_than_a_key_or_is_todays_stays() {
    for same in [
        json!({ "arguments": [{ "cpu": "host,-svm" }, { "smp": { "maxcpus": 4 } }, "no-reboot"] }),
        json!({ "arguments": [{ "device": "virtio-net-pci", "netdev": "n0" }] }),
        json!({ "arguments": [] }),
        json!({ "arguments": "x" }),
        json!({ "arguments": [{ "name": "a,process=b" }, { "device": "edu,x" }] }),
        json!({ "arguments": [{ "drive": "file=/a,b=c.img" }, { "device": { "edu": {} } }] }),
        json!({ "arguments": [{ "smp": { "cpus": 5, "cores": 2 } }, { "accel": "tcg,x=y" }] }),
        json!({ "machine": "q35", "arguments": [{ "machine": "pc" }] }),
        json!({ "storage": [{ "name": "data", "size": "1G" }], "cpu": "many" }),
        json!({ "storage": [{ "type": "virtfs", "path": "/", "options": { "x": 1 } }] }),
    ] {
        let mut document = same.as_object().unwrap().clone();
        translate(&mut document, Path::new("/d")).unwrap();
        assert_eq!(Value::Object(document), same);
    }
}
