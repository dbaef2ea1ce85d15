//! `--set PATH=VALUE` and `--label K=V`: one key of a definition, wherever it stands, as the part of
//! a definition that sets it.
//!
//! What the value means is not decided here: it becomes JSON, and is read like any other.

use serde_json::{Map, Value};

use super::keys::{self, Key, Kind};
use super::nearest::nearest;
use super::read;
use crate::error::{Error, Result, quote};

/// The part that sets a key: `memory=2G`, `cpu.cores=2`, `labels.env=prod`,
/// `storage.data.cache=none`, where `data` is the item's name. A value of `null` takes the default
/// back; a key that holds a list or an object takes JSON.
///
/// # Errors
/// `Kind::Usage`, with a hint, for a path that leads to no key and for a value of another type.
pub(crate) fn set(text: &str) -> Result<Map<String, Value>> {
    let Some((path, value)) = text.split_once('=') else {
        return Err(Error::usage(format!("--set {} has no value", quote(text)))
            .hint("write --set PATH=VALUE, such as cpu.cores=2"));
    };
    let at = |error| read::at(&format!("--set {}", quote(text)), error);
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let key = find(keys::DEFINITION, first).map_err(at)?;
    let value = match (key.kind, rest) {
        (_, None) => json(key, value).map_err(at)?,
        (Kind::Labels, Some(label)) => one(label, text_or_null(value)),
        (Kind::Object(inner), Some(name)) => {
            one(name, json(find(inner, name).map_err(at)?, value).map_err(at)?)
        }
        (Kind::Choice(choice), Some(name)) if !choice.object.is_empty() => {
            one(name, json(find(choice.object, name).map_err(at)?, value).map_err(at)?)
        }
        (Kind::CountOr { .. }, Some(name)) => {
            one(name, json(find(keys::CPU, name).map_err(at)?, value).map_err(at)?)
        }
        (Kind::Items { keys: inner, .. }, Some(rest)) => {
            // The item's name may hold dots, a key never does.
            let Some((item, name)) = rest.rsplit_once('.') else {
                let hint = format!("name the item and its key: {first}.{rest}.KEY");
                return Err(at(Error::usage(format!("{first} is a list")).hint(hint)));
            };
            let value = json(find(inner, name).map_err(at)?, value).map_err(at)?;
            let named = ("name".to_owned(), Value::from(item));
            Value::Array(vec![Value::Object(Map::from_iter([named, (name.to_owned(), value)]))])
        }
        (_, Some(_)) => return Err(at(Error::usage(format!("{first} has no keys of its own")))),
    };
    Ok(Map::from_iter([(first.to_owned(), value)]))
}

/// The part that gives a label: `env=prod`.
///
/// # Errors
/// `Kind::Usage`, with a hint, where there is no `=` or nothing before it.
pub(crate) fn label(text: &str) -> Result<Map<String, Value>> {
    let (key, value) = label_pair(text)?;
    Ok(Map::from_iter([("labels".to_owned(), one(key, value.into()))]))
}

/// A label's key and value.
///
/// # Errors
/// `Kind::Usage`, with a hint, where there is no `=` or nothing before it.
pub(crate) fn label_pair(text: &str) -> Result<(&str, &str)> {
    text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
        Error::usage(format!("{} is not a label", quote(text))).hint("write KEY=VALUE: env=prod")
    })
}

fn one(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn text_or_null(value: &str) -> Value {
    if value == "null" { Value::Null } else { value.into() }
}

/// The value as JSON of the key's type. A count that is an object is JSON as well.
fn json(key: &Key, value: &str) -> Result<Value> {
    let is_json = value.starts_with(['{', '[']);
    match (value, key.kind) {
        ("null", _) => Ok(Value::Null),
        (_, Kind::CountOr { .. } | Kind::Choice(_)) if is_json => parsed(key, value),
        _ => key.value_of(value),
    }
}

fn parsed(key: &Key, value: &str) -> Result<Value> {
    serde_json::from_str(value).map_err(|error| {
        Error::usage(format!("{}: {} is not JSON: {error}", key.name, quote(value)))
    })
}

fn find(table: &'static [Key], name: &str) -> Result<&'static Key> {
    keys::find(table, name).ok_or_else(|| {
        let error = Error::usage(format!("there is no key {}", quote(name)));
        match nearest(name, table.iter().map(|key| key.name)) {
            Some(known) => error.hint(format!("did you mean {known}?")),
            None => error.hint("see \"maqet help definition\""),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn any_key_can_be_set() {
        for (text, expected) in [
            ("memory=2G", json!({"memory":"2G"})),
            ("memory=null", json!({"memory":null})),
            ("protect=on", json!({"protect":true})),
            ("cpu=4", json!({"cpu":4})),
            ("cpu={\"cores\":2}", json!({"cpu":{"cores":2}})),
            ("cpu.cores=2", json!({"cpu":{"cores":2}})),
            ("boot.order=cd", json!({"boot":{"order":"cd"}})),
            ("labels.a.b=c=d", json!({"labels":{"a.b":"c=d"}})),
            ("labels.env=null", json!({"labels":{"env":null}})),
            ("labels={\"a\":\"b\"}", json!({"labels":{"a":"b"}})),
            ("storage.data.size=2G", json!({"storage":[{"name":"data","size":"2G"}]})),
            ("storage.a.b.cache=none", json!({"storage":[{"name":"a.b","cache":"none"}]})),
            ("storage=[]", json!({"storage":[]})),
            ("network.net0.model=null", json!({"network":[{"name":"net0","model":null}]})),
            (
                "network.net0.ports=8080:80",
                json!({"network":[{"name":"net0","ports":["8080:80"]}]}),
            ),
            ("args=[\"-snapshot\"]", json!({"args":["-snapshot"]})),
            ("append=a=b c", json!({"append":"a=b c"})),
            ("description=", json!({"description":""})),
        ] {
            assert_eq!(Value::Object(set(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_is_named() {
        for (text, expected) in [
            ("memory", "has no value"),
            ("memry=2G", "did you mean memory?"),
            ("memory.x=2G", "no keys of its own"),
            ("cpu.corse=2", "did you mean cores?"),
            ("storage.data=1", "storage.data.KEY"),
            ("storage.data.sise=1G", "did you mean size?"),
            ("storage=x", "is not JSON"),
            ("cpu=many", "a whole number"),
            ("=1", "no key \"\""),
        ] {
            let error = set(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_label_is_a_key_and_a_value() {
        assert_eq!(Value::Object(label("a=b=c").unwrap()), json!({"labels":{"a":"b=c"}}));
        assert_eq!(Value::Object(label("a=").unwrap()), json!({"labels":{"a":""}}));
        assert!(label("a").is_err() && label("=b").is_err());
    }
}
