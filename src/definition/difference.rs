//! Where two definitions differ, key by key.
//!
//! Pure, and of JSON alone: what a difference means for a VM is not known here.

use serde::Serialize;
use serde_json::{Map, Value};

use super::keys::{self, Kind};

/// One key that differs. `None`: that side does not say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// The JSON path; an item of `storage` or `network` goes by its name, as in `--set`.
    pub(crate) path: String,
    pub(crate) running: Option<Value>,
    pub(crate) stored: Option<Value>,
}

/// What differs between two merged definitions, in the order in which keys are shown. Objects are
/// looked into, and so are items of lists that both sides have by the same name; any other list is
/// one value.
pub(crate) fn between(
    running: &Map<String, Value>,
    stored: &Map<String, Value>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let shown = keys::DEFINITION.iter().map(|key| key.name);
    let is_other = |name: &&str| keys::find(keys::DEFINITION, name).is_none();
    let others = running.keys().map(String::as_str).filter(is_other);
    let mut names: Vec<&str> = shown.chain(others).collect();
    names.extend(
        stored
            .keys()
            .map(String::as_str)
            .filter(is_other)
            .filter(|name| !running.contains_key(*name)),
    );
    for name in names {
        let (one, other) = (running.get(name), stored.get(name));
        let kind = keys::find(keys::DEFINITION, name).map(|key| key.kind);
        match (kind, by_name(one), by_name(other)) {
            (Some(Kind::Items { .. }), Some(one), Some(other)) => {
                in_objects(name, &one, &other, &mut found);
            }
            _ => in_values(name.to_owned(), one, other, &mut found),
        }
    }
    found
}

/// The items of a list by their names; none where it is no list of distinct names.
fn by_name(list: Option<&Value>) -> Option<Map<String, Value>> {
    let items = match list {
        None => return Some(Map::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return None,
    };
    let mut named = Map::new();
    for item in items {
        let mut item = item.as_object()?.clone();
        let Some(Value::String(name)) = item.remove("name") else { return None };
        if named.insert(name, Value::Object(item)).is_some() {
            return None;
        }
    }
    Some(named)
}

fn in_objects(
    above: &str,
    running: &Map<String, Value>,
    stored: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let only_stored = stored.keys().filter(|key| !running.contains_key(*key));
    for key in running.keys().chain(only_stored) {
        in_values(format!("{above}.{key}"), running.get(key), stored.get(key), found);
    }
}

fn in_values(
    path: String,
    running: Option<&Value>,
    stored: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (running, stored) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            in_objects(&path, one, other, found);
        }
        (one, other) if one == other => {}
        (one, other) => {
            found.push(Difference { path, running: one.cloned(), stored: other.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(running: &Value, stored: &Value) -> Value {
        let map = |value: &Value| value.as_object().unwrap().clone();
        json!(
            between(&map(running), &map(stored))
                .into_iter()
                .map(|one| json!([one.path, one.running, one.stored]))
                .collect::<Vec<_>>()
        )
    }

    #[test]
    fn each_key_that_differs_is_told_once_by_its_path() {
        for (running, stored, expected) in [
            (json!({}), json!({}), json!([])),
            (json!({"cpu": 2, "memory": "1G"}), json!({"memory": "1G", "cpu": 2}), json!([])),
            (json!({"memory": "1G"}), json!({"memory": "2G"}), json!([["memory", "1G", "2G"]])),
            (json!({"memory": "1G"}), json!({}), json!([["memory", "1G", null]])),
            (
                json!({}),
                json!({"rng": false, "cpu": 1}),
                json!([["cpu", null, 1], ["rng", null, false]]),
            ),
            (json!({"cpu": 2}), json!({"cpu": {"cores": 2}}), json!([["cpu", 2, {"cores": 2}]])),
            (
                json!({"labels": {"a": "1", "b": "2"}}),
                json!({"labels": {"a": "1", "b": "3", "c": "4"}}),
                json!([["labels.b", "2", "3"], ["labels.c", null, "4"]]),
            ),
            (
                json!({"args": ["-a"]}),
                json!({"args": ["-a", "-b"]}),
                json!([["args", ["-a"], ["-a", "-b"]]]),
            ),
            (json!({"zzz": 1}), json!({"yyy": 1}), json!([["zzz", 1, null], ["yyy", null, 1]])),
        ] {
            assert_eq!(told(&running, &stored), expected, "{running} {stored}");
        }
    }

    #[test]
    fn items_go_by_their_names_wherever_they_stand() {
        let running =
            json!({"storage": [{"name": "root", "size": "1G"}, {"name": "old", "size": "1G"}]});
        let stored = json!({"storage": [
            {"name": "data", "size": "2G"},
            {"name": "root", "size": "3G", "cache": "none"},
        ], "network": []});
        assert_eq!(
            told(&running, &stored),
            json!([
                ["storage.old", {"size": "1G"}, null],
                ["storage.root.size", "1G", "3G"],
                ["storage.root.cache", null, "none"],
                ["storage.data", null, {"size": "2G"}],
            ])
        );
        // No network is another thing than the default one.
        let (one, none) = (json!({"network": [{"name": "net0"}]}), json!({"network": []}));
        assert_eq!(told(&one, &none), json!([["network.net0", {}, null]]));
    }
}
