//! The private pair between `start` and the runner that it spawned: a few lines, once.
//!
//! The runner says that it holds both locks, and only then does the command read the definition and
//! hand it over: so no runner ever starts from a definition that was changed or removed meanwhile.
//! After that the runner writes at most one error, last. It closes the pair when the VM runs. The
//! pair shortens a failure; a success is only ever an authenticated ping.

use std::ffi::OsString;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::definition::name::VmId;
use crate::error::Error;
use crate::paths::Folders;

/// The hidden word by which the binary knows that it is to be a runner.
pub(crate) const RUNNER: &str = "__runner";

/// The longest line on the pair, in bytes: a definition is at most 1 MiB.
pub(crate) const LINE_LIMIT: usize = 4 << 20;

/// What a runner is told by its command line: `__runner ID LEVEL DATA RUNTIME…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mission {
    pub(crate) id: VmId,
    pub(crate) level: log::LevelFilter,
    pub(crate) folders: Folders,
}

impl Mission {
    /// Reads the words after `__runner`.
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Option<Mission> {
        let mut text = || words.next()?.into_string().ok();
        let id = VmId::parse(&text()?).ok()?;
        let level = text()?.parse().ok()?;
        let folders = Folders::from_arguments(words)?;
        Some(Mission { id, level, folders })
    }

    /// The words after the program's name.
    pub(crate) fn to_words(&self) -> Vec<OsString> {
        let (id, level) = (self.id.to_string(), self.level.as_str());
        let mut words: Vec<OsString> = vec![RUNNER.into(), id.into(), level.into()];
        words.extend(self.folders.to_arguments());
        words
    }
}

/// What the runner writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum FromRunner {
    /// Both locks are mine: send the definition.
    Locked { locked: bool },
    /// Another runner holds the lock. That is no failure: it may be starting this very VM.
    Held { held: bool },
    /// The start failed.
    Failed(Error),
}

/// What the command answers; it closes its writing side instead where the VM is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) name: String,
    /// The stored definition over the settings' defaults.
    pub(crate) definition: Map<String, Value>,
    /// Leave the guest paused before its first instruction.
    pub(crate) paused: bool,
    /// For QEMU to be up, in milliseconds from its spawn, where it is to have more than the runner
    /// gives by itself.
    #[serde(default)]
    pub(crate) start_limit_ms: Option<u64>,
}

impl Order {
    /// See `start_limit_ms`; zero where nothing is asked for.
    pub(crate) fn start_limit(&self) -> Duration {
        self.start_limit_ms.map(Duration::from_millis).unwrap_or_default()
    }
}

/// One line of the pair, with its newline.
pub(crate) fn to_line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("JSON values always serialize");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mission_survives_its_words() {
        let words = ["/d", "/r", "/s"].map(OsString::from);
        let folders = Folders::from_arguments(words.into_iter()).unwrap();
        let id = VmId::random().unwrap();
        let mission = Mission { id, level: log::LevelFilter::Debug, folders };
        let words = mission.to_words();
        assert_eq!(words[0], RUNNER);
        assert_eq!(Mission::parse(words.into_iter().skip(1)), Some(mission));
        assert_eq!(Mission::parse(["x".into()].into_iter()), None);
    }

    #[test]
    fn the_three_messages_are_told_apart() {
        for message in [
            FromRunner::Locked { locked: true },
            FromRunner::Held { held: true },
            FromRunner::Failed(Error::failed("no").hint("yes")),
        ] {
            let line = to_line(&message);
            assert_eq!(serde_json::from_slice::<FromRunner>(&line).unwrap(), message);
        }
        assert!(serde_json::from_str::<FromRunner>("{}").is_err());
    }
}
