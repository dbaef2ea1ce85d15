//! What a definition that came from elsewhere could reach with our rights: programs, words for QEMU,
//! files of this host.
//!
//! It follows the table of keys, so that a new key is judged by what it looks like. What is wrong in
//! a definition is not said here.

use std::path::{Component, Path};

use serde_json::{Map, Value};

use super::keys::{self, Key, Kind};

/// All that such a definition names, each as a person finds it: `args`, `storage.0.file: /x`.
/// Relative paths without `..` lie in what it came with.
pub(crate) fn reached(definition: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    object(definition, keys::DEFINITION, "", &mut found);
    found
}

fn object(map: &Map<String, Value>, table: &'static [Key], at: &str, found: &mut Vec<String>) {
    for (name, value) in map {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match keys::find(table, name).map(|key| key.kind) {
            Some(Kind::Program) if !value.is_null() => found.push(shown(&path, value)),
            Some(Kind::Words | Kind::Anything | Kind::Options) if !is_empty(value) => {
                found.push(path)
            }
            Some(Kind::Path) if leads_out(value) => found.push(shown(&path, value)),
            Some(Kind::Object(inner)) => {
                if let Value::Object(map) = value {
                    object(map, inner, &path, found);
                }
            }
            Some(Kind::Items { keys: inner, .. }) => {
                let items = value.as_array().into_iter().flatten().enumerate();
                for (place, item) in items.filter_map(|(n, item)| Some((n, item.as_object()?))) {
                    object(item, inner, &format!("{path}.{place}"), found);
                }
            }
            // A word of a few may be an object of its own, in which a file may stand.
            Some(Kind::Choice(_)) | None => anywhere(value, &path, found),
            _ => {}
        }
    }
}

/// Paths in what has no table.
fn anywhere(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains('/') => found.push(shown(at, value)),
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| anywhere(value, &format!("{at}.{name}"), found));
        }
        Value::Array(all) => {
            all.iter()
                .enumerate()
                .for_each(|(n, value)| anywhere(value, &format!("{at}.{n}"), found));
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty)
}

fn leads_out(value: &Value) -> bool {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    match value {
        Value::Null => false,
        Value::String(path) => !Path::new(path).components().all(inside),
        // No path at all: reading it will say so.
        _ => false,
    }
}

fn shown(path: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{path}: {text}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn programs_words_and_files_outside_are_named_and_nothing_else() {
        let definition = json!({
            "binary": "qemu", "args": ["-x"], "arguments": [{"y": 1}], "kernel": "/boot/k",
            "initrd": "in/side", "append": "root=/dev/vda", "description": "/x", "name": "web",
            "labels": {"path": "/etc"}, "firmware": {"code": "/c", "vars": "v"}, "display": "none",
            "network": [{"name": "n", "options": {"script": "/x"}}, {"options": {}}],
            "storage": [
                {"name": "a", "file": "disks/a.raw", "size": "1G"},
                {"name": "b", "file": "../b.raw", "backing_file": "/etc/shadow"},
                {"name": "c", "file": "./disks/../../c"},
                3,
            ],
        });
        let expected = [
            "args",
            "arguments",
            "binary: qemu",
            "firmware.code: /c",
            "kernel: /boot/k",
            "network.0.options",
            "storage.1.backing_file: /etc/shadow",
            "storage.1.file: ../b.raw",
            "storage.2.file: ./disks/../../c",
        ];
        let mut found = reached(definition.as_object().unwrap());
        found.sort();
        assert_eq!(found, expected);
        let harmless = json!({"args": [], "binary": null, "kernel": null, "cpu": 2});
        assert!(reached(harmless.as_object().unwrap()).is_empty());
    }
}
