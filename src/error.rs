//! The one error type: what was attempted, on what, why it failed, and what to do.
//!
//! `Display` holds the sentence that a person reads; `main` prints it once. Nothing here prints,
//! logs or ends the process.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

/// The longest sentence of ours, in bytes. Text that QEMU wrote is not counted.
const MESSAGE_LIMIT: usize = 500;
/// The longest value quoted in a sentence, in characters.
const VALUE_LIMIT: usize = 64;
/// How many of QEMU's last lines an error carries.
const QUOTED_LINES: usize = 16;
/// And how much of it at most, in bytes.
const QUOTED_BYTES: usize = 16 << 10;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was: the exit code, and the `kind` of an error in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// It was tried and did not work.
    Failed,
    /// The command line or a definition is wrong, as maqet itself finds.
    Usage,
    /// The VM is not running.
    NotRunning,
    /// No such VM, snapshot, disk or device.
    NotFound,
    /// Time ran out, or the runner does not answer.
    Timeout,
    /// Permission or authentication.
    Permission,
    /// Exists already, running where it must be stopped, locked, busy, protected.
    Conflict,
    /// The person at the terminal broke it off (SIGINT).
    Interrupted,
    /// It was told to end (SIGTERM, SIGHUP).
    Terminated,
}

impl Kind {
    /// The exit code of a command that failed this way.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::NotRunning => 3,
            Kind::NotFound => 4,
            Kind::Timeout => 5,
            Kind::Permission => 6,
            Kind::Conflict => 7,
            Kind::Interrupted => 130,
            Kind::Terminated => 143,
        }
    }
}

/// A failure, ready to be read. One word in size: an error is handed on in very many places, and rare
/// in all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Error(Box<Told>);

/// What an [`Error`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) kind: Kind,
    /// The whole sentence, what QEMU said included; one line unless QEMU said more.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The VM that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

impl Deref for Error {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.0
    }
}

impl Error {
    /// An error of `kind`; the sentence is cut at 500 bytes.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error::of(kind, message.into())
    }

    #[cold]
    #[inline(never)]
    fn of(kind: Kind, message: String) -> Error {
        let message = cut(message, MESSAGE_LIMIT);
        Error(Box::new(Told { kind, message, hint: None, name: None }))
    }

    /// An error as another process told it: nothing is cut.
    pub(crate) fn told(kind: Kind, message: String, hint: Option<String>) -> Error {
        Error(Box::new(Told { kind, message, hint, name: None }))
    }

    pub(crate) fn failed(message: impl Into<String>) -> Error {
        Error::new(Kind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Error {
        Error::new(Kind::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, message)
    }

    pub(crate) fn timeout(message: impl Into<String>) -> Error {
        Error::new(Kind::Timeout, message)
    }

    pub(crate) fn permission(message: impl Into<String>) -> Error {
        Error::new(Kind::Permission, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Error {
        Error::new(Kind::Conflict, message)
    }

    /// An operating system's refusal, as "cannot WHAT: WHY". A missing permission keeps its kind.
    pub(crate) fn io(what: impl fmt::Display, error: &std::io::Error) -> Error {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let kind = match error.kind() {
            PermissionDenied | ReadOnlyFilesystem => Kind::Permission,
            _ => Kind::Failed,
        };
        let told = Error::new(kind, format!("cannot {what}: {}", plain(error)));
        match error.kind() {
            StorageFull | QuotaExceeded => told.hint("make room there, and try again"),
            _ => told,
        }
    }

    /// The same error with a second line that says what to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Error {
        self.set_hint(hint.into());
        self
    }

    #[cold]
    #[inline(never)]
    fn set_hint(&mut self, hint: String) {
        self.hint = Some(cut(hint, MESSAGE_LIMIT));
    }

    /// The same error of another kind.
    #[must_use]
    pub(crate) fn of_kind(mut self, kind: Kind) -> Error {
        self.kind = kind;
        self
    }

    /// The same error in these words; nothing is cut.
    #[must_use]
    pub(crate) fn worded(mut self, message: String) -> Error {
        self.message = message;
        self
    }

    /// The same error, said of something: `WHAT: …`.
    #[must_use]
    #[cold]
    pub(crate) fn said_of(mut self, what: impl fmt::Display) -> Error {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same error with this hint, unless it has one.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: &str) -> Error {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// The same error with QEMU's last 16 lines behind the sentence.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn quoting(mut self, qemu_said: &str) -> Error {
        let last = excerpt(qemu_said);
        if !last.is_empty() {
            self.message = format!("{}: {last}", self.message);
        }
        self
    }

    /// The same error, said of one VM: `cannot start "web": …`.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn about(mut self, doing: &str, name: &str) -> Error {
        if self.name.is_none() {
            self.message = format!("{doing} {}: {}", quote(name), self.message);
            self.name = Some(name.to_owned());
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The end of what QEMU said: its last 16 lines that are not blank, and 16 KiB at most.
pub(crate) fn excerpt(qemu_said: &str) -> String {
    let mut begin = qemu_said.len().saturating_sub(QUOTED_BYTES);
    while !qemu_said.is_char_boundary(begin) {
        begin += 1;
    }
    let lines = qemu_said[begin..].lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<&str> = lines.collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}

/// A value as it stands in a sentence: in double quotes, escaped, cut at 64 characters.
pub(crate) fn quote(value: &str) -> String {
    let mut shown: String = value.chars().take(VALUE_LIMIT).flat_map(char::escape_debug).collect();
    if value.chars().count() > VALUE_LIMIT {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// The operating system's words without the "(os error N)" that std appends.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let mut end = limit - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_cut_at_500_bytes_but_qemus_text_is_not() {
        let error = Error::failed("é".repeat(400)).quoting(&"x".repeat(900));
        let ours = error.message.split(": ").next().unwrap();
        assert!(ours.len() <= 500 && ours.ends_with('…'));
        assert!(error.message.len() > 1300);
    }

    #[test]
    fn qemus_last_sixteen_lines_are_kept() {
        let said: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let error = Error::failed("QEMU ended").quoting(&said);
        assert!(error.message.starts_with("QEMU ended: line 5\n"));
        assert!(error.message.ends_with("line 20"));
    }

    #[test]
    fn an_excerpt_of_what_qemu_said_is_short_however_long_that_was() {
        let said = excerpt(&format!("first\n\n{}é\n \n", "é".repeat(1 << 20)));
        assert!(said.len() <= 16 << 10 && said.ends_with('é') && said.starts_with('é'));
        assert_eq!(excerpt(&"x\n".repeat(1 << 20)), ["x"; 16].join("\n"));
        assert_eq!(excerpt(""), "");
    }

    #[test]
    fn a_quoted_value_is_escaped_and_short() {
        assert_eq!(quote("a\nb\u{1b}"), "\"a\\nb\\u{1b}\"");
        assert_eq!(quote(&"x".repeat(65)), format!("\"{}…\"", "x".repeat(64)));
    }

    #[test]
    fn a_hint_is_a_second_line() {
        let error = Error::usage("no such flag").hint("try --help");
        assert_eq!(error.to_string(), "no such flag\nhint: try --help");
    }

    #[test]
    fn an_error_names_its_vm_once() {
        let error = Error::failed("no").about("cannot start", "web").about("cannot start", "db");
        assert_eq!(error.message, "cannot start \"web\": no");
    }
}
