//! An item of `arguments` in any of the ways in which the predecessor took it.
//!
//! Which key says the same now is not known here.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::definition::merge;
use crate::definition::options::{self, is_key};
use crate::error::Result;

/// Options whose text is taken apart at its commas: their first word is one of QEMU's own or a key,
/// in which no comma can be.
const APART: [&str; 30] = [
    "device",
    "object",
    "netdev",
    "nic",
    "net",
    "chardev",
    "fsdev",
    "virtfs",
    "audiodev",
    "audio",
    "tpmdev",
    "machine",
    "smp",
    "m",
    "rtc",
    "boot",
    "display",
    "vga",
    "vnc",
    "spice",
    "icount",
    "numa",
    "mon",
    "sandbox",
    "overcommit",
    "action",
    "msg",
    "smbios",
    "trace",
    "plugin",
];
/// Options that begin with a path or a free text: only these keys end it.
const KEYS: [(&str, &[&str]); 2] = [
    (
        "drive",
        &[
            "if",
            "index",
            "media",
            "format",
            "cache",
            "aio",
            "readonly",
            "snapshot",
            "id",
            "discard",
            "bus",
            "unit",
            "werror",
            "rerror",
            "detect-zeroes",
            "copy-on-read",
            "file",
            "driver",
            "serial",
            "auto-read-only",
            "node-name",
        ],
    ),
    ("fw_cfg", &["name", "file", "string", "gen_id"]),
];
/// Words without a value that QEMU takes behind the first one.
const SWITCHES: [&str; 10] = [
    "server",
    "nowait",
    "wait",
    "nodelay",
    "delay",
    "telnet",
    "password",
    "sasl",
    "disable-ticketing",
    "readonly",
];
/// Options whose whole text is a path.
const FILES: [&str; 13] = [
    "pflash", "dtb", "bios", "cdrom", "hda", "hdb", "hdc", "hdd", "fda", "fdb", "sd", "mtdblock",
    "kernel",
];
/// What stands before a path within a text.
const BEFORE: [&str; 4] = ["file=", "path=", "unix:", "socket="];

/// An option's value, whichever way it was written. A boolean is `on` or `off`.
#[derive(Debug)]
pub(super) struct Form {
    /// The first word, whose key is implied.
    pub(super) first: Option<String>,
    pub(super) pairs: BTreeMap<String, String>,
}

impl Form {
    /// The value of `option`, and of the keys beside it; `None` where one cannot be read so.
    pub(super) fn of(item: &Map<String, Value>, option: &str) -> Option<Form> {
        let mut form = Form { first: None, pairs: BTreeMap::new() };
        match &item[option] {
            Value::Object(map) => form.object(map)?,
            Value::Array(all) => {
                for one in all {
                    match one {
                        Value::Object(map) => form.object(map)?,
                        word => form.word(&scalar(word)?)?,
                    }
                }
            }
            Value::Null => {}
            text => form = Form::of_text(&scalar(text)?),
        }
        for (key, value) in item.iter().filter(|(key, _)| *key != option) {
            form.pair(key, scalar(value)?)?;
        }
        Some(form)
    }

    /// A text in QEMU's own syntax. What cannot be read so is a first word as a whole.
    pub(super) fn of_text(text: &str) -> Form {
        let mut form = Form { first: None, pairs: BTreeMap::new() };
        if split(text).iter().try_for_each(|part| form.word(part)).is_some() {
            return form;
        }
        Form { first: Some(text.to_owned()), pairs: BTreeMap::new() }
    }

    /// Takes the first word, or the value of the key that it implies.
    pub(super) fn take(&mut self, implied: &str) -> Option<String> {
        let value = self.pairs.remove(implied);
        self.first.take().or(value)
    }

    /// What is left, as an argument.
    pub(super) fn rest(self, option: &str) -> Option<Value> {
        (!self.pairs.is_empty()).then(|| json!({ (option): self.pairs }))
    }

    fn object(&mut self, map: &Map<String, Value>) -> Option<()> {
        let is_word =
            |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        map.iter().filter(|(_, value)| is_word(value)).try_for_each(|(word, _)| self.word(word))?;
        let mut pairs = map.iter().filter(|(_, value)| !is_word(value));
        pairs.try_for_each(|(key, value)| self.pair(key, scalar(value)?))
    }

    fn word(&mut self, word: &str) -> Option<()> {
        match word.split_once('=') {
            Some((key, value)) if is_key(key) => self.pair(key, value.to_owned()),
            _ if self.first.is_none() && self.pairs.is_empty() => {
                self.first = Some(word.to_owned());
                Some(())
            }
            _ => None,
        }
    }

    fn pair(&mut self, key: &str, value: String) -> Option<()> {
        let is_new = self.pairs.insert(key.to_owned(), value).is_none();
        is_new.then_some(())
    }
}

/// The same item, its texts in QEMU's own syntax taken apart, and relative paths in them beginning
/// at `folder`.
pub(super) fn listed(mut item: Value, folder: &Path) -> Result<Value> {
    let Some(map) = item.as_object_mut() else { return Ok(item) };
    let Some(option) = options::option_of(map).map(str::to_owned) else { return Ok(item) };
    if let Some(Value::String(text)) = map.get(&option) {
        let value = match apart(&option, text) {
            Some(parts) => parts
                .into_iter()
                .map(|part| at_home(&part, folder).map(Value::from))
                .collect::<Result<_>>()?,
            None if FILES.contains(&option.as_str()) && is_path(&option, text) => {
                merge::joined(folder, text)?.into()
            }
            None => at_home(text, folder)?.into(),
        };
        map.insert(option.clone(), value);
    }
    // A key without a value was a property without one.
    for (_, value) in map.iter_mut().filter(|(key, value)| **key != option && value.is_null()) {
        *value = true.into();
    }
    Ok(item)
}

/// A name without a folder is one that QEMU finds in its own, for its firmware.
fn is_path(option: &str, text: &str) -> bool {
    !text.is_empty() && (option != "bios" || text.contains('/'))
}

fn at_home(part: &str, folder: &Path) -> Result<String> {
    for before in BEFORE {
        if let Some(path) = part.strip_prefix(before).filter(|path| !path.is_empty()) {
            return Ok(format!("{before}{}", merge::joined(folder, path)?));
        }
    }
    Ok(part.to_owned())
}

/// The parts of a text that is unmistakably several of QEMU's properties.
fn apart(option: &str, text: &str) -> Option<Vec<String>> {
    let parts = split(text);
    let (first, others) = parts.split_first()?;
    let first_key = first.split_once('=').map(|(key, _)| key);
    let is_known = |key: &str| match KEYS.iter().find(|(name, _)| *name == option) {
        Some((_, keys)) => keys.contains(&key) || key.starts_with("file."),
        None => is_key(key),
    };
    let is_apart = KEYS.iter().any(|(name, _)| *name == option)
        || APART.contains(&option)
        || options::is_stream(option, text);
    let takes = |part: &String| match part.split_once('=') {
        Some((key, _)) => is_known(key),
        None => SWITCHES.contains(&part.as_str()),
    };
    let is_list = is_apart
        && !others.is_empty()
        && first_key.is_none_or(is_known)
        && !first.starts_with('{')
        && others.iter().all(takes)
        && (option != "smbios" || first.starts_with("type="));
    is_list.then_some(parts)
}

/// At QEMU's commas, of which two are one that ends nothing.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut all = text.chars().peekable();
    while let Some(c) = all.next() {
        match (c, parts.last_mut()) {
            (',', _) if all.peek() != Some(&',') => parts.push(String::new()),
            (c, Some(last)) => {
                last.push(c);
                if c == ',' {
                    all.next();
                }
            }
            (_, None) => {}
        }
    }
    parts
}

fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::Bool(true) | Value::Null => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    })
}
