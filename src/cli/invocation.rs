//! What a command line asks for, as plain data.

use super::table::{Flag, Verb};
use crate::definition::units::Limit;

/// One command line, read. Every flag in it is one that its command takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) verb: Verb,
    /// As many as the command's row allows.
    pub(crate) operands: Vec<String>,
    /// Where the definition comes from, in the order typed, which is the order of merging.
    pub(crate) sources: Vec<Source>,
    pub(super) given: Vec<(Flag, Value)>,
}

/// One part of a definition as it stands on the command line, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file to read; `-` is standard input.
    File(String),
    /// A scalar key: `--cpu-model max` is `cpu_model` and `max`; `--rng` alone is `true`.
    Key { key: &'static str, value: String },
    /// The text of `--disk`.
    Disk(String),
    /// The text of `--cdrom`.
    Cdrom(String),
    /// The text of `--share`.
    Share(String),
    /// The text of `--net`.
    Net(String),
    /// The text of `--port`.
    Port(String),
    /// The text of `--label`.
    Label(String),
    /// The text of `--set`.
    Set(String),
    /// One word for QEMU.
    Arg(String),
}

/// What was given with a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Nothing,
    Text(String),
    Count(u32),
    Limit(Limit),
    List(Vec<String>),
}

impl Invocation {
    pub(super) fn new(verb: Verb) -> Invocation {
        Invocation { verb, operands: Vec::new(), sources: Vec::new(), given: Vec::new() }
    }

    /// The same flags for another command on these operands.
    pub(crate) fn of_another(&self, verb: Verb, operands: &[String]) -> Invocation {
        Invocation { verb, operands: operands.to_vec(), ..self.clone() }
    }

    /// Whether the flag was given.
    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.times(flag) > 0
    }

    /// How often the flag was given: `-vv` is 2.
    pub(crate) fn times(&self, flag: Flag) -> usize {
        self.values_of(flag).count()
    }

    /// The flag's text; the last one where it was given more than once.
    pub(crate) fn value(&self, flag: Flag) -> Option<&str> {
        self.values(flag).last()
    }

    /// Every text of a flag that repeats, in the order typed.
    pub(crate) fn values(&self, flag: Flag) -> impl Iterator<Item = &str> {
        self.values_of(flag).filter_map(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The flag's number.
    pub(crate) fn count(&self, flag: Flag) -> Option<u32> {
        self.values_of(flag)
            .filter_map(|value| if let Value::Count(n) = value { Some(*n) } else { None })
            .last()
    }

    /// The flag's time.
    pub(crate) fn limit(&self, flag: Flag) -> Option<Limit> {
        self.values_of(flag)
            .filter_map(|value| if let Value::Limit(limit) = value { Some(*limit) } else { None })
            .last()
    }

    /// The flag's list; none of its texts is empty.
    pub(crate) fn list(&self, flag: Flag) -> Option<&[String]> {
        self.values_of(flag)
            .filter_map(|value| if let Value::List(l) = value { Some(l.as_slice()) } else { None })
            .last()
    }

    /// Whether notes for people are unwanted: by `-q`, and by `--json`, under which every line on
    /// stderr is an object.
    pub(crate) fn quiet(&self) -> bool {
        self.has(Flag::Quiet) || self.has(Flag::Json)
    }

    fn values_of(&self, flag: Flag) -> impl Iterator<Item = &Value> {
        self.given.iter().filter(move |(given, _)| *given == flag).map(|(_, value)| value)
    }
}
