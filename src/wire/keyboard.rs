//! The calls by which a client presses keys of the guest's keyboard: `keys` and `type`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::talk::nothing_left;
use crate::error::{Error, Result};

/// The most that one `type` types, in bytes.
pub(crate) const LONGEST: usize = 64 << 10;
/// The most chords of one `keys`, and the longest name of one, in bytes.
const MOST_CHORDS: usize = 1024;
const LONGEST_CHORD: usize = 256;
/// The longest that a chord is held.
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// How long it is where nobody says.
pub(crate) const HOLD: Duration = Duration::from_millis(100);

/// Chords to press, one after the other, as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeysCall {
    pub(crate) chords: Vec<String>,
    /// How long each is held.
    pub(crate) hold: Duration,
}

/// A text to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeCall {
    pub(crate) text: String,
}

impl KeysCall {
    pub(super) fn read(args: Vec<Value>, mut kwargs: Map<String, Value>) -> Result<KeysCall> {
        let chord = |word| match word {
            Value::String(word) if word.len() <= LONGEST_CHORD => Ok(word),
            _ => {
                Err(Error::usage("the arguments of the method keys are chords, such as \"ctrl-c\""))
            }
        };
        let chords = args.into_iter().map(chord).collect::<Result<Vec<String>>>()?;
        if chords.is_empty() || chords.len() > MOST_CHORDS {
            return Err(Error::usage("the method keys takes 1 to 1024 chords"));
        }
        let hold = match kwargs.remove("hold") {
            None => HOLD,
            Some(hold) => hold_of(hold.as_f64().unwrap_or(-1.0))?,
        };
        nothing_left("keys", &kwargs)?;
        Ok(KeysCall { chords, hold })
    }

    pub(super) fn to_args(&self) -> Value {
        json!(self.chords)
    }

    pub(super) fn to_kwargs(&self) -> Map<String, Value> {
        Map::from_iter([("hold".to_owned(), json!(self.hold.as_secs_f64()))])
    }
}

/// A hold of so many seconds.
///
/// # Errors
/// `Kind::Usage` for more than a minute.
pub(crate) fn hold_of(seconds: f64) -> Result<Duration> {
    if (0.0..=LONGEST_HOLD.as_secs_f64()).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(Error::usage("a key is held for at most 60 s"))
}

impl TypeCall {
    pub(super) fn read(args: Vec<Value>, kwargs: &Map<String, Value>) -> Result<TypeCall> {
        nothing_left("type", kwargs)?;
        match <[Value; 1]>::try_from(args) {
            Ok([Value::String(text)]) if text.len() <= LONGEST => Ok(TypeCall { text }),
            Ok([Value::String(_)]) => Err(Error::usage("at most 64 KiB are typed at once")),
            _ => Err(Error::usage("the method type takes one argument, a text")),
        }
    }

    pub(super) fn to_args(&self) -> Value {
        json!([self.text])
    }
}
