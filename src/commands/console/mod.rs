//! `console`: the terminal, or a pair of pipes, as the guest's serial console.
//!
//! Neither side is waited for. A reader that is slow makes the runner leave bytes out, which it tells;
//! a guest that does not read holds back who types. What the guest writes passes as it is.

mod escape;

use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::escape::{Escape, Keys};
use super::context::{Context, Vm};
use super::info;
use crate::cli::table::Flag;
use crate::control::link::Link;
use crate::definition::types::Display;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::outlet::Outlet;
use crate::sys::{self, Interest};
use crate::terminal::{JobControl, Manner, Terminal};
use crate::wire::message::Call;
use crate::wire::runs::{End, Outcome};
use crate::wire::stream::{Frame, Input};
use crate::wire::talk::ConsoleCall;

/// For the runner to attach us, where --timeout says nothing: a VM may be starting.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);
/// For the runner to let us go, once we want to.
const DETACH_LIMIT: Duration = Duration::from_secs(1);
/// After this long the key that detaches is not going to be doubled.
const DOUBLING: Duration = Duration::from_millis(500);
/// After this long without a byte it is told where else to look.
const SILENCE: Duration = Duration::from_secs(3);
/// Bytes that may wait for standard output before no more is asked of the runner.
const WAITING: usize = 64 << 10;
/// Bytes read at once of what is typed.
const TYPED: usize = 4096;
/// The stream's id: there is no other one.
const STREAM: u64 = 1;

pub(super) fn console(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let escape = invocation.value(Flag::Escape).map(Escape::parse).transpose()?;
    let call = ConsoleCall {
        read_only: invocation.has(Flag::ReadOnly),
        force: invocation.has(Flag::Force),
    };
    attach(context, &context.vm()?, call, escape.unwrap_or_default())
}

/// The same behind a start.
pub(super) fn of_started(context: &Context<'_>, vm: &Vm) -> Result<u8> {
    attach(context, vm, ConsoleCall::default(), Escape::default())
}

fn attach(context: &Context<'_>, vm: &Vm, call: ConsoleCall, escape: Escape) -> Result<u8> {
    let interrupt = Interrupt::heed_all()?;
    let mut session = Session::open(context, vm, call, escape)
        .map_err(|error| error.about("cannot attach to the console of", &vm.name))?;
    session.run(&interrupt).map_err(|error| error.about("the console of", &vm.name))?;
    Ok(0)
}

/// Why it is over.
#[derive(Debug)]
enum Over {
    /// It was detached, or nobody reads standard output any more.
    Detached,
    /// The runner's last word.
    Ended(Result<Value>),
}

struct Session<'a> {
    context: &'a Context<'a>,
    vm: &'a Vm,
    link: Link,
    /// `None` where standard input is no terminal.
    terminal: Option<Terminal>,
    jobs: JobControl,
    outlet: Outlet,
    waiting: Vec<u8>,
    keys: Keys,
    types: bool,
    /// Whether there may be more on standard input.
    reads_input: bool,
    /// When the key that detaches does so.
    detach_at: Option<Instant>,
    /// When it is told where else to look.
    silent_at: Option<Instant>,
    /// When the command's own time is over.
    deadline: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Attaches, and only then takes the terminal: a refusal is read on one that is as it was.
    fn open(
        context: &'a Context<'a>,
        vm: &'a Vm,
        call: ConsoleCall,
        escape: Escape,
    ) -> Result<Session<'a>> {
        let deadline = context.deadline(ATTACH_LIMIT);
        let mut link = Link::open(&context.folders, &vm.id, deadline)?;
        link.ask(&json!(STREAM), Call::Console(call));
        loop {
            match link.hear()?.map(|said| said.frame) {
                Some(Frame::Opened) => break,
                Some(Frame::Answer(answer)) => return Err(refused(answer)),
                Some(Frame::Data { .. } | Frame::Event { .. }) => {}
                None if !link.is_open() => return Err(lost()),
                None if Instant::now() >= deadline => {
                    return Err(Error::timeout("its runner has not answered in time"));
                }
                None => drop(link.wait(&[], Some(deadline))?),
            }
        }
        let is_terminal = std::io::stdin().is_terminal();
        if let Some(key) = escape.written().filter(|_| is_terminal) {
            context.note(&format!("attached to {}; {key} detaches", vm.name));
        }
        // What comes out of a pipe is the guest's, whatever it is.
        let escape = if is_terminal { escape } else { Escape::parse("none")? };
        Ok(Session {
            context,
            vm,
            link,
            terminal: Terminal::take(Manner::Raw),
            jobs: JobControl::heed()?,
            outlet: Outlet::standard_output(),
            waiting: Vec::new(),
            keys: Keys::new(escape),
            types: !call.read_only,
            reads_input: is_terminal || !call.read_only,
            detach_at: None,
            silent_at: Some(Instant::now() + SILENCE),
            deadline: context.invocation.has(Flag::Timeout).then_some(deadline),
        })
    }

    /// Works until it is over, and leaves the terminal as it was.
    fn run(&mut self, interrupt: &Interrupt) -> Result<()> {
        let over = self.work(interrupt);
        let answer = match over {
            Ok(Over::Detached) => {
                self.part(interrupt);
                self.leave_terminal();
                return Ok(());
            }
            Ok(Over::Ended(answer)) => {
                self.write_rest(interrupt)?;
                answer
            }
            Err(error) => {
                self.leave_terminal();
                return Err(error);
            }
        };
        self.leave_terminal();
        let answer = answer?;
        let Ok(end) = serde_json::from_value::<End>(answer["last_exit"].clone()) else {
            return Ok(());
        };
        if end.outcome == Outcome::Stopped {
            self.context.note(&format!("{} has ended", self.vm.name));
            return Ok(());
        }
        let why = end.detail.unwrap_or_else(|| "QEMU has ended".to_owned());
        Err(Error::failed(why).hint("\"maqet why\" tells more"))
    }

    fn work(&mut self, interrupt: &Interrupt) -> Result<Over> {
        loop {
            while self.waiting.len() < WAITING {
                let Some(said) = self.link.hear()? else { break };
                if let Some(over) = self.take(said.frame) {
                    return Ok(over);
                }
            }
            if self.outlet.write(&mut self.waiting).is_err() {
                return Ok(Over::Detached);
            }
            let is_full = self.waiting.len() >= WAITING;
            if !self.link.is_open() && !is_full {
                return Err(lost());
            }
            self.link.hold(is_full);
            let is_typed = self.wait(interrupt)?;
            interrupt.check()?;
            if is_typed && self.read_input()? {
                return Ok(Over::Detached);
            }
            let now = Instant::now();
            if self.detach_at.is_some_and(|at| at <= now) {
                return Ok(Over::Detached);
            }
            if self.silent_at.is_some_and(|at| at <= now) {
                self.silent_at = None;
                self.tell(&self.elsewhere());
            }
            if self.deadline.is_some_and(|at| at <= now) {
                return Err(Error::timeout("its time is over"));
            }
            provoke_panic(self);
        }
    }

    /// Sleeps until something happens; tells whether something has been typed.
    fn wait(&mut self, interrupt: &Interrupt) -> Result<bool> {
        let wants_input = self.reads_input && self.link.takes_more();
        let deadline = [self.detach_at, self.silent_at, self.deadline].into_iter().flatten().min();
        let mut sources =
            vec![(interrupt.as_fd(), Interest::Read), (self.jobs.as_fd(), Interest::Read)];
        if wants_input {
            sources.push((sys::standard_input(), Interest::Read));
        }
        if !self.waiting.is_empty() {
            sources.push((self.outlet.source(), Interest::Write));
        }
        let ready = self.link.wait(&sources, deadline)?;
        if ready[1] {
            self.jobs.obey(self.terminal.as_ref());
        }
        Ok(wants_input && ready[2])
    }

    /// Takes what the runner says.
    fn take(&mut self, frame: Frame) -> Option<Over> {
        match frame {
            Frame::Opened | Frame::Event { .. } => None,
            Frame::Data { bytes, lost, .. } => {
                self.silent_at = None;
                if lost > 0 {
                    let hint = "\"maqet logs\" has them";
                    self.tell(&format!("{lost} bytes were not taken in time; {hint}"));
                }
                self.waiting.extend(bytes);
                None
            }
            Frame::Answer(answer) => Some(Over::Ended(answer)),
        }
    }

    /// Reads what is typed; true where it detaches.
    fn read_input(&mut self) -> Result<bool> {
        let mut buffer = [0; TYPED];
        // Read as descriptor: the standard library's buffer would hide what poll does not see.
        let bytes = match sys::read(sys::standard_input(), &mut buffer) {
            Ok(count) => &buffer[..count],
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(false);
            }
            // A terminal that is gone.
            Err(_) if self.terminal.is_some() => &[],
            Err(error) => return Err(Error::io("read standard input", &error)),
        };
        if bytes.is_empty() {
            self.reads_input = false;
            self.link.input(&json!(STREAM), &Input::Eof);
            return Ok(self.terminal.is_some());
        }
        let typed = self.keys.push(bytes);
        if self.types && !typed.bytes.is_empty() {
            self.link.input(&json!(STREAM), &Input::Bytes(typed.bytes));
        }
        self.detach_at = self.keys.is_pending().then(|| Instant::now() + DOUBLING);
        Ok(typed.detaches)
    }

    /// Has the runner take what was typed, and let us go.
    fn part(&mut self, interrupt: &Interrupt) {
        let deadline = Instant::now() + DETACH_LIMIT;
        self.link.hold(false);
        self.link.input(&json!(STREAM), &Input::Cancel);
        while self.link.is_open() && Instant::now() < deadline && interrupt.check().is_ok() {
            match self.link.hear() {
                Ok(Some(said)) if matches!(said.frame, Frame::Answer(_)) => return,
                Ok(Some(_)) => {}
                Ok(None) => {
                    let sources = [(interrupt.as_fd(), Interest::Read)];
                    if self.link.wait(&sources, Some(deadline)).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Writes what the guest wrote last, for a reader that takes it, however long that takes.
    fn write_rest(&mut self, interrupt: &Interrupt) -> Result<()> {
        while self.outlet.write(&mut self.waiting).is_ok() && !self.waiting.is_empty() {
            let sources =
                [(self.outlet.source(), Interest::Write), (interrupt.as_fd(), Interest::Read)];
            sys::poll(&sources, self.deadline)
                .map_err(|error| Error::io("wait for standard output", &error))?;
            interrupt.check()?;
            if self.deadline.is_some_and(|at| at <= Instant::now()) {
                return Err(Error::timeout("its time is over"));
            }
        }
        Ok(())
    }

    /// What follows begins on a line of its own.
    fn leave_terminal(&mut self) {
        if self.terminal.take().is_some() && std::io::stderr().is_terminal() {
            let _ = std::io::stderr().write_all(b"\n");
        }
    }

    /// A note, on a line of its own, that stands straight on a raw terminal, too.
    fn tell(&self, text: &str) {
        if self.terminal.is_none() || self.context.invocation.quiet() {
            return self.context.note(text);
        }
        let _ = std::io::stderr().write_all(format!("\r\nmaqet: {text}\r\n").as_bytes());
    }

    /// Where the guest may be seen that says nothing here.
    fn elsewhere(&self) -> String {
        let nothing = "the guest has written nothing here yet";
        let Ok(definition) = self.context.definition(self.vm) else { return nothing.to_owned() };
        let folder = self.context.folders.vm(&self.vm.id);
        match &definition.display {
            _ if !definition.serial => {
                "this VM has no serial console: its key \"serial\" is false".to_owned()
            }
            Display::Gtk(_) | Display::Sdl(_) => format!("{nothing}; its screen is in a window"),
            Display::Vnc(_) | Display::Spice(_) => {
                let screen = info::display(&definition.display, folder.path());
                format!("{nothing}; its screen is at {screen}")
            }
            Display::None => {
                format!("{nothing}; \"maqet screen {}\" shows its screen", self.vm.name)
            }
        }
    }
}

fn lost() -> Error {
    Error::failed("its runner has ended").hint("\"maqet why\" tells how")
}

/// What a stream that was never opened came to.
fn refused(answer: Result<Value>) -> Error {
    answer.err().unwrap_or_else(lost)
}

/// A panic with the terminal taken, and nobody who drops it: a test asks for that.
#[cfg(debug_assertions)]
fn provoke_panic(session: &mut Session<'_>) {
    if session.terminal.is_some() && std::env::var_os("MAQET_TEST_PANIC").is_some() {
        std::mem::forget(session.terminal.take());
        panic!("provoked");
    }
}

#[cfg(not(debug_assertions))]
fn provoke_panic(_: &mut Session<'_>) {}
