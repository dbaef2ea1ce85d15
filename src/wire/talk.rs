//! The calls by which a client talks with the guest: `wait`, `send` and `console`.
//!
//! What travels within a stream that one of them opens is `stream`'s. Bytes are base64.

use serde_json::{Map, Value, json};

use super::condition::Written;
use crate::base64;
use crate::error::{Error, Result, quote};

/// How many conditions one call may have.
pub(crate) const MOST_CONDITIONS: usize = 16;
/// The most that one `send` types, in bytes.
pub(crate) const LONGEST_TEXT: usize = 64 << 10;

/// From where in the console's bytes of this run a wait looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The beginning of this run.
    #[default]
    Start,
    Now,
    /// Behind so many bytes.
    At(u64),
}

/// What to wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitCall {
    /// All of these, or with `any` one of them.
    pub(crate) wanted: Vec<Written>,
    pub(crate) any: bool,
    /// Any of these ends the wait as a failure.
    pub(crate) unwanted: Vec<Written>,
    pub(crate) from: Mark,
}

/// What to type on the guest's console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendCall {
    pub(crate) bytes: Vec<u8>,
    /// A break condition of the line, before the bytes.
    pub(crate) line_break: bool,
    /// What to wait for then, from the byte before; `None`: nothing.
    pub(crate) wait: Option<WaitCall>,
}

/// How to look at the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConsoleCall {
    /// Without the place of the one who types.
    pub(crate) read_only: bool,
    /// Take that place from who has it.
    pub(crate) force: bool,
}

impl Mark {
    /// Reads `start`, `now` or a mark.
    ///
    /// # Errors
    /// `Kind::Usage` for anything else.
    pub(crate) fn parse(word: &str) -> Result<Mark> {
        match word {
            "start" => Ok(Mark::Start),
            "now" => Ok(Mark::Now),
            mark => mark.parse().map(Mark::At).map_err(|_| {
                Error::usage(format!("{} is neither \"start\" nor \"now\" nor a mark", quote(word)))
                    .hint("a mark is the number that an earlier \"wait\" printed")
            }),
        }
    }
}

impl WaitCall {
    /// Takes its own kwargs out of those of a request.
    pub(super) fn take(kwargs: &mut Map<String, Value>) -> Result<WaitCall> {
        let from = match kwargs.remove("from") {
            None => Mark::Start,
            Some(Value::Number(mark)) => Mark::parse(&mark.to_string())?,
            Some(Value::String(word)) => Mark::parse(&word)?,
            Some(_) => return Err(Error::usage("from is \"start\", \"now\" or a mark")),
        };
        let wanted = conditions(kwargs.remove("for"))?;
        let unwanted = conditions(kwargs.remove("fail"))?;
        let any = flag(kwargs, "any")?;
        Ok(WaitCall { wanted, any, unwanted, from })
    }

    pub(super) fn to_kwargs(&self) -> Map<String, Value> {
        let words = |all: &[Written]| all.iter().map(|one| one.word.clone()).collect::<Vec<_>>();
        let from = match self.from {
            Mark::Start => json!("start"),
            Mark::Now => json!("now"),
            Mark::At(mark) => json!(mark),
        };
        let kwargs = json!({
            "for": words(&self.wanted),
            "fail": words(&self.unwanted),
            "any": self.any,
            "from": from,
        });
        kwargs.as_object().cloned().unwrap_or_default()
    }
}

impl SendCall {
    pub(super) fn read(args: &[Value], mut kwargs: Map<String, Value>) -> Result<SendCall> {
        let bytes = match args {
            [] => Vec::new(),
            [Value::String(text)] => base64::decode(text)
                .ok_or_else(|| Error::usage("what is to be sent is not base64"))?,
            _ => return Err(Error::usage("the method send takes one argument, base64")),
        };
        if bytes.len() > LONGEST_TEXT {
            return Err(Error::usage("at most 64 KiB are sent at once"));
        }
        let line_break = flag(&mut kwargs, "break")?;
        let wait = match kwargs.contains_key("for") || kwargs.contains_key("fail") {
            true => Some(WaitCall::take(&mut kwargs)?),
            false => None,
        };
        nothing_left("send", &kwargs)?;
        Ok(SendCall { bytes, line_break, wait })
    }

    pub(super) fn to_kwargs(&self) -> Map<String, Value> {
        let mut kwargs = self.wait.as_ref().map(WaitCall::to_kwargs).unwrap_or_default();
        // It begins before the first byte sent, whatever the caller says.
        kwargs.remove("from");
        if self.line_break {
            kwargs.insert("break".into(), true.into());
        }
        kwargs
    }

    pub(super) fn to_args(&self) -> Value {
        json!([base64::encode(&self.bytes)])
    }
}

impl ConsoleCall {
    pub(super) fn read(mut kwargs: Map<String, Value>) -> Result<ConsoleCall> {
        let read_only = flag(&mut kwargs, "read_only")?;
        let force = flag(&mut kwargs, "force")?;
        nothing_left("console", &kwargs)?;
        Ok(ConsoleCall { read_only, force })
    }

    pub(super) fn to_kwargs(self) -> Map<String, Value> {
        let kwargs = json!({ "read_only": self.read_only, "force": self.force });
        kwargs.as_object().cloned().unwrap_or_default()
    }
}

/// Refuses what a method has not taken of its kwargs.
pub(super) fn nothing_left(method: &str, kwargs: &Map<String, Value>) -> Result<()> {
    match kwargs.keys().next() {
        None => Ok(()),
        Some(key) => Err(Error::usage(format!("{method} knows no {}", quote(key)))),
    }
}

/// Takes a boolean, false where it is not there.
pub(super) fn flag(kwargs: &mut Map<String, Value>, name: &str) -> Result<bool> {
    match kwargs.remove(name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(value),
        Some(_) => Err(Error::usage(format!("{name} is true or false"))),
    }
}

fn conditions(list: Option<Value>) -> Result<Vec<Written>> {
    let all = match list {
        None => Vec::new(),
        Some(Value::Array(all)) => all,
        Some(_) => return Err(Error::usage("conditions are a list")),
    };
    if all.len() > MOST_CONDITIONS {
        return Err(Error::usage("at most 16 conditions can be waited for at once"));
    }
    let word = |one: &Value| one.as_str().map(Written::parse);
    all.iter()
        .map(|one| word(one).unwrap_or_else(|| Err(Error::usage("a condition is a text"))))
        .collect()
}
