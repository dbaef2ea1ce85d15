//! The lines of a VM's runs, and with them what happened in each: what is left of it when it is over.
//!
//! Only the holder of the VM's lock writes here.

use std::collections::VecDeque;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::events::Events;
use super::logs::{Lost, open, write_what_fits};
use crate::error::Error;
use crate::paths::VmFolder;
use crate::sys;
use crate::time::Timestamp;
use crate::wire::runs::{self, End, Line, Outcome, SeenEvent};
use crate::wire::status::State;

/// How many QMP events are remembered for a post-mortem.
const SEEN_KEPT: usize = 16;
/// How often a line is tried to be written.
const ATTEMPTS: u32 = 2;

/// This run, as it is written down.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    run: u64,
    /// The last QMP events of this run, for the post-mortem.
    seen: VecDeque<SeenEvent>,
    /// All that happened, runs before this one included.
    pub(super) events: Events,
    /// The end of this run has been told as an event.
    end_told: bool,
    lost: Lost,
}

impl Record {
    /// Writes the line with which a run begins; only the last 64 runs are kept.
    pub(super) fn begin(folder: &VmFolder, lost: Lost) -> Record {
        let events = Events::resume(folder.events(), lost.clone());
        let (path, seen) = (folder.runs(), VecDeque::new());
        let mut record = Record { path, run: 0, seen, events, end_told: false, lost };
        record.begin_next();
        record
    }

    /// The same for the run that follows the one that has ended.
    pub(super) fn begin_next(&mut self) {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        if let Some(kept) = runs::trimmed(&text) {
            let new = self.path.with_extension("ndjson.new");
            if std::fs::write(&new, kept).is_ok() {
                let _ = std::fs::rename(&new, &self.path);
            }
        }
        // What a full disk did not take was a run all the same.
        let last = runs::parse(&text).last().map_or(0, |last| last.number);
        self.run = last.max(self.run) + 1;
        self.seen.clear();
        self.end_told = false;
        self.happened(State::Starting.name(), Map::new());
        self.append(&Line::Began {
            run: self.run,
            at: Timestamp::now(),
            boot_id: sys::boot_id(),
            runner_pid: std::process::id(),
        });
    }

    /// Takes down a QMP event.
    pub(super) fn saw(&mut self, event: &str, data: Map<String, Value>) {
        if self.seen.len() == SEEN_KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back(SeenEvent { at: Timestamp::now(), event: event.to_owned() });
        self.happened(event, data);
    }

    /// Takes down that the VM has another state.
    pub(super) fn state(&mut self, before: State, after: State) {
        self.happened(after.name(), Map::from_iter([("from".to_owned(), before.name().into())]));
    }

    /// Takes down how this run ended, once.
    pub(super) fn state_at_end(&mut self, end: &End) {
        if !std::mem::replace(&mut self.end_told, true) {
            let state = match end.outcome {
                Outcome::Stopped | Outcome::HostDown => State::Stopped,
                Outcome::Crashed => State::Crashed,
                Outcome::Failed => State::Failed,
            };
            let end = serde_json::to_value(end).unwrap_or_default();
            self.happened(state.name(), end.as_object().cloned().unwrap_or_default());
        }
    }

    fn happened(&mut self, event: &str, data: Map<String, Value>) {
        self.events.push(self.run, event, data);
    }

    pub(super) fn up(&self, machine: &str, created: &[PathBuf]) {
        let created = created.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        self.append(&Line::Up { run: self.run, machine: machine.to_owned(), created });
    }

    pub(super) fn end(&mut self, end: End, error: Option<&Error>, stderr: &str) {
        self.state_at_end(&end);
        self.events.flush();
        let lines: Vec<&str> = stderr.lines().collect();
        let last = lines[lines.len().saturating_sub(16)..].join("\n");
        self.append(&Line::Ended {
            run: self.run,
            end,
            error: error.cloned(),
            events: self.seen.iter().cloned().collect(),
            stderr: last,
        });
    }

    fn append(&self, line: &Line) {
        let mut text = line.to_text();
        // A line that a full disk or a kill tore must not swallow this one.
        if std::fs::read(&self.path).is_ok_and(|found| !found.is_empty() && !found.ends_with(b"\n"))
        {
            text.insert(0, '\n');
        }
        let mut written = 0;
        // Without its end a run counts as crashed: what fails for once is tried again.
        for _ in 0..ATTEMPTS {
            let rest = &text.as_bytes()[written..];
            if !rest.is_empty() {
                written += open(&self.path).map_or(0, |mut file| write_what_fits(&mut file, rest));
            }
        }
        if written < text.len() {
            self.lost.add(text.len() - written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Folders;
    use crate::testing::Folder;
    use crate::wire;

    fn vm(folder: &Folder) -> VmFolder {
        let words = [folder.path().as_os_str().to_owned(), "/r".into()];
        let vm = Folders::from_arguments(words.into_iter()).unwrap().vm("id");
        std::fs::create_dir_all(vm.path()).unwrap();
        vm
    }

    #[test]
    fn a_run_is_written_down_and_numbered_after_the_last() {
        let folder = Folder::new();
        let vm = vm(&folder);
        for _ in 0..2 {
            let mut record = Record::begin(&vm, Lost::default());
            for n in 0..20 {
                record.saw(&format!("EVENT_{n}"), Map::new());
            }
            record.up("pc-q35-7.2", &["/d".into()]);
            let end = End {
                outcome: Outcome::Crashed,
                exit_code: None,
                signal: Some(11),
                by: None,
                asked_by: None,
                detail: None,
                ended_at: None,
            };
            record.end(end, None, &"line\n".repeat(30));
        }
        let runs = runs::parse(&std::fs::read_to_string(vm.runs()).unwrap());
        assert_eq!(runs.iter().map(|run| run.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(runs[1].events.len(), 16);
        let events = std::fs::read_to_string(vm.events()).unwrap();
        let events = wire::events::parse(&events);
        assert_eq!(events.len(), 2 * 22, "the states at both ends of each run, too");
        assert_eq!((events[0].event.as_str(), events[43].event.as_str()), ("starting", "crashed"));
        assert!(events.iter().enumerate().all(|(place, event)| event.seq == place as u64 + 1));
        assert_eq!(runs[1].stderr.lines().count(), 16);
        assert_eq!(runs[1].machine.as_deref(), Some("pc-q35-7.2"));
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        let folder = Folder::new();
        let vm = vm(&folder);
        std::fs::write(vm.runs(), r#"{"line":"began","run":1"#).unwrap();
        let _record = Record::begin(&vm, Lost::default());
        assert_eq!(runs::parse(&std::fs::read_to_string(vm.runs()).unwrap()).len(), 1);
    }
}
