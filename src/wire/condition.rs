//! What can be waited for, as it is written: `running`, `agent`, `event:NAME`, `tcp:PORT`, `console:TEXT`.
//!
//! And TEXT, with the escapes that `send`, `type` and conditions share. Nothing here waits.

use std::fmt;

use super::expect::LONGEST;
use crate::error::{Error, Result, quote};

/// The longest condition as it is written, in bytes: of the longest text each byte may be `\xNN`.
const LONGEST_WORD: usize = "console:".len() + 4 * LONGEST;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Running,
    Paused,
    Stopped,
    /// The guest's agent answers.
    Agent,
    /// A QMP event of this name.
    Event(String),
    /// The guest has answered a connection to this port of its own.
    Tcp(u16),
    /// The guest has written this text to its console.
    Console(Vec<u8>),
}

/// A condition, and the word that a person wrote for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) word: String,
    pub(crate) condition: Condition,
}

impl Written {
    /// Reads a condition.
    ///
    /// # Errors
    /// `Kind::Usage`, with a hint.
    pub(crate) fn parse(word: &str) -> Result<Written> {
        let wrong = |why: &str| {
            Error::usage(format!("the condition {} {why}", quote(word))).hint(
                "conditions are running, paused, stopped, agent, event:NAME, tcp:GUESTPORT and console:TEXT",
            )
        };
        if word.len() > LONGEST_WORD {
            return Err(wrong("is too long"));
        }
        let condition = match word.split_once(':') {
            None => match word {
                "running" => Condition::Running,
                "paused" => Condition::Paused,
                "stopped" => Condition::Stopped,
                "agent" => Condition::Agent,
                _ => return Err(wrong("is not known")),
            },
            Some(("event", name)) => {
                let is_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
                if name.is_empty() || !name.bytes().all(is_name) {
                    return Err(wrong("names no event of QEMU's: they are in capitals"));
                }
                Condition::Event(name.to_owned())
            }
            Some(("tcp", port)) => match port.parse::<u16>() {
                Ok(port) if port > 0 => Condition::Tcp(port),
                _ => return Err(wrong("names no port: 1 to 65535")),
            },
            Some(("console", text)) => match unescape(text)? {
                text if text.is_empty() => return Err(wrong("has no text")),
                text if text.len() > LONGEST => return Err(wrong("has more than 1024 bytes")),
                text => Condition::Console(text),
            },
            Some(_) => return Err(wrong("is not known")),
        };
        Ok(Written { word: word.to_owned(), condition })
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

/// TEXT as bytes: `\r` (Enter), `\n`, `\t`, `\e`, `\0`, `\\`, `\xNN`; anything else stands for itself.
///
/// # Errors
/// `Kind::Usage` for any other backslash.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>> {
    let wrong = |what: &str| {
        Error::usage(format!("in {} {what} is no escape", quote(text)))
            .hint(r"escapes are \r \n \t \e \0 \\ and \xNN; a backslash itself is \\")
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let behind = &rest[at + 1..];
        let letter = behind.chars().next().ok_or_else(|| wrong("a single backslash at the end"))?;
        let (byte, length) = match letter {
            'r' => (b'\r', 1),
            'n' => (b'\n', 1),
            't' => (b'\t', 1),
            'e' => (0x1b, 1),
            '0' => (0, 1),
            '\\' => (b'\\', 1),
            'x' => {
                let digits =
                    behind.get(1..3).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
                let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
                (byte.ok_or_else(|| wrong(r"\x without two hex digits"))?, 3)
            }
            other => return Err(wrong(&format!("\\{}", other.escape_debug()))),
        };
        bytes.push(byte);
        rest = &behind[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        for (word, expected) in [
            ("running", Condition::Running),
            ("stopped", Condition::Stopped),
            ("agent", Condition::Agent),
            ("event:SHUTDOWN", Condition::Event("SHUTDOWN".into())),
            ("tcp:22", Condition::Tcp(22)),
            ("console:login:", Condition::Console(b"login:".into())),
            (r"console:a\x0Ab", Condition::Console(b"a\nb".into())),
        ] {
            assert_eq!(Written::parse(word).unwrap().condition, expected, "{word}");
        }
        for wrong in ["", "up", "event:", "event:x", "tcp:0", "tcp:65536", "console:", "x:y"] {
            let error = Written::parse(wrong).unwrap_err();
            assert!(error.kind == crate::error::Kind::Usage && error.hint.is_some(), "{wrong}");
        }
        for long in ["console:", "event:", "tcp:"] {
            assert!(Written::parse(&format!("{long}{}", "0".repeat(1 << 20))).is_err());
        }
        assert!(Written::parse(&format!("console:{}", "x".repeat(1025))).is_err());
        assert!(Written::parse(&format!("console:{}", r"\x00".repeat(1024))).is_ok());
    }

    #[test]
    fn a_text_has_the_escapes_that_are_told_and_no_others() {
        for (text, bytes) in [
            (r"root\r", &b"root\r"[..]),
            (r"\e[A\t\0\\\n", b"\x1b[A\t\0\\\n"),
            (r"\xff\x0ax", b"\xff\nx"),
            ("é $HOME", "é $HOME".as_bytes()),
            ("", b""),
        ] {
            assert_eq!(unescape(text).unwrap(), bytes, "{text}");
        }
        for wrong in [r"a\", r"\q", r"\x1", r"\xg0", r"\é", r"\x+1"] {
            assert!(unescape(wrong).unwrap_err().hint.is_some(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_bytes_or_an_error(text: String) {
            let _ = unescape(&text);
            let _ = Written::parse(&text);
        }
    }
}
