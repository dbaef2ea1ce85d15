//! How definitions for the program that maqet succeeds said what maqet's keys say now: all of it, in
//! one place. `form` reads an item of `arguments` in any way it was written, `display` the screen.
//!
//! A document is translated before anything else is made of it. What has a meaning of its own in
//! maqet keeps that one; what is not known here is left for `read` to judge.

use std::path::Path;

use serde_json::{Map, Value, json};

use self::form::Form;
use super::options;
use crate::error::Result;

mod display;
mod form;
#[cfg(test)]
mod tests;

/// Options among `arguments` whose whole text a key says now.
const TEXTS: [(&str, &str); 4] =
    [("kernel", "kernel"), ("initrd", "initrd"), ("append", "append"), ("vga", "vga")];
/// Keys that the predecessor had itself. An argument beside one was what QEMU heard last.
const ITS_OWN: [&str; 4] = ["memory", "cpu", "display", "vga"];

/// The keys of a shared folder that stood below `options`.
const OPTIONS: [(&str, &str); 3] =
    [("mount_tag", "tag"), ("readonly", "readonly"), ("security_model", "security_model")];

/// Keys that its programs could give and that it did not heed, and what says the same.
const UNHEEDED: [(&str, &str); 10] = [
    ("cpus", "\"cpu\""),
    ("machine_type", "\"machine\""),
    ("enable_kvm", "\"accel\": \"kvm\""),
    ("boot_order", "\"boot\": {\"order\": …}"),
    ("cdrom", "\"storage\": [{\"file\": …, \"media\": \"cdrom\"}]"),
    ("disk_size", "\"storage\": [{\"size\": …}]"),
    ("storage_format", "\"storage\": [{\"type\": …}]"),
    ("ssh_port", "\"network\": [{\"ports\": [\"PORT:22\"]}]"),
    ("vnc_port", "\"display\": {\"vnc\": {\"port\": …}}"),
    ("extra_args", "\"args\""),
];

/// What a shared folder with more options than it has keys is.
const VIRTFS: &str = "an argument: {\"virtfs\": {\"local\": null, \"path\": …, \"mount_tag\": …, \
    \"security_model\": …}}";

/// What says now what a key of the predecessor's programs said.
pub(super) fn instead(place: &str, key: &str) -> Option<&'static str> {
    match key {
        "options" if place.starts_with("storage[") => Some(VIRTFS),
        _ if !place.is_empty() => None,
        key => UNHEEDED.iter().find(|(old, _)| *old == key).map(|(_, now)| *now),
    }
}

/// Translates one document. Relative paths among the texts of its `arguments` begin at `folder`.
///
/// # Errors
/// `Kind::Usage` for a path that is not UTF-8.
pub(crate) fn translate(document: &mut Map<String, Value>, folder: &Path) -> Result<()> {
    if let Some(count) = document.get("cpu").and_then(Value::as_str).and_then(whole) {
        document.insert("cpu".to_owned(), count.into());
    }
    if let Some(Value::String(text)) = document.get("display")
        && let Some(now) = display::of_text(text)
    {
        document.insert("display".to_owned(), now);
    }
    if let Some(Value::Array(storage)) = document.get_mut("storage") {
        storage.iter_mut().filter_map(Value::as_object_mut).for_each(item);
    }
    arguments(document, folder)
}

/// Takes those out that are keys now, and writes the others as they are read now.
fn arguments(document: &mut Map<String, Value>, folder: &Path) -> Result<()> {
    let Some(Value::Array(all)) = document.get_mut("arguments") else { return Ok(()) };
    // An empty list takes back what is stored, and stays.
    if all.is_empty() {
        return Ok(());
    }
    let all = std::mem::take(all);
    document.remove("arguments");
    let mut left = Vec::new();
    for argument in all {
        let (keys, rest) = match as_keys(&argument) {
            Some((keys, rest)) if keys.iter().all(|(key, _)| is_free(document, key)) => {
                (keys, rest)
            }
            _ => (Vec::new(), Some(argument)),
        };
        document.extend(keys.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if let Some(rest) = rest
            && !is_nothing(&rest)
        {
            left.push(form::listed(rest, folder)?);
        }
    }
    if !left.is_empty() {
        document.insert("arguments".to_owned(), Value::Array(left));
    }
    Ok(())
}

fn is_free(document: &Map<String, Value>, key: &str) -> bool {
    ITS_OWN.contains(&key) || !document.contains_key(key)
}

/// The keys that say what an argument said, and what of it they do not say.
type Keys = (Vec<(&'static str, Value)>, Option<Value>);

fn as_keys(argument: &Value) -> Option<Keys> {
    if is_switch(argument, "enable-kvm") {
        return Some((vec![("accel", "kvm".into())], None));
    }
    let map = argument.as_object()?;
    let option = options::option_of(map)?;
    if let Some((_, key)) = TEXTS.iter().find(|(old, _)| *old == option) {
        let text = map[option].as_str().filter(|text| *key != "vga" || is_word(text))?;
        return (map.len() == 1).then(|| (vec![(*key, text.into())], None));
    }
    match option {
        "m" => {
            let mut form = Form::of(map, option)?;
            let size = form.take("size")?;
            Some((vec![("memory", size.into())], form.rest(option)))
        }
        "smp" => Some((vec![("cpu", cpus(Form::of(map, option)?)?)], None)),
        "cpu" => {
            let form = Form::of(map, option)?;
            let model = form.first.filter(|model| form.pairs.is_empty() && is_word(model))?;
            Some((vec![("cpu_model", model.into())], None))
        }
        "accel" => {
            let mut form = Form::of(map, option)?;
            let accel = accel(&form.take("accel")?);
            form.pairs.is_empty().then(|| (vec![("accel", accel.into())], None))
        }
        "machine" => {
            let mut form = Form::of(map, option)?;
            let kind = form.take("type").map(|kind| ("machine", kind.into()));
            let accel = form.pairs.remove("accel").map(|name| ("accel", accel(&name).into()));
            Some((kind.into_iter().chain(accel).collect(), form.rest(option)))
        }
        "display" => Some((vec![("display", display::of_form(Form::of(map, option)?)?)], None)),
        _ => None,
    }
}

/// Several accelerators were tried in order: what `auto` does.
fn accel(name: &str) -> String {
    if name == "kvm:tcg" { "auto".to_owned() } else { name.to_owned() }
}

/// A count, or a topology as far as it is told: what QEMU makes of the same.
fn cpus(mut form: Form) -> Option<Value> {
    let cpus = form.take("cpus").map(|cpus| whole(&cpus)).map_or(Some(None), |n| n.map(Some))?;
    let mut part = |name| match form.pairs.remove(name) {
        None => Some(None),
        Some(text) => whole(&text).filter(|count| *count > 0).map(Some),
    };
    let (sockets, cores, threads) = (part("sockets")?, part("cores")?, part("threads")?);
    let most = part("maxcpus")?;
    if !form.pairs.is_empty() || most.is_some_and(|most| Some(most) != cpus) {
        return None;
    }
    let mut parts = Map::new();
    let mut say = |name: &str, count: Option<u64>| {
        if let Some(count) = count {
            parts.insert(name.to_owned(), count.into());
        }
    };
    let Some(cpus) = cpus else {
        [("sockets", sockets), ("cores", cores), ("threads", threads)]
            .into_iter()
            .for_each(|(name, count)| say(name, count));
        return (!parts.is_empty()).then_some(Value::Object(parts));
    };
    if (sockets, cores, threads) == (None, None, None) {
        return Some(cpus.into());
    }
    // Of the levels that are not told the first is cores, as newer machines have it.
    let threads = threads.unwrap_or(1);
    let (sockets, cores) = match (sockets, cores) {
        (Some(sockets), Some(cores)) => (sockets, cores),
        (None, Some(cores)) => (cpus / cores.checked_mul(threads)?, cores),
        (sockets, None) => {
            let sockets = sockets.unwrap_or(1);
            (sockets, cpus / sockets.checked_mul(threads)?)
        }
    };
    let product = sockets.checked_mul(cores)?.checked_mul(threads)?;
    (product == cpus).then(|| json!({ "sockets": sockets, "cores": cores, "threads": threads }))
}

/// Whether nothing is left of an argument. The console is on standard input and output already.
fn is_nothing(argument: &Value) -> bool {
    let Some(map) = argument.as_object() else { return false };
    map.is_empty()
        || (map.len() == 1
            && matches!(map.get("serial").and_then(Value::as_str), Some("stdio" | "mon:stdio")))
}

/// An option without a value: a word, or an object whose value is `null`.
fn is_switch(argument: &Value, name: &str) -> bool {
    match argument {
        Value::String(word) => word.trim_start_matches('-') == name,
        Value::Object(map) => map.len() == 1 && map.get(name).is_some_and(Value::is_null),
        _ => false,
    }
}

/// Without further properties behind a comma.
fn is_word(text: &str) -> bool {
    !text.contains([',', '='])
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
    rename(item, "mount_tag", "tag");
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
