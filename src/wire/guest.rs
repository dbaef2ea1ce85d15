//! The calls by which a client has the guest's agent do something: `agent`, one command of its own,
//! and `exec`, a command that runs in the guest with its streams.
//!
//! What travels within the stream is `stream`'s. Nothing here knows the agent.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::talk::{flag, nothing_left};
use crate::error::{Error, Result, quote};

/// The longest time that a client may give, in seconds: a year.
const LONGEST: f64 = 366.0 * 86_400.0;

/// One command of the guest agent's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentCall {
    pub(crate) command: String,
    pub(crate) arguments: Map<String, Value>,
    /// For its answer, where that may take longer than others.
    pub(crate) limit: Option<Duration>,
}

/// A command to run in the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExecCall {
    /// The program and its arguments: at least one word, none with a zero byte.
    pub(crate) words: Vec<String>,
    /// NAME=VALUE each, the name as a shell has it.
    pub(crate) env: Vec<String>,
    /// Where; `None` is where the agent runs.
    pub(crate) cwd: Option<String>,
    /// When it is ended; `None` is never.
    pub(crate) timeout: Option<Duration>,
    /// Without a shell and without streams: the output comes at the end.
    pub(crate) simple: bool,
}

/// How such a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExecEnd {
    /// `None`: its time ran out, and it was ended.
    pub(crate) exit_code: Option<u8>,
    /// Some of its output is missing.
    pub(crate) cut: bool,
}

impl AgentCall {
    pub(super) fn read(args: &[Value], arguments: Map<String, Value>) -> Result<AgentCall> {
        let (command, limit) = match args {
            [Value::String(command)] => (command, None),
            [Value::String(command), limit] => (command, Some(seconds(limit)?)),
            _ => {
                return Err(Error::usage("the method agent takes a command's name, and seconds")
                    .hint("the command's own arguments are kwargs"));
            }
        };
        Ok(AgentCall { command: command.clone(), arguments, limit: limit.flatten() })
    }

    pub(super) fn to_args(&self) -> Value {
        match self.limit {
            None => json!([self.command]),
            Some(limit) => json!([self.command, limit.as_secs_f64()]),
        }
    }
}

impl ExecCall {
    pub(super) fn read(args: &[Value], mut kwargs: Map<String, Value>) -> Result<ExecCall> {
        let words = texts(args).ok_or_else(|| Error::usage("exec takes a command's words"))?;
        let env = match kwargs.remove("env") {
            None => Vec::new(),
            Some(Value::Array(env)) => {
                texts(&env).ok_or_else(|| Error::usage("env is a list of texts"))?
            }
            Some(_) => return Err(Error::usage("env is a list of NAME=VALUE")),
        };
        let cwd = match kwargs.remove("cwd") {
            None => None,
            Some(Value::String(cwd)) => Some(cwd),
            Some(_) => return Err(Error::usage("cwd is a text")),
        };
        let timeout = kwargs.remove("timeout").map(|value| seconds(&value)).transpose()?.flatten();
        let simple = flag(&mut kwargs, "simple")?;
        nothing_left("exec", &kwargs)?;
        let call = ExecCall { words, env, cwd, timeout, simple };
        call.check()?;
        Ok(call)
    }

    pub(super) fn to_kwargs(&self) -> Map<String, Value> {
        let mut kwargs = Map::new();
        if !self.env.is_empty() {
            kwargs.insert("env".into(), json!(self.env));
        }
        if let Some(cwd) = &self.cwd {
            kwargs.insert("cwd".into(), json!(cwd));
        }
        if let Some(timeout) = self.timeout {
            kwargs.insert("timeout".into(), json!(timeout.as_secs_f64()));
        }
        if self.simple {
            kwargs.insert("simple".into(), true.into());
        }
        kwargs
    }

    /// # Errors
    /// `Kind::Usage` for what no guest could run.
    pub(crate) fn check(&self) -> Result<()> {
        if self.words.first().is_none_or(String::is_empty) {
            return Err(Error::usage("there is no command to run"));
        }
        let all = self.words.iter().chain(&self.env).chain(&self.cwd);
        if let Some(word) = all.into_iter().find(|word| word.contains('\0')) {
            return Err(Error::usage(format!("{} holds a zero byte", quote(word))));
        }
        if let Some(wrong) = self.env.iter().find(|variable| !is_variable(variable)) {
            return Err(Error::usage(format!("{} is no variable", quote(wrong)))
                .hint("NAME=VALUE, NAME of letters, digits and _, no digit first"));
        }
        if self.cwd.as_ref().is_some_and(String::is_empty) {
            return Err(Error::usage("the directory has no name"));
        }
        if self.simple && self.cwd.is_some() {
            return Err(Error::usage("a simple command runs where the agent does: no directory"));
        }
        Ok(())
    }
}

impl ExecEnd {
    /// As the stream's last answer has it.
    pub(crate) fn to_value(self) -> Value {
        json!({ "exit_code": self.exit_code, "timed_out": self.exit_code.is_none(), "cut": self.cut })
    }

    /// # Errors
    /// `Kind::Failed` for anything else.
    pub(crate) fn read(value: &Value) -> Result<ExecEnd> {
        let unreadable = || Error::failed("cannot read how the command ended");
        let exit_code = match &value["exit_code"] {
            Value::Null => None,
            code => Some(
                code.as_u64().and_then(|code| u8::try_from(code).ok()).ok_or_else(unreadable)?,
            ),
        };
        Ok(ExecEnd { exit_code, cut: value["cut"].as_bool().unwrap_or(false) })
    }
}

fn texts(values: &[Value]) -> Option<Vec<String>> {
    values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

/// Seconds; 0 is for ever.
fn seconds(value: &Value) -> Result<Option<Duration>> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=LONGEST).contains(seconds));
    let seconds = seconds.ok_or_else(|| Error::usage("a time is seconds, up to a year"))?;
    Ok((seconds > 0.0).then(|| Duration::from_secs_f64(seconds)))
}

fn is_variable(text: &str) -> bool {
    let Some((name, _)) = text.split_once('=') else { return false };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().next().is_some_and(|first| is_letter(first) && !first.is_ascii_digit())
        && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: Value, kwargs: Value) -> Result<ExecCall> {
        ExecCall::read(args.as_array().unwrap(), kwargs.as_object().unwrap().clone())
    }

    #[test]
    fn a_call_comes_through_its_kwargs() {
        let call = ExecCall {
            words: vec!["ls".into(), "-l".into()],
            env: vec!["A=b=c".into(), "_x1=".into()],
            cwd: Some("/".into()),
            timeout: Some(Duration::from_millis(1500)),
            simple: false,
        };
        let kwargs = Value::Object(call.to_kwargs());
        assert_eq!(read(json!(["ls", "-l"]), kwargs).unwrap(), call);
        let bare = ExecCall { words: vec!["ls".into()], ..ExecCall::default() };
        assert_eq!(read(json!(["ls"]), json!({"timeout": 0})).unwrap(), bare);
        assert_eq!(bare.to_kwargs(), Map::new());
    }

    #[test]
    fn what_no_guest_could_run_is_refused() {
        for (args, kwargs) in [
            (json!([]), json!({})),
            (json!([""]), json!({})),
            (json!([1]), json!({})),
            (json!(["a\0b"]), json!({})),
            (json!(["a"]), json!({"env": "A=b"})),
            (json!(["a"]), json!({"env": ["A"]})),
            (json!(["a"]), json!({"env": ["1=b"]})),
            (json!(["a"]), json!({"env": ["a-b=c"]})),
            (json!(["a"]), json!({"env": ["=c"]})),
            (json!(["a"]), json!({"cwd": ""})),
            (json!(["a"]), json!({"cwd": "/", "simple": true})),
            (json!(["a"]), json!({"timeout": -1})),
            (json!(["a"]), json!({"timeout": 1e30})),
            (json!(["a"]), json!({"tty": true})),
        ] {
            let error = read(args.clone(), kwargs.clone()).unwrap_err();
            assert_eq!(error.kind, crate::error::Kind::Usage, "{args} {kwargs}");
        }
    }

    #[test]
    fn an_end_comes_through_its_value() {
        for exit_code in [Some(0), Some(255), None] {
            let end = ExecEnd { exit_code, cut: exit_code.is_none() };
            assert_eq!(ExecEnd::read(&end.to_value()).unwrap(), end);
        }
        assert!(ExecEnd::read(&json!({"exit_code": 256})).is_err());
    }
}
