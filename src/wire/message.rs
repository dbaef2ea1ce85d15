//! Requests and replies, one JSON object a line. Bytes become a [`Request`] that cannot be wrong,
//! or an error that is told to the client; nothing here acts on one.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::events::EventsCall;
use super::guest::{AgentCall, ExecCall};
use super::keyboard::{KeysCall, TypeCall};
use super::line::line_of;
use super::screen::ScreenCall;
use super::talk::{ConsoleCall, SendCall, WaitCall, nothing_left};
use crate::error::{Error, Result, quote};
use crate::weight::weight;

/// The longest request line, in bytes.
pub(crate) const REQUEST_LIMIT: usize = 1 << 20;
/// The most memory that what a request says may take, in bytes: see [`weight`].
pub(crate) const WEIGHT_LIMIT: usize = 4 << 20;
/// The longest `id`, in bytes of JSON.
pub(crate) const ID_LIMIT: usize = 64;
/// Requests with an id that one client may have unanswered: a runner reads no further meanwhile.
pub(crate) const UNANSWERED: usize = 32;
/// The longest guest's time that a client may ask for: a year.
const LONGEST_GUEST_TIME: f64 = 366.0 * 86_400.0;

/// What a client wants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// A request with an id may be answered out of order, and the id is echoed.
    pub(crate) id: Option<Value>,
    pub(crate) call: Call,
}

/// The methods.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// Answered `pong` once QEMU is up.
    Ping,
    Status,
    /// One QMP command; QEMU's own answer is the result.
    Qmp {
        command: String,
        arguments: Map<String, Value>,
        /// What the command reaches of the host is meant: see `qemu::reach`.
        unsafe_: bool,
    },
    Stop(StopCall),
    /// Answered when what is waited for has come.
    Wait(WaitCall),
    Send(SendCall),
    /// A stream: it has an id.
    Console(ConsoleCall),
    /// One command of the guest agent's; its own answer is the result.
    Agent(AgentCall),
    /// A stream: a command that runs in the guest.
    Exec(ExecCall),
    /// Answered when the keys have been pressed.
    Keys(KeysCall),
    Type(TypeCall),
    /// A stream: it has an id.
    Events(EventsCall),
    /// Answered when the file is there.
    Screen(ScreenCall),
}

/// How the guest is to be stopped.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StopCall {
    pub(crate) manner: Manner,
    /// The guest's time to shut down, in place of the definition's; zero is for ever.
    pub(crate) guest_time: Option<Duration>,
    /// Answer at once, not when the guest has ended.
    pub(crate) at_once: bool,
}

/// How hard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Ask the guest, then end QEMU.
    #[default]
    Orderly,
    /// End QEMU.
    Force,
    /// Ask the guest, and leave it running where it does not heed.
    NoKill,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    method: String,
    #[serde(default)]
    args: Vec<Value>,
    #[serde(default)]
    kwargs: Map<String, Value>,
    #[serde(default)]
    id: Option<Value>,
}

/// A request that cannot be obeyed: the id to answer under, and what to answer.
pub(crate) type Refused = (Option<Value>, Error);

impl Request {
    /// Reads a client's line.
    pub(crate) fn parse(line: &[u8]) -> std::result::Result<Request, Box<Refused>> {
        if weight(line) > WEIGHT_LIMIT {
            let error = Error::usage("the request is made of too many values");
            return Err(Box::new((None, error)));
        }
        Request::read(serde_json::from_slice(line))
    }

    /// Reads a request that has been taken out of something larger.
    pub(crate) fn from_value(value: Value) -> std::result::Result<Request, Box<Refused>> {
        Request::read(serde_json::from_value(value))
    }

    fn read(raw: serde_json::Result<RawRequest>) -> std::result::Result<Request, Box<Refused>> {
        let raw = raw.map_err(|error| {
            let error = Error::usage(format!("cannot read the request: {error}"));
            Box::new((None, error.hint(r#"a request is {"method":"…","args":[…],"kwargs":{…}}"#)))
        })?;
        let id = match raw.id {
            Some(id) if !is_plain_id(&id) => {
                let error =
                    Error::usage("the id of a request is a number or a string of at most 64 bytes");
                return Err(Box::new((None, error)));
            }
            id => id,
        };
        match call(&raw.method, raw.args, raw.kwargs) {
            Ok(Call::Console(_) | Call::Exec(_) | Call::Events(_)) if id.is_none() => {
                let what = format!("the method {} is a stream, and needs an id", raw.method);
                Err(Box::new((None, Error::usage(what))))
            }
            Ok(call) => Ok(Request { id, call }),
            Err(error) => Err(Box::new((id, error))),
        }
    }

    /// The line that asks for this, with its newline.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let (method, args, kwargs) = match &self.call {
            Call::Ping => ("ping", json!([]), Map::new()),
            Call::Status => ("status", json!([]), Map::new()),
            Call::Qmp { command, arguments, unsafe_: false } => {
                ("qmp", json!([command]), arguments.clone())
            }
            Call::Qmp { command, arguments, unsafe_: true } => {
                ("qmp", json!([command, { "unsafe": true }]), arguments.clone())
            }
            Call::Stop(stop) => ("stop", json!([]), stop.to_kwargs()),
            Call::Wait(wait) => ("wait", json!([]), wait.to_kwargs()),
            Call::Send(send) => ("send", send.to_args(), send.to_kwargs()),
            Call::Console(console) => ("console", json!([]), console.to_kwargs()),
            Call::Agent(agent) => ("agent", agent.to_args(), agent.arguments.clone()),
            Call::Exec(exec) => ("exec", json!(exec.words), exec.to_kwargs()),
            Call::Keys(keys) => ("keys", keys.to_args(), keys.to_kwargs()),
            Call::Type(text) => ("type", text.to_args(), Map::new()),
            Call::Events(events) => ("events", json!([]), events.to_kwargs()),
            Call::Screen(screen) => ("screen", json!([]), screen.to_kwargs()),
        };
        let mut request = json!({ "method": method, "args": args, "kwargs": kwargs });
        if let Some(id) = &self.id {
            request["id"] = id.clone();
        }
        line_of(&request)
    }
}

impl From<Call> for Request {
    fn from(call: Call) -> Request {
        Request { id: None, call }
    }
}

/// Whether a request may have this id: a number or a string of at most 64 bytes.
pub(crate) fn is_plain_id(id: &Value) -> bool {
    (id.is_string() || id.is_number()) && id.to_string().len() <= ID_LIMIT
}

fn call(method: &str, args: Vec<Value>, kwargs: Map<String, Value>) -> Result<Call> {
    let bare = |call: Call| {
        if args.is_empty() && kwargs.is_empty() {
            Ok(call)
        } else {
            Err(Error::usage(format!("the method {method} takes no arguments")))
        }
    };
    match method {
        "ping" => bare(Call::Ping),
        "status" => bare(Call::Status),
        "qmp" => qmp(&args, kwargs),
        "stop" if args.is_empty() => StopCall::from_kwargs(kwargs).map(Call::Stop),
        "stop" => Err(Error::usage("the method stop takes kwargs only")),
        "wait" if args.is_empty() => {
            let mut kwargs = kwargs;
            let wait = WaitCall::take(&mut kwargs)?;
            nothing_left("wait", &kwargs)?;
            Ok(Call::Wait(wait))
        }
        "send" => SendCall::read(&args, kwargs).map(Call::Send),
        "console" if args.is_empty() => ConsoleCall::read(kwargs).map(Call::Console),
        "agent" => AgentCall::read(&args, kwargs).map(Call::Agent),
        "exec" => ExecCall::read(&args, kwargs).map(Call::Exec),
        "keys" => KeysCall::read(args, kwargs).map(Call::Keys),
        "type" => TypeCall::read(args, &kwargs).map(Call::Type),
        "screen" => ScreenCall::read(&args, kwargs).map(Call::Screen),
        "events" if args.is_empty() => EventsCall::read(kwargs).map(Call::Events),
        "wait" | "console" | "events" => {
            Err(Error::usage(format!("the method {method} takes kwargs only")))
        }
        _ => Err(Error::usage(format!("no such method: {}", quote(method))).hint(
            "the methods are ping, status, qmp, stop, wait, send, console, agent, exec, keys, \
             type, screen and events",
        )),
    }
}

/// The arguments of a command are kwargs, whatever they are called: what is said about it stands in
/// an object of its own behind its name.
fn qmp(args: &[Value], arguments: Map<String, Value>) -> Result<Call> {
    let (command, unsafe_) = match args {
        [Value::String(command)] => (command, false),
        [Value::String(command), Value::Object(options)] => {
            match (options.len(), options.get("unsafe")) {
                (0, _) => (command, false),
                (1, Some(Value::Bool(unsafe_))) => (command, *unsafe_),
                _ => {
                    return Err(Error::usage(
                        "the method qmp knows the option unsafe alone, true or false",
                    ));
                }
            }
        }
        _ => {
            return Err(Error::usage("the method qmp takes the command's name as an argument")
                .hint("the command's own arguments are kwargs"));
        }
    };
    Ok(Call::Qmp { command: command.clone(), arguments, unsafe_ })
}

impl StopCall {
    fn from_kwargs(kwargs: Map<String, Value>) -> Result<StopCall> {
        let mut stop = StopCall::default();
        for (key, value) in kwargs {
            match (key.as_str(), value) {
                ("force", Value::Bool(true)) => stop.manner = Manner::Force,
                ("kill", Value::Bool(false)) => stop.manner = Manner::NoKill,
                ("force", Value::Bool(false)) | ("kill", Value::Bool(true)) => {}
                ("wait", Value::Bool(wait)) => stop.at_once = !wait,
                ("timeout", Value::Number(seconds)) => {
                    let seconds = seconds.as_f64().unwrap_or(-1.0);
                    if !(0.0..=LONGEST_GUEST_TIME).contains(&seconds) {
                        return Err(Error::usage("the timeout of stop is seconds, up to a year"));
                    }
                    stop.guest_time = Some(Duration::from_secs_f64(seconds));
                }
                (key, _) => {
                    return Err(Error::usage(format!("stop cannot use {} so", quote(key))).hint(
                        "its kwargs are force, kill, wait (booleans) and timeout (seconds)",
                    ));
                }
            }
        }
        Ok(stop)
    }

    fn to_kwargs(&self) -> Map<String, Value> {
        let mut kwargs = Map::new();
        match self.manner {
            Manner::Orderly => {}
            Manner::Force => drop(kwargs.insert("force".into(), true.into())),
            Manner::NoKill => drop(kwargs.insert("kill".into(), false.into())),
        }
        if let Some(time) = self.guest_time {
            kwargs.insert("timeout".into(), time.as_secs_f64().into());
        }
        if self.at_once {
            kwargs.insert("wait".into(), false.into());
        }
        kwargs
    }
}

#[cfg(test)]
mod tests;
