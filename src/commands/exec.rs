//! `exec`: runs a command in the guest, with its streams here and its exit code passed on.
//!
//! The runner has the agent run it; here bytes go from standard input to the runner and from there to
//! standard output and error. Whoever ends this ends the command: the runner sees the connection go.

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::context::{Context, Vm};
use crate::cli::output::{Output, Shape, escape_for_terminal};
use crate::cli::report::{note, report};
use crate::cli::table::Flag;
use crate::control::link::Link;
use crate::definition::units::Limit;
use crate::error::{Error, Kind, Result};
use crate::sys::{self, Interest};
use crate::wire::guest::{ExecCall, ExecEnd};
use crate::wire::message::Call;
use crate::wire::stream::{Frame, Input};

/// For a VM that is being started to be up.
const START_LIMIT: Duration = Duration::from_secs(60);
/// For the runner to end the command when its time is over.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes read from standard input at a time.
const PIECE: usize = 48 << 10;

const TIMED_OUT: u8 = 124;
const FAILED: u8 = 125;
const GUEST_GONE: u8 = 255;

/// A code of its own for each way to fail: what else there is belongs to the command.
pub(super) fn exec(context: &Context<'_>) -> Result<u8> {
    let json = context.invocation.has(Flag::Json);
    Ok(attempt(context).unwrap_or_else(|error| {
        report(&error, json);
        FAILED
    }))
}

fn attempt(context: &Context<'_>) -> Result<u8> {
    let vm = context.vm()?;
    let invocation = context.invocation;
    let timeout = match invocation.limit(Flag::Timeout) {
        Some(Limit::After(limit)) => Some(limit),
        Some(Limit::Never) | None => None,
    };
    let call = ExecCall {
        words: invocation.operands.iter().skip(1).cloned().collect(),
        env: invocation.values(Flag::Env).map(str::to_owned).collect(),
        cwd: invocation.value(Flag::Cwd).map(str::to_owned),
        timeout,
        simple: invocation.has(Flag::Simple),
    };
    call.check()?;
    let cannot = |error: Error| error.about("cannot run a command in", &vm.name);
    let began = Instant::now();
    let up = began + timeout.unwrap_or(START_LIMIT).min(START_LIMIT);
    let mut link = Link::open(&context.folders, &vm.id, up).map_err(cannot)?;
    let id = json!("exec");
    link.ask(&id, Call::Exec(call));
    let mut talk = Talk {
        link,
        id,
        output: Output::new(invocation, Shape::TEXT)?,
        reads: true,
        until: timeout.map(|timeout| began + timeout + GRACE),
    };
    let end = talk.run();
    // Said before what went wrong is told.
    talk.output.flush()?;
    if talk.output.is_closed() {
        return Ok(0);
    }
    Ok(match end {
        Ok(Some(end)) => {
            if end.cut {
                let text = "the command's output is cut: without a shell 4 MiB are passed on";
                note(invocation.quiet(), &format!("{}: {text}", vm.name));
            }
            end.exit_code.unwrap_or_else(|| timed_out(context, &vm))
        }
        Ok(None) => timed_out(context, &vm),
        Err(error) => {
            let gone = error.kind == Kind::NotRunning;
            report(&cannot(error), invocation.has(Flag::Json));
            if gone { GUEST_GONE } else { FAILED }
        }
    })
}

fn timed_out(context: &Context<'_>, vm: &Vm) -> u8 {
    let error = Error::timeout("its time ran out").hint("--timeout gives it more");
    let error = error.about("ended the command in", &vm.name);
    report(&error, context.invocation.has(Flag::Json));
    TIMED_OUT
}

/// The command's streams on either side.
#[derive(Debug)]
struct Talk {
    link: Link,
    id: Value,
    output: Output,
    /// Standard input has not ended.
    reads: bool,
    until: Option<Instant>,
}

impl Talk {
    /// Goes on until the command has ended; `None` where the runner did not end it in time.
    fn run(&mut self) -> Result<Option<ExecEnd>> {
        let stdin = sys::standard_input();
        if stdin.is_terminal() && !sys::owns_terminal(stdin) {
            // Reading it would stop us.
            self.end_input();
        }
        loop {
            while let Some(said) = self.link.hear()? {
                if said.id.as_ref() != Some(&self.id) {
                    continue;
                }
                match said.frame {
                    Frame::Opened | Frame::Event { .. } => {}
                    Frame::Data { stream, bytes, .. } if stream == "stderr" => complain(&bytes),
                    Frame::Data { bytes, .. } => self.output.guest(&bytes)?,
                    Frame::Answer(end) => return ExecEnd::read(&end?).map(Some),
                }
            }
            self.output.flush()?;
            if self.output.is_closed() {
                // Nobody reads any more: whoever wrote into a pipe of the shell's ends so.
                return Ok(None);
            }
            if !self.link.is_open() {
                return Err(Error::new(Kind::NotRunning, "its runner has ended"));
            }
            if self.until.is_some_and(|until| until <= Instant::now()) {
                return Ok(None);
            }
            let wants = self.reads && self.link.takes_more();
            let others = wants.then_some((stdin, Interest::Read));
            let ready = self.link.wait(others.as_slice(), self.until)?;
            if ready.first() == Some(&true) {
                self.read_input()?;
            }
        }
    }

    fn read_input(&mut self) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        match sys::read(sys::standard_input(), &mut buffer) {
            Ok(0) => self.end_input(),
            Ok(count) => {
                buffer.truncate(count);
                self.link.input(&self.id, &Input::Bytes(buffer));
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(Error::io("read standard input", &error)),
        }
        Ok(())
    }

    fn end_input(&mut self) {
        self.reads = false;
        self.link.input(&self.id, &Input::Eof);
    }
}

/// What the command says on standard error; a write that fails is no failure of the command's.
fn complain(bytes: &[u8]) {
    let mut stderr = std::io::stderr();
    let _ = match stderr.is_terminal() {
        true => stderr.write_all(escape_for_terminal(bytes).as_bytes()),
        false => stderr.write_all(bytes),
    };
}
