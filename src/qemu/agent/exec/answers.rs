//! What the agent's answers mean for a command that runs in the guest.

use std::time::{Duration, Instant};

use serde::de::{DeserializeOwned, IgnoredAny};

use super::{
    ACK, Asked, ERR, Exec, Exit, FIRST_PAUSE, LONGEST_PAUSE, OUT, Phase, RETRIES, RETRY_PAUSE,
    Report, Telling,
};
use crate::error::{Error, Result};
use crate::qemu::agent::command::{ExecStatus, Handle, PIECE, Read, Started, System, Written};
use crate::qemu::agent::{Lost, read};

/// Why an answer is none that one could go on with.
enum Trouble {
    /// The agent said so.
    Refused(String),
    /// It said nothing that can be read, or nothing at all.
    Lost(Lost),
}

/// For a command that takes no more input to turn out to have ended.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

impl Asked {
    /// Whether it is a step of the command's input.
    fn is_input(self) -> bool {
        use Asked::{PieceClose, PieceOpen, PieceWrite, Tell, TellEnd, TellFlush};
        matches!(self, PieceOpen | PieceWrite | PieceClose | Tell | TellEnd | TellFlush)
    }
}

impl Exec {
    /// Takes the answer to what [`Exec::next`] had asked for: a line that is one, or why there is
    /// none.
    pub(crate) fn answered(&mut self, now: Instant, answer: Result<&[u8], Lost>) {
        let Some(asked) = self.asked.take() else { return };
        match self.hear(now, asked, answer) {
            Ok(()) => {}
            Err(trouble) if self.phase == Phase::Closing || self.phase == Phase::Over => {
                if let Trouble::Lost(_) = trouble {
                    self.phase = Phase::Over;
                }
            }
            Err(Trouble::Refused(_)) if self.phase == Phase::Ending => self.ended(),
            Err(Trouble::Lost(Lost { error, given })) => {
                let end = self.exit.ok_or(error);
                self.tell(end);
                let begins = self.phase == Phase::Making && self.pid.is_none();
                self.abandon();
                // What the agent was given it may still do.
                if begins {
                    self.phase = if given { Phase::Ending } else { Phase::Over };
                }
                self.retry(now);
            }
            Err(Trouble::Refused(why)) if self.phase == Phase::Running && asked.is_input() => {
                self.refused.get_or_insert((why, now + REFUSAL_PATIENCE));
            }
            Err(Trouble::Refused(why)) => {
                self.tell(Err(Error::failed(format!("the guest's agent refused: {why}"))));
                self.abandon();
                if self.phase == Phase::Making {
                    let made = self.pid.take().is_some();
                    self.phase = if made { Phase::Ending } else { Phase::Over };
                }
            }
        }
    }

    /// Cleans up later, when the agent may answer again.
    fn retry(&mut self, now: Instant) {
        self.retries += 1;
        if self.phase == Phase::Over || self.phase == Phase::Closing || self.retries > RETRIES {
            self.phase = Phase::Over;
            return;
        }
        (self.phase, self.pid, self.wake) = (Phase::Ending, None, Some(now + RETRY_PAUSE));
    }

    fn hear(
        &mut self,
        now: Instant,
        asked: Asked,
        answer: Result<&[u8], Lost>,
    ) -> std::result::Result<(), Trouble> {
        match asked {
            Asked::Make => match parse::<Started>(answer) {
                Ok(started) => self.pid = Some(started.pid),
                Err(Trouble::Refused(why)) if self.is_wanted() => self.no_shell = Some(why),
                Err(trouble) => return Err(trouble),
            },
            Asked::System => self.hear_system(parse::<System>(answer)),
            Asked::Made => {
                let status: ExecStatus = parse(answer)?;
                match status.exited {
                    true => self.made(&status),
                    false => self.doze(now),
                }
            }
            Asked::Open(file) => {
                self.handles[file] = Some(parse::<Handle>(answer)?);
            }
            Asked::Run => {
                let Started { pid } = parse(answer)?;
                if self.phase == Phase::Opening {
                    (self.phase, self.pid) = (Phase::Running, Some(pid));
                }
            }
            Asked::Status => {
                let status: ExecStatus = parse(answer)?;
                if status.exited && self.phase == Phase::Running {
                    self.exit = Some(Exit::Code(status.code()));
                    self.phase = Phase::Draining;
                } else if let Some((why, until)) = &self.refused
                    && *until <= now
                {
                    return Err(Trouble::Refused(why.clone()));
                }
            }
            Asked::Read(file) => self.hear_bytes(file, &parse::<Read>(answer)?)?,
            Asked::PieceOpen => {
                let handle: Handle = parse(answer)?;
                if let Some(piece) = &mut self.piece {
                    piece.handle = Some(handle);
                }
            }
            Asked::PieceWrite => {
                let Written { count } = parse(answer)?;
                if let Some(piece) = &mut self.piece {
                    if count == 0 {
                        return Err(Trouble::Refused("it wrote nothing".into()));
                    }
                    drop(piece.bytes.drain(..count.min(piece.bytes.len())));
                }
            }
            Asked::PieceClose => {
                self.piece = None;
                if self.refused.is_none() {
                    self.telling = Telling::Number;
                }
                parse::<IgnoredAny>(answer)?;
            }
            Asked::Tell => {
                parse::<Written>(answer)?;
                self.pieces += 1;
                self.telling = Telling::Flush;
            }
            Asked::TellEnd => {
                parse::<Written>(answer)?;
                self.end_told = true;
                self.telling = Telling::Flush;
            }
            Asked::TellFlush => {
                parse::<IgnoredAny>(answer)?;
                self.telling = Telling::Nothing;
                self.moved = true;
            }
            Asked::End => self.pid = Some(parse::<Started>(answer)?.pid),
            Asked::Ended => {
                let status: ExecStatus = parse(answer)?;
                match status.exited || self.end_until.is_some_and(|until| until <= now) {
                    true => self.ended(),
                    false => self.doze(now),
                }
            }
            Asked::Close => {
                if let Some(handle) = self.handles.iter_mut().find(|handle| handle.is_some()) {
                    *handle = None;
                }
                parse::<IgnoredAny>(answer)?;
            }
        }
        Ok(())
    }

    /// Looks again after a pause.
    fn doze(&mut self, now: Instant) {
        self.wake = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn hear_system(&mut self, system: std::result::Result<System, Trouble>) {
        let why = self.no_shell.take().unwrap_or_default();
        match system {
            Ok(system) if system.is_windows() && self.is_wanted() => {
                self.told = true;
                self.reports.push(Report::IsWindows);
            }
            Err(Trouble::Lost(lost)) => self.tell(Err(lost.error)),
            _ => {
                let error = Error::failed(format!("the guest cannot run /bin/sh: {why}"));
                self.tell(Err(error.hint("--simple runs a command without a shell")));
            }
        }
        self.phase = Phase::Over;
    }

    /// The folder is there, or could not be made.
    fn made(&mut self, status: &ExecStatus) {
        let (output, complaint) = status.output();
        (self.pid, self.pause) = (None, FIRST_PAUSE);
        let folder = String::from_utf8(output).ok().map(|text| text.trim_end().to_owned());
        match folder.filter(|folder| status.code() == 0 && folder.starts_with('/')) {
            Some(folder) if self.is_wanted() => {
                self.folder = folder;
                self.without_input = self.input_ended && self.input.is_empty();
                self.phase = Phase::Opening;
            }
            Some(_) => self.phase = Phase::Ending,
            None => {
                let why = String::from_utf8_lossy(&complaint);
                let why = why.trim();
                let error = Error::failed(format!("the guest's shell cannot begin: {why}"));
                self.tell(Err(error));
                self.phase = Phase::Ending;
            }
        }
    }

    fn hear_bytes(&mut self, file: usize, read: &Read) -> std::result::Result<(), Trouble> {
        let nonsense =
            || Trouble::Lost(Lost::given(Error::failed("the guest's agent sent no base64")));
        let bytes = read.bytes().ok_or_else(nonsense)?;
        self.moved |= !bytes.is_empty();
        if file == ACK {
            self.acknowledged = (self.acknowledged + bytes.len() as u64).min(self.pieces);
            self.more |= !bytes.is_empty() && !self.input.is_empty();
            return Ok(());
        }
        self.more |= bytes.len() == PIECE;
        if self.phase == Phase::Draining && bytes.is_empty() {
            self.drained += 1;
        }
        if !bytes.is_empty() && !self.told {
            self.reports.push(if file == OUT {
                Report::Stdout(bytes)
            } else {
                Report::Stderr(bytes)
            });
        }
        Ok(())
    }

    /// The guest has cleaned up, as far as it does.
    fn ended(&mut self) {
        self.pid = None;
        self.phase = match (self.told, self.exit) {
            (false, Some(_)) if self.handles[ERR].is_some() => Phase::Draining,
            (false, exit) => {
                self.tell(Ok(exit.unwrap_or(Exit::TimedOut)));
                Phase::Closing
            }
            (true, _) => Phase::Closing,
        };
    }
}

fn parse<T: DeserializeOwned>(answer: Result<&[u8], Lost>) -> std::result::Result<T, Trouble> {
    match read(answer.map_err(Trouble::Lost)?) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(Trouble::Refused(why)),
        Err(nonsense) => {
            let what = format!("the guest's agent answered nonsense: {}", nonsense.0);
            Err(Trouble::Lost(Lost::given(Error::failed(what))))
        }
    }
}
