//! The guest agent's language, as qemu-ga(8) speaks it: bytes become lines, lines become answers,
//! commands become lines.
//!
//! No I/O and no clock. The other end is the guest, which may say anything: a line that is too long is
//! left out, and what is read of a line is typed, so that no line grows into more memory than it has.
//! Commands carry no id, for agents before QEMU 4.0 refuse one: answers come in the order of the
//! commands, and [`sync`] finds the beginning of that order again.

pub(crate) mod command;
pub(crate) mod exec;
pub(crate) mod output;
pub(crate) mod simple;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value, json};

use crate::error::Error;

use output::{Output, Sieve};

/// The longest line that is taken from the agent, in bytes.
pub(crate) const LINE_LIMIT: usize = 1 << 20;
/// The byte before the answer to `guest-sync-delimited`; before a command it has the agent forget
/// what it has read of the one before. It stands in no UTF-8 text.
const SENTINEL: u8 = 0xff;

/// A command and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) arguments: Map<String, Value>,
}

impl Command {
    /// The line that gives it, with its newline.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let mut command = json!({ "execute": self.name });
        if !self.arguments.is_empty() {
            command["arguments"] = Value::Object(self.arguments.clone());
        }
        let mut line = command.to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

/// The line that asks the agent to say this number, whatever has gone before.
pub(crate) fn sync(number: u64) -> Vec<u8> {
    let command = json!({ "execute": "guest-sync-delimited", "arguments": { "id": number } });
    let mut line = vec![SENTINEL];
    line.extend_from_slice(command.to_string().as_bytes());
    line.push(b'\n');
    line
}

/// One line of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Line {
        bytes: Vec<u8>,
        /// The sentinel stood before it.
        delimited: bool,
        /// What was taken out of it, where that was asked for.
        output: Output,
    },
    /// A line that was longer than the limit; it is not kept.
    TooLong,
}

/// Collects the agent's bytes and gives its lines.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    line: Vec<u8>,
    delimited: bool,
    too_long: bool,
    sieve: Option<Sieve>,
}

impl Framer {
    /// Takes a command's output out of the next line, or no longer does; see [`output`].
    pub(crate) fn sift(&mut self, sifts: bool) {
        self.sieve = sifts.then(Sieve::default);
    }

    /// Takes bytes; the lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(*byte, b'\n' | SENTINEL)) {
            self.keep(&rest[..at]);
            if rest[at] == b'\n' {
                let Framer { line, delimited, too_long, sieve } = std::mem::take(self);
                if too_long {
                    heard.push(Heard::TooLong);
                } else if line.trim_ascii().is_empty() {
                    self.sieve = sieve;
                } else {
                    let output = sieve.map(Sieve::into_output).unwrap_or_default();
                    heard.push(Heard::Line { bytes: line, delimited, output });
                }
            } else {
                let sieve = self.sieve.is_some().then(Sieve::default);
                *self = Framer { delimited: true, sieve, ..Framer::default() };
            }
            rest = &rest[at + 1..];
        }
        self.keep(rest);
        heard
    }

    fn keep(&mut self, bytes: &[u8]) {
        match &mut self.sieve {
            Some(sieve) => {
                let others = sieve.push(bytes);
                self.add(&others);
            }
            None => self.add(bytes),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.too_long || self.line.len() + bytes.len() > LINE_LIMIT {
            (self.too_long, self.line) = (true, Vec::new());
        } else {
            self.line.extend_from_slice(bytes);
        }
    }
}

/// An answer of the agent's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) line: Vec<u8>,
    /// What was taken out of it.
    pub(crate) output: Output,
}

/// A line that no agent should write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) String);

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) error: Error,
    /// The agent was given the command, and may still obey it.
    pub(crate) given: bool,
}

impl Lost {
    pub(crate) fn given(error: Error) -> Lost {
        Lost { error, given: true }
    }
}

/// What the agent answered: what it was asked for, or why not, in its own words.
pub(crate) type Answer<T> = Result<T, String>;

#[derive(Deserialize)]
struct Raw<T> {
    #[serde(rename = "return")]
    returned: Option<T>,
    error: Option<RawError>,
    id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawError {
    desc: String,
}

/// Reads a line as the answer to a command that returns a `T`.
pub(crate) fn read<T: DeserializeOwned>(line: &[u8]) -> Result<Answer<T>, Nonsense> {
    let raw: Raw<T> = serde_json::from_slice(line).map_err(|error| Nonsense(error.to_string()))?;
    match raw {
        Raw { id: Some(_), .. } => Err(Nonsense("an answer to another's command".into())),
        Raw { returned: Some(value), error: None, .. } => Ok(Ok(value)),
        Raw { returned: None, error: Some(RawError { desc }), .. } => Ok(Err(desc)),
        _ => Err(Nonsense("neither a return nor an error".into())),
    }
}

/// Whether a line is an answer at all.
pub(crate) fn check(line: &[u8]) -> Result<(), Nonsense> {
    // What is passed over is not looked at otherwise.
    std::str::from_utf8(line).map_err(|error| Nonsense(error.to_string()))?;
    read::<IgnoredAny>(line).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, delimited: bool) -> Heard {
        Heard::Line { bytes: text.as_bytes().to_vec(), delimited, output: Output::default() }
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_come_in() {
        let bytes = b"half\xff{\"return\":1}\n\n{}\r\n\xff\xfflast\nrest";
        let expected = [line("{\"return\":1}", true), line("{}\r", false), line("last", true)];
        for size in 1..=bytes.len() {
            let mut framer = Framer::default();
            let heard: Vec<Heard> =
                bytes.chunks(size).flat_map(|piece| framer.push(piece)).collect();
            assert_eq!(heard, expected, "pieces of {size}");
            assert_eq!(framer.push(b"\n"), [line("rest", false)]);
        }
    }

    #[test]
    fn a_line_that_never_ends_takes_no_memory_and_the_next_is_heard() {
        let mut framer = Framer::default();
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..1024 {
            assert_eq!(framer.push(&piece), []);
            assert!(framer.line.capacity() <= 2 * LINE_LIMIT);
        }
        assert_eq!(framer.push(b"\nnext\n"), [Heard::TooLong, line("next", false)]);
        framer.push(&piece.repeat(17));
        assert_eq!(framer.push(b"\xffnext\n"), [line("next", true)]);
    }

    #[test]
    fn answers_are_told_from_nonsense() {
        assert_eq!(read::<u64>(br#"{"return": 5}"#), Ok(Ok(5)));
        let refused = br#"{"error": {"class": "GenericError", "desc": "no", "data": {}}}"#;
        assert_eq!(read::<u64>(refused), Ok(Err("no".into())));
        assert_eq!(check(br#"{"return": {"deep": [1, {"x": null}]}}"#), Ok(()));
        let deep = "[".repeat(100_000);
        let deep_return = format!("{{\"return\":{deep}");
        for nonsense in [
            "",
            "{}",
            "hello",
            r#"{"return": {}, "id": 7}"#,
            r#"{"return": 1, "error": {"desc": "x"}}"#,
            r#"{"error": "no"}"#,
            r#"{"return": 1} {"return": 1}"#,
            &deep,
            &deep_return,
        ] {
            assert!(check(nonsense.as_bytes()).is_err(), "{nonsense:.40}");
        }
        assert!(check(b"{\"return\": \"\xc3\x28\"}").is_err());
        assert!(read::<u64>(br#"{"return": "five"}"#).is_err());
    }

    #[test]
    fn commands_are_one_line() {
        let arguments = json!({"path": "/a\nb"}).as_object().cloned().unwrap();
        let command = Command { name: "guest-file-open".into(), arguments };
        let line = command.to_line();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(
            serde_json::from_slice::<Value>(&line).unwrap(),
            json!({"execute": "guest-file-open", "arguments": {"path": "/a\nb"}})
        );
        let sync = sync(7);
        assert!(sync.starts_with(b"\xff{") && sync.ends_with(b"\n"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_lines_or_nothing(bytes: Vec<u8>) {
            for heard in Framer::default().push(&bytes) {
                if let Heard::Line { bytes, .. } = heard {
                    let _ = check(&bytes);
                }
            }
        }
    }
}
