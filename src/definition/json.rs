//! Bytes to JSON objects: one definition, an array of them, or several one after another.
//!
//! Comments (`//` to the end of the line) are allowed. What the keys mean is not known here. Every
//! refusal says where: source, line and column.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use crate::error::{Error, Result, quote};

/// The longest input, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;
/// How deep objects and lists may stand in one another.
const DEEPEST: usize = 64;

/// The definitions that `bytes` hold, at least one. `source` is the name for messages: a path, or
/// "standard input".
///
/// Usage errors: over 1 MiB, not UTF-8, not JSON, deeper than 64, the same key twice in one object
/// (a mistake that other readers hide), anything but objects, none at all.
pub(crate) fn documents(bytes: &[u8], source: &str) -> Result<Vec<Map<String, Value>>> {
    objects(bytes, source).map_err(|error| {
        error.or_hint("a definition is a JSON object; see \"maqet help definition\"")
    })
}

fn objects(bytes: &[u8], source: &str) -> Result<Vec<Map<String, Value>>> {
    if bytes.len() > LARGEST {
        return Err(Error::usage(format!("{source} is larger than 1 MiB: no definition is")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(&bytes[..error.valid_up_to()]);
        Error::usage(format!("{source}, line {line}, column {column}: not UTF-8"))
    })?;
    let text = without_comments(text);
    let mut found = Vec::new();
    for document in serde_json::Deserializer::from_slice(&text).into_iter::<Document>() {
        found.extend(document.map_err(|error| located(source, &error))?.0);
    }
    if found.is_empty() {
        return Err(Error::usage(format!("{source} holds no definition"))
            .hint("the least definition is {}"));
    }
    Ok(found)
}

/// The same bytes with comments blanked out, so that lines and columns stay what they were.
fn without_comments(text: &str) -> Vec<u8> {
    #[derive(PartialEq)]
    enum At {
        Json,
        String,
        Escape,
        Comment,
    }
    let mut bytes = text.as_bytes().to_vec();
    let mut at = At::Json;
    for place in 0..bytes.len() {
        at = match (at, bytes[place]) {
            (At::Json, b'"') => At::String,
            (At::Json, b'/') if bytes.get(place + 1) == Some(&b'/') => At::Comment,
            (At::String, b'\\') => At::Escape,
            (At::Escape, _) => At::String,
            (At::String, b'"') | (At::Comment, b'\n') => At::Json,
            (same, _) => same,
        };
        if at == At::Comment {
            bytes[place] = b' ';
        }
    }
    bytes
}

/// Line and column of the byte behind `before`, both from 1.
fn position(before: &[u8]) -> (usize, usize) {
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    (before.iter().filter(|byte| **byte == b'\n').count() + 1, before.len() - line_start + 1)
}

fn located(source: &str, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let said = error.to_string();
    let why = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
    Error::usage(format!("{source}, line {line}, column {column}: {why}"))
}

/// One value of the input: a definition or an array of them.
struct Document(Vec<Map<String, Value>>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(Definitions).map(Document)
    }
}

struct Definitions;

impl<'de> Visitor<'de> for Definitions {
    type Value = Vec<Map<String, Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a definition ({…}) or an array of definitions")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(vec![object(map, 1)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(Object)? {
            all.push(one);
        }
        Ok(all)
    }
}

/// An element of an array of definitions.
struct Object;

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a definition ({…})")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        object(map, 2)
    }
}

/// Any value; the number is how many objects and lists it stands in.
struct Any(usize);

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let depth = deeper(self.0)?;
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(Any(depth))? {
            all.push(one);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        object(map, deeper(self.0)?).map(Value::Object)
    }
}

/// The entries of an object that is itself the `depth`-th level.
fn object<'de, A: MapAccess<'de>>(
    mut map: A,
    depth: usize,
) -> Result<Map<String, Value>, A::Error> {
    let mut all = Map::new();
    while let Some(key) = map.next_key::<String>()? {
        if all.contains_key(&key) {
            return Err(A::Error::custom(format!("the key {} stands here twice", quote(&key))));
        }
        let value = map.next_value_seed(Any(depth))?;
        all.insert(key, value);
    }
    Ok(all)
}

fn deeper<E: serde::de::Error>(depth: usize) -> Result<usize, E> {
    if depth < DEEPEST { Ok(depth + 1) } else { Err(E::custom("deeper than 64 levels")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Vec<Value>> {
        Ok(documents(text.as_bytes(), "x.json")?.into_iter().map(Value::Object).collect())
    }

    proptest::proptest! {
        #[test]
        fn any_keys_and_texts_are_read_as_they_stand(
            texts: std::collections::BTreeMap<String, String>,
            comment in "[^\n]*",
        ) {
            let json = serde_json::to_string_pretty(&texts).unwrap();
            let commented = json.replace('\n', &format!("//{comment}\n"));
            let read = documents(commented.as_bytes(), "x.json").unwrap();
            proptest::prop_assert_eq!(serde_json::to_value(&read[0]).unwrap(), json!(texts));
        }

        #[test]
        fn any_bytes_are_definitions_or_an_error(bytes: Vec<u8>) {
            let _ = documents(&bytes, "x.json");
        }
    }

    #[test]
    fn one_an_array_and_several_are_read() {
        for (text, expected) in [
            ("{}", vec![json!({})]),
            (
                r#"[{"a":1},{"b":[null,-1,1.5,true]}]"#,
                vec![json!({"a":1}), json!({"b":[null,-1,1.5,true]})],
            ),
            (
                "{\"a\":1}{\"b\":2}\n\n[{\"c\":3}]",
                vec![json!({"a":1}), json!({"b":2}), json!({"c":3})],
            ),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn comments_go_but_not_inside_strings() {
        for (text, expected) in [
            ("// head\n{\"a\": 1} // tail", json!({"a":1})),
            (r#"{"a":"http://x"}"#, json!({"a":"http://x"})),
            ("{\"a\":\"\\\"//\", // \"quoted\" é\r\n\"b\":2}//", json!({"a":"\"//","b":2})),
            (r#"{"a\\":"\\"}"#, json!({"a\\":"\\"})),
        ] {
            assert_eq!(read(text).unwrap(), [expected], "{text}");
        }
    }

    #[test]
    fn a_refusal_says_where() {
        for (text, expected) in [
            ("", "x.json holds no definition"),
            ("  // only a comment", "x.json holds no definition"),
            ("[]", "x.json holds no definition"),
            ("{\n // é\n \"a\": x}", "x.json, line 3, column 7: expected value"),
            ("{\"a\":1,\n\"a\":2}", "x.json, line 2, column 3: the key \"a\" stands here twice"),
            ("{} 3", "expected a definition"),
            (
                "[{}, 3]",
                "x.json, line 1, column 6: invalid type: integer `3`, expected a definition",
            ),
            ("{\"a\":", "EOF while parsing"),
            ("{\"a\": / 1}", "x.json, line 1, column 7: expected value"),
            ("{\"a\":\"\\ud800\"}", "x.json, line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error}");
            assert_eq!(error.kind, crate::error::Kind::Usage);
        }
        let error = documents(b"{\n\"a\":\"\xff\"}", "x.json").unwrap_err();
        assert_eq!(error.message, "x.json, line 2, column 6: not UTF-8");
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let nested = |lists: usize| format!("{{\"a\":{}{}}}", "[".repeat(lists), "]".repeat(lists));
        assert!(read(&nested(63)).is_ok());
        assert!(read(&nested(64)).unwrap_err().message.contains("deeper than 64"));
        assert!(read(&nested(100_000)).unwrap_err().message.contains("deeper than 64"));
        let mut large = vec![b' '; LARGEST + 1];
        large[..2].copy_from_slice(b"{}");
        assert!(documents(&large[..LARGEST], "x.json").is_ok());
        assert!(documents(&large, "x.json").unwrap_err().message.contains("1 MiB"));
    }
}
