//! The items of `arguments`: each one option of QEMU, in any of the forms that a definition may have.
//!
//! No value can become an option of its own here: what cannot be written as one part is refused.

use serde_json::{Map, Value};

use super::fields::{Fields, expected, text};
use crate::definition::types::{Argument, Part};
use crate::error::{Error, Result, quote};

/// Which of several keys is the option: the first of these that is there. One that others name as a
/// property, as a device names its netdev, stands behind them.
const OPTIONS: [&str; 37] = [
    "device",
    "object",
    "mon",
    "numa",
    "machine",
    "accel",
    "drive",
    "blockdev",
    "netdev",
    "nic",
    "net",
    "fsdev",
    "virtfs",
    "chardev",
    "audiodev",
    "audio",
    "tpmdev",
    "smp",
    "m",
    "cpu",
    "rtc",
    "boot",
    "vnc",
    "spice",
    "display",
    "sandbox",
    "overcommit",
    "icount",
    "fw_cfg",
    "smbios",
    "acpitable",
    "msg",
    "action",
    "set",
    "global",
    "run-with",
    "name",
];
/// The options that take a text as it is: in none of them does a comma end anything.
const TEXTS: [&str; 26] = [
    "loadvm",
    "readconfig",
    "dump-vmstate",
    "prom-env",
    "chroot",
    "runas",
    "append",
    "kernel",
    "initrd",
    "dtb",
    "bios",
    "pflash",
    "cdrom",
    "hda",
    "hdb",
    "hdc",
    "hdd",
    "fda",
    "fdb",
    "sd",
    "mtdblock",
    "uuid",
    "pidfile",
    "D",
    "L",
    "incoming",
];
/// The options that take no value (QEMU 7.2): a word behind one of them would be an image.
const BARE: [&str; 31] = [
    "S",
    "daemonize",
    "enable-kvm",
    "enable-sync-profile",
    "full-screen",
    "mem-prealloc",
    "no-acpi",
    "no-fd-bootchk",
    "no-hpet",
    "no-reboot",
    "no-shutdown",
    "no-user-config",
    "nodefaults",
    "nographic",
    "only-migratable",
    "preconfig",
    "singlestep",
    "snapshot",
    "usb",
    "win2k-hack",
    "xen-attach",
    "xen-domid-restrict",
    "curses",
    "version",
    "audio-help",
    "h",
    "help",
    "old-param",
    "portrait",
    "s",
    "semihosting",
];
/// The options of which QEMU takes all behind the first `=` for a value, commas too, where there is
/// a dot in front of it.
const DOTTED: [&str; 2] = ["global", "set"];

pub(super) fn arguments(fields: &Fields<'_>) -> Result<Vec<Argument>> {
    let items = fields.list("arguments")?.unwrap_or_default();
    items.iter().map(|(path, value)| argument(path, value)).collect()
}

fn argument(path: &str, value: &Value) -> Result<Argument> {
    match value {
        Value::String(_) => {
            let name = text(path, value)?;
            option(path, name.strip_prefix('-').unwrap_or(name), Vec::new())
        }
        Value::Object(map) => {
            let name = option_of(path, map)?;
            let inner = format!("{path}.{}", quote(name));
            let mut parts = parts(&inner, name, &map[name])?;
            for (key, value) in map.iter().filter(|(key, _)| *key != name) {
                pairs(&format!("{path}.{}", quote(key)), key, value, &mut parts)?;
            }
            option(path, name, parts)
        }
        other => Err(expected(path, "an option such as {\"smp\": {\"cores\": 2}}", other)),
    }
}

fn option(path: &str, name: &str, parts: Vec<Part>) -> Result<Argument> {
    if !is_key(name) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let why = format!("{path}: {} is not the name of an option", quote(name));
        return Err(Error::usage(why).hint("words of argv go into \"args\""));
    }
    if BARE.contains(&name) && !parts.is_empty() {
        let why = format!("{path}: QEMU's option {} takes no value", quote(name));
        return Err(Error::usage(why).hint(format!("write {} alone", quote(name))));
    }
    if parts.is_empty() && (OPTIONS.contains(&name) || TEXTS.contains(&name)) {
        let why = format!("{path}: QEMU's option {} needs a value", quote(name));
        return Err(Error::usage(why).hint("without one QEMU takes the next option for it"));
    }
    let is_dotted = |part: &Part| matches!(part, Part::Pair(key, _) if key.contains('.'));
    let parts = match &parts[..] {
        [Part::Pair(key, value)] if DOTTED.contains(&name) && key.contains('.') => {
            vec![Part::Text(format!("{key}={value}"))]
        }
        several if DOTTED.contains(&name) && several.iter().any(is_dotted) => {
            let why = format!("{path}: QEMU's option {} takes one property", quote(name));
            return Err(Error::usage(why).hint("write one item for each"));
        }
        _ => parts,
    };
    Ok(Argument { option: name.to_owned(), parts })
}

/// Which key of an item is the option.
fn option_of<'a>(path: &str, map: &'a Map<String, Value>) -> Result<&'a str> {
    let mut keys = map.keys().map(String::as_str);
    let known = OPTIONS.iter().find_map(|name| map.get_key_value(*name));
    match (keys.next(), keys.next(), known) {
        (Some(only), None, _) => Ok(only),
        (_, Some(_), Some((name, _))) => Ok(name),
        (None, ..) => Err(Error::usage(format!("{path}: the object is empty"))),
        (_, Some(_), None) => {
            Err(Error::usage(format!("{path}: none of its keys is known as an option of QEMU"))
                .hint("write {\"OPTION\": {…}}"))
        }
    }
}

/// The value of an option: a text, an object, or a list of texts.
fn parts(path: &str, option: &str, value: &Value) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    match value {
        Value::Null => {}
        Value::Bool(true) if BARE.contains(&option) => {}
        Value::Object(_) | Value::Array(_) if TEXTS.contains(&option) => {
            return Err(expected(path, "one text, which this option takes as it is", value));
        }
        Value::Object(map) => {
            let words = map.iter().filter(|(_, value)| is_nothing(value));
            for (word, _) in words {
                add_word(&format!("{path}.{}", quote(word)), word, &mut parts)?;
            }
            if parts.len() > 1 {
                return Err(Error::usage(format!("{path}: only one of its values can be null"))
                    .hint("the key of a null is the option's first word"));
            }
            for (key, value) in map.iter().filter(|(_, value)| !is_nothing(value)) {
                pairs(&format!("{path}.{}", quote(key)), key, value, &mut parts)?;
            }
        }
        Value::Array(all) => {
            for (place, value) in all.iter().enumerate() {
                let path = format!("{path}[{place}]");
                add_word(&path, &scalar(&path, value)?, &mut parts)?;
            }
        }
        one if TEXTS.contains(&option) => parts.push(Part::Text(scalar(path, one)?)),
        one => add_word(path, &scalar(path, one)?, &mut parts)?,
    }
    Ok(parts)
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// `KEY=VALUE`, or a word whose key is implied.
fn add_word(path: &str, word: &str, parts: &mut Vec<Part>) -> Result<()> {
    parts.push(match word.split_once('=') {
        Some((key, value)) if is_key(key) => Part::Pair(key.to_owned(), value.to_owned()),
        None if (parts.is_empty() && !word.starts_with('{')) || is_key(word) => {
            Part::Word(text_of(path, word)?)
        }
        None if parts.is_empty() => {
            let why = format!("{path}: {} is JSON to QEMU", quote(word));
            return Err(Error::usage(why).hint("write it as an object: {\"OPTION\": {…}}"));
        }
        _ => {
            let why = format!("{path}: QEMU would take {} for something else", quote(word));
            return Err(Error::usage(why).hint("write it with its key: {\"OPTION\": {\"KEY\": …}}"));
        }
    });
    Ok(())
}

/// `KEY=VALUE`, or for an object `KEY.INNER=VALUE` of all that it holds.
fn pairs(path: &str, key: &str, value: &Value, parts: &mut Vec<Part>) -> Result<()> {
    if !is_key(key) {
        return Err(Error::usage(format!("{path}: this is not the name of a property")));
    }
    match value {
        Value::Object(map) => {
            for (inner, value) in map {
                let path = format!("{path}.{}", quote(inner));
                pairs(&path, &format!("{key}.{inner}"), value, parts)?;
            }
        }
        Value::Array(all) => {
            for (place, value) in all.iter().enumerate() {
                parts.push(Part::Pair(key.to_owned(), scalar(&format!("{path}[{place}]"), value)?));
            }
        }
        one => parts.push(Part::Pair(key.to_owned(), scalar(path, one)?)),
    }
    Ok(())
}

/// A scalar as QEMU writes it: booleans are `on` and `off`.
pub(super) fn scalar(path: &str, value: &Value) -> Result<String> {
    match value {
        Value::Bool(true) => Ok("on".to_owned()),
        Value::Bool(false) => Ok("off".to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(_) => Ok(text(path, value)?.to_owned()),
        other => Err(expected(path, "a text, a number, true or false", other)),
    }
}

/// A key of an object without a zero byte, which no argv can hold.
fn text_of(path: &str, word: &str) -> Result<String> {
    Ok(text(path, &Value::from(word))?.to_owned())
}

/// Whether QEMU reads this as one key, and nothing in it as the end of it.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
