//! Columns: paths into the JSON of a result, such as `last_exit.signal`.

use serde_json::Value;

use super::escape::escape_value;
use crate::definition::nearest::nearest;
use crate::error::{Error, Result, quote};

/// What stands for null, and for an empty text, which `read` would swallow.
const NOTHING: &str = "-";

/// Refuses columns that no result of a command can have. `fields` are the paths that it has;
/// `labels.*` admits any path below `labels`, `*` any path at all.
///
/// # Errors
/// `Kind::Usage`, naming the known ones.
pub(super) fn check<'a>(mut columns: impl Iterator<Item = &'a str>, fields: &[&str]) -> Result<()> {
    let known = |column: &str| {
        fields.iter().any(|field| match field.strip_suffix(".*") {
            Some(above) => below(column, above) || column == above,
            None => *field == "*" || column == *field || below(field, column),
        })
    };
    let Some(unknown) = columns.find(|column| !known(column)) else { return Ok(()) };
    let error = Error::usage(format!("no column {}", quote(unknown)));
    let all = fields.join(", ");
    Err(match nearest(unknown, fields.iter().copied()) {
        Some(near) => error.hint(format!("did you mean \"{near}\"? columns are: {all}")),
        None => error.hint(format!("columns are: {all}")),
    })
}

/// Whether `path` leads to something inside `above`.
fn below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// What the path leads to, or null. A step is the key of an object or the index of an array; a key
/// that holds dots itself is found as well.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    const NULL: &Value = &Value::Null;
    let step = |key: &str| match value {
        Value::Object(members) => members.get(key),
        Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
    };
    match (step(path), path.split_once('.')) {
        (Some(found), _) => found,
        (None, Some((key, rest))) => step(key).map_or(NULL, |inner| at(inner, rest)),
        (None, None) => NULL,
    }
}

/// A value as one word: `-` for null and for an empty text, JSON for lists and objects.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) if text.is_empty() => NOTHING.to_owned(),
        Value::String(text) => escape_value(text),
        Value::Array(_) | Value::Object(_) => escape_value(&value.to_string()),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_into_objects_and_lists_and_else_to_null() {
        let vm = json!({
            "name": "web", "saved": false, "uptime": 1.5, "note": "", "since": null,
            "last_exit": {"signal": 9, "detail": "a\tb"}, "labels": {"a.b": "c"},
            "storage": [{"name": "root"}],
        });
        for (path, expected) in [
            ("name", "web"),
            ("saved", "false"),
            ("uptime", "1.5"),
            ("note", "-"),
            ("since", "-"),
            ("since.deeper", "-"),
            ("last_exit.signal", "9"),
            ("last_exit.detail", "a\\tb"),
            ("last_exit", "{\"detail\":\"a\\tb\",\"signal\":9}"),
            ("labels.a.b", "c"),
            ("storage.0.name", "root"),
            ("storage.1.name", "-"),
            ("storage.x", "-"),
            ("name.x", "-"),
            ("", "-"),
            (".", "-"),
        ] {
            assert_eq!(plain(at(&vm, path)), expected, "{path}");
        }
    }

    #[test]
    fn a_column_that_no_result_has_is_refused_with_the_known_ones() {
        let fields = ["name", "state", "last_exit.signal", "labels.*"];
        for known in ["name", "last_exit", "last_exit.signal", "labels", "labels.a.b"] {
            assert!(check([known].into_iter(), &fields).is_ok(), "{known}");
        }
        assert!(check(["running", "0.device"].into_iter(), &["*"]).is_ok(), "any path at all");
        for (unknown, hint) in [
            (
                "stat",
                "did you mean \"state\"? columns are: name, state, last_exit.signal, labels.*",
            ),
            ("xyzzy", "columns are: name, state, last_exit.signal, labels.*"),
            (
                "name.x",
                "did you mean \"name\"? columns are: name, state, last_exit.signal, labels.*",
            ),
            (
                "last_exit.",
                "did you mean \"last_exit.signal\"? columns are: name, state, last_exit.signal, labels.*",
            ),
            (
                "label",
                "did you mean \"labels.*\"? columns are: name, state, last_exit.signal, labels.*",
            ),
        ] {
            let error = check(["name", unknown].into_iter(), &fields).unwrap_err();
            assert_eq!(error.message, format!("no column \"{unknown}\""));
            assert_eq!(error.hint.as_deref(), Some(hint));
        }
    }
}
