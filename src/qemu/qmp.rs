//! QMP as QEMU speaks it (docs/interop/qmp-spec): lines become messages, commands become lines.
//!
//! No I/O and no state; who asked what is the runner's to remember. Whatever a line holds, it is a
//! [`Message`] or it is [`Nonsense`].

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::error::quote;
use crate::weight::weight;

/// The longest line that is read from QEMU, in bytes; the largest ordinary one,
/// `query-qmp-schema`, has 207 KB.
pub(crate) const LINE_LIMIT: usize = 8 << 20;

/// The most memory that what a line says may take, in bytes; `query-qmp-schema` takes 3 MB.
pub(crate) const WEIGHT_LIMIT: usize = 9 << 20;
/// The longest name of an event, in bytes: QEMU's own have up to 40.
const NAME_LIMIT: usize = 128;

/// What QEMU says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// QEMU's first line, with its version where it tells one.
    Greeting {
        version: Option<Version>,
    },
    /// The answer to the command with this id: QEMU's whole object without the id.
    Answer {
        id: u64,
        answer: Answer,
    },
    Event {
        name: String,
        data: Map<String, Value>,
    },
}

/// QEMU's version: major and minor.
pub(crate) type Version = (u64, u64);

/// The oldest QEMU that maqet knows how to speak with.
pub(crate) const OLDEST: Version = (7, 0);

/// How QEMU answered a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Return(Value),
    Error { class: String, desc: String },
}

impl Answer {
    /// The answer as QEMU wrote it, less the id. It may be large, and no copy is made.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Answer::Return(value) => Value::Object(Map::from_iter([("return".to_owned(), value)])),
            Answer::Error { class, desc } => json!({ "error": { "class": class, "desc": desc } }),
        }
    }
}

/// A line that no QEMU should write, and what is wrong with it in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) String);

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "QMP")]
    greeting: Option<Map<String, Value>>,
    event: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(rename = "return", default, deserialize_with = "present")]
    returned: Option<Value>,
    error: Option<RawError>,
    id: Option<u64>,
}

/// A null that is there is not the same as nothing: `qom-get` may return one.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

#[derive(Deserialize)]
struct RawError {
    class: String,
    desc: String,
}

impl Message {
    pub(crate) fn parse(line: &[u8]) -> Result<Message, Nonsense> {
        if weight(line) > WEIGHT_LIMIT {
            return Err(Nonsense("more values than fit into memory".into()));
        }
        // What serde says may quote the whole line.
        let raw: Raw =
            serde_json::from_slice(line).map_err(|error| Nonsense(quote(&error.to_string())))?;
        match raw {
            Raw { greeting: Some(greeting), .. } => {
                let number = |name: &str| greeting.get("version")?.get("qemu")?.get(name)?.as_u64();
                let version = number("major").zip(number("minor"));
                Ok(Message::Greeting { version })
            }
            Raw { event: Some(name), .. } if !is_event_name(&name) => {
                Err(Nonsense("an event whose name is none".into()))
            }
            Raw { event: Some(name), data, .. } => {
                Ok(Message::Event { name, data: data.unwrap_or_default() })
            }
            Raw { returned: Some(value), id: Some(id), .. } => {
                Ok(Message::Answer { id, answer: Answer::Return(value) })
            }
            Raw { error: Some(RawError { class, desc }), id: Some(id), .. } => {
                Ok(Message::Answer { id, answer: Answer::Error { class, desc } })
            }
            _ => Err(Nonsense("neither a greeting, nor an event, nor an answer to us".into())),
        }
    }
}

fn is_event_name(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The line that gives QEMU a command, with its newline.
pub(crate) fn command(id: u64, name: &str, arguments: Map<String, Value>) -> Vec<u8> {
    let mut command = json!({ "execute": name, "id": id });
    if !arguments.is_empty() {
        command["arguments"] = Value::Object(arguments);
    }
    let mut line = command.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_qemu_says_is_told_apart() {
        let map = |value: Value| value.as_object().unwrap().clone();
        for (line, message) in [
            (
                r#"{"QMP":{"version":{},"capabilities":["oob"]}}"#,
                Message::Greeting { version: None },
            ),
            (
                r#"{"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7}}}}"#,
                Message::Greeting { version: Some((7, 2)) },
            ),
            (
                r#"{"return":{},"id":3}"#,
                Message::Answer { id: 3, answer: Answer::Return(json!({})) },
            ),
            (
                r#"{"id":4,"error":{"class":"GenericError","desc":"no"}}"#,
                Message::Answer {
                    id: 4,
                    answer: Answer::Error { class: "GenericError".into(), desc: "no".into() },
                },
            ),
            (
                r#"{"timestamp":{"seconds":1,"microseconds":2},"event":"SHUTDOWN","data":{"guest":true}}"#,
                Message::Event { name: "SHUTDOWN".into(), data: map(json!({"guest": true})) },
            ),
            (r#"{"event":"STOP"}"#, Message::Event { name: "STOP".into(), data: Map::new() }),
        ] {
            assert_eq!(Message::parse(line.as_bytes()).unwrap(), message);
        }
    }

    #[test]
    fn a_null_that_is_returned_is_an_answer() {
        let answer = Message::Answer { id: 1, answer: Answer::Return(Value::Null) };
        assert_eq!(Message::parse(br#"{"return":null,"id":1}"#), Ok(answer));
    }

    #[test]
    fn what_would_fill_the_memory_is_told_before_it_does() {
        let list =
            |piece: &str| format!(r#"{{"return":[{}0],"id":1}}"#, piece.repeat(LINE_LIMIT / 8));
        for line in [list("[0],"), list("{\"\":0},"), list("0,"), list("\"\",")] {
            let told = Message::parse(line.as_bytes()).unwrap_err();
            assert!(told.0.contains("more values"), "{line:.20}: {told:?}");
        }
        let text = format!(r#"{{"return":"{}","id":1}}"#, "[{,".repeat(LINE_LIMIT / 4));
        assert!(Message::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn a_name_that_is_none_and_what_serde_quotes_are_cut() {
        let long = "X".repeat(1 << 20);
        for name in ["", "\\n", "A B", "é", &long] {
            let told = Message::parse(format!(r#"{{"event":"{name}"}}"#).as_bytes()).unwrap_err();
            assert!(told.0.len() < 400, "{}", told.0.len());
        }
        let told = Message::parse(format!(r#"{{"id":"{long}\\u001b"}}"#).as_bytes()).unwrap_err();
        assert!(told.0.len() < 400, "{}", told.0.len());
    }

    #[test]
    fn nonsense_is_told_as_such() {
        let deep = "[".repeat(100_000);
        for line in ["", "{}", "[1]", "{\"return\":{}}", "{\"id\":1}", "\u{0}", &deep] {
            assert!(Message::parse(line.as_bytes()).is_err(), "{line:.20}");
        }
        assert!(Message::parse(&[0xff, b'{']).is_err());
    }

    #[test]
    fn a_command_is_one_line() {
        let arguments = json!({"a": "x\ny"}).as_object().unwrap().clone();
        let line = command(7, "qom-get", arguments);
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let read: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read, json!({"execute": "qom-get", "id": 7, "arguments": {"a": "x\ny"}}));
        assert_eq!(command(1, "cont", Map::new()), b"{\"execute\":\"cont\",\"id\":1}\n");
    }
}
