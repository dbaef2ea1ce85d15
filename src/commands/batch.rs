//! `batch`: requests from standard input to any number of VMs, over connections that stay open, and
//! their replies as they come.
//!
//! It reads, asks and writes in one loop, so that who gives requests without end may read the
//! replies meanwhile; what waits is bounded on each side. What a method means is not known here.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Map, Value};

use super::context::Context;
use super::outlet::Outlet;
use crate::cli::report::shared_exit_code;
use crate::cli::table::Flag;
use crate::control::fleet::{Fleet, News, Order};
use crate::error::{Error, Kind, Result};
use crate::sys::{self, Interest};
use crate::wire::line::Lines;
use crate::wire::message::{self, REQUEST_LIMIT, Request};
use crate::wire::stream::Input;

/// For each request, where --timeout says nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of standard input read at a time.
const PIECE: usize = 64 << 10;
/// What a line may hold beside the request: the VM.
const BESIDE: usize = 1 << 10;

/// One line of standard input.
#[derive(Debug)]
enum Said {
    Request(Request),
    /// A frame of a stream, as its line.
    Frame(Vec<u8>),
}

struct Batch<'a> {
    context: &'a Context<'a>,
    fleet: Fleet<'a>,
    /// How each VM was named, and its number in the fleet.
    numbers: HashMap<String, usize>,
    /// The name under which a number was asked last.
    names: Vec<String>,
    outlet: Outlet,
    /// The exit codes of what failed, each once.
    codes: Vec<u8>,
}

pub(super) fn batch(context: &Context<'_>) -> Result<u8> {
    let mut batch = Batch {
        context,
        fleet: Fleet::new(&context.folders),
        numbers: HashMap::new(),
        names: Vec::new(),
        outlet: Outlet::default(),
        codes: Vec::new(),
    };
    let mut lines = Lines::new(REQUEST_LIMIT + BESIDE);
    let mut reads = true;
    loop {
        while !batch.is_full()
            && let Some(line) = batch.next_line(&mut lines, &mut reads)
        {
            batch.take(&line);
        }
        while let Some((number, news)) = batch.fleet.next_news() {
            batch.tell(number, news);
        }
        let over = !reads && !lines.has_line() && batch.fleet.is_idle() && batch.outlet.is_empty();
        if over || batch.outlet.is_closed() {
            return Ok(shared_exit_code(batch.codes));
        }
        batch.turn(&mut lines, &mut reads)?;
    }
}

impl Batch<'_> {
    /// Whether nothing more should be read: too much waits, for a VM or for who reads.
    fn is_full(&self) -> bool {
        self.fleet.is_full() || self.outlet.is_full()
    }

    /// Sleeps until there is something to do, and reads and writes what it is ready for.
    fn turn(&mut self, lines: &mut Lines, reads: &mut bool) -> Result<()> {
        let listens = *reads && !self.is_full() && !lines.has_line();
        let input = if listens { Interest::Read } else { Interest::Nothing };
        let output = if self.outlet.is_empty() { Interest::Nothing } else { Interest::Write };
        let others = [(sys::standard_output(), output), (sys::standard_input(), input)];
        // One that has closed would be ready for ever.
        let others = &others[..1 + usize::from(listens)];
        let ready = self.fleet.wait(others, None, !self.outlet.is_full())?;
        match (ready[0], self.outlet.is_empty()) {
            (true, false) => self.outlet.write()?,
            // Asked for nothing and yet ready: nobody reads any more.
            (true, true) => self.outlet.close(),
            (false, _) => {}
        }
        if ready.get(1) == Some(&true) {
            let mut buffer = vec![0; PIECE];
            match sys::read(sys::standard_input(), &mut buffer) {
                Ok(0) => {
                    *reads = false;
                    // A last line may lack its newline.
                    lines.push(b"\n");
                }
                Ok(count) => lines.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read standard input", &error)),
            }
        }
        Ok(())
    }

    fn next_line(&mut self, lines: &mut Lines, reads: &mut bool) -> Option<Vec<u8>> {
        match lines.next_line() {
            Ok(line) => line,
            Err(_) => {
                let error =
                    Error::usage("a line is longer than 1 MiB, and nothing behind it is read");
                self.refuse(None, None, &error);
                *lines = Lines::new(REQUEST_LIMIT + BESIDE);
                *reads = false;
                None
            }
        }
    }

    /// Takes one line of standard input.
    fn take(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let (vm, mut request) = match named(line) {
            Ok(named) => named,
            Err((id, error)) => return self.refuse(None, id.as_ref(), &error),
        };
        let id = request.get("id").cloned();
        let number = match self.number(&vm) {
            Ok(number) => number,
            Err(error) => return self.refuse(Some(&vm), id.as_ref(), &error),
        };
        if id.is_none() {
            request.remove("id");
        }
        match read(request) {
            Ok(Said::Frame(line)) => self.fleet.say(number, &line),
            Ok(Said::Request(request)) => {
                let bounds_stream = self.context.invocation.has(Flag::Timeout);
                let deadline = self.context.deadline(ANSWER_LIMIT);
                let line = request.to_line();
                let order = Order { line, id: request.id, deadline, bounds_stream };
                self.fleet.ask(number, order);
            }
            Err((id, error)) => self.refuse(Some(&vm), id.as_ref(), &error),
        }
    }

    /// The number of a VM. A name is looked up again once there is no connection any more.
    fn number(&mut self, vm: &str) -> Result<usize> {
        if let Some(&number) = self.numbers.get(vm)
            && self.fleet.is_open(number)
        {
            return Ok(number);
        }
        let found = self.context.vms_named(&[vm.to_owned()])?;
        let found = found.first().ok_or_else(|| Error::not_found("there is no such VM"))?;
        let number = self.fleet.join(&found.id);
        self.numbers.insert(vm.to_owned(), number);
        self.names.resize_with(self.names.len().max(number + 1), String::new);
        vm.clone_into(&mut self.names[number]);
        Ok(number)
    }

    fn tell(&mut self, number: usize, news: News) {
        let name = self.names.get(number).cloned().unwrap_or_default();
        match news {
            News::Said(head, line) => {
                if let Some(kind) = head.failure() {
                    self.fail(kind);
                }
                self.say(Some(&name), &line);
            }
            News::Refused(id, error) => self.refuse(Some(&name), id.as_ref(), &error),
        }
    }

    fn refuse(&mut self, vm: Option<&str>, id: Option<&Value>, error: &Error) {
        self.fail(error.kind);
        self.say(vm, message::failure(id, error).trim_ascii_end());
    }

    fn fail(&mut self, kind: Kind) {
        if !self.codes.contains(&kind.exit_code()) {
            self.codes.push(kind.exit_code());
        }
    }

    /// Writes a line of the protocol's, an object, with the VM in it.
    fn say(&mut self, vm: Option<&str>, line: &[u8]) {
        let begin = match vm {
            Some(vm) => format!("{{\"vm\":{},", Value::from(vm)),
            None => "{".to_owned(),
        };
        let rest = line.strip_prefix(b"{").unwrap_or(line);
        self.outlet.push(&[begin.as_bytes(), rest, b"\n"].concat());
    }
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
