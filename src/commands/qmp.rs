//! `qmp`: one QMP command, and QEMU's answer.

use std::time::Duration;

use serde_json::{Map, Value};

use super::button;
use super::context::Context;
use crate::cli::output::{Output, Shape};
use crate::cli::predecessor::{QmpAction, qmp_action};
use crate::cli::table::Verb;
use crate::control::qmp::Qmp;
use crate::error::{Error, Result, quote};

/// For QEMU to answer, where --timeout says nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

const SHAPE: Shape = Shape { list: false, columns: &[], fields: &["*"] };

pub(super) fn qmp(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let Some((first, rest)) = invocation.operands.split_first() else { return send(context) };
    let Some(action) = qmp_action(first) else { return send(context) };
    if context.vms_named(std::slice::from_ref(first)).is_ok() {
        return send(context);
    }
    match action {
        QmpAction::Send => send(&Context::new(&invocation.of_another(invocation.verb, rest))?),
        QmpAction::Pause => {
            button::pause(&Context::new(&invocation.of_another(Verb::Pause, rest))?)
        }
        QmpAction::Resume => {
            button::resume(&Context::new(&invocation.of_another(Verb::Resume, rest))?)
        }
        QmpAction::Missing => Err(Error::usage(format!("\"qmp {first}\" is not supported yet"))
            .hint("\"maqet qmp VM COMMAND\" sends any QMP command")),
    }
}

fn send(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let words = context.invocation.operands.get(1..).unwrap_or_default();
    let (command, arguments) = read(words)?;
    let vm = context.vm()?;
    let qmp = Qmp::of(&context.folders, &vm.id, context.deadline(ANSWER_LIMIT));
    let result = qmp
        .execute(&command, &Value::Object(arguments))
        .map_err(|error| error.about("no QMP with", &vm.name))?;
    if output.wants_objects() {
        match result {
            Value::Array(items) if !output.is_json() => {
                items.iter().try_for_each(|item| output.object(item))?;
            }
            _ => output.object(&result)?,
        }
    } else {
        let text = serde_json::to_string_pretty(&result)
            .map_err(|error| Error::failed(format!("cannot write the answer: {error}")))?;
        output.guest(text.as_bytes())?;
        output.text("\n")?;
    }
    output.finish()?;
    Ok(0)
}

/// A QMP command and its arguments.
type Command = (String, Map<String, Value>);

/// The words after the VM: a command and its arguments, or a whole request as JSON.
fn read(words: &[String]) -> Result<Command> {
    let (first, rest) = match words {
        [first, rest @ ..] => (first, rest),
        [] => return Err(Error::usage("no QMP command is given")),
    };
    if first.trim_start().starts_with('{') {
        if !rest.is_empty() {
            return Err(Error::usage("a request as JSON stands alone"));
        }
        return read_json(first);
    }
    let mut arguments = Map::new();
    for word in rest {
        let (path, value) = match word.split_once('=') {
            Some((key, text)) => match key.strip_suffix(':') {
                Some(key) => (key, parse_json(text)?),
                None => (key, Value::from(text)),
            },
            None => {
                return Err(Error::usage(format!("{} is no argument", quote(word)))
                    .hint("arguments are KEY=TEXT or KEY:=JSON"));
            }
        };
        insert(&mut arguments, path, value)?;
    }
    Ok((first.clone(), arguments))
}

fn read_json(text: &str) -> Result<Command> {
    let Value::Object(mut request) = parse_json(text)? else {
        return Err(Error::usage("a QMP request is an object"));
    };
    let command = match request.remove("execute") {
        Some(Value::String(command)) => command,
        _ => return Err(Error::usage("a QMP request has \"execute\" with the command's name")),
    };
    let arguments = match request.remove("arguments") {
        None => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return Err(Error::usage("the arguments of a QMP request are an object")),
    };
    request.remove("id");
    match request.keys().next() {
        None => Ok((command, arguments)),
        Some(key) => Err(Error::usage(format!("a QMP request has no {}", quote(key)))),
    }
}

fn parse_json(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::usage(format!("{} is not JSON: {error}", quote(text))))
}

/// Puts a value at a dotted path: `backend.type=file` is `{"backend": {"type": "file"}}`.
fn insert(map: &mut Map<String, Value>, path: &str, value: Value) -> Result<()> {
    let refuse = || Error::usage(format!("{} is given twice, or is no key", quote(path)));
    match path.split_once('.') {
        Some((first, rest)) => {
            let inner = map.entry(first).or_insert_with(|| Value::Object(Map::new()));
            insert(inner.as_object_mut().ok_or_else(refuse)?, rest, value)
        }
        None if path.is_empty() || map.contains_key(path) => Err(refuse()),
        None => {
            map.insert(path.to_owned(), value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Kind;

    fn words(words: &[&str]) -> Result<Command> {
        read(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_a_command_with_its_arguments() {
        for (line, command, arguments) in [
            (vec!["query-status"], "query-status", json!({})),
            (
                vec!["set_link", "name=net0", "up:=false"],
                "set_link",
                json!({"name": "net0", "up": false}),
            ),
            (
                vec!["x", "a.b=c", "a.d:=[1]", "e="],
                "x",
                json!({"a": {"b": "c", "d": [1]}, "e": ""}),
            ),
            (vec!["x", "a=b=c"], "x", json!({"a": "b=c"})),
            (vec![r#"{"execute":"x","arguments":{"a":1},"id":7}"#], "x", json!({"a": 1})),
        ] {
            let (read, given) = words(&line).unwrap();
            assert_eq!((read.as_str(), Value::Object(given)), (command, arguments));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for line in [
            vec!["x", "a"],
            vec!["x", "a=1", "a=2"],
            vec!["x", "a=1", "a.b=2"],
            vec!["x", "=1"],
            vec!["x", "a:=nope"],
            vec!["{}"],
            vec!["{\"execute\":1}"],
            vec!["{\"execute\":\"x\",\"oob\":1}"],
            vec!["{\"execute\":\"x\"}", "a=1"],
        ] {
            assert_eq!(words(&line).unwrap_err().kind, Kind::Usage, "{line:?}");
        }
    }
}
