//! One command that runs in the guest, with its streams: what is to be asked of the agent next, and
//! what its answers mean.
//!
//! Pure: who asks and who gets the streams is the caller's. It gives one command for the agent at a
//! time, and says when it wants to be asked again; what it makes in the guest it removes, however it
//! ends, as long as the agent answers.

mod answers;
mod script;

use std::time::{Duration, Instant};

use super::Command;
use super::command::{self, Handle, PIECE};
use crate::error::Result;

/// Pauses between two looks at a command that says nothing: doubling from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Pieces of input that the command has not taken yet.
const PIECES_AHEAD: u64 = 4;
/// Input that may wait for the agent, in bytes: past it the client is read no further.
pub(crate) const INPUT_WINDOW: usize = 256 << 10;
/// For the guest to end the command and remove its folder.
const END_LIMIT: Duration = Duration::from_secs(10);
/// For the agent's answer, behind the end of the command's time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts to clean up behind an agent that does not answer, and how many there are.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
const RETRIES: u32 = 30;

/// What is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Task {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// NAME=VALUE each.
    pub(crate) env: Vec<String>,
    /// Where; nothing is where the agent runs.
    pub(crate) cwd: String,
    /// What nobody in the guest can guess: letters and digits.
    pub(crate) number: String,
    /// When it is to have ended.
    pub(crate) until: Option<Instant>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With this code: 128+N where signal N ended it.
    Code(u8),
    /// It had not ended in its time, and was ended.
    TimedOut,
}

/// What there is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// Some of the output is missing.
    Cut,
    /// Once, and nothing follows.
    Ended(Result<Exit>),
    /// Once, and nothing else: the guest is Windows, and has no such shell.
    IsWindows,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Give the agent this; [`Exec::answered`] takes the answer.
    Ask(Command),
    /// Nothing, until then.
    Sleep(Option<Instant>),
    /// It is over.
    Over,
}

/// The files of the folder that the agent has open.
const OUT: usize = 0;
const ERR: usize = 1;
const ACK: usize = 2;
const GO: usize = 3;
/// Their names, and how they are opened.
const FILES: [(&str, &str); 4] = [("out", "r"), ("err", "r"), ("ack", "r"), ("go", "r+")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The folder.
    Making,
    Opening,
    /// From the command's start to its end.
    Running,
    /// The rest of the output.
    Draining,
    /// The command is being ended, and the folder removed.
    Ending,
    Closing,
    Over,
}

/// The command that the agent is answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Make,
    Made,
    System,
    Open(usize),
    Run,
    Status,
    Read(usize),
    PieceOpen,
    PieceWrite,
    PieceClose,
    Tell,
    TellEnd,
    TellFlush,
    End,
    Ended,
    Close,
}

/// A piece of input on its way into a file of the guest's.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    handle: Option<Handle>,
}

/// What the feeder is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Nothing,
    /// That a piece lies there.
    Number,
    /// What was written is to reach it.
    Flush,
}

#[derive(Debug)]
pub(crate) struct Exec {
    task: Task,
    phase: Phase,
    asked: Option<Asked>,
    /// The process that the phase waits for.
    pid: Option<i64>,
    /// Why the folder could not be made, until it is known whether the guest is one that has none.
    no_shell: Option<String>,
    folder: String,
    handles: [Option<Handle>; 4],
    /// It reads nothing: its input had ended before it began.
    without_input: bool,
    input: Vec<u8>,
    input_ended: bool,
    end_told: bool,
    piece: Option<Piece>,
    telling: Telling,
    /// Why the guest takes no more of it, and until when it may turn out that the command has ended,
    /// whose folder is gone then.
    refused: Option<(String, Instant)>,
    pieces: u64,
    acknowledged: u64,
    /// How far the present round of looks has come, and whether anything was seen in it.
    look: usize,
    moved: bool,
    /// There is more where that came from: the next round begins at once.
    more: bool,
    pause: Duration,
    wake: Option<Instant>,
    drained: usize,
    /// How it ended, for when its output has been told.
    exit: Option<Exit>,
    told: bool,
    /// When the guest is to have cleaned up.
    end_until: Option<Instant>,
    retries: u32,
    reports: Vec<Report>,
}

impl Exec {
    pub(crate) fn new(task: Task) -> Exec {
        Exec {
            task,
            phase: Phase::Making,
            asked: None,
            pid: None,
            no_shell: None,
            folder: String::new(),
            handles: [None; 4],
            without_input: false,
            input: Vec::new(),
            input_ended: false,
            end_told: false,
            piece: None,
            telling: Telling::Nothing,
            refused: None,
            pieces: 0,
            acknowledged: 0,
            look: 0,
            moved: false,
            more: false,
            pause: FIRST_PAUSE,
            wake: None,
            drained: 0,
            exit: None,
            told: false,
            end_until: None,
            retries: 0,
            reports: Vec::new(),
        }
    }

    /// Takes bytes for the command's standard input.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if !self.input_ended && self.is_wanted() {
            self.input.extend_from_slice(bytes);
        }
    }

    /// No more input comes.
    pub(crate) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Whether more input may come.
    pub(crate) fn takes_more(&self) -> bool {
        self.input.len() < INPUT_WINDOW
    }

    /// The input that has not been given yet, for who runs the command in its place, and whether that
    /// was all.
    pub(crate) fn take_input(&mut self) -> (Vec<u8>, bool) {
        (std::mem::take(&mut self.input), self.input_ended)
    }

    /// Nobody wants it any more: it is ended, and nothing is told.
    pub(crate) fn cancel(&mut self) {
        if !self.told {
            self.told = true;
            self.abandon();
        }
    }

    /// Whether the client still waits for it.
    fn is_wanted(&self) -> bool {
        !self.told && self.exit.is_none()
    }

    /// What there is for the client since the last call.
    pub(crate) fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    fn tell(&mut self, end: Result<Exit>) {
        if !std::mem::replace(&mut self.told, true) {
            self.reports.push(Report::Ended(end));
        }
    }

    /// From here on it is ended and cleaned up. A folder that is being made is waited for: it would
    /// be missed else.
    fn abandon(&mut self) {
        self.input = Vec::new();
        (self.wake, self.pause) = (None, FIRST_PAUSE);
        match self.phase {
            Phase::Making if self.asked.is_none() && self.pid.is_none() => {
                self.phase = Phase::Over;
            }
            Phase::Opening | Phase::Running => (self.phase, self.pid) = (Phase::Ending, None),
            Phase::Draining => self.phase = Phase::Closing,
            Phase::Making | Phase::Ending | Phase::Closing | Phase::Over => {}
        }
    }

    /// When [`Exec::overdue`] has something to do while the agent owes an answer.
    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        self.task.until.filter(|_| !self.told).map(|until| until + PATIENCE)
    }

    /// Its time is over, and the agent does not even answer: this is told now, the rest is for then.
    pub(crate) fn overdue(&mut self, now: Instant) {
        if self.overdue_at().is_some_and(|at| at <= now) {
            self.tell(Ok(Exit::TimedOut));
            self.abandon();
        }
    }

    /// What is to be done at `now`; `may_tell`: the client takes more output. Not to be called while
    /// the agent owes an answer.
    pub(crate) fn next(&mut self, now: Instant, may_tell: bool) -> Next {
        if self.task.until.is_some_and(|until| until <= now) && self.is_wanted() {
            self.exit = Some(Exit::TimedOut);
            self.abandon();
            if self.phase == Phase::Over {
                self.tell(Ok(Exit::TimedOut));
            }
        }
        if let Some(wake) = self.wake {
            if now < wake {
                let until = self.task.until.filter(|_| self.is_wanted());
                return Next::Sleep(Some(until.map_or(wake, |until| until.min(wake))));
            }
            self.wake = None;
        }
        loop {
            let asked = match self.phase {
                Phase::Making if self.no_shell.is_some() => Asked::System,
                Phase::Making if self.pid.is_none() => Asked::Make,
                Phase::Making => Asked::Made,
                Phase::Opening => match self.to_open() {
                    Some(file) => Asked::Open(file),
                    None => Asked::Run,
                },
                Phase::Running => match self.look(now, may_tell) {
                    Some(asked) => asked,
                    None => return Next::Sleep(self.wake),
                },
                Phase::Draining if self.drained > ERR => {
                    self.tell(Ok(self.exit.unwrap_or(Exit::TimedOut)));
                    self.phase = Phase::Closing;
                    continue;
                }
                // A client that does not read stalls its own command alone; its reading wakes us.
                Phase::Draining if !may_tell => return Next::Sleep(None),
                Phase::Draining => Asked::Read(self.drained),
                Phase::Ending if self.pid.is_none() => {
                    self.end_until = Some(now + END_LIMIT);
                    Asked::End
                }
                Phase::Ending => Asked::Ended,
                Phase::Closing if self.piece.as_ref().is_some_and(|it| it.handle.is_some()) => {
                    Asked::PieceClose
                }
                Phase::Closing if self.handles.iter().any(Option::is_some) => Asked::Close,
                Phase::Closing => {
                    self.phase = Phase::Over;
                    continue;
                }
                Phase::Over => return Next::Over,
            };
            self.asked = Some(asked);
            return Next::Ask(self.command(asked));
        }
    }

    fn to_open(&self) -> Option<usize> {
        let wanted = if self.without_input { &FILES[..ACK] } else { &FILES[..] };
        (0..wanted.len()).find(|file| self.handles[*file].is_none())
    }

    /// The next step of a command that runs: its input first, as far as it is taken, then a round of
    /// looks. `None`: there was nothing, and `wake` says when the next round begins.
    fn look(&mut self, now: Instant, may_tell: bool) -> Option<Asked> {
        if self.refused.is_some() {
            if self.piece.as_ref().is_some_and(|piece| piece.handle.is_some()) {
                return Some(Asked::PieceClose);
            }
            (self.piece, self.telling) = (None, Telling::Nothing);
            self.input = Vec::new();
        }
        match (&self.piece, self.telling) {
            (Some(Piece { handle: None, .. }), _) => return Some(Asked::PieceOpen),
            (Some(Piece { bytes, .. }), _) if !bytes.is_empty() => return Some(Asked::PieceWrite),
            (Some(_), _) => return Some(Asked::PieceClose),
            (None, Telling::Number) => return Some(Asked::Tell),
            (None, Telling::Flush) => return Some(Asked::TellFlush),
            (None, Telling::Nothing) => {}
        }
        let takes_input = !self.without_input && !self.end_told && self.refused.is_none();
        if self.look == 0 && takes_input {
            if !self.input.is_empty() && self.pieces - self.acknowledged < PIECES_AHEAD {
                let bytes = self.input.drain(..self.input.len().min(PIECE)).collect();
                self.input.shrink_to(PIECE);
                self.piece = Some(Piece { bytes, handle: None });
                return Some(Asked::PieceOpen);
            }
            if self.input.is_empty() && self.input_ended {
                return Some(Asked::TellEnd);
            }
        }
        while self.look < 4 {
            let look = self.look;
            self.look += 1;
            match look {
                0 => return Some(Asked::Status),
                3 if self.pieces > self.acknowledged => return Some(Asked::Read(ACK)),
                1 | 2 if may_tell => return Some(Asked::Read(look - 1)),
                _ => {}
            }
        }
        self.look = 0;
        self.pause = match std::mem::take(&mut self.moved) {
            true => FIRST_PAUSE,
            false => (self.pause * 2).min(LONGEST_PAUSE),
        };
        if std::mem::take(&mut self.more) {
            return self.look(now, may_tell);
        }
        self.wake = Some(now + self.pause);
        None
    }

    fn command(&self, asked: Asked) -> Command {
        let Task { words, env, cwd, number, .. } = &self.task;
        let pid = self.pid.unwrap_or_default();
        let handle = |file: usize| self.handles[file].unwrap_or_default();
        let piece = self.piece.as_ref();
        let piece_handle = piece.and_then(|piece| piece.handle).unwrap_or_default();
        match asked {
            Asked::Make => script::make(number, cwd),
            Asked::System => command::plain("guest-get-osinfo"),
            Asked::Open(file) => {
                let (name, mode) = FILES[file];
                command::open(&format!("{}/{name}", self.folder), mode)
            }
            Asked::Run => script::run(&self.folder, !self.without_input, cwd, env, words),
            Asked::Made | Asked::Status | Asked::Ended => command::exec_status(pid),
            Asked::Read(file) => command::file_read(handle(file)),
            Asked::PieceOpen => command::open(&format!("{}/{}", self.folder, self.pieces), "w"),
            Asked::PieceWrite => {
                command::file_write(piece_handle, piece.map_or(&[], |piece| &piece.bytes))
            }
            Asked::PieceClose => command::close(piece_handle),
            Asked::TellEnd => command::file_write(handle(GO), b"end\n"),
            Asked::Tell => {
                let number = format!("{}\n", self.pieces);
                command::file_write(handle(GO), number.as_bytes())
            }
            Asked::TellFlush => command::flush(handle(GO)),
            Asked::End => script::end(number),
            Asked::Close => {
                command::close(self.handles.iter().find_map(|handle| *handle).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests;
