//! Fuzz targets: each takes any bytes, and what it asserts holds for all of them.
//!
//! The tests below replay the corpus (`tests/corpus/TARGET/*`) and try bytes at random; `tests/fuzz`
//! includes this file and gives it to libFuzzer. Nothing here reads a file or waits.

use std::path::Path;

use serde_json::{Map, Value};

use crate::commands::settings::Settings;
use crate::control::usage;
use crate::definition::json;
use crate::definition::merge;
use crate::definition::name::{VmId, VmName, VmRef};
use crate::definition::port::Port;
use crate::definition::types::Definition;
use crate::definition::units::{self, Bare, Limit};
use crate::qemu::agent::{self, Framer, Heard};
use crate::qemu::argv::{self, Host, Vm, Wires};
use crate::qemu::image::{self, Header, Info};
use crate::qemu::qmp::{Answer, Message};
use crate::qemu::{keys, usernet};
use crate::tar;
use crate::time::Timestamp;
use crate::wire::auth::{self, Answer as Proof, Challenge};
use crate::wire::condition::{Written, unescape};
use crate::wire::line::{Lines, TooLong};
use crate::wire::message::{REQUEST_LIMIT, Request};
use crate::wire::secret::Key;
use crate::wire::status::Status;
use crate::wire::stream::{Input, Said};
use crate::wire::{events, reply, runs};

const ID: &str = "0b1c6c1e-7a55-4f7e-9d57-1f1e6f1c2d3e";

/// A target.
pub(crate) type Target = fn(&[u8]);

/// All of them, by the names of their folders in the corpus.
pub(crate) const TARGETS: [(&str, Target); 13] = [
    ("agent", agent_stream),
    ("argv", argv_of),
    ("auth", auth_line),
    ("definition", definition),
    ("image", image_info),
    ("line", line),
    ("names", names),
    ("qmp", qmp_stream),
    ("request", request),
    ("settings", settings),
    ("sizes", sizes),
    ("stat", stat),
    ("status", status),
];

/// The first byte says how the rest comes in pieces.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let size = bytes.first().map_or(1, |first| usize::from(*first).max(1));
    bytes.get(1..).unwrap_or_default().chunks(size)
}

/// Framing: however the bytes come, the lines are those of the text.
pub(crate) fn line(bytes: &[u8]) {
    const LIMIT: usize = 32;
    let whole = bytes.get(1..).unwrap_or_default();
    let mut lines = Lines::new(LIMIT);
    let mut seen = Vec::new();
    let mut ended = false;
    for piece in pieces(bytes) {
        if ended {
            break;
        }
        lines.push(piece);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => seen.push(line),
                Ok(None) => break,
                Err(TooLong) => {
                    ended = true;
                    break;
                }
            }
        }
        assert!(ended || !lines.has_line());
    }
    let parts: Vec<&[u8]> = whole.split(|&byte| byte == b'\n').collect();
    let expected: Vec<&[u8]> = match parts.iter().position(|part| part.len() > LIMIT) {
        Some(first) => {
            assert!(ended);
            parts[..first].to_vec()
        }
        None => parts[..parts.len() - 1].to_vec(),
    };
    assert_eq!(seen, expected);
}

/// No bytes are an answer to a challenge, nor a proof, without the key; and both readers end.
pub(crate) fn auth_line(bytes: &[u8]) {
    let (Ok(key), Ok(challenge)) = (Key::random(), Challenge::new(ID)) else { return };
    let bytes = &bytes[..bytes.len().min(auth::LINE_LIMIT)];
    assert!(challenge.verify(&key, bytes).is_none());
    if let Ok((_, answer)) = Proof::to_challenge(&key, ID, bytes) {
        assert!(answer.len() <= auth::LINE_LIMIT);
    }
    if let Ok((proof, _)) = Proof::to_challenge(&key, ID, challenge.line().as_bytes()) {
        assert!(proof.verify(&key, bytes).is_err());
    }
}

/// A request is read back from its own line, and whatever is refused has a short reason.
pub(crate) fn request(bytes: &[u8]) {
    if bytes.len() > REQUEST_LIMIT {
        return;
    }
    let _ = Input::parse(bytes);
    match Request::parse(bytes) {
        Ok(request) => {
            let line = request.to_line();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(line.last(), Some(&b'\n'));
            let again = Request::parse(&line).expect("what was a request is one");
            assert_eq!(again.to_line(), line);
        }
        Err(refused) => {
            let (id, error) = *refused;
            assert!(error.message.len() <= 500, "{}", error.message.len());
            let line = reply::failure(id.as_ref(), &error);
            assert_eq!(reply::parse_reply(&line), Err(error));
        }
    }
}

/// QEMU's lines, as the monitor takes them.
pub(crate) fn qmp_stream(bytes: &[u8]) {
    let mut lines = Lines::new(4096);
    for piece in pieces(bytes) {
        lines.push(piece);
        while let Ok(Some(line)) = lines.next_line() {
            match Message::parse(&line) {
                Ok(Message::Answer { answer, .. }) => {
                    let is_error = matches!(answer, Answer::Error { .. });
                    let value = answer.into_value();
                    let text = value["return"].as_str().unwrap_or_default();
                    let _ =
                        (usernet::ports(text), usernet::is_answered(text, 22), keys::look(text));
                    assert_eq!(value.get("error").is_some(), is_error);
                    let line = reply::success(None, &value);
                    assert_eq!(reply::parse_reply(&line), Ok(value));
                    assert!(Said::parse(&line).is_ok());
                }
                Ok(Message::Event { name, .. }) => assert!((1..=128).contains(&name.len())),
                Ok(Message::Greeting { .. }) => {}
                Err(nonsense) => assert!(nonsense.0.len() < 1024),
            }
        }
    }
}

/// The guest agent's lines, whose other end is the guest.
pub(crate) fn agent_stream(bytes: &[u8]) {
    let mut framer = Framer::default();
    for piece in pieces(bytes) {
        for heard in framer.push(piece) {
            let Heard::Line { bytes, .. } = heard else { continue };
            assert!(!bytes.contains(&b'\n'));
            let _ = agent::read::<u64>(&bytes);
            let _ = agent::read::<String>(&bytes);
            let _ = agent::read::<Map<String, Value>>(&bytes);
        }
    }
}

/// The definition that some text holds, merged as files are.
fn read_definition(bytes: &[u8]) -> Option<(Map<String, Value>, Definition)> {
    let documents = json::documents(bytes, "a file").map_err(|error| {
        assert!(error.message.len() <= 500 && !error.message.contains('\n'), "{error}");
    });
    let map = documents.ok()?.into_iter().next()?;
    let mut merged = Map::new();
    merge::merge(&mut merged, map);
    match Definition::read(&merged) {
        Ok(definition) => Some((merged, definition)),
        Err(error) => {
            assert!(error.message.len() <= 500, "{error}");
            None
        }
    }
}

/// A definition: it is one and stays the same one when it is stored, or there is a reason.
pub(crate) fn definition(bytes: &[u8]) {
    let Some((map, read)) = read_definition(bytes) else { return };
    let text = Value::Object(map).to_string();
    let again = read_definition(text.as_bytes()).map(|(_, again)| format!("{again:?}"));
    assert_eq!(again, Some(format!("{read:?}")));
}

/// The command line of a definition: our own words are options, JSON is JSON, `args` stand at the end.
pub(crate) fn argv_of(bytes: &[u8]) {
    let Some((map, definition)) = read_definition(bytes) else { return };
    let (Ok(id), Ok(name)) = (VmId::parse(ID), VmName::parse("web")) else { return };
    let host = Host::unseen(&definition);
    let vm = Vm { id: &id, name: &name, definition: &definition, folder: Path::new("/vms/web") };
    let Ok(words) = argv::build(&vm, &host, &Wires::NOMINAL) else { return };
    let args = map.get("args").and_then(Value::as_array).map_or(0, Vec::len);
    let own = &words[1..words.len() - args];
    let given = map.get("args").and_then(Value::as_array).into_iter().flatten();
    assert!(given.filter_map(Value::as_str).eq(words[words.len() - args..].iter().map(|w| &**w)));
    assert_eq!(own.first().map(|word| &**word), Some("-nodefaults"));
    for pair in own.windows(2).filter(|pair| pair[0] == "-blockdev") {
        assert!(serde_json::from_str::<Value>(&pair[1]).is_ok_and(|value| value.is_object()));
    }
}

/// The beginning of an image, and what qemu-img says of one.
pub(crate) fn image_info(bytes: &[u8]) {
    if let Ok(header) = Header::read(bytes) {
        let _ = header.format();
        let _ = image::check_original(Path::new("/x"), &header);
    }
    if let Ok(info) = Info::read(bytes) {
        let _ = image::check_info(Path::new("/x"), &info);
    }
    if let Some(block) = bytes.first_chunk() {
        let _ = tar::header(block);
    }
    let _ = tar::Pax::read(bytes);
}

/// Sizes, durations and times: what is read is within its range, and comes back as it is written.
pub(crate) fn sizes(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for bare in [Bare::Mebibytes, Bare::Refused] {
        if let Ok(size) = units::size(text, bare) {
            assert!((1..=i64::MAX as u64).contains(&size));
            assert_eq!(units::size(&units::exact(size), Bare::Refused), Ok(size));
            let _ = units::bytes(size);
        }
    }
    if let Ok(limit) = Limit::parse(text) {
        assert!(limit.duration().is_none_or(|duration| !duration.is_zero()));
    }
    if let Some(time) = Timestamp::parse(text) {
        let again = Timestamp::parse(&time.to_string());
        assert_eq!(again, Some(time));
    }
    let _ = Timestamp::parse_anywhere(text);
}

/// Names, ids, ports and conditions: nothing that is taken for one can be an option or a path.
pub(crate) fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = VmName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!((1..=64).contains(&text.len()) && !text.contains("..") && !text.starts_with('-'));
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
        assert!(VmId::parse(text).is_err());
    }
    if let Ok(id) = VmId::parse(text) {
        assert_eq!(VmId::parse(&id.to_string()), Ok(id));
    }
    if VmRef::parse(text).is_ok() {
        assert!(text.len() <= 64 && !text.contains('/'));
    }
    if let Ok(port) = Port::parse(text) {
        let _ = (port.rule(), port.place());
    }
    if let Ok(written) = Written::parse(text) {
        assert_eq!(written.to_string(), text);
        assert!(text.len() <= 8192);
    }
    if let Ok(bytes) = unescape(text) {
        assert!(bytes.len() <= text.len());
    }
    if let Ok(chords) = keys::typed(text) {
        assert!(chords.len() <= text.chars().count());
    }
    let _ = keys::Chord::parse(text);
}

/// What /proc tells of a process, whose name is its own to choose.
pub(crate) fn stat(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if usage::ticks(&text).is_some() {
        assert!(text.contains(") "));
    }
}

/// What a runner has left: its status, its runs, its events.
pub(crate) fn status(bytes: &[u8]) {
    if let Some(status) = Status::parse(bytes) {
        let text = serde_json::to_vec(&status).unwrap_or_default();
        assert_eq!(Status::parse(&text), Some(status));
    }
    let text = String::from_utf8_lossy(bytes);
    let all = runs::parse(&text);
    if let Some(last) = runs::last(&text) {
        assert!(all.contains(&last));
    }
    if let Some(trimmed) = runs::trimmed(&text) {
        assert!(trimmed.len() <= text.len() + 1);
        assert!(runs::trimmed(&trimmed).is_none());
    }
    assert!(events::parse(&text).len() <= events::KEPT);
}

/// The settings file.
pub(crate) fn settings(bytes: &[u8]) {
    let mut settings = Settings::default();
    if let Err(error) = settings.add(bytes, "a file") {
        assert!(error.message.len() <= 500, "{error}");
    }
}

#[cfg(test)]
mod tests;
