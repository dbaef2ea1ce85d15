//! `qmp VM -`: QMP commands from standard input, one a line, and QEMU's answers as lines, all over
//! one connection.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::context::Context;
use super::outlet::Outlet;
use super::pump::{Ends, Lined, pump};
use crate::cli::table::Flag;
use crate::control::fleet::{Fleet, News, Order};
use crate::error::{Error, Kind, Result, quote};
use crate::wire::message::{Call, Request};
use crate::wire::reply::parse_reply;

/// What QEMU calls an error that has no name of its own; so are those that are not QEMU's.
const CLASS: &str = "GenericError";

#[derive(Debug)]
struct Monologue<'a> {
    context: &'a Context<'a>,
    limit: Duration,
    /// The ids as they were given, by those under which they travel.
    ids: HashMap<u64, Option<Value>>,
    next: u64,
    failed: bool,
}

/// Goes on until standard input has ended and all has been answered: 1 where an answer is an error.
///
/// # Errors
/// `Kind::NotRunning`, `Kind::Timeout` or `Kind::Permission` where its runner cannot be asked at all.
pub(super) fn converse(context: &Context<'_>, id: &str, limit: Duration) -> Result<u8> {
    let mut ends = Ends { fleet: Fleet::new(&context.folders), outlet: Outlet::default() };
    ends.fleet.join(id);
    let (ids, next, failed) = (HashMap::new(), 1, false);
    let mut lines = Monologue { context, limit, ids, next, failed };
    pump(&mut ends, &mut lines)?;
    Ok(if lines.failed { Kind::Failed.exit_code() } else { 0 })
}

impl Lined for Monologue<'_> {
    fn take(&mut self, ends: &mut Ends<'_>, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let (command, arguments, id) = match read_request(&text) {
            Ok(request) => request,
            Err(error) => return self.refuse(ends, None, &error),
        };
        let number = self.next;
        self.next += 1;
        self.ids.insert(number, id);
        let unsafe_ = self.context.invocation.has(Flag::Unsafe);
        let id = Some(Value::from(number));
        let call = Call::Qmp { command, arguments, unsafe_ };
        let line = Request { id: id.clone(), call }.to_line();
        let deadline = self.context.deadline(self.limit);
        ends.fleet.ask(0, Order { line, id, deadline, bounds_stream: true });
    }

    fn tell(&mut self, ends: &mut Ends<'_>, _: usize, news: News) {
        let (number, answer) = match news {
            News::Said(head, line) => (head.id, parse_reply(&line)),
            News::Refused(id, error) => (id, Err(error)),
        };
        let number = number.and_then(|number| number.as_u64()).unwrap_or_default();
        let id = self.ids.remove(&number).flatten();
        match answer {
            Ok(answer) => self.say(ends, id, answer),
            Err(error) => self.refuse(ends, id, &error),
        }
    }

    fn overflow(&mut self, ends: &mut Ends<'_>, error: &Error) {
        self.refuse(ends, None, error);
    }
}

impl Monologue<'_> {
    fn say(&mut self, ends: &mut Ends<'_>, id: Option<Value>, mut answer: Value) {
        self.failed |= answer.get("error").is_some();
        if let (Some(id), Value::Object(answer)) = (id, &mut answer) {
            answer.insert("id".into(), id);
        }
        ends.outlet.push(format!("{answer}\n").as_bytes());
    }

    /// An error that is not QEMU's, in QEMU's form, with its kind.
    fn refuse(&mut self, ends: &mut Ends<'_>, id: Option<Value>, error: &Error) {
        let error = json!({ "class": CLASS, "desc": error.message, "kind": error.kind });
        self.say(ends, id, json!({ "error": error }));
    }
}

/// A QMP command, its arguments, and the id under which it is to be answered.
pub(super) type Command = (String, Map<String, Value>, Option<Value>);

/// Reads a QMP request as QEMU reads it.
///
/// # Errors
/// `Kind::Usage` for anything else.
pub(super) fn read_request(text: &str) -> Result<Command> {
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
    let id = request.remove("id");
    match request.keys().next() {
        None => Ok((command, arguments, id)),
        Some(key) => Err(Error::usage(format!("a QMP request has no {}", quote(key)))),
    }
}

pub(super) fn parse_json(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::usage(format!("{} is not JSON: {error}", quote(text))))
}
