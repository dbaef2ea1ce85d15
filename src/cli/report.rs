//! What a person is told besides results: errors and notes, on stderr; and the exit code of a
//! command that worked on several VMs.
//!
//! Writing to stderr never fails the program: there is nobody left to tell.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::output::{escape_for_terminal, escape_json};
use crate::error::{Error, Kind, Told};

/// Tells one error on stderr: `maqet: …` and, where something can be done, `hint: …`; with
/// `--json` one object on one line.
pub(crate) fn report(error: &Error, json: bool) {
    let mut stderr = io::stderr().lock();
    let text = rendered(error, json, stderr.is_terminal());
    let _ = stderr.write_all(text.as_bytes());
}

/// Tells a person something on stderr that is no error, such as that there was nothing to do.
/// `quiet` is `Invocation::quiet`.
pub(crate) fn note(quiet: bool, text: &str) {
    if !quiet {
        let _ = io::stderr().write_all(format!("maqet: {text}\n").as_bytes());
    }
}

/// The exit code of a command from those of its VMs: the one that all failures share, else 1.
pub(crate) fn shared_exit_code(codes: impl IntoIterator<Item = u8>) -> u8 {
    let mut failures = codes.into_iter().filter(|code| *code != 0);
    match failures.next() {
        None => 0,
        Some(first) if failures.all(|code| code == first) => first,
        Some(_) => Kind::Failed.exit_code(),
    }
}

/// An error in JSON: all four members in every one.
#[derive(Serialize)]
struct Line<'a> {
    error: Members<'a>,
}

#[derive(Serialize)]
struct Members<'a> {
    name: Option<&'a str>,
    kind: Kind,
    message: &'a str,
    hint: Option<&'a str>,
}

fn rendered(error: &Error, json: bool, terminal: bool) -> String {
    let Told { kind, message, hint, name } = &**error;
    let members = Members { name: name.as_deref(), kind: *kind, message, hint: hint.as_deref() };
    match serde_json::to_string(&Line { error: members }) {
        Ok(line) if json && terminal => format!("{}\n", escape_json(&line)),
        Ok(line) if json => format!("{line}\n"),
        // The message may hold what QEMU said.
        _ if terminal => escape_for_terminal(format!("maqet: {error}\n").as_bytes()),
        _ => format!("maqet: {error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_sentence_and_a_hint_or_one_json_object() {
        let bare = Error::failed("no room");
        let full = Error::usage("no \"x\"").hint("try y").about("cannot start", "web");
        for (error, json, expected) in [
            (&bare, false, "maqet: no room\n"),
            (&full, false, "maqet: cannot start \"web\": no \"x\"\nhint: try y\n"),
            (
                &bare,
                true,
                "{\"error\":{\"name\":null,\"kind\":\"failed\",\"message\":\"no room\",\"hint\":null}}\n",
            ),
            (
                &full,
                true,
                "{\"error\":{\"name\":\"web\",\"kind\":\"usage\",\"message\":\"cannot start \
                 \\\"web\\\": no \\\"x\\\"\",\"hint\":\"try y\"}}\n",
            ),
        ] {
            assert_eq!(rendered(error, json, false), expected);
        }
    }

    #[test]
    fn what_qemu_said_cannot_command_the_terminal() {
        let error = Error::failed("QEMU ended").quoting("\u{1b}[2Jbad\nworse");
        assert_eq!(rendered(&error, false, true), "maqet: QEMU ended: \\x1b[2Jbad\nworse\n");
        assert_eq!(rendered(&error, false, false), "maqet: QEMU ended: \u{1b}[2Jbad\nworse\n");
        let json = rendered(&Error::failed("\u{1b}\u{9b}"), true, true);
        assert!(json.contains("\\u001b\\u009b") && json.ends_with('\n'), "{json}");
    }

    #[test]
    fn several_vms_end_with_the_code_that_all_failures_share() {
        for (codes, expected) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[0, 3, 0], 3),
            (&[3, 3], 3),
            (&[3, 5], 1),
            (&[7, 0, 7, 2], 1),
        ] {
            assert_eq!(shared_exit_code(codes.iter().copied()), expected, "{codes:?}");
        }
    }
}
