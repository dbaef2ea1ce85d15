//! How definitions for the program that maqet succeeds said what maqet's keys say now: all of it, in
//! one place.
//!
//! A document is translated before anything else is made of it. What has a meaning of its own in
//! maqet keeps that one; what is not known here is left for `read` to judge.

use serde_json::{Map, Value};

/// Options among `arguments` that a key says now, for they would contradict what the key's default
/// gives to QEMU.
const ARGUMENTS: [(&str, &str); 9] = [
    ("m", "memory"),
    ("smp", "cpu"),
    ("cpu", "cpu_model"),
    ("accel", "accel"),
    ("machine", "machine"),
    ("kernel", "kernel"),
    ("initrd", "initrd"),
    ("append", "append"),
    ("vga", "vga"),
];

/// The keys of a shared folder that stood below `options`.
const OPTIONS: [(&str, &str); 3] =
    [("mount_tag", "tag"), ("readonly", "readonly"), ("security_model", "security_model")];

/// Translates one document.
pub(crate) fn translate(document: &mut Map<String, Value>) {
    arguments(document);
    if let Some(count) = document.get("cpu").and_then(Value::as_str).and_then(whole) {
        document.insert("cpu".to_owned(), count.into());
    }
    if let Some(Value::Array(storage)) = document.get_mut("storage") {
        storage.iter_mut().filter_map(Value::as_object_mut).for_each(item);
    }
}

/// Takes those out that are keys now, unless the key is given, too.
fn arguments(document: &mut Map<String, Value>) {
    let Some(Value::Array(all)) = document.get_mut("arguments") else { return };
    // An empty list takes back what is stored, and stays.
    if all.is_empty() {
        return;
    }
    let all = std::mem::take(all);
    document.remove("arguments");
    let mut left = Vec::new();
    for argument in all {
        match as_key(&argument) {
            Some((key, value)) if !document.contains_key(key) => {
                document.insert(key.to_owned(), value);
            }
            // Given twice, the argument was what QEMU heard last.
            Some((key @ ("memory" | "cpu"), value)) => {
                document.insert(key.to_owned(), value);
            }
            // The console is on standard input and output already.
            _ if is_console(&argument) => {}
            _ => left.push(argument),
        }
    }
    if !left.is_empty() {
        document.insert("arguments".to_owned(), Value::Array(left));
    }
}

fn as_key(argument: &Value) -> Option<(&'static str, Value)> {
    if is_switch(argument, "enable-kvm") {
        return Some(("accel", "kvm".into()));
    }
    let (name, value) = single(argument)?;
    let (_, key) = ARGUMENTS.iter().find(|(old, _)| *old == name)?;
    let value = match (*key, value) {
        ("cpu", Value::Object(parts)) => {
            let known = |name: &String| matches!(name.as_str(), "sockets" | "cores" | "threads");
            parts.keys().all(known).then(|| value.clone())?
        }
        ("cpu" | "memory", Value::Number(_)) => value.clone(),
        ("cpu", Value::String(text)) => whole(text)?.into(),
        ("append", Value::String(_)) => value.clone(),
        // With further properties behind a comma it is more than the key can say.
        (_, Value::String(text)) if !text.contains([',', '=']) => value.clone(),
        _ => return None,
    };
    Some((key, value))
}

fn is_console(argument: &Value) -> bool {
    single(argument).is_some_and(|(name, value)| {
        name == "serial" && matches!(value.as_str(), Some("stdio" | "mon:stdio"))
    })
}

/// An option without a value: a word, or an object whose value is `null`.
fn is_switch(argument: &Value, name: &str) -> bool {
    match argument {
        Value::String(word) => word.trim_start_matches('-') == name,
        other => single(other).is_some_and(|(found, value)| found == name && value.is_null()),
    }
}

fn single(argument: &Value) -> Option<(&str, &Value)> {
    let map = argument.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(name, value)| (name.as_str(), value))
}

fn whole(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// One item of `storage`.
fn item(item: &mut Map<String, Value>) {
    let kind = item.get("type").and_then(Value::as_str).map(str::to_ascii_lowercase);
    match kind.as_deref() {
        Some("virtfs") => {
            item.insert("type".to_owned(), "virtfs".into());
            share(item);
        }
        Some("cdrom") => {
            item.remove("type");
            item.entry("media").or_insert_with(|| "cdrom".into());
            rename(item, "path", "file");
        }
        Some(kind) => {
            let now = if kind == "vhd" { "vpc" } else { kind };
            item.insert("type".to_owned(), now.into());
            rename(item, "path", "file");
        }
        None => {}
    }
}

fn share(item: &mut Map<String, Value>) {
    let Some(Value::Object(mut options)) = item.remove("options") else { return };
    // The name of QEMU's own object, which nobody but QEMU sees.
    options.remove("id");
    for (old, now) in OPTIONS {
        if let Some(value) = options.remove(old) {
            item.entry(now).or_insert(value);
        }
    }
    if !options.is_empty() {
        item.insert("options".to_owned(), Value::Object(options));
    }
}

fn rename(item: &mut Map<String, Value>, old: &str, now: &str) {
    if !item.contains_key(now)
        && let Some(value) = item.remove(old)
    {
        item.insert(now.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
            translate(&mut document);
            assert_eq!(Value::Object(document.clone()), now);
            translate(&mut document);
            assert_eq!(Value::Object(document), now, "once is enough");
        }
    }

    #[test]
    fn what_says_more_than_a_key_or_is_todays_stays() {
        for same in [
            json!({ "arguments": [{ "cpu": "host,-svm" }, { "smp": { "maxcpus": 4 } }, "no-reboot"] }),
            json!({ "arguments": [{ "device": "virtio-net-pci", "netdev": "n0" }] }),
            json!({ "arguments": [] }),
            json!({ "arguments": "x" }),
            json!({ "machine": "q35", "arguments": [{ "machine": "pc" }] }),
            json!({ "storage": [{ "name": "data", "size": "1G" }], "cpu": "many" }),
            json!({ "storage": [{ "type": "virtfs", "path": "/", "options": { "x": 1 } }] }),
        ] {
            let mut document = same.as_object().unwrap().clone();
            translate(&mut document);
            assert_eq!(Value::Object(document), same);
        }
    }
}
