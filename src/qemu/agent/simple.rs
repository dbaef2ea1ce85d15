//! One command that runs in the guest without a shell and without streams: its input is given whole,
//! its output comes at the end, as far as it is kept.
//!
//! For guests that have no POSIX shell. Pure, with the same questions as `exec`.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::command::{self, ExecStatus, Started};
use super::exec::{Exit, Next, Report, Task};
use super::output::{Output, Stream};
use super::{Lost, Said, read};
use crate::error::{Error, Result};

/// The most that may be given to its standard input, in bytes.
const INPUT_LIMIT: usize = 512 << 10;
/// Pauses between two looks: doubling from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// For the agent's answer, behind the end of the command's time.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For the end of its input.
    Waiting,
    Running,
    /// It has ended with this code, and its output is on its way to the client.
    Giving(u8),
    Killing,
    Over,
}

#[derive(Debug)]
pub(crate) struct Simple {
    task: Task,
    is_windows: bool,
    phase: Phase,
    input: Vec<u8>,
    input_ended: bool,
    pid: Option<i64>,
    pause: Duration,
    wake: Option<Instant>,
    told: bool,
    output: Output,
    reports: Vec<Report>,
}

impl Simple {
    /// `is_windows` tells how a process is ended there.
    pub(crate) fn new(task: Task, is_windows: bool) -> Simple {
        Simple {
            task,
            is_windows,
            phase: Phase::Waiting,
            input: Vec::new(),
            input_ended: false,
            pid: None,
            pause: FIRST_PAUSE,
            wake: None,
            told: false,
            output: Output::default(),
            reports: Vec::new(),
        }
    }

    /// Takes bytes for the command's standard input.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.phase != Phase::Waiting || self.input_ended {
            return;
        }
        self.input.extend_from_slice(bytes);
        if self.input.len() > INPUT_LIMIT {
            let error = Error::usage("a simple command takes at most 512 KiB of input");
            self.finish(Err(error));
        }
    }

    pub(crate) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Nobody wants it any more.
    pub(crate) fn cancel(&mut self) {
        self.told = true;
        self.phase = match (self.phase, self.pid) {
            (Phase::Running, Some(_)) => Phase::Killing,
            (Phase::Running, None) => Phase::Running,
            _ => Phase::Over,
        };
    }

    /// What there is for the client since the last call.
    pub(crate) fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    fn finish(&mut self, end: Result<Exit>) {
        if !std::mem::replace(&mut self.told, true) {
            self.reports.push(Report::Ended(end));
        }
        self.input = Vec::new();
        self.phase = Phase::Over;
    }

    /// As [`super::exec::Exec::overdue_at`].
    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        self.task.until.filter(|_| !self.told).map(|until| until + PATIENCE)
    }

    /// As [`super::exec::Exec::overdue`].
    pub(crate) fn overdue(&mut self, now: Instant) {
        if self.overdue_at().is_some_and(|at| at <= now) {
            self.reports.push(Report::Ended(Ok(Exit::TimedOut)));
            self.cancel();
        }
    }

    /// What is to be done at `now`; `may_tell`: the client takes more output. Not to be called while
    /// the agent owes an answer.
    pub(crate) fn next(&mut self, now: Instant, may_tell: bool) -> Next {
        let has_ended = matches!(self.phase, Phase::Giving(_));
        let until = self.task.until.filter(|_| !self.told && !has_ended);
        if until.is_some_and(|until| until <= now) {
            let runs = self.phase == Phase::Running;
            self.finish(Ok(Exit::TimedOut));
            self.phase = if runs { Phase::Killing } else { Phase::Over };
            self.wake = None;
        }
        match self.phase {
            Phase::Waiting if !self.input_ended => Next::Sleep(until),
            Phase::Waiting => {
                self.phase = Phase::Running;
                let Task { words, env, .. } = &self.task;
                let input = std::mem::take(&mut self.input);
                Next::Ask(command::exec_with_input(words, env, &input))
            }
            Phase::Running => match self.wake.filter(|wake| now < *wake) {
                Some(wake) => Next::Sleep(Some(until.map_or(wake, |until| until.min(wake)))),
                None => Next::Ask(command::exec_status(self.pid.unwrap_or_default())),
            },
            // Its reading wakes us.
            Phase::Giving(_) if !may_tell => Next::Sleep(None),
            Phase::Giving(code) => match self.output.pop() {
                Some((stream, bytes)) => {
                    self.reports.push(match stream {
                        Stream::Out => Report::Stdout(bytes),
                        Stream::Err => Report::Stderr(bytes),
                    });
                    Next::Sleep(Some(now))
                }
                None => {
                    self.finish(Ok(Exit::Code(code)));
                    Next::Over
                }
            },
            Phase::Killing => {
                self.phase = Phase::Over;
                let pid = self.pid.unwrap_or_default().to_string();
                let (program, words) = match self.is_windows {
                    true => ("taskkill", ["/T", "/F", "/PID"].as_slice()),
                    false => ("kill", ["-s", "TERM"].as_slice()),
                };
                let words: Vec<String> =
                    words.iter().map(|word| (*word).to_owned()).chain([pid]).collect();
                Next::Ask(command::exec(program, &words, false))
            }
            Phase::Over => Next::Over,
        }
    }

    /// Takes the answer to what [`Simple::next`] had asked for.
    pub(crate) fn answered(&mut self, now: Instant, answer: Result<Said, Lost>) {
        if self.phase != Phase::Running {
            return;
        }
        let heard = match self.pid {
            None => parse::<Started>(answer).map(|(started, _)| {
                self.pid = Some(started.pid);
                if self.told {
                    self.phase = Phase::Killing;
                }
            }),
            Some(_) => {
                parse::<ExecStatus>(answer).map(|(status, output)| self.hear(now, &status, output))
            }
        };
        if let Err(error) = heard {
            self.finish(Err(error));
        }
    }

    fn hear(&mut self, now: Instant, status: &ExecStatus, output: Output) {
        if !status.exited {
            self.wake = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            return;
        }
        if output.cut || status.out_truncated || status.err_truncated {
            self.reports.push(Report::Cut);
        }
        self.output = output;
        self.phase = Phase::Giving(status.code());
    }
}

fn parse<T: DeserializeOwned>(answer: Result<Said, Lost>) -> Result<(T, Output)> {
    let Said { line, output } = answer.map_err(|lost| lost.error)?;
    match read(&line) {
        Ok(Ok(value)) => Ok((value, output)),
        Ok(Err(why)) => Err(Error::failed(format!("the guest's agent refused: {why}"))),
        Err(nonsense) => {
            Err(Error::failed(format!("the guest's agent answered nonsense: {}", nonsense.0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Framer, Heard};
    use super::*;

    fn task(until: Option<Instant>) -> Task {
        Task { words: vec!["dir".into()], until, ..Task::default() }
    }

    fn said(line: &str) -> Result<Said, Lost> {
        let mut framer = Framer::default();
        framer.sift(true);
        match framer.push(format!("{line}\n").as_bytes()).pop() {
            Some(Heard::Line { bytes, output, .. }) => Ok(Said { line: bytes, output }),
            other => panic!("{other:?}"),
        }
    }

    fn asked(next: Next) -> String {
        match next {
            Next::Ask(command) => String::from_utf8(command.to_line()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn input_is_given_whole_and_output_comes_at_the_end() {
        let now = Instant::now();
        let mut simple = Simple::new(task(None), false);
        assert_eq!(simple.next(now, true), Next::Sleep(None));
        simple.feed(b"h");
        simple.feed(b"i\n");
        simple.end_input();
        let line = asked(simple.next(now, true));
        assert!(line.contains("\"input-data\":\"aGkK\"") && line.contains("\"path\":\"dir\""));
        simple.answered(now, said(r#"{"return": {"pid": 5}}"#));
        assert!(asked(simple.next(now, true)).contains("\"pid\":5"));
        simple.answered(now, said(r#"{"return": {"exited": false}}"#));
        assert_eq!(simple.next(now, true), Next::Sleep(Some(now + FIRST_PAUSE)));
        asked(simple.next(now + FIRST_PAUSE, true));
        simple.answered(
            now,
            said(
                r#"{"return": {"exited": true, "exitcode": 3, "out-data": "aGkK", "out-truncated": true}}"#,
            ),
        );
        assert_eq!(simple.reports(), [Report::Cut]);
        // A client that does not read has its time.
        assert_eq!(simple.next(now, false), Next::Sleep(None));
        assert_eq!(simple.next(now, true), Next::Sleep(Some(now)));
        assert_eq!(simple.reports(), [Report::Stdout(b"hi\n".to_vec())]);
        assert_eq!(simple.next(now, true), Next::Over);
        assert_eq!(simple.reports(), [Report::Ended(Ok(Exit::Code(3)))]);
    }

    #[test]
    fn what_takes_too_long_or_too_much_is_ended() {
        let now = Instant::now();
        let mut simple = Simple::new(task(Some(now)), true);
        simple.end_input();
        assert_eq!(simple.next(now, true), Next::Over);
        assert_eq!(simple.reports(), [Report::Ended(Ok(Exit::TimedOut))]);

        let mut simple = Simple::new(task(Some(now + LONGEST_PAUSE)), true);
        simple.end_input();
        asked(simple.next(now, true));
        simple.answered(now, said(r#"{"return": {"pid": 5}}"#));
        let line = asked(simple.next(now + LONGEST_PAUSE, true));
        assert!(line.contains("taskkill") && line.contains("\"5\""), "{line}");
        assert_eq!(simple.reports(), [Report::Ended(Ok(Exit::TimedOut))]);
        simple.answered(now, said(r#"{"return": {"pid": 6}}"#));
        assert_eq!(simple.next(now, true), Next::Over);

        let mut simple = Simple::new(task(None), false);
        simple.feed(&vec![b'x'; INPUT_LIMIT + 1]);
        assert!(matches!(simple.reports()[..], [Report::Ended(Err(_))]));
    }
}
