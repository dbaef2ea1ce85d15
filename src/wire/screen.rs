//! The call by which a client gets what is on the guest's screen: `screen`.

use serde_json::{Map, Value, json};

use super::talk::nothing_left;
use crate::error::{Error, Result};

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A PNG, or where QEMU is too old for that a PPM.
    Png,
    Ppm,
    /// A PPM, and the memory of a card's text mode.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScreenCall {
    pub(crate) format: Format,
}

impl Format {
    /// The format as it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Ppm => "ppm",
            Format::Text => "text",
        }
    }
}

impl ScreenCall {
    pub(super) fn read(args: &[Value], mut kwargs: Map<String, Value>) -> Result<ScreenCall> {
        if !args.is_empty() {
            return Err(Error::usage("the method screen takes kwargs only"));
        }
        let given = kwargs.remove("format");
        nothing_left("screen", &kwargs)?;
        let known = [Format::Png, Format::Ppm, Format::Text];
        let format = match given {
            None => Some(Format::Png),
            Some(word) => known.into_iter().find(|format| word == format.as_str()),
        };
        let format = format.ok_or_else(|| Error::usage("a format is png, ppm or text"))?;
        Ok(ScreenCall { format })
    }

    pub(super) fn to_kwargs(self) -> Map<String, Value> {
        Map::from_iter([("format".to_owned(), json!(self.format.as_str()))])
    }
}
