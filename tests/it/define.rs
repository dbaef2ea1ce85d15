//! Definitions as they are changed: what `apply` merges, what it leaves, and what it never does by
//! halves; labels, ports and CD-ROMs up to the real QEMU.

use serde_json::{Value, json};

use crate::harness::Host;

fn shown(host: &Host, name: &str) -> Value {
    host.maqet(["show", name, "--json"]).exits(0).json()
}

#[test]
fn showing_everything_and_applying_it_changes_nothing() {
    let host = Host::new();
    std::fs::write(host.root().join("x.iso"), vec![0; 65_536]).unwrap();
    host.add_bare("plain");
    host.shell(
        "maqet add full --accel tcg --cpu 2 --memory 64M --disk 1M --disk ./new.raw,size=1M,type=raw \
         --disk ./later.img,size=1M --cdrom ./x.iso --port 8080:80 --port auto:22/udp --label a.b=c \
         --set boot.menu=true --description 'ä \"quoted\", text' --arg -no-reboot --protect",
    )
    .exits(0);
    // Images that are there now must not look like a change.
    std::fs::write(host.root().join("later.img"), vec![0; 1 << 20]).unwrap();
    let before = host.maqet(["show", "--all"]).exits(0).stdout;
    let applied = host.shell("maqet show --all | maqet apply -f - -o name,changed").exits(0);
    assert_eq!(applied.stdout, "full\tfalse\nplain\tfalse\n");
    assert_eq!(host.maqet(["show", "--all"]).stdout, before);
    let replaced = host.shell("maqet show --all | maqet apply -f - --replace -o changed").exits(0);
    assert_eq!(replaced.stdout, "false\nfalse\n");
}

#[test]
fn applying_a_file_twice_changes_nothing_the_second_time() {
    let host = Host::new();
    host.shell("maqet add web --accel tcg --memory 1G --disk 1G --arg -a --label env=test")
        .exits(0);
    for (place, file) in [
        r#"{"cpu": 2}"#,
        r#"{"cpu": null, "memory": "2G"}"#,
        r#"{"cpu": {"cores": 2, "threads": 2}}"#,
        r#"{"labels": {"env": null, "tier": "1"}}"#,
        r#"{"storage": [{"size": "2G"}, {"size": "3G", "name": "data"}]}"#,
        r#"{"storage": [{"name": "data", "cache": "none"}]}"#,
        r#"{"storage": []}"#,
        r#"{"args": ["-b", "-c"]}"#,
        r#"{"network": [{"ports": ["1:1", "auto:2"]}]}"#,
        r#"{"protect": true, "description": "x"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let path = host.root().join(format!("{place}.json"));
        std::fs::write(&path, file).unwrap();
        let path = path.to_str().unwrap();
        let first = host.maqet(["apply", "web", "-f", path, "-o", "changed"]).exits(0);
        assert_eq!(first.stdout, "true\n", "{file}");
        let stored = shown(&host, "web");
        let again = host.maqet(["apply", "web", "-f", path, "-o", "changed"]).exits(0);
        assert_eq!((again.stdout.as_str(), shown(&host, "web")), ("false\n", stored), "{file}");
    }
    assert_eq!(
        shown(&host, "web"),
        json!({
            "name": "web", "accel": "tcg", "memory": "2G", "cpu": {"cores": 2, "threads": 2},
            "labels": {"tier": "1"}, "storage": [], "args": ["-b", "-c"], "protect": true,
            "description": "x", "network": [{"name": "net0", "ports": ["1:1", "auto:2"]}],
        })
    );
}

#[test]
fn several_sources_merge_from_left_to_right_and_flags_come_last() {
    let host = Host::new();
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(host.root().join("sub")).unwrap();
        std::fs::write(host.root().join(name), text).unwrap();
    };
    write("a.json", r#"{"cpu": 1, "memory": "1G", "kernel": "./k", "args": ["-a"]} // the first"#);
    write(
        "sub/b.json",
        r#"{"cpu": 4, "initrd": "i", "args": ["-b"], "storage": [{"size": "1G"}]}"#,
    );
    host.shell("maqet add --cpu 8 -f a.json -f sub/b.json web --disk 2G --arg -c --set append=x=1")
        .exits(0);
    let root = host.root().to_str().unwrap();
    assert_eq!(
        shown(&host, "web"),
        json!({
            "name": "web", "cpu": 8, "memory": "1G", "kernel": format!("{root}/k"),
            "initrd": format!("{root}/sub/i"), "append": "x=1", "args": ["-a", "-b", "-c"],
            "storage": [{"name": "disk0", "size": "1G"}, {"name": "disk1", "size": "2G"}],
        })
    );
    // An unnamed disk of a flag meets the one that has its place, also in what is stored.
    host.maqet(["apply", "web", "--disk", "3G"]).exits(0);
    assert_eq!(shown(&host, "web")["storage"][0], json!({"name": "disk0", "size": "3G"}));
    host.maqet(["apply", "web", "--replace", "--memory", "2G"]).exits(0);
    assert_eq!(shown(&host, "web"), json!({"name": "web", "memory": "2G"}));
}

#[test]
fn a_file_of_many_is_applied_whole_or_not_at_all() {
    let host = Host::new();
    host.add_bare("old");
    let before = shown(&host, "old");
    let good = r#"[{"name":"old","memory":"32M"},{"name":"new","machine":"none"}]"#;
    for wrong in [
        r#"[{"name":"old","memory":"32M"},{"name":"new","cpu":0}]"#,
        r#"[{"name":"old","memory":"32M"},{"memory":"1G"}]"#,
        r#"[{"name":"old","memory":"32M"},{"name":"-x"}]"#,
        r#"{"name":"old","memory":"32M"} {"name":"new","storage":[{"file":"/nowhere"}]}"#,
    ] {
        std::fs::write(host.root().join("fleet.json"), wrong).unwrap();
        let ran = host.shell("maqet apply -f fleet.json").exits(2);
        assert!(ran.stderr.lines().count() <= 2 && ran.stdout.is_empty(), "{}", ran.stderr);
        assert_eq!(shown(&host, "old"), before);
        host.maqet(["show", "new"]).exits(4);
    }
    std::fs::write(host.root().join("fleet.json"), good).unwrap();
    let would = host.shell("maqet apply -f fleet.json -n -o name,changed").exits(0);
    assert_eq!(would.stdout, "old\ttrue\nnew\ttrue\n");
    assert_eq!(shown(&host, "old"), before, "a dry run stores nothing");
    host.shell("maqet apply -f fleet.json --label env=test").exits(0);
    assert_eq!(shown(&host, "old")["memory"], "32M");
    assert_eq!(host.maqet(["ls", "-q", "-l", "env=test"]).stdout, "new\nold\n");
    host.maqet(["start", "new"]).exits(0);
    let ran = host.maqet(["apply", "new", "--set", "memory=16M"]).exits(0);
    assert!(ran.stderr.contains("from its next start on"), "{}", ran.stderr);
    host.maqet(["apply", "old", "-f", "/nowhere"]).exits(1);
    host.maqet(["apply", "old"]).exits(2);
    host.maqet(["apply", "--memory", "1G"]).exits(2);
    host.shell("maqet apply old -f fleet.json").exits(2);
}

#[test]
fn labels_select_vms_and_several_must_all_be_there() {
    let host = Host::new();
    for (name, labels) in [("a", "env=test"), ("b", "env=prod"), ("c", "env=test")] {
        host.add_bare(name);
        host.maqet(["apply", name, "--label", labels]).exits(0);
    }
    host.maqet(["apply", "c", "--set", "labels.tier=1"]).exits(0);
    assert_eq!(host.maqet(["ls", "-q", "-l", "env=test"]).exits(0).stdout, "a\nc\n");
    assert_eq!(host.maqet(["ls", "-q", "-l", "env=test", "-l", "tier=1"]).stdout, "c\n");
    assert_eq!(host.maqet(["ls", "-q", "-l", "env=none"]).exits(0).stdout, "");
    host.maqet(["start", "-l", "env=test"]).exits(0);
    assert_eq!(host.maqet(["ls", "-q", "--state", "running"]).stdout, "a\nc\n");
    host.maqet(["stop", "-l", "tier=1", "--force"]).exits(0);
    assert_eq!(host.maqet(["ls", "-q", "--state", "running"]).stdout, "a\n");
    host.maqet(["ls", "-l", "env"]).exits(2);
}

#[test]
fn protection_is_put_on_and_taken_off() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["apply", "web", "--protect"]).exits(0);
    let ran = host.maqet(["rm", "web"]).exits(7);
    assert!(ran.stderr.contains("hint: \"maqet apply web --protect=false\""), "{}", ran.stderr);
    host.maqet(["apply", "web", "--protect=false"]).exits(0);
    host.maqet(["rm", "web", "-n"]).exits(0);
    host.maqet(["rm", "web"]).exits(0);
}

#[test]
fn a_port_leads_from_this_host_into_the_guest_and_info_tells_its_number() {
    let host = Host::new();
    let words = ["add", "web", "--accel", "tcg", "--memory", "64M", "--port", "auto:22"];
    host.maqet(words).exits(0);
    let port = |host: &Host| host.maqet(["info", "web", "-o", "network.0.ports.0.host"]).stdout;
    assert_eq!(port(&host), "-\n");
    host.maqet(["start", "web"]).exits(0);
    let number: u16 = port(&host).trim().parse().unwrap();
    let info = host.maqet(["info", "web", "--json"]).exits(0).json();
    assert_eq!(info["network"][0]["ports"][0]["address"], "127.0.0.1");
    assert_eq!((&info["state"], &info["cpus"]), (&json!("running"), &json!(1)));
    std::net::TcpStream::connect(("127.0.0.1", number)).unwrap();
    // Only there: the address of no other interface leads in.
    let listening = std::fs::read_to_string("/proc/net/tcp").unwrap();
    assert!(listening.contains(&format!("0100007F:{number:04X} 00000000:0000 0A")));
    assert!(!listening.contains(&format!("00000000:{number:04X} 00000000:0000 0A")));
    // A taken port is QEMU's to refuse, and the hint's to explain.
    let taken = format!("{number}:80");
    host.maqet(["add", "db", "--accel", "tcg", "--memory", "64M", "--port", &taken]).exits(0);
    let ran = host.maqet(["start", "db"]).exits(1);
    assert!(ran.stderr.contains("hint: that port of the host is taken"), "{}", ran.stderr);
}

#[test]
fn a_cdrom_is_in_the_drive_of_each_machine() {
    let host = Host::new();
    std::fs::write(host.root().join("x.iso"), vec![0; 65_536]).unwrap();
    let kernel = &crate::harness::guest().kernel;
    for machine in ["q35", "pc", "microvm"] {
        let add = format!(
            "maqet add {machine} --machine {machine} --accel tcg --memory 64M --cdrom x.iso --kernel {}",
            kernel.display()
        );
        host.shell(&add).exits(0);
        host.maqet(["start", machine]).exits(0);
        let block = host.maqet(["qmp", machine, "query-block"]).json();
        let drive = &block[0];
        assert_eq!(drive["removable"], true, "{machine}: {block}");
        assert_eq!(drive["inserted"]["ro"], true, "{machine}: {block}");
    }
}
