//! What travels within a stream: the frames of both sides, as lines.
//!
//! A stream is opened by a request with an id: the runner says `stream`, frames go both ways under
//! that id, and one answer ends it. Bytes travel as base64. What a stream is for is not known here.

use serde::Deserialize;
use serde_json::{Value, json};

use super::line::line_of;
use super::reply;
use crate::base64;
use crate::error::{Error, Kind, Result};

/// What a client says within a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Bytes(Vec<u8>),
    /// It will say nothing more.
    Eof,
    /// It has seen enough.
    Cancel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    id: Value,
    input: Option<String>,
    eof: Option<bool>,
    cancel: Option<bool>,
}

impl Input {
    /// Reads a client's line as a frame of the stream with the id; `None` where it is none.
    pub(crate) fn parse(line: &[u8]) -> Option<(Value, Input)> {
        let raw: RawInput = serde_json::from_slice(line).ok()?;
        let input = match (raw.input, raw.eof, raw.cancel) {
            (Some(text), None, None) => Input::Bytes(base64::decode(&text)?),
            (None, Some(true), None) => Input::Eof,
            (None, None, Some(true)) => Input::Cancel,
            _ => return None,
        };
        Some((raw.id, input))
    }

    /// The line of a frame, with its newline.
    pub(crate) fn to_line(&self, id: &Value) -> Vec<u8> {
        line_of(&match self {
            Input::Bytes(bytes) => json!({ "id": id, "input": base64::encode(bytes) }),
            Input::Eof => json!({ "id": id, "eof": true }),
            Input::Cancel => json!({ "id": id, "cancel": true }),
        })
    }
}

/// The line by which a runner opens a stream, with its newline.
pub(crate) fn opened(id: &Value) -> Vec<u8> {
    line_of(&json!({ "id": id, "status": "stream" }))
}

/// A frame of a runner's: bytes of a stream of this name; `lost` bytes before them did not fit.
pub(crate) fn frame(id: &Value, stream: &str, bytes: &[u8], lost: u64) -> Vec<u8> {
    let mut frame = json!({ "id": id, "stream": stream, "data": base64::encode(bytes) });
    if lost > 0 {
        frame["lost"] = lost.into();
    }
    line_of(&frame)
}

/// A frame of a runner's: something that happened, which is an object as JSON; `lost` before it did
/// not fit.
pub(crate) fn event(id: &Value, event: &str, lost: u64) -> Vec<u8> {
    let lost = if lost > 0 { format!(",\"lost\":{lost}") } else { String::new() };
    format!("{{\"id\":{id},\"event\":{event}{lost}}}\n").into_bytes()
}

/// What a runner says under an id, or without one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) id: Option<Value>,
    pub(crate) frame: Frame,
}

/// One line of a runner's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    /// The stream has begun.
    Opened,
    /// Bytes of the stream of this name; `lost` bytes before them did not fit.
    Data { stream: String, bytes: Vec<u8>, lost: u64 },
    /// Something that happened; `lost` before it did not fit.
    Event { event: Value, lost: u64 },
    /// The answer to a request, which ends its stream if it had one.
    Answer(Result<Value>),
}

#[derive(Deserialize)]
struct RawFrame {
    id: Option<Value>,
    status: Option<String>,
    stream: Option<String>,
    data: Option<String>,
    event: Option<Value>,
    #[serde(default)]
    lost: u64,
}

impl Said {
    /// Reads a runner's line.
    ///
    /// # Errors
    /// `Kind::Failed` for what the protocol does not know.
    pub(crate) fn parse(line: &[u8]) -> Result<Said> {
        let unreadable = || Error::failed("cannot read what the runner says");
        let raw: RawFrame = serde_json::from_slice(line).map_err(|_| unreadable())?;
        if let Some(event) = raw.event {
            return Ok(Said { id: raw.id, frame: Frame::Event { event, lost: raw.lost } });
        }
        let frame = match (raw.status.as_deref(), raw.stream, raw.data) {
            (Some("stream"), None, None) => Frame::Opened,
            (None, Some(stream), Some(data)) => {
                let bytes = base64::decode(&data).ok_or_else(unreadable)?;
                Frame::Data { stream, bytes, lost: raw.lost }
            }
            _ => Frame::Answer(reply::parse_reply(line)),
        };
        Ok(Said { id: raw.id, frame })
    }
}

/// What of a runner's line tells whose it is, without the rest of it being read.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: Option<Value>,
    status: Option<Status>,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Stream,
    Success,
    Error,
}

impl Head {
    /// # Errors
    /// `Kind::Failed` for what the protocol does not know.
    pub(crate) fn parse(line: &[u8]) -> Result<Head> {
        let unreadable = |_| Error::failed("cannot read what the runner says");
        serde_json::from_slice(line).map_err(unreadable)
    }

    /// Whether it is the answer to a request, which ends its stream if it had one.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.status, Some(Status::Success | Status::Error))
    }

    /// Whether a stream has begun.
    pub(crate) fn opens(&self) -> bool {
        self.status == Some(Status::Stream)
    }

    /// What kind of failure it tells, if it tells one.
    pub(crate) fn failure(&self) -> Option<Kind> {
        (self.status == Some(Status::Error)).then_some(self.kind.unwrap_or(Kind::Failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_through_their_lines() {
        let id = json!("a");
        for input in [Input::Bytes(b"\x00\xff".to_vec()), Input::Eof, Input::Cancel] {
            assert_eq!(Input::parse(&input.to_line(&id)), Some((id.clone(), input)));
        }
        let said = |line: &[u8]| {
            let said = Said::parse(line).unwrap();
            assert_eq!(said.id.as_ref(), Some(&id));
            said.frame
        };
        assert_eq!(said(&opened(&id)), Frame::Opened);
        let data = Frame::Data { stream: "console".into(), bytes: b"x\n".to_vec(), lost: 7 };
        assert_eq!(said(&frame(&id, "console", b"x\n", 7)), data);
        let happened = Frame::Event { event: json!({"event": "STOP"}), lost: 3 };
        assert_eq!(said(&event(&id, r#"{"event":"STOP"}"#, 3)), happened);
        let answer = reply::success(Some(&id), &json!({"x": 1}));
        assert_eq!(said(&answer), Frame::Answer(Ok(json!({"x": 1}))));
        let error = Error::conflict("it is busy");
        let failure = reply::failure(Some(&id), &error);
        assert_eq!(said(&failure), Frame::Answer(Err(error)));
        let head = |line: &[u8]| Head::parse(line).unwrap();
        assert!(head(&opened(&id)).opens() && !head(&frame(&id, "x", b"", 0)).opens());
        assert!(head(&answer).is_answer() && head(&answer).failure().is_none());
        assert_eq!(head(&failure).failure(), Some(Kind::Conflict));
        for other in
            [r#"{"id":1,"input":"?"}"#, r#"{"id":1}"#, r#"{"id":1,"eof":true,"cancel":true}"#]
        {
            assert_eq!(Input::parse(other.as_bytes()), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_frames_or_none(bytes: Vec<u8>) {
            let _ = (Input::parse(&bytes), Said::parse(&bytes), Head::parse(&bytes));
        }
    }
}
