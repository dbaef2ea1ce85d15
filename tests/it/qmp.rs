//! `qmp` on a real QEMU: words typed by its schema, many commands over one connection, and the
//! commands that the runner refuses.

use serde_json::{Value, json};

use crate::client::{Client, folder};
use crate::harness::{Host, run};

fn running() -> Host {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    host
}

#[test]
fn words_are_typed_by_the_schema_of_the_qemu_that_runs() {
    let host = running();
    let qmp = |words: &[&str]| host.maqet([&["qmp", "web"], words].concat());
    // A number and a Boolean that QEMU would refuse as texts.
    qmp(&["migrate-set-parameters", "multifd-channels=3", "compress-wait-thread=off"]).exits(0);
    let set = qmp(&["query-migrate-parameters"]).exits(0).json();
    assert_eq!(
        (&set["multifd-channels"], &set["compress-wait-thread"]),
        (&json!(3), &json!(false))
    );
    // A list of objects by dotted keys, an enumeration in it.
    let capability = ["capabilities.0.capability=events", "capabilities.0.state=true"];
    qmp(&[&["migrate-set-capabilities"][..], &capability].concat()).exits(0);
    let all = qmp(&["query-migrate-capabilities"]).exits(0).json();
    let events = all.as_array().unwrap().iter().find(|one| one["capability"] == "events");
    assert_eq!(events.unwrap()["state"], true);
    // A union, whose keys its driver tells.
    let size = format!("node-name=n,driver=null-co,size={}", 1 << 20);
    let words: Vec<&str> = size.split(',').collect();
    qmp(&[&["blockdev-add", "--unsafe"], &words[..]].concat()).exits(0);
    let nodes = qmp(&["query-named-block-nodes", "flat=on"]).exits(0).json();
    assert_eq!(nodes[0]["image"]["virtual-size"], 1 << 20);

    for (words, hint) in [
        (&["query-statuss"][..], "did you mean \"query-status\"?"),
        (&["set-lnk", "name=x"], "did you mean \"set_link\"?"),
        (&["block_resize", "szie=1"], "did you mean \"size\"?"),
        (&["block_resize", "size=big"], "give a whole number"),
        (
            &["migrate-set-capabilities", "capabilities.0.capability=evnts"],
            "did you mean \"events\"?",
        ),
        (&["blockdev-add", "--unsafe", "driver=null-co", "siez=1"], "did you mean \"size\"?"),
    ] {
        let ran = qmp(words);
        let code = if words == ["query-statuss"] { 1 } else { 2 };
        assert!(ran.code == code && ran.stderr.contains(hint), "{words:?}: {ran:?}");
    }
}

#[test]
fn the_schema_is_kept_and_nobody_needs_that() {
    use std::os::unix::fs::PermissionsExt;
    let host = running();
    let cache = host.data().join("cache");
    let ask = || host.maqet(["qmp", "web", "qom-list", "path=/machine"]).exits(0);
    host.maqet(["qmp", "web", "query-status"]).exits(0);
    assert!(!cache.exists(), "a command without arguments needs none");
    ask();
    let file = || std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&cache), mode(&file())), (0o700, 0o600));
    // It is what the next one reads; nonsense in it is asked for anew.
    for text in ["nonsense", "", "[]"] {
        std::fs::write(file(), text).unwrap();
        if text != "[]" {
            ask();
            assert!(std::fs::metadata(file()).unwrap().len() > 100_000);
        } else {
            let ran = host.maqet(["qmp", "web", "qom-list", "path=/machine"]).exits(2);
            assert!(ran.stderr.contains("no command"), "{ran:?}");
        }
    }
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, "no folder").unwrap();
    ask();
}

#[test]
fn many_commands_go_over_one_connection() {
    let host = running();
    let file = host.root().join("commands");
    let lines = r#"{"execute":"query-status","id":{"any":1}}
{"execute":"nonsense","id":2}

{"execute":"query-version"}
{"execute":"pmemsave","arguments":{"val":0,"size":1,"filename":"/nowhere"},"id":3}
no json
"#;
    std::fs::write(&file, lines).unwrap();
    let batch = |words: &[&str]| {
        let mut command = host.command(Host::binary());
        command.args(["qmp", "web", "-"]).args(words);
        run(command.stdin(std::fs::File::open(&file).unwrap()))
    };
    let ran = batch(&[]).exits(1);
    let all: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |id: Value| all.iter().find(|one| one["id"] == id).unwrap();
    assert_eq!(of(json!({"any": 1}))["return"]["status"], "running");
    assert_eq!(of(json!(2))["error"]["class"], "CommandNotFound");
    assert_eq!(of(json!(3))["error"]["kind"], "permission");
    assert!(all.iter().any(|one| one["return"]["qemu"]["major"].is_u64()), "{all:?}");
    assert!(all.len() == 5 && all.iter().any(|one| one["error"]["kind"] == "usage"), "{all:?}");
    std::fs::write(&file, "{\"execute\":\"query-status\"}").unwrap();
    assert_eq!(batch(&[]).exits(0).json()["return"]["running"], true);
    std::fs::write(&file, "").unwrap();
    batch(&[]).exits(0);
    let many = (0..3000).map(|number| format!("{{\"execute\":\"query-name\",\"id\":{number}}}\n"));
    std::fs::write(&file, many.collect::<String>()).unwrap();
    let ran = batch(&[]).exits(0);
    let ids =
        ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone());
    assert!(ids.eq((0..3000).map(Value::from)), "QEMU answers in order");
    host.maqet(["stop", "web", "--force"]).exits(0);
    std::fs::write(&file, "{\"execute\":\"query-status\",\"id\":1}").unwrap();
    let ran = batch(&[]).exits(1);
    assert_eq!(ran.json()["error"]["kind"], "not-running");
}

#[test]
fn what_reaches_the_host_is_refused_by_the_runner_unless_it_is_meant() {
    let host = running();
    let target = host.root().join("written");
    let name = format!("filename={}", target.display());
    let words = ["qmp", "web", "pmemsave", "val=0", "size=16", &name];
    let ran = host.maqet(words).exits(6);
    assert!(ran.stderr.contains("it writes over any file") && ran.stderr.contains("--unsafe"));
    assert!(!target.exists());
    host.maqet([&words[..], &["--unsafe"]].concat()).exits(0);
    assert!(target.exists());

    let mut client = Client::version_1(&folder(&host));
    let monitor = r#""kwargs":{"command-line":"info version"}"#;
    let refused =
        client.ask(&format!(r#"{{"method":"qmp","args":["human-monitor-command"],{monitor}}}"#));
    assert_eq!(refused["kind"], "permission", "{refused}");
    for (options, kind) in [
        ("{}", json!("permission")),
        ("{\"unsafe\":false}", json!("permission")),
        ("{\"unsafe\":true}", json!(null)),
        ("{\"usnafe\":true}", json!("usage")),
    ] {
        let answer = client.ask(&format!(
            r#"{{"method":"qmp","args":["human-monitor-command",{options}],{monitor}}}"#
        ));
        assert_eq!(answer["kind"], kind, "{options}: {answer}");
    }
}

/// Commands whose arguments look like paths and name what QEMU has already: paths of QOM's, nodes,
/// bitmaps, descriptors that it was handed, and who may look on.
const HARMLESS: &[&str] = &[
    "qom-list",
    "qom-get",
    "x-query-virtio-status",
    "x-query-virtio-queue-status",
    "x-query-virtio-vhost-queue-status",
    "x-query-virtio-queue-element",
    "block-dirty-bitmap-merge",
    "blockdev-backup",
    "blockdev-mirror",
    // Refused with the argument by which they reach the host.
    "block-commit",
    "block-stream",
    "migrate-set-parameters",
    // Refused where one of its actions is.
    "transaction",
    "closefd",
    "remove-fd",
    "client_migrate_info",
    "set-vcpu-dirty-limit",
    "set-numa-node",
    "set_password",
    "expire_password",
    "query-stats",
];

#[test]
fn every_command_with_what_looks_like_a_path_is_refused_or_was_looked_at() {
    const LOOKS: &[&str] = &[
        "file",
        "path",
        "dir",
        "uri",
        "url",
        "fd",
        "mount",
        "target",
        "helper",
        "script",
        "exec",
        "command",
        "addr",
        "host",
        "protocol",
        "device-tree",
        "socket",
        "program",
    ];
    let host = running();
    let schema = host.maqet(["qmp", "web", "query-qmp-schema"]).exits(0).json();
    let schema = schema.as_array().unwrap();
    let entry = |name: &str| schema.iter().find(|entry| entry["name"] == name).unwrap();
    // All keys of a type, those of its members' types too.
    fn keys<'a>(
        entry: &dyn Fn(&str) -> &'a Value,
        name: &str,
        seen: &mut Vec<String>,
        found: &mut Vec<String>,
    ) {
        if seen.iter().any(|one| one == name) {
            return;
        }
        seen.push(name.to_owned());
        let one = entry(name);
        let below = ["members", "variants"].into_iter().filter_map(|key| one[key].as_array());
        for member in below.flatten() {
            // An enumeration has members of another kind.
            if let Some(kind) = member["type"].as_str() {
                found.extend(member["name"].as_str().map(str::to_owned));
                keys(entry, kind, seen, found);
            }
        }
        if let Some(element) = one["element-type"].as_str() {
            keys(entry, element, seen, found);
        }
    }
    let mut client = Client::version_1(&folder(&host));
    let (mut refused, mut open) = (0, Vec::new());
    for command in schema.iter().filter(|entry| entry["meta-type"] == "command") {
        let name = command["name"].as_str().unwrap();
        let mut found = Vec::new();
        keys(&entry, command["arg-type"].as_str().unwrap(), &mut Vec::new(), &mut found);
        let looks =
            |key: &String| key != "description" && LOOKS.iter().any(|word| key.contains(word));
        // With a key that no command has nothing is done.
        let request = json!({"method": "qmp", "args": [name], "kwargs": {"maqet-test": 1}});
        let answer = client.ask(&request.to_string());
        let is_refused = answer["kind"] == "permission";
        refused += usize::from(is_refused);
        if found.iter().any(looks) && !is_refused {
            let which: Vec<_> = found.iter().filter(|key| looks(key)).collect();
            if !HARMLESS.contains(&name) {
                open.push(format!("{name} has {which:?}"));
            }
        }
        assert!(!(is_refused && HARMLESS.contains(&name)), "{name}");
    }
    assert!(open.is_empty(), "{open:#?}");
    assert!(refused > 25, "{refused}");
    assert_eq!(host.state("web"), "running");
}
