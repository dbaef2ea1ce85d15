//! The items of `arguments`: each one option of QEMU, in any of the forms that a definition may have.
//!
//! No value can become an option of its own here: what cannot be written as one part is refused.

use serde_json::{Map, Value};

use super::fields::{Fields, expected, scalar, text};
use crate::definition::options::{self, is_key};
use crate::definition::types::{Argument, Part};
use crate::error::{Error, Result, quote};

pub(super) fn arguments(fields: &Fields<'_>) -> Result<Vec<Argument>> {
    let items = fields.list("arguments")?.unwrap_or_default();
    items.iter().map(|(path, value)| argument(path, value)).collect()
}

fn argument(path: &str, value: &Value) -> Result<Argument> {
    match value {
        Value::String(_) => {
            let name = text(path, value)?;
            let name = name.strip_prefix('-').unwrap_or(name);
            check(path, name)?;
            option(path, name, Vec::new())
        }
        Value::Object(map) => {
            let name = option_of(path, map)?;
            check(path, name)?;
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

/// What QEMU would not heed, or what would take QEMU out of maqet's hands.
fn check(path: &str, name: &str) -> Result<()> {
    let (why, hint) = match name {
        "accel" => (
            "QEMU heeds the first -accel alone, and that is maqet's",
            "say \"accel\": \"kvm\" or \"tcg\"; properties of it cannot be given",
        ),
        "daemonize" => {
            ("QEMU would leave maqet, which waits for it", "every VM runs in the background")
        }
        _ => return Ok(()),
    };
    Err(Error::usage(format!("{path}: {why}")).hint(hint))
}

fn option(path: &str, name: &str, parts: Vec<Part>) -> Result<Argument> {
    if !is_key(name) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let why = format!("{path}: {} is not the name of an option", quote(name));
        return Err(Error::usage(why).hint("words of argv go into \"args\""));
    }
    if options::BARE.contains(&name) && !parts.is_empty() {
        let why = format!("{path}: QEMU's option {} takes no value", quote(name));
        return Err(Error::usage(why).hint(format!("write {} alone", quote(name))));
    }
    if parts.is_empty() && options::needs_value(name) {
        let why = format!("{path}: QEMU's option {} needs a value", quote(name));
        return Err(Error::usage(why).hint("without one QEMU takes the next option for it"));
    }
    let has_comma = |part: &Part| match part {
        Part::Text(_) => false,
        Part::Word(value) | Part::Pair(_, value) => value.contains(','),
    };
    if options::LISTS.contains(&name) && parts.iter().any(has_comma) {
        let why = format!("{path}: in {} QEMU knows no comma that is not an end", quote(name));
        return Err(Error::usage(why).hint("write one value for each"));
    }
    let is_dotted = |part: &Part| matches!(part, Part::Pair(key, _) if key.contains('.'));
    let parts = match &parts[..] {
        [Part::Pair(key, value)] if options::DOTTED.contains(&name) && key.contains('.') => {
            vec![Part::Text(format!("{key}={value}"))]
        }
        several if options::DOTTED.contains(&name) && several.iter().any(is_dotted) => {
            let why = format!("{path}: QEMU's option {} takes one property", quote(name));
            return Err(Error::usage(why).hint("write one item for each"));
        }
        _ => parts,
    };
    Ok(Argument { option: name.to_owned(), parts })
}

/// Which key of an item is the option.
fn option_of<'a>(path: &str, map: &'a Map<String, Value>) -> Result<&'a str> {
    match options::option_of(map) {
        Some(name) => Ok(name),
        None if map.is_empty() => Err(Error::usage(format!("{path}: the object is empty"))),
        None => {
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
        Value::Bool(true) if options::BARE.contains(&option) => {}
        Value::Object(_) | Value::Array(_) if options::TEXTS.contains(&option) => {
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
        one => {
            let word = scalar(path, one)?;
            match options::is_text(option, &word) {
                true => parts.push(Part::Text(word)),
                false => add_word(path, &word, &mut parts)?,
            }
        }
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

/// A key of an object without a zero byte, which no argv can hold.
fn text_of(path: &str, word: &str) -> Result<String> {
    Ok(text(path, &Value::from(word))?.to_owned())
}
