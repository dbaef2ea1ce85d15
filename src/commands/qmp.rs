//! `qmp`: a QMP command, and QEMU's answer.
//!
//! What a word means to QEMU is `qemu::schema`'s, many commands in a row are `qmp_lines`'.

use std::time::Duration;

use serde_json::{Map, Value};

use super::context::{Context, Vm};
use super::qmp_lines::{parse_json, read_request};
use super::{button, keyboard, qmp_lines, screen};
use crate::cli::output::{Output, Shape};
use crate::cli::predecessor::{QmpAction, qmp_action};
use crate::cli::table::{Flag, Verb};
use crate::control::ask::not_running;
use crate::control::qmp::Qmp;
use crate::control::{life, schema};
use crate::error::{Error, Result, quote};
use crate::qemu::schema::{Given, Word};

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
        QmpAction::Keys => {
            let (vm, keys) = rest.split_at(rest.len().min(1));
            let chord = [vm, &[keys.join("-")]].concat();
            keyboard::keys(&Context::new(&invocation.of_another(Verb::Keys, &chord))?)
        }
        QmpAction::Type => {
            keyboard::r#type(&Context::new(&invocation.of_another(Verb::Type, rest))?)
        }
        QmpAction::Screendump => {
            screen::screendump(&Context::new(&invocation.of_another(Verb::Screen, rest))?)
        }
    }
}

fn send(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = Output::new(invocation, SHAPE)?;
    let words = invocation.operands.get(1..).unwrap_or_default();
    if let [word, rest @ ..] = words
        && word == "-"
    {
        if !rest.is_empty() || invocation.has(Flag::Columns) {
            return Err(Error::usage("\"-\" reads requests as JSON, and stands alone"));
        }
        return qmp_lines::converse(context, &context.vm()?.id, ANSWER_LIMIT);
    }
    let request = read(words)?;
    let vm = context.vm()?;
    let qmp = Qmp::of(&context.folders, &vm.id, context.deadline(ANSWER_LIMIT));
    let answer = execute(context, &qmp, &vm, request);
    let result = answer.map_err(|error| error.about("no QMP with", &vm.name))?;
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

/// Gives the command. The schema is looked at where a word is to get its type by it, and where QEMU
/// does not know the command: what is JSON already QEMU checks itself.
fn execute(context: &Context<'_>, qmp: &Qmp<'_>, vm: &Vm, request: Asked<'_>) -> Result<Value> {
    let schema = || {
        let life = life::look_at(&context.folders, &vm.id, &vm.name)?;
        if !life.state.is_live() {
            return Err(not_running());
        }
        schema::of(&context.folders, life.qemu_pid, qmp)
    };
    let (command, arguments) = match request {
        Asked::Whole(command, arguments) => (command, arguments),
        Asked::Words(command, given) => match as_json(&given) {
            Some(arguments) => (command.to_owned(), arguments),
            None => (command.to_owned(), schema()?.arguments(command, given)?),
        },
    };
    let unsafe_ = context.invocation.has(Flag::Unsafe);
    let answer = qmp.pass(&command, arguments, unsafe_)?;
    match (answer["error"]["class"].as_str(), answer["error"]["desc"].as_str()) {
        (Some("CommandNotFound"), Some(desc)) => {
            let error = Error::failed("QEMU refused").quoting(desc);
            Err(match schema().ok().as_ref().and_then(|schema| schema.nearest_command(&command)) {
                Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                None => error,
            })
        }
        (_, Some(desc)) => Err(Error::failed("QEMU refused").quoting(desc)),
        (_, None) => Ok(answer["return"].clone()),
    }
}

/// A command as it was typed.
#[derive(Debug, PartialEq)]
enum Asked<'a> {
    /// All of it as JSON: the command and its arguments.
    Whole(String, Map<String, Value>),
    /// The command and its arguments as words.
    Words(&'a str, Vec<Given<'a>>),
}

/// Arguments that are JSON, each a key of its own: they need no schema.
fn as_json(given: &[Given<'_>]) -> Option<Map<String, Value>> {
    let mut arguments = Map::new();
    for (key, word) in given {
        let Word::Json(value) = word else { return None };
        let before = arguments.insert((*key).to_owned(), value.clone());
        if key.is_empty() || key.contains('.') || before.is_some() {
            return None;
        }
    }
    Some(arguments)
}

/// The words after the VM: a command and its arguments, or a whole request as JSON.
fn read(words: &[String]) -> Result<Asked<'_>> {
    let (first, rest) = match words {
        [first, rest @ ..] => (first, rest),
        [] => return Err(Error::usage("no QMP command is given")),
    };
    if first.trim_start().starts_with('{') {
        if !rest.is_empty() {
            return Err(Error::usage("a request as JSON stands alone"));
        }
        let (command, arguments, _) = read_request(first)?;
        return Ok(Asked::Whole(command, arguments));
    }
    let given = rest.iter().map(|word| given(word)).collect::<Result<Vec<Given<'_>>>>()?;
    Ok(Asked::Words(first, given))
}

fn given(word: &str) -> Result<Given<'_>> {
    match word.split_once('=') {
        Some((key, text)) => match key.strip_suffix(':') {
            Some(key) => Ok((key, Word::Json(parse_json(text)?))),
            None => Ok((key, Word::Text(text))),
        },
        None => Err(Error::usage(format!("{} is no argument", quote(word)))
            .hint("arguments are KEY=VALUE or KEY:=JSON")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Kind;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn words_become_a_command_with_its_arguments() {
        let text = Word::Text;
        for (line, command, given) in [
            (vec!["query-status"], "query-status", vec![]),
            (
                vec!["set_link", "name=net0", "up:=false"],
                "set_link",
                vec![("name", text("net0")), ("up", Word::Json(json!(false)))],
            ),
            (vec!["x", "a.b=c", "e="], "x", vec![("a.b", text("c")), ("e", text(""))]),
            (vec!["x", "a=b=c"], "x", vec![("a", text("b=c"))]),
        ] {
            assert_eq!(read(&words(&line)).unwrap(), Asked::Words(command, given));
        }
        let whole = words(&[r#"{"execute":"x","arguments":{"a":1},"id":7}"#]);
        let arguments = json!({"a": 1}).as_object().unwrap().clone();
        assert_eq!(read(&whole).unwrap(), Asked::Whole("x".into(), arguments));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for line in [
            vec!["x", "a"],
            vec!["x", "a:=nope"],
            vec!["{}"],
            vec!["{\"execute\":1}"],
            vec!["{\"execute\":\"x\",\"oob\":1}"],
            vec!["{\"execute\":\"x\"}", "a=1"],
        ] {
            assert_eq!(read(&words(&line)).unwrap_err().kind, Kind::Usage, "{line:?}");
        }
    }
}
