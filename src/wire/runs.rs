//! The lines of `runs.ndjson`: what happened in a VM's runs, and how the last one ended.
//!
//! The runner appends lines, commands read them; both use these types. Pure: text in, runs out. A
//! line that cannot be read, a torn last one too, is passed over: this file never decides whether a
//! VM lives.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::time::Timestamp;

/// How many runs the file keeps.
pub(crate) const KEPT: usize = 64;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The guest shut down, or was stopped as asked.
    Stopped,
    /// QEMU ended by itself with an error or a signal, or its runner was killed.
    Crashed,
    /// It never came up.
    Failed,
    /// The host went down under it.
    HostDown,
}

/// What ended the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EndedBy {
    /// It shut itself down, asked or not.
    Guest,
    /// QMP `quit`.
    Quit,
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// The end of a run; `last_exit` of a VM's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) by: Option<EndedBy>,
    /// Who asked for it, where somebody did: a client, a signal.
    pub(crate) asked_by: Option<String>,
    /// Why, in a sentence, where there is more to say.
    pub(crate) detail: Option<String>,
    /// `None` where nobody was there to see it.
    pub(crate) ended_at: Option<Timestamp>,
}

/// A QMP event as it is remembered for a post-mortem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenEvent {
    pub(crate) at: Timestamp,
    pub(crate) event: String,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub(crate) enum Line {
    Began {
        run: u64,
        at: Timestamp,
        boot_id: String,
        runner_pid: u32,
    },
    /// QEMU runs: its versioned machine type, and the files that were made for it.
    Up {
        run: u64,
        machine: String,
        #[serde(default)]
        created: Vec<String>,
    },
    Ended {
        run: u64,
        end: End,
        /// Why a start failed, as the command that started it was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
        /// The last QMP events.
        #[serde(default)]
        events: Vec<SeenEvent>,
        /// The last lines of QEMU's standard error.
        #[serde(default)]
        stderr: String,
    },
}

impl Line {
    /// The line as it stands in the file, with its newline.
    pub(crate) fn to_text(&self) -> String {
        let mut text =
            serde_json::to_string(self).expect("strings, numbers and lists always serialize");
        text.push('\n');
        text
    }
}

/// One run, put together from its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) began_at: Timestamp,
    pub(crate) boot_id: String,
    pub(crate) runner_pid: u32,
    pub(crate) machine: Option<String>,
    pub(crate) created: Vec<String>,
    pub(crate) end: Option<End>,
    pub(crate) error: Option<Error>,
    pub(crate) events: Vec<SeenEvent>,
    pub(crate) stderr: String,
}

impl Run {
    /// How this run ended, given that its runner is gone: as its runner wrote, or as what is known
    /// tells where it could not write any more.
    pub(crate) fn end_without_runner(&self, boot_id: &str) -> End {
        if let Some(end) = &self.end {
            return end.clone();
        }
        let (outcome, detail) = if self.boot_id == boot_id {
            (Outcome::Crashed, "its runner was killed")
        } else {
            (Outcome::HostDown, "the host went down")
        };
        End {
            outcome,
            exit_code: None,
            signal: None,
            by: None,
            asked_by: None,
            detail: Some(detail.into()),
            ended_at: None,
        }
    }
}

/// All runs in a file's text, oldest first.
pub(crate) fn parse(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for line in text.lines() {
        match serde_json::from_str::<Line>(line) {
            Ok(Line::Began { run, at, boot_id, runner_pid }) => runs.push(Run {
                number: run,
                began_at: at,
                boot_id,
                runner_pid,
                machine: None,
                created: Vec::new(),
                end: None,
                error: None,
                events: Vec::new(),
                stderr: String::new(),
            }),
            Ok(Line::Up { run, machine, created }) => {
                if let Some(open) = runs.last_mut().filter(|last| last.number == run) {
                    open.machine = Some(machine);
                    open.created = created;
                }
            }
            Ok(Line::Ended { run, end, error, events, stderr }) => {
                if let Some(open) = runs.last_mut().filter(|last| last.number == run) {
                    open.end = Some(end);
                    open.error = error;
                    open.events = events;
                    open.stderr = stderr;
                }
            }
            Err(_) => {}
        }
    }
    runs
}

/// The newest run in a file's text, without reading the older ones. What stands in the middle of a
/// line, behind a torn one, begins no run.
pub(crate) fn last(text: &str) -> Option<Run> {
    let begins = text.rmatch_indices(r#"{"line":"began""#).map(|(at, _)| at);
    let begins = begins.filter(|&at| at == 0 || text.as_bytes()[at - 1] == b'\n');
    begins.filter_map(|at| parse(&text[at..]).pop()).next()
}

/// The text with only its last [`KEPT`]` - 1` runs, so that one more fits; `None` where it has no
/// more than that.
pub(crate) fn trimmed(text: &str) -> Option<String> {
    let is_begin = |line: &str| matches!(serde_json::from_str(line), Ok(Line::Began { .. }));
    let begins: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| is_begin(line)).map(|(n, _)| n).collect();
    let surplus = begins.len().checked_sub(KEPT - 1).filter(|&surplus| surplus > 0)?;
    let first = begins.get(surplus).copied()?;
    Some(text.lines().skip(first).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(run: u64) -> Line {
        Line::Began {
            run,
            at: Timestamp::from_unix_millis(1000),
            boot_id: "boot-1".into(),
            runner_pid: 42,
        }
    }

    fn ended(run: u64, outcome: Outcome) -> Line {
        let end = End {
            outcome,
            exit_code: Some(0),
            signal: None,
            by: Some(EndedBy::Guest),
            asked_by: None,
            detail: None,
            ended_at: Some(Timestamp::from_unix_millis(2000)),
        };
        Line::Ended { run, end, error: None, events: Vec::new(), stderr: "bye".into() }
    }

    #[test]
    fn lines_become_runs() {
        let up = Line::Up { run: 1, machine: "pc-q35-7.2".into(), created: vec!["/d".into()] };
        let text: String = [began(1), up, ended(1, Outcome::Stopped), began(2)]
            .iter()
            .map(Line::to_text)
            .collect();
        let runs = parse(&text);
        assert_eq!(runs.len(), 2);
        assert_eq!(last(&text).as_ref(), runs.last());
        assert_eq!(runs[0].machine.as_deref(), Some("pc-q35-7.2"));
        assert_eq!(runs[0].stderr, "bye");
        assert_eq!(runs[0].end_without_runner("boot-1").outcome, Outcome::Stopped);
        assert_eq!(runs[1].end_without_runner("boot-1").outcome, Outcome::Crashed);
        assert_eq!(runs[1].end_without_runner("boot-2").outcome, Outcome::HostDown);
    }

    #[test]
    fn the_newest_run_is_the_newest_whole_one() {
        let (one, two) = (began(1).to_text(), began(2).to_text());
        for text in [format!("{one}{}", &two[..two.len() / 2]), format!("{one}torn{two}")] {
            assert_eq!(last(&text).map(|run| run.number), Some(1), "{text}");
            assert_eq!(last(&text), parse(&text).pop());
        }
        assert_eq!(last(&format!("torn{one}")), None);
    }

    #[test]
    fn torn_and_foreign_lines_are_passed_over() {
        let mut text = format!("nonsense\n{}{{}}\n\n", began(1).to_text());
        let last = ended(1, Outcome::Crashed).to_text();
        text.push_str(&last[..last.len() / 2]);
        let runs = parse(&text);
        assert_eq!(runs.len(), 1);
        assert!(runs[0].end.is_none());
    }

    #[test]
    fn the_oldest_runs_go_when_there_are_too_many() {
        let text = |last: u64| -> String {
            (1..=last)
                .flat_map(|run| [began(run), ended(run, Outcome::Stopped)])
                .map(|line| line.to_text())
                .collect()
        };
        assert_eq!(trimmed(&text(63)), None);
        let runs = parse(&trimmed(&text(70)).unwrap());
        assert_eq!(runs.len(), KEPT - 1);
        assert_eq!((runs[0].number, runs.last().unwrap().number), (8, 70));
    }
}
