//! `batch`: requests from standard input to any number of VMs, over connections that stay open, and
//! their replies as they come.
//!
//! What a method means is not known here.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::context::Context;
use super::outlet::Outlet;
use super::pump::{Ends, Lined, pump};
use crate::cli::report::shared_exit_code;
use crate::cli::table::Flag;
use crate::control::fleet::{Fleet, News, Order};
use crate::error::{Error, Kind, Result};
use crate::wire::message::{self, Request};
use crate::wire::reply;
use crate::wire::stream::Input;

/// For each request, where --timeout says nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One line of standard input.
#[derive(Debug)]
enum Said {
    Request(Request),
    /// A frame of a stream, as its line.
    Frame(Vec<u8>),
}

#[derive(Debug)]
struct Batch<'a> {
    context: &'a Context<'a>,
    /// How each VM was named, and its number in the fleet.
    numbers: HashMap<String, usize>,
    /// The name under which a number was asked last.
    names: Vec<String>,
    /// The exit codes of what failed, each once.
    codes: Vec<u8>,
}

pub(super) fn batch(context: &Context<'_>) -> Result<u8> {
    let mut ends = Ends { fleet: Fleet::new(&context.folders), outlet: Outlet::default() };
    let mut batch =
        Batch { context, numbers: HashMap::new(), names: Vec::new(), codes: Vec::new() };
    pump(&mut ends, &mut batch)?;
    Ok(shared_exit_code(batch.codes))
}

impl Lined for Batch<'_> {
    fn take(&mut self, ends: &mut Ends<'_>, line: &[u8]) {
        let (vm, request) = match named(line) {
            Ok(named) => named,
            Err((id, error)) => return self.refuse(ends, None, id.as_ref(), &error),
        };
        let id = request.get("id").filter(|id| message::is_plain_id(id)).cloned();
        let number = match self.number(&mut ends.fleet, &vm) {
            Ok(number) => number,
            Err(error) => return self.refuse(ends, Some(&vm), id.as_ref(), &error),
        };
        match read(request) {
            Ok(Said::Frame(line)) => ends.fleet.say(number, &line),
            Ok(Said::Request(request)) => {
                let bounds_stream = self.context.invocation.has(Flag::Timeout);
                let deadline = self.context.deadline(ANSWER_LIMIT);
                let line = request.to_line();
                let order = Order { line, id: request.id, deadline, bounds_stream };
                ends.fleet.ask(number, order);
            }
            Err((id, error)) => self.refuse(ends, Some(&vm), id.as_ref(), &error),
        }
    }

    fn tell(&mut self, ends: &mut Ends<'_>, number: usize, news: News) {
        let name = self.names.get(number).cloned().unwrap_or_default();
        match news {
            News::Said(head, line) => {
                if let Some(kind) = head.failure() {
                    self.fail(kind);
                }
                say(ends, Some(&name), &line);
            }
            News::Refused(id, error) => self.refuse(ends, Some(&name), id.as_ref(), &error),
        }
    }

    fn overflow(&mut self, ends: &mut Ends<'_>, error: &Error) {
        self.refuse(ends, None, None, error);
    }
}

impl Batch<'_> {
    /// The number of a VM. A name is looked up again once there is no connection any more.
    fn number(&mut self, fleet: &mut Fleet<'_>, vm: &str) -> Result<usize> {
        if let Some(&number) = self.numbers.get(vm)
            && fleet.is_open(number)
        {
            return Ok(number);
        }
        let found = self.context.vms_named(&[vm.to_owned()])?;
        let found = found.first().ok_or_else(|| Error::not_found("there is no such VM"))?;
        let number = fleet.join(&found.id);
        self.numbers.insert(vm.to_owned(), number);
        self.names.resize_with(self.names.len().max(number + 1), String::new);
        vm.clone_into(&mut self.names[number]);
        Ok(number)
    }

    fn refuse(&mut self, ends: &mut Ends<'_>, vm: Option<&str>, id: Option<&Value>, error: &Error) {
        self.fail(error.kind);
        say(ends, vm, reply::failure(id, error).trim_ascii_end());
    }

    fn fail(&mut self, kind: Kind) {
        if !self.codes.contains(&kind.exit_code()) {
            self.codes.push(kind.exit_code());
        }
    }
}

/// Writes a line of the protocol's, an object, with the VM in it.
fn say(ends: &mut Ends<'_>, vm: Option<&str>, line: &[u8]) {
    let begin = match vm {
        Some(vm) => format!("{{\"vm\":{},", Value::from(vm)),
        None => "{".to_owned(),
    };
    let rest = line.strip_prefix(b"{").unwrap_or(line);
    ends.outlet.push(&[begin.as_bytes(), rest, b"\n"].concat());
}

/// What is wrong with a line, under the id that it came with.
type Refusal = (Option<Value>, Error);

/// The VM that a line is for, and the rest of it.
fn named(line: &[u8]) -> std::result::Result<(String, Map<String, Value>), Refusal> {
    let hint = r#"a line is {"vm":"…","method":"…","args":[…],"kwargs":{…},"id":…}"#;
    let mut request: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
        (None, Error::usage(format!("cannot read the line: {error}")).hint(hint))
    })?;
    match request.remove("vm") {
        Some(Value::String(vm)) => Ok((vm, request)),
        _ => {
            let error = Error::usage("the line names no VM").hint(hint);
            Err((request.remove("id").filter(message::is_plain_id), error))
        }
    }
}

fn read(request: Map<String, Value>) -> std::result::Result<Said, Refusal> {
    if !request.contains_key("method") {
        let line = Value::Object(request.clone()).to_string();
        if let Some((id, input)) = Input::parse(line.as_bytes()) {
            return Ok(Said::Frame(input.to_line(&id)));
        }
    }
    Request::from_value(Value::Object(request)).map(Said::Request).map_err(|refused| *refused)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(line: &str) -> std::result::Result<(String, Said), Refusal> {
        let (vm, request) = named(line.as_bytes())?;
        Ok((vm, read(request)?))
    }

    #[test]
    fn a_line_is_a_request_or_a_frame_for_a_vm() {
        let (vm, said) = taken(r#"{"id":1,"method":"ping","vm":"web"}"#).unwrap();
        assert_eq!(vm, "web");
        assert!(matches!(said, Said::Request(Request { id: Some(_), .. })));
        let (_, said) = taken(r#"{"vm":"web","id":1,"cancel":true}"#).unwrap();
        assert!(matches!(said, Said::Frame(line) if line == b"{\"cancel\":true,\"id\":1}\n"));
    }

    #[test]
    fn what_is_neither_is_refused_under_its_id() {
        for (line, id) in [
            ("[]", None),
            ("x", None),
            (r#"{"method":"ping","id":7}"#, Some(json!(7))),
            (r#"{"method":"ping","vm":5}"#, None),
            (r#"{"vm":"web","id":3}"#, None),
            (r#"{"vm":"web","method":"dance","id":3}"#, Some(json!(3))),
            (r#"{"vm":"web","method":"ping","more":1}"#, None),
            (r#"{"vm":"web","method":"ping","id":{}}"#, None),
        ] {
            let (told, error) = taken(line).unwrap_err();
            assert_eq!((told, error.kind), (id, Kind::Usage), "{line}");
        }
    }
}
