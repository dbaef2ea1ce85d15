//! QMP as QEMU speaks it (docs/interop/qmp-spec): lines become messages, commands become lines.
//!
//! No I/O and no state; who asked what is the runner's to remember. Whatever a line holds, it is a
//! [`Message`] or it is [`Nonsense`].

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The longest line that is read from QEMU, in bytes; the largest ordinary one,
/// `query-qmp-schema`, has 207 KB.
pub(crate) const LINE_LIMIT: usize = 8 << 20;

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
    /// The answer as QEMU wrote it, less the id.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Answer::Return(value) => json!({ "return": value }),
            Answer::Error { class, desc } => json!({ "error": { "class": class, "desc": desc } }),
        }
    }
}

/// A line that no QEMU should write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) String);

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "QMP")]
    greeting: Option<Map<String, Value>>,
    event: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(rename = "return")]
    returned: Option<Value>,
    error: Option<RawError>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct RawError {
    class: String,
    desc: String,
}

impl Message {
    pub(crate) fn parse(line: &[u8]) -> Result<Message, Nonsense> {
        let raw: Raw = serde_json::from_slice(line).map_err(|error| Nonsense(error.to_string()))?;
        match raw {
            Raw { greeting: Some(greeting), .. } => {
                let number = |name: &str| greeting.get("version")?.get("qemu")?.get(name)?.as_u64();
                let version = number("major").zip(number("minor"));
                Ok(Message::Greeting { version })
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
    fn a_null_return_is_nonsense() {
        // serde reads `null` into None; QEMU never returns null, so it is nonsense, not a panic.
        assert!(Message::parse(br#"{"return":null,"id":1}"#).is_err());
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
