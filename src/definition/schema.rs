//! A definition as JSON Schema 2020-12, made from the table of keys.
//!
//! It says of each key by itself what `read` says of it. What keys mean for one another, and what
//! only a host can tell, is not in it.

use serde_json::{Map, Value, json};

use super::keys::{self, Choice, Key, Kind};
use super::units::Bare;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a text must look like where a key takes more than any text, by the key's path.
const PATTERNS: &[(&str, &str)] = &[
    ("name", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
    ("machine", "^[A-Za-z0-9][A-Za-z0-9_.+-]*$"),
    ("cpu_model", "^[^,\\n]+$"),
    ("boot.order", "^[a-p]{1,16}$"),
    ("storage.name", ITEM_NAME),
    ("storage.serial", "^.{1,20}$"),
    ("storage.tag", "^.{1,31}$"),
    ("display.vnc.address", ADDRESS),
    ("display.spice.address", ADDRESS),
    ("network.name", ITEM_NAME),
    ("network.ifname", INTERFACE_NAME),
    ("network.bridge", INTERFACE_NAME),
    ("network.mac", "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$"),
];
const ADDRESS: &str = "^([0-9]{1,3}([.][0-9]{1,3}){3}|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$";
const ITEM_NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,25}$";
const INTERFACE_NAME: &str = "^[^/: \\n]{1,15}$";
/// An option of QEMU that stands alone.
const OPTION: &str = "^-?[A-Za-z0-9][A-Za-z0-9_.-]*$";
/// What QEMU is given as one word.
const SCALAR: [&str; 3] = ["string", "number", "boolean"];
const PORT: &str =
    "^([0-9]{1,3}([.][0-9]{1,3}){3}:)?(auto|[1-9][0-9]{0,4}):[1-9][0-9]{0,4}(/(tcp|udp))?$";
const DURATION: &str = "^[0-9]+(ms|s|m|h|d)?$";
const SIZE: &str = "^0*[1-9][0-9]*([KMGTPEkmgtpe]([Ii]?[Bb])?|[Bb])$";
const SIZE_OR_MEBIBYTES: &str = "^0*[1-9][0-9]*([KMGTPEkmgtpe]([Ii]?[Bb])?|[Bb])?$";

/// The schema as a file.
pub(crate) fn text() -> String {
    format!("{:#}\n", schema())
}

/// The schema: of one definition, or a list of them.
fn schema() -> Value {
    json!({
        "$schema": DIALECT,
        "title": "Definition of a VM for maqet",
        "oneOf": [
            { "$ref": "#/$defs/definition" },
            { "type": "array", "items": { "$ref": "#/$defs/definition" } },
        ],
        "$defs": { "definition": object("", keys::DEFINITION) },
    })
}

fn object(place: &str, keys: &'static [Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(place, key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// One key. `null` is the default everywhere.
fn property(place: &str, key: &'static Key) -> Value {
    let path = match place {
        "" => key.name.to_owned(),
        _ => format!("{place}.{}", key.name),
    };
    let mut schema = json!({ "anyOf": [of_kind(&path, &key.kind), { "type": "null" }] });
    schema["description"] = format!("{}; default: {}", key.help, key.default).into();
    schema
}

fn of_kind(path: &str, kind: &'static Kind) -> Value {
    match kind {
        Kind::Text => match PATTERNS.iter().find(|(known, _)| *known == path) {
            Some((_, pattern)) => json!({ "type": "string", "pattern": pattern }),
            None => json!({ "type": "string" }),
        },
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::CountOr { min, max } => json!({ "oneOf": [
            { "type": "integer", "minimum": min, "maximum": max },
            object(path, keys::CPU),
        ]}),
        Kind::Size(Bare::Refused) => json!({ "type": "string", "pattern": SIZE }),
        Kind::Size(Bare::Mebibytes) => json!({ "oneOf": [
            { "type": "string", "pattern": SIZE_OR_MEBIBYTES },
            { "type": "integer", "minimum": 1, "maximum": (i64::MAX as u64) >> 20 },
        ]}),
        Kind::Duration => json!({ "oneOf": [
            { "type": "string", "pattern": DURATION },
            { "type": "integer", "minimum": 0, "maximum": 100_u64 * 365 * 86_400 },
        ]}),
        Kind::Path | Kind::Program => json!({ "type": "string", "minLength": 1 }),
        Kind::Choice(Choice { words, object: [] }) => json!({ "enum": words }),
        Kind::Choice(Choice { words, object: keys }) => {
            let mut either = object(path, keys);
            either["minProperties"] = 1.into();
            json!({ "anyOf": [{ "enum": words }, either] })
        }
        Kind::Object(keys) => object(path, keys),
        Kind::Labels => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Items { keys, .. } => json!({ "type": "array", "items": object(path, keys) }),
        Kind::Words => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::List => json!({
            "type": "array",
            "items": { "type": "string", "pattern": PORT },
        }),
        Kind::Options => json!({ "type": "object", "additionalProperties": { "anyOf": [
            { "type": SCALAR },
            { "type": "array", "items": { "type": SCALAR } },
        ]}}),
        Kind::Anything => json!({ "type": "array", "items": { "anyOf": [
            { "type": "string", "pattern": OPTION },
            { "type": "object" },
        ]}}),
    }
}

#[cfg(test)]
mod tests;
