//! What happened with a VM, one line each: QEMU's events, in capitals, and the VM's own states, in
//! small letters. The runner writes them into a file and into streams, commands read them.
//!
//! Pure: text in, events out. A line that cannot be read is passed over.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::talk::{flag, nothing_left};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// How many are kept of a VM.
pub(crate) const KEPT: usize = 256;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// The number of the run in which it did.
    pub(crate) run: u64,
    /// Its own number, by one more than that before it, over all runs.
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    /// Seconds of the host's monotonic clock, which begins anew with each boot.
    pub(crate) monotonic: f64,
    pub(crate) event: String,
    pub(crate) data: Map<String, Value>,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventsCall {
    /// What happens from now on as well.
    pub(crate) follow: bool,
    /// Nothing that happened before this time.
    pub(crate) since: Option<Timestamp>,
}

impl Event {
    /// As a line, without its newline.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl EventsCall {
    pub(super) fn read(mut kwargs: Map<String, Value>) -> Result<EventsCall> {
        let follow = flag(&mut kwargs, "follow")?;
        let since =
            match kwargs.remove("since") {
                None | Some(Value::Null) => None,
                Some(value) => {
                    let time = value.as_str().and_then(Timestamp::parse);
                    Some(time.ok_or_else(|| {
                        Error::usage("since is a time as RFC 3339 writes it, in UTC")
                    })?)
                }
            };
        nothing_left("events", &kwargs)?;
        Ok(EventsCall { follow, since })
    }

    pub(super) fn to_kwargs(self) -> Map<String, Value> {
        let kwargs = json!({ "follow": self.follow, "since": self.since });
        kwargs.as_object().cloned().unwrap_or_default()
    }
}

/// All events in a file's text, the last [`KEPT`] of them.
pub(crate) fn parse(text: &str) -> Vec<Event> {
    let mut events: Vec<Event> =
        text.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).take(KEPT).collect();
    events.reverse();
    events
}
