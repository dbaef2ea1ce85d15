//! One JSON object read by its table of keys: unknown and unsupported keys, wrong types, and where.
//!
//! What a definition as a whole must fulfil is not known here.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::definition::keys::{self, Key, Kind};
use crate::definition::nearest::nearest;
use crate::definition::options::is_key;
use crate::definition::predecessor;
use crate::definition::types::Program;
use crate::definition::units::{self, Limit};
use crate::error::{Error, Result, quote};

/// An object whose keys are all known and supported. Its values are looked at when they are asked
/// for, by the name of a key; a `null` counts as not given.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    place: String,
    map: &'a Map<String, Value>,
    keys: &'static [Key],
}

impl<'a> Fields<'a> {
    /// `place` is the object's JSON path, empty for a whole definition.
    pub(super) fn new(
        place: &str,
        map: &'a Map<String, Value>,
        keys: &'static [Key],
    ) -> Result<Fields<'a>> {
        let fields = Fields { place: place.to_owned(), map, keys };
        match map.keys().find(|name| keys::find(keys, name).is_none()) {
            Some(unknown) => Err(fields.unknown(unknown)),
            None => Ok(fields),
        }
    }

    /// The same for a value that must be an object.
    pub(super) fn of(place: &str, value: &'a Value, keys: &'static [Key]) -> Result<Fields<'a>> {
        match value {
            Value::Object(map) => Fields::new(place, map, keys),
            other => Err(expected(place, "an object", other)),
        }
    }

    /// The JSON path of one of the keys: `storage[1].size`.
    pub(super) fn path(&self, name: &str) -> String {
        // A key that a person made up may be anything: it is escaped and cut like any value.
        let quoted = quote(name);
        let shown = &quoted[1..quoted.len() - 1];
        if self.place.is_empty() { shown.to_owned() } else { format!("{}.{shown}", self.place) }
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// An error about one of the keys.
    pub(super) fn refuse(&self, name: &str, why: impl AsRef<str>) -> Error {
        Error::usage(format!("{}: {}", self.path(name), why.as_ref()))
    }

    /// A text without a zero byte, which no argv can hold.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.value(name).map(|value| text(&self.path(name), value)).transpose()
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>> {
        self.value(name)
            .map(|value| {
                value.as_bool().ok_or_else(|| expected(&self.path(name), "true or false", value))
            })
            .transpose()
    }

    /// A whole number within the range of the key's table row.
    pub(super) fn count<T: TryFrom<u64>>(&self, name: &str) -> Result<Option<T>> {
        let (least, most) = match keys::find(self.keys, name).map(|key| key.kind) {
            Some(Kind::Count { min, max } | Kind::CountOr { min, max, .. }) => (min, max),
            _ => (0, u64::MAX),
        };
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let within = value.as_u64().filter(|count| (least..=most).contains(count));
        match within.and_then(|count| T::try_from(count).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(expected(
                &self.path(name),
                &format!("a whole number, {least} to {most}"),
                value,
            )),
        }
    }

    /// A size in bytes.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>> {
        let bare = match keys::find(self.keys, name).map(|key| key.kind) {
            Some(Kind::Size(bare)) => bare,
            _ => units::Bare::Refused,
        };
        let path = self.path(name);
        self.value(name)
            .map(|value| match value {
                Value::String(written) => {
                    units::size(written, bare).map_err(|error| at(&path, error))
                }
                Value::Number(number) => {
                    units::size(&number.to_string(), bare).map_err(|error| at(&path, error))
                }
                other => Err(expected(&path, "a size such as \"20G\"", other)),
            })
            .transpose()
    }

    pub(super) fn duration(&self, name: &str) -> Result<Option<Limit>> {
        let path = self.path(name);
        self.value(name)
            .map(|value| match value {
                Value::String(written) => Limit::parse(written).map_err(|error| at(&path, error)),
                Value::Number(number) => {
                    Limit::parse(&number.to_string()).map_err(|error| at(&path, error))
                }
                other => Err(expected(&path, "a time such as \"60s\"", other)),
            })
            .transpose()
    }

    /// An absolute path.
    pub(super) fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        match self.text(name)? {
            None => Ok(None),
            Some("") => Err(self.refuse(name, "the path is empty")),
            Some(path) if path.starts_with('/') => Ok(Some(path.into())),
            Some(path) => {
                Err(self.refuse(name, format!("{} is not an absolute path", quote(path))))
            }
        }
    }

    pub(super) fn program(&self, name: &str) -> Result<Option<Program>> {
        match self.text(name)? {
            Some("") => Err(self.refuse(name, "the name is empty")),
            Some(program) if !program.contains('/') => Ok(Some(Program::Name(program.to_owned()))),
            _ => Ok(self.file(name)?.map(Program::Path)),
        }
    }

    /// One of the words of the key's table row, as the type that `of` makes of it.
    pub(super) fn choice<T>(
        &self,
        name: &str,
        of: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let Some(Kind::Choice(choice)) = keys::find(self.keys, name).map(|key| key.kind) else {
            return Ok(None);
        };
        let known = choice.words.join(", ");
        let word = value
            .as_str()
            .ok_or_else(|| expected(&self.path(name), &format!("one of {known}"), value))?;
        // A word may be in the table and have no type only where it is the sole one.
        of(word).map(Some).ok_or_else(|| {
            let error = expected(&self.path(name), &format!("one of {known}"), value);
            match nearest(word, choice.words.iter().copied()) {
                Some(near) => error.hint(format!("did you mean {}?", quote(near))),
                None => error,
            }
        })
    }

    /// The elements of a list, each with its JSON path.
    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<(String, &'a Value)>>> {
        let path = self.path(name);
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(all)) => Ok(Some(
                all.iter().enumerate().map(|(n, value)| (format!("{path}[{n}]"), value)).collect(),
            )),
            Some(other) => Err(expected(&path, "a list", other)),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let error = Error::usage(format!("{}: there is no such key", self.path(name)));
        if let Some(now) = predecessor::instead(&self.place, name) {
            return error.hint(format!("that is {now}"));
        }
        match nearest(name, self.keys.iter().map(|key| key.name)) {
            Some(known) => error.hint(format!("did you mean {}?", self.path(known))),
            None => error.hint("see \"maqet help definition\""),
        }
    }
}

/// A text without a zero byte.
pub(super) fn text<'a>(path: &str, value: &'a Value) -> Result<&'a str> {
    match value {
        Value::String(text) if text.contains('\0') => {
            Err(Error::usage(format!("{path}: a zero byte cannot be given to QEMU")))
        }
        Value::String(text) => Ok(text),
        other => Err(expected(path, "a string", other)),
    }
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

/// Options of QEMU: scalars, or a list of scalars for a key that stands several times.
pub(super) fn options(path: &str, value: &Value) -> Result<Vec<(String, String)>> {
    let map = value.as_object().ok_or_else(|| expected(path, "an object", value))?;
    let mut all = Vec::new();
    for (key, value) in map {
        let path = format!("{path}.{}", quote(key));
        if !is_key(key) {
            return Err(Error::usage(format!("{path}: this is not the name of an option")));
        }
        match value {
            Value::Array(several) => {
                for value in several {
                    all.push((key.clone(), scalar(&path, value)?));
                }
            }
            one => all.push((key.clone(), scalar(&path, one)?)),
        }
    }
    Ok(all)
}

/// What was expected at `path`, and what stands there.
pub(super) fn expected(path: &str, what: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => quote(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Error::usage(format!("{path}: expected {what}, found {found}"))
}

/// The same error with the place in front.
pub(in crate::definition) fn at(place: &str, mut error: Error) -> Error {
    // With the place it may be too long for one sentence.
    let told = Error::new(error.kind, format!("{place}: {}", error.message));
    error.message.clone_from(&told.message);
    error
}
