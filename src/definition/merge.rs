//! Several JSON objects to one: the sources of a command.
//!
//! Only shapes are known here. What does not look as it should is kept as it is, so that `read`
//! refuses it by name. Paths are made absolute here too, since only a source knows where it lies.

use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::keys::{self, Key, Kind};
use super::port;
use crate::error::{Error, Result, quote};

/// One source of a definition: what a file holds, or what a flag says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Object(Map<String, Value>),
    /// `--port`: which card it belongs to, only the whole tells.
    Port(String),
}

/// The sources of one command as one definition, from left to right.
///
/// # Errors
/// `Kind::Usage` for a port that has no card.
pub(crate) fn merged(parts: &[Part]) -> Result<Map<String, Value>> {
    onto(Map::new(), parts)
}

/// The sources of one command over a stored definition, one after the other, so that a `null` or an
/// empty list among them takes back what is stored. `args` and `arguments`, where any source gives
/// them, replace the stored ones: applying twice is applying once.
///
/// # Errors
/// `Kind::Usage` for a port that has no card.
pub(crate) fn onto(stored: Map<String, Value>, parts: &[Part]) -> Result<Map<String, Value>> {
    let mut whole = stored;
    for (name, _) in parts.iter().filter_map(Part::object).flatten() {
        let kind = keys::find(keys::DEFINITION, name).map(|key| key.kind);
        if matches!(kind, Some(Kind::Words | Kind::Anything)) {
            whole.remove(name);
        }
    }
    for part in parts {
        match part {
            Part::Object(over) => merge(&mut whole, over.clone()),
            Part::Port(text) => port::add(&mut whole, text)?,
        }
    }
    Ok(whole)
}

impl Part {
    fn object(&self) -> Option<&Map<String, Value>> {
        if let Part::Object(map) = self { Some(map) } else { None }
    }
}

/// Merges the next source of one command over `base`; the first one merges over an empty object.
///
/// Objects merge deeply, of scalars the last wins, `null` takes the default back, an empty list
/// empties the list, `storage` and `network` merge by name, `args` and `arguments` grow.
pub(crate) fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        let kind = keys::find(keys::DEFINITION, &name).map(|key| key.kind);
        match (kind, value) {
            (Some(Kind::Items { prefix, .. }), Value::Array(new)) => {
                let stored = base.remove(&name);
                base.insert(name, items(stored, new, prefix));
            }
            (Some(Kind::Words | Kind::Anything), Value::Array(new)) => match base.get_mut(&name) {
                Some(Value::Array(all)) if !new.is_empty() => all.extend(new),
                _ => drop(base.insert(name, Value::Array(new))),
            },
            (_, value) => deep(base, name, value),
        }
    }
}

/// Makes the relative paths of one source absolute: they begin at `folder`, which is absolute
/// itself. A program without a `/` stays a name. Fails (usage) where the path is not UTF-8, since
/// JSON cannot hold it.
pub(crate) fn absolute(source: &mut Map<String, Value>, folder: &Path) -> Result<()> {
    paths(source, keys::DEFINITION, folder)
}

/// A list of items merged by name. Two items of one name in `new` stay two: `read` refuses them.
fn items(stored: Option<Value>, new: Vec<Value>, prefix: &str) -> Value {
    let mut all = match stored {
        Some(Value::Array(all)) if !new.is_empty() => all,
        _ => Vec::new(),
    };
    let mut is_merged = vec![false; all.len()];
    for (place, item) in new.into_iter().enumerate() {
        let Value::Object(mut item) = item else {
            all.push(item);
            continue;
        };
        if item.get("name").is_none_or(Value::is_null) {
            item.insert("name".to_owned(), format!("{prefix}{place}").into());
        }
        let same = |(at, other): (usize, &Value)| !is_merged[at] && other["name"] == item["name"];
        let known = is_merged.len();
        match all[..known].iter().enumerate().position(same) {
            Some(at) => {
                is_merged[at] = true;
                if let Value::Object(into) = &mut all[at] {
                    item.into_iter().for_each(|(name, value)| deep(into, name, value));
                }
            }
            None => {
                let mut fresh = Map::new();
                item.into_iter().for_each(|(name, value)| deep(&mut fresh, name, value));
                all.push(Value::Object(fresh));
            }
        }
    }
    Value::Array(all)
}

fn deep(base: &mut Map<String, Value>, name: String, value: Value) {
    match value {
        Value::Null => drop(base.remove(&name)),
        Value::Object(over) => {
            if !base.get(&name).is_some_and(Value::is_object) {
                base.insert(name.clone(), Value::Object(Map::new()));
            }
            if let Some(Value::Object(into)) = base.get_mut(&name) {
                over.into_iter().for_each(|(inner, value)| deep(into, inner, value));
            }
        }
        scalar_or_list => drop(base.insert(name, scalar_or_list)),
    }
}

fn paths(map: &mut Map<String, Value>, keys: &'static [Key], folder: &Path) -> Result<()> {
    for (name, value) in map {
        match (keys::find(keys, name).map(|key| key.kind), value) {
            (Some(Kind::Path), Value::String(path)) if !path.is_empty() => {
                *path = joined(folder, path)?;
            }
            (Some(Kind::Program), Value::String(path)) if path.contains('/') => {
                *path = joined(folder, path)?;
            }
            (Some(Kind::Object(inner)), Value::Object(map)) => paths(map, inner, folder)?,
            (Some(Kind::Choice(choice)), Value::Object(map)) => paths(map, choice.object, folder)?,
            (Some(Kind::Items { keys: inner, .. }), Value::Array(all)) => {
                for item in all.iter_mut().filter_map(Value::as_object_mut) {
                    paths(item, inner, folder)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `folder/path` without `.` steps. `..` stays: behind a symbolic link it is not what it looks like.
pub(super) fn joined(folder: &Path, path: &str) -> Result<String> {
    let whole: PathBuf =
        folder.join(path).components().filter(|part| *part != Component::CurDir).collect();
    whole.into_os_string().into_string().map_err(|whole| {
        Error::usage(format!(
            "the path {} is not UTF-8, and a definition can hold no other",
            quote(&whole.to_string_lossy())
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn all_of(sources: &[Value]) -> Value {
        let mut base = Map::new();
        sources.iter().for_each(|source| merge(&mut base, map(source.clone())));
        Value::Object(base)
    }

    #[test]
    fn sources_merge_left_to_right() {
        for (sources, expected) in [
            (
                vec![json!({"cpu":1,"memory":"1G"}), json!({"cpu":2})],
                json!({"cpu":2,"memory":"1G"}),
            ),
            (vec![json!({"cpu":1}), json!({"cpu":null})], json!({})),
            (vec![json!({"cpu":null,"labels":{"a":null,"b":"1"}})], json!({"labels":{"b":"1"}})),
            (
                vec![json!({"cpu":{"cores":2}}), json!({"cpu":{"threads":2}})],
                json!({"cpu":{"cores":2,"threads":2}}),
            ),
            (vec![json!({"cpu":4}), json!({"cpu":{"cores":2}})], json!({"cpu":{"cores":2}})),
            (vec![json!({"args":["-a"]}), json!({"args":["-b"]})], json!({"args":["-a","-b"]})),
            (vec![json!({"args":["-a"]}), json!({"args":[]})], json!({"args":[]})),
            (vec![json!({"args":["-a"]}), json!({"args":null})], json!({})),
            (
                vec![json!({"arguments":["x"]}), json!({"arguments":[{"y":1}]})],
                json!({"arguments":["x",{"y":1}]}),
            ),
            (vec![json!({"unknown":[1]}), json!({"unknown":[2]})], json!({"unknown":[2]})),
        ] {
            assert_eq!(all_of(&sources), expected, "{sources:?}");
        }
    }

    #[test]
    fn items_merge_by_name_and_an_unnamed_one_is_named_by_its_place() {
        for (sources, expected) in [
            (
                vec![
                    json!({"storage":[{"size":"1G"},{"name":"data","size":"2G","cache":"none"}]}),
                    json!({"storage":[{"name":"data","size":"3G"},{"size":"4G"}]}),
                ],
                json!({"storage":[
                    {"name":"disk0","size":"1G"},
                    {"name":"data","size":"3G","cache":"none"},
                    {"name":"disk1","size":"4G"},
                ]}),
            ),
            (
                vec![
                    json!({"network":[{"type":"user","model":"e1000"}]}),
                    json!({"network":[{"name":null,"model":null}]}),
                ],
                json!({"network":[{"name":"net0","type":"user"}]}),
            ),
            (vec![json!({"network":[{}]}), json!({"network":[]})], json!({"network":[]})),
            (
                vec![json!({"network":[]}), json!({"network":[{}]})],
                json!({"network":[{"name":"net0"}]}),
            ),
            (
                vec![json!({"storage":[{"name":"a","size":"1G"},{"name":"a","size":"2G"}]})],
                json!({"storage":[{"name":"a","size":"1G"},{"name":"a","size":"2G"}]}),
            ),
            (vec![json!({"storage":[3]})], json!({"storage":[3]})),
            (vec![json!({"storage":[3]}), json!({"storage":"x"})], json!({"storage":"x"})),
        ] {
            assert_eq!(all_of(&sources), expected, "{sources:?}");
        }
    }

    #[test]
    fn sources_change_what_is_stored_and_changing_it_twice_is_changing_it_once() {
        for (stored, sources, expected) in [
            (
                json!({"cpu":1,"memory":"1G"}),
                vec![json!({"cpu":2})],
                json!({"cpu":2,"memory":"1G"}),
            ),
            (json!({"cpu":1,"memory":"1G"}), vec![json!({"cpu":null})], json!({"memory":"1G"})),
            (
                json!({"labels":{"a":"1","b":"2"}}),
                vec![json!({"labels":{"a":null}}), json!({"labels":{"c":"3"}})],
                json!({"labels":{"b":"2","c":"3"}}),
            ),
            (json!({"args":["-a"]}), vec![json!({"cpu":2})], json!({"args":["-a"],"cpu":2})),
            (json!({"args":["-a"]}), vec![json!({"args":["-b"]})], json!({"args":["-b"]})),
            (
                json!({"args":["-a"],"arguments":["x"]}),
                vec![json!({"args":["-b"]}), json!({"args":["-c"],"arguments":["y"]})],
                json!({"args":["-b","-c"],"arguments":["y"]}),
            ),
            (json!({"args":["-a"]}), vec![json!({"args":[]})], json!({"args":[]})),
            (json!({"args":["-a"]}), vec![json!({"args":null})], json!({})),
            (
                json!({"storage":[{"name":"disk0","size":"1G"},{"name":"data","size":"2G"}]}),
                vec![json!({"storage":[{"name":"data","cache":"none"}]})],
                json!({"storage":[
                    {"name":"disk0","size":"1G"},{"name":"data","size":"2G","cache":"none"},
                ]}),
            ),
            (
                json!({"storage":[{"name":"disk0","size":"1G"}]}),
                vec![json!({"storage":[]}), json!({"storage":[{"name":"x","size":"2G"}]})],
                json!({"storage":[{"name":"x","size":"2G"}]}),
            ),
            (
                json!({"storage":[{"name":"disk0","size":"1G","serial":"s"}]}),
                vec![json!({"storage":[{"size":"2G","serial":null},{"size":"3G"}]})],
                json!({"storage":[{"name":"disk0","size":"2G"},{"name":"disk1","size":"3G"}]}),
            ),
            (json!({"network":[{"name":"a"}]}), vec![json!({"network":null})], json!({})),
        ] {
            let parts: Vec<Part> =
                sources.into_iter().map(|part| Part::Object(map(part))).collect();
            let once = onto(map(stored), &parts).unwrap();
            assert_eq!(Value::Object(once.clone()), expected);
            assert_eq!(onto(once.clone(), &parts).unwrap(), once, "{parts:?}");
        }
    }

    #[test]
    fn a_port_goes_to_the_card_that_the_whole_has() {
        let parts = [Part::Object(map(json!({"cpu":2}))), Part::Port("8080:80".into())];
        let stored = json!({"network":[{"name":"lan","ports":["auto:22"]}]});
        let once = onto(map(stored), &parts).unwrap();
        let expected = json!([{"name":"lan","ports":["auto:22","8080:80"]}]);
        assert_eq!(once["network"], expected);
        assert_eq!(onto(once.clone(), &parts).unwrap(), once);
        assert_eq!(
            merged(&parts).unwrap()["network"],
            json!([{"name":"net0","ports":["8080:80"]}])
        );
    }

    #[test]
    fn paths_begin_at_the_folder_of_their_source() {
        let mut source = map(json!({
            "kernel": "./k", "initrd": "/i", "append": "root=./x", "binary": "qemu", "description": "./d",
            "storage": [{"file": "../a, b.qcow2", "backing_file": "base.raw"}, 3],
        }));
        absolute(&mut source, Path::new("/home/./me")).unwrap();
        assert_eq!(
            Value::Object(source),
            json!({
                "kernel": "/home/me/k", "initrd": "/i", "append": "root=./x", "binary": "qemu",
                "description": "./d",
                "storage": [
                    {"file": "/home/me/../a, b.qcow2", "backing_file": "/home/me/base.raw"}, 3
                ],
            })
        );
        let mut source = map(json!({"binary": "./qemu"}));
        absolute(&mut source, Path::new("/opt")).unwrap();
        assert_eq!(source["binary"], "/opt/qemu");
    }
}
