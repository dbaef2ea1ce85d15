//! Everything that is wrong with a definition, where `Definition::read` tells the first thing.
//!
//! What has been told is taken out of a copy, and the rest is read again.

use serde_json::{Map, Value, json};

use super::types::Definition;
use crate::error::Error;

/// More than so many faults are not looked for.
const MOST: usize = 100;

/// The definition without what is wrong with it, none where it cannot be read even so; and every
/// fault, each with the JSON path in front.
pub(crate) fn read(map: &Map<String, Value>) -> (Option<Definition>, Vec<Error>) {
    let mut left = map.clone();
    let mut faults: Vec<Error> = Vec::new();
    let mut told: Vec<String> = Vec::new();
    // Each turn takes something out, once more where a fault came of what was taken out.
    for _ in 0..2 * MOST {
        let error = match Definition::read(&left) {
            Ok(definition) => return (Some(definition), faults),
            Err(error) => error,
        };
        let path = path_of(&error.message).to_owned();
        let again = told.contains(&path);
        if !again {
            faults.push(error);
            told.push(path.clone());
        }
        if faults.len() >= MOST || !take_out(&mut left, &path, again) {
            break;
        }
    }
    (None, faults)
}

/// The JSON path with which a sentence begins; empty where it begins with none.
pub(crate) fn path_of(message: &str) -> &str {
    let (first, _) = message.split_once(": ").unwrap_or_default();
    if first.contains(' ') { "" } else { first }
}

/// Takes the value at `path` out; with `whole` the item or key of the definition that it is part of.
fn take_out(map: &mut Map<String, Value>, path: &str, whole: bool) -> bool {
    let (top, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
    let Some(value) = map.get_mut(top) else { return false };
    let place = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let (Value::Array(items), Some((number, key))) = (&mut *value, place)
        && let Some(item) = number.parse().ok().and_then(|number: usize| items.get_mut(number))
    {
        let key = key.strip_prefix('.').unwrap_or_default();
        let key = key.split(['.', '[']).next().unwrap_or_default();
        let removed = item.as_object_mut().filter(|_| !whole).and_then(|map| map.remove(key));
        if removed.is_some() {
            // A disk without any size would be a fault of its own.
            if let (Some(object), "size") = (item.as_object_mut(), key) {
                object.insert(key.to_owned(), "1G".into());
            }
            return true;
        }
        // Its place stays, by which others are named.
        let sound = json!({ "name": format!("fault{number}"), "size": "1G" });
        if top == "storage" && *item != sound {
            *item = sound;
            return true;
        }
    }
    map.remove(top).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(definition: &Value) -> Vec<String> {
        let (_, faults) = read(definition.as_object().unwrap());
        faults.iter().map(|error| path_of(&error.message).to_owned()).collect()
    }

    #[test]
    fn all_faults_are_told_at_once_and_none_that_comes_of_another() {
        let sound = json!({ "memory": "1G", "storage": [{ "size": "1G" }] });
        assert!(paths(&sound).is_empty());
        let wrong = json!({
            "memroy": "1G", "cpu": 0, "serial": "yes", "boot": { "order": "zz" },
            "storage": [{ "size": "1X", "cache": "no" }, 7, { "size": "2G", "bootindex": -1 }],
            "network": [{ "type": "nothing", "mac": "x" }],
        });
        let mut found = paths(&wrong);
        found.sort();
        assert_eq!(
            found,
            [
                "boot.order",
                "cpu",
                "memroy",
                "network[0].mac",
                "network[0].type",
                "serial",
                "storage[0].cache",
                "storage[0].size",
                "storage[1]",
                "storage[2].bootindex",
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn it_ends_with_any_values(cpu: i64, name: String, size: String, key: String) {
            let map = json!({ "cpu": cpu, "name": name, "storage": [{ "size": size }, { key: 1 }] });
            let _ = read(map.as_object().unwrap());
        }
    }
}
