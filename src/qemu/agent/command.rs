//! The commands of the guest agent that maqet gives, and what each returns.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Command;
use crate::base64;

/// Bytes that one read or write carries.
pub(crate) const PIECE: usize = 64 << 10;

/// What `guest-file-open` returns.
pub(crate) type Handle = i64;

/// What `guest-exec` returns.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) pid: i64,
}

/// What `guest-exec-status` returns.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExecStatus {
    pub(crate) exited: bool,
    #[serde(rename = "exitcode")]
    pub(crate) exit_code: Option<i64>,
    /// On Windows, the exception that ended it.
    pub(crate) signal: Option<i64>,
    out_data: Option<String>,
    err_data: Option<String>,
    #[serde(default)]
    pub(crate) out_truncated: bool,
    #[serde(default)]
    pub(crate) err_truncated: bool,
}

impl ExecStatus {
    /// The exit code as a shell has it: 128+N for signal N.
    pub(crate) fn code(&self) -> u8 {
        let signal = self.signal.map(|signal| signal.saturating_add(128));
        let code = signal.or(self.exit_code).unwrap_or(255);
        u8::try_from(code).unwrap_or(255)
    }

    /// What it wrote to standard output and to standard error, where that was captured; bytes that
    /// cannot be read are none.
    pub(crate) fn output(&self) -> (Vec<u8>, Vec<u8>) {
        let bytes = |text: &Option<String>| text.as_deref().and_then(base64::decode);
        (bytes(&self.out_data).unwrap_or_default(), bytes(&self.err_data).unwrap_or_default())
    }
}

/// What `guest-file-read` returns.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Read {
    #[serde(rename = "buf-b64")]
    text: String,
}

impl Read {
    /// The bytes; `None` where they are no base64, or more than were asked for.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        base64::decode(&self.text).filter(|bytes| bytes.len() <= PIECE)
    }
}

/// What `guest-file-write` returns.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) count: usize,
}

/// What `guest-file-seek` returns.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) position: u64,
}

/// What `guest-get-osinfo` returns, as far as it matters for what can be run.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct System {
    id: Option<String>,
}

impl System {
    pub(crate) fn is_windows(&self) -> bool {
        self.id.as_deref() == Some("mswindows")
    }
}

/// Runs a program of the guest's. Without `capture` its output is thrown away.
pub(crate) fn exec(path: &str, arguments: &[String], capture: bool) -> Command {
    command("guest-exec", json!({ "path": path, "arg": arguments, "capture-output": capture }))
}

/// Runs a program with this on its standard input; variables, where there are any, are all that it
/// gets.
pub(crate) fn exec_with_input(words: &[String], env: &[String], input: &[u8]) -> Command {
    let (program, arguments) =
        words.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    let mut command = exec(program, arguments, true);
    if !env.is_empty() {
        command.arguments.insert("env".into(), json!(env));
    }
    if !input.is_empty() {
        command.arguments.insert("input-data".into(), base64::encode(input).into());
    }
    command
}

/// Runs a script in the guest's shell.
pub(crate) fn shell(script: &str, arguments: &[String], capture: bool) -> Command {
    let words = ["-c".to_owned(), script.to_owned(), "sh".to_owned()];
    exec("/bin/sh", &[&words, arguments].concat(), capture)
}

pub(crate) fn exec_status(pid: i64) -> Command {
    command("guest-exec-status", json!({ "pid": pid }))
}

/// `mode` is as in fopen(3). A file that this makes may be written by anyone.
pub(crate) fn open(path: &str, mode: &str) -> Command {
    command("guest-file-open", json!({ "path": path, "mode": mode }))
}

/// Reads on, a piece.
pub(crate) fn file_read(handle: Handle) -> Command {
    command("guest-file-read", json!({ "handle": handle, "count": PIECE }))
}

/// Writes at most a piece.
pub(crate) fn file_write(handle: Handle, bytes: &[u8]) -> Command {
    command("guest-file-write", json!({ "handle": handle, "buf-b64": base64::encode(bytes) }))
}

/// Gives the guest's kernel what was written.
pub(crate) fn flush(handle: Handle) -> Command {
    command("guest-file-flush", json!({ "handle": handle }))
}

/// `whence` is `set`, `cur` or `end`.
pub(crate) fn seek(handle: Handle, offset: i64, whence: &str) -> Command {
    let arguments = json!({ "handle": handle, "offset": offset, "whence": whence });
    command("guest-file-seek", arguments)
}

pub(crate) fn close(handle: Handle) -> Command {
    command("guest-file-close", json!({ "handle": handle }))
}

/// A command without arguments.
pub(crate) fn plain(name: &str) -> Command {
    command(name, Value::Null)
}

fn command(name: &str, arguments: Value) -> Command {
    let arguments = match arguments {
        Value::Object(arguments) => arguments,
        _ => serde_json::Map::new(),
    };
    Command { name: name.to_owned(), arguments }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn what_an_agent_returns_is_read() {
        let status = |line: &str| read::<ExecStatus>(line.as_bytes()).unwrap().unwrap();
        let ended = status(
            r#"{"return": {"exitcode": 7, "out-data": "aGkK", "out-truncated": true, "exited": true}}"#,
        );
        assert_eq!((ended.code(), ended.output()), (7, (b"hi\n".to_vec(), Vec::new())));
        assert!(ended.out_truncated && !ended.err_truncated);
        assert_eq!(status(r#"{"return": {"exited": true, "signal": 9}}"#).code(), 137);
        assert!(!status(r#"{"return": {"exited": false}}"#).exited);
        for strange in ["300", "-1", "9223372036854775807"] {
            let text = format!(r#"{{"return": {{"exited": true, "signal": {strange}}}}}"#);
            status(&text).code();
        }
        let line = br#"{"return": {"count": 6, "buf-b64": "aGVsbG8K", "eof": true}}"#;
        assert_eq!(read::<Read>(line).unwrap().unwrap().bytes().unwrap(), b"hello\n");
        let line = br#"{"return": {"count": 6, "buf-b64": "?", "eof": true}}"#;
        assert_eq!(read::<Read>(line).unwrap().unwrap().bytes(), None);
    }
}
