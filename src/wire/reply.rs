//! Replies, one JSON object a line: what a runner answers, and how a command reads it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::line::line_of;
use crate::error::{Error, Kind, Result};

/// The longest reply line, in bytes.
pub(crate) const REPLY_LIMIT: usize = 8 << 20;

/// The answer to a request that was obeyed, with its newline. No copy is made of the result, which
/// may be large.
pub(crate) fn success(id: Option<&Value>, result: &Value) -> Vec<u8> {
    const SERIALIZES: &str = "JSON values always serialize";
    let mut length = Length(0);
    serde_json::to_writer(&mut length, result).expect(SERIALIZES);
    around(id, length.0, |line| serde_json::to_writer(line, result).expect(SERIALIZES))
}

/// The same with a result that is JSON already, on one line.
pub(crate) fn success_as_it_is(id: Option<&Value>, result: &[u8]) -> Vec<u8> {
    around(id, result.len(), |line| line.extend_from_slice(result))
}

/// A line that grows by doubling would hold its text twice while it is moved: so its length is
/// counted first.
#[derive(Debug)]
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn around(id: Option<&Value>, length: usize, write_result: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let begin = match id {
        Some(id) => format!("{{\"id\":{id},\"result\":"),
        None => "{\"result\":".to_owned(),
    };
    let mut line = Vec::with_capacity(begin.len() + length + 32);
    line.extend_from_slice(begin.as_bytes());
    write_result(&mut line);
    line.extend_from_slice(b",\"status\":\"success\"}\n");
    line
}

/// The answer to a request that was not, with its newline.
pub(crate) fn failure(id: Option<&Value>, error: &Error) -> Vec<u8> {
    let mut reply = json!({ "status": "error", "error": error.message, "kind": error.kind });
    if let Some(hint) = &error.hint {
        reply["hint"] = hint.as_str().into();
    }
    if let Some(id) = id {
        reply["id"] = id.clone();
    }
    line_of(&reply)
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum RawReply {
    Success { result: Value },
    Error { error: String, kind: Option<Kind>, hint: Option<String> },
}

/// Reads a runner's answer: the result, or the error as the runner told it.
pub(crate) fn parse_reply(line: &[u8]) -> Result<Value> {
    match serde_json::from_slice(line) {
        Ok(RawReply::Success { result }) => Ok(result),
        Ok(RawReply::Error { error, kind, hint }) => {
            Err(Error::told(kind.unwrap_or(Kind::Failed), error, hint))
        }
        Err(error) => Err(Error::failed(format!("cannot read the runner's answer: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_back() {
        let line = success(Some(&json!(3)), &json!({"return": {}}));
        assert_eq!(parse_reply(&line).unwrap(), json!({"return": {}}));
        for id in [None, Some(json!("a\"b")), Some(json!(3))] {
            let text = br#"{"return": [1]}"#;
            let line = success_as_it_is(id.as_ref(), text);
            assert_eq!(parse_reply(&line).unwrap(), json!({"return": [1]}));
            let read: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(read.get("id"), id.as_ref());
        }
        let error = Error::conflict("it is busy").hint("wait");
        assert_eq!(parse_reply(&failure(None, &error)).unwrap_err(), error);
        let old = parse_reply(br#"{"status":"error","error":"no"}"#).unwrap_err();
        assert_eq!((old.kind, old.message.as_str()), (Kind::Failed, "no"));
        assert!(parse_reply(b"{}").is_err());
    }
}
