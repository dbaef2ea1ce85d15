//! Who waits for the guest to do something: each wait with its conditions, and how far it has
//! looked.
//!
//! The console is searched from any byte of this run on, first in its log, a piece in each turn of
//! the loop, then as bytes come: so that nothing is missed between two commands of a script. What is
//! told to whom is the caller's.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::console::Console;
use crate::definition::port::Protocol;
use crate::error::{Error, Kind, Result};
use crate::qemu::usernet;
use crate::sys;
use crate::wire::condition::{Condition, Written};
use crate::wire::expect::Search;
use crate::wire::status::State;
use crate::wire::talk::{Mark, WaitCall};

/// How many waits there may be at once.
const MOST: usize = 64;
/// Bytes of the log searched for one wait in a turn of the loop.
const PIECE: usize = 64 << 10;
/// Between two looks at the guest's connections.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// How many names of events are remembered: QEMU has some 50.
const EVENT_NAMES: usize = 256;

/// One condition of a wait.
#[derive(Debug)]
struct Goal {
    written: Written,
    search: Option<Search>,
    /// Bytes that the guest had written when it was met.
    met: Option<u64>,
}

/// One wait.
#[derive(Debug)]
struct Watch {
    session: u64,
    request: Option<Value>,
    wanted: Vec<Goal>,
    any: bool,
    unwanted: Vec<Goal>,
    /// How far the console has been searched.
    position: u64,
}

/// A wait that is over.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) session: u64,
    pub(super) request: Option<Value>,
    pub(super) answer: Result<Value>,
}

/// All waits of one run.
#[derive(Debug, Default)]
pub(super) struct Watches {
    all: Vec<Watch>,
    /// The events of this run.
    events: BTreeSet<String>,
    /// A connection that waits for the guest's answer, and the guest's port.
    probes: Vec<(u16, TcpStream)>,
    next_probe: Option<Instant>,
    /// QEMU has been asked for its connections.
    probing: bool,
    /// The guest's agent has been asked whether it is there.
    asking_agent: bool,
}

impl Watches {
    /// Begins a wait; it may be over at once.
    ///
    /// # Errors
    /// `Kind::Usage` where it waits for nothing; `Kind::Conflict` where there are too many.
    pub(super) fn begin(
        &mut self,
        session: u64,
        request: Option<Value>,
        call: WaitCall,
        (state, written): (State, u64),
    ) -> Result<()> {
        if call.wanted.is_empty() {
            return Err(Error::usage("there is nothing to wait for"));
        }
        if self.all.len() >= MOST {
            return Err(Error::conflict("too many clients wait already"));
        }
        let position = match call.from {
            Mark::Start => 0,
            Mark::Now => written,
            Mark::At(mark) => mark.min(written),
        };
        let goals = |all: Vec<Written>| all.into_iter().map(Goal::new).collect();
        let mut watch = Watch {
            session,
            request,
            wanted: goals(call.wanted),
            any: call.any,
            unwanted: goals(call.unwanted),
            position,
        };
        watch.see(written, |condition| is_state(condition, state));
        if call.from == Mark::Start {
            let events = &self.events;
            watch.see(
                written,
                |condition| matches!(condition, Condition::Event(name) if events.contains(name)),
            );
        }
        if watch.ports().next().is_some() {
            self.next_probe.get_or_insert_with(Instant::now);
        }
        self.all.push(watch);
        Ok(())
    }

    /// Whether some wait has a part of the log still to be searched.
    pub(super) fn has_work(&self, written: u64) -> bool {
        self.all.iter().any(|watch| watch.searches() && watch.position < written)
    }

    /// Takes what the guest has just written: `written` bytes stand before it.
    pub(super) fn console(&mut self, bytes: &[u8], written: u64) {
        for watch in &mut self.all {
            if watch.position == written {
                watch.search(bytes);
            }
        }
    }

    /// Searches a piece of the log for each wait that is behind.
    pub(super) fn catch_up(&mut self, console: &Console) {
        for watch in self.all.iter_mut().filter(|watch| watch.searches()) {
            if watch.position < console.written() {
                let mut piece = vec![0; PIECE];
                let (at, count) = console.read_at(watch.position, &mut piece);
                if at > watch.position {
                    watch.lose(at);
                }
                watch.search(&piece[..count]);
            }
        }
    }

    pub(super) fn event(&mut self, name: &str, written: u64) {
        if self.events.len() < EVENT_NAMES {
            self.events.insert(name.to_owned());
        }
        let is_it = |condition: &Condition| matches!(condition, Condition::Event(it) if it == name);
        self.all.iter_mut().for_each(|watch| watch.see(written, is_it));
    }

    pub(super) fn state(&mut self, state: State, written: u64) {
        let is_it = |condition: &Condition| is_state(condition, state);
        self.all.iter_mut().for_each(|watch| watch.see(written, is_it));
    }

    /// When QEMU is to be asked for its connections.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_probe.filter(|_| !self.probing)
    }

    /// Whether QEMU is to be asked for its connections now: [`Watches::connections`] takes what it
    /// says.
    pub(super) fn wants_connections(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now);
        self.probing |= due;
        due
    }

    /// Takes what QEMU says of its connections, and makes one to each port that is waited for.
    pub(super) fn connections(&mut self, info: &str, written: u64) {
        self.probing = false;
        for watch in &mut self.all {
            let answered: Vec<u16> =
                watch.ports().filter(|port| usernet::is_answered(info, *port)).collect();
            watch.see(
                written,
                |condition| matches!(condition, Condition::Tcp(port) if answered.contains(port)),
            );
        }
        let waited: BTreeSet<u16> = self.all.iter().flat_map(Watch::ports).collect();
        self.probes.retain(|(port, stream)| waited.contains(port) && is_open(stream));
        for port in &waited {
            if self.probes.iter().all(|(probed, _)| probed != port)
                && let Some(stream) = connect(info, *port)
            {
                self.probes.push((*port, stream));
            }
        }
        self.next_probe = (!waited.is_empty()).then(|| Instant::now() + PROBE_PAUSE);
    }

    /// Whether the guest's agent, whose channel is open, is to be asked now: [`Watches::agent`] takes
    /// what comes of it.
    pub(super) fn wants_agent(&mut self) -> bool {
        let is_it = |goal: &Goal| goal.written.condition == Condition::Agent;
        let due = !self.asking_agent && self.all.iter().flat_map(Watch::unmet).any(is_it);
        self.asking_agent |= due;
        due
    }

    /// The agent has answered, or has not.
    pub(super) fn agent(&mut self, has_answered: bool, written: u64) {
        self.asking_agent = false;
        let is_it = |condition: &Condition| has_answered && *condition == Condition::Agent;
        self.all.iter_mut().for_each(|watch| watch.see(written, is_it));
    }

    /// The waits that are over, and none of those whose client has left.
    pub(super) fn due(&mut self, is_there: impl Fn(u64) -> bool) -> Vec<Due> {
        self.all.retain(|watch| is_there(watch.session));
        self.take(Watch::verdict)
    }

    /// The end of all waits, for the VM has ended.
    pub(super) fn end(&mut self, written: u64) -> Vec<Due> {
        self.state(State::Stopped, written);
        // Who was asked is gone, too.
        (self.probing, self.asking_agent) = (false, false);
        self.take(|watch| {
            let over =
                Error::new(Kind::NotRunning, "the VM has ended").hint("\"maqet why\" tells how");
            Some(watch.verdict().unwrap_or(Err(over)))
        })
    }

    fn take(&mut self, verdict: impl Fn(&Watch) -> Option<Result<Value>>) -> Vec<Due> {
        let mut due = Vec::new();
        let mut rest = Vec::new();
        for watch in self.all.drain(..) {
            match verdict(&watch) {
                Some(answer) => {
                    let Watch { session, request, .. } = watch;
                    due.push(Due { session, request, answer });
                }
                None => rest.push(watch),
            }
        }
        self.all = rest;
        due
    }
}

impl Goal {
    fn new(written: Written) -> Goal {
        let search = match &written.condition {
            Condition::Console(text) => Some(Search::new(text)),
            _ => None,
        };
        Goal { written, search, met: None }
    }
}

impl Watch {
    fn goals(&mut self) -> impl Iterator<Item = &mut Goal> {
        self.wanted.iter_mut().chain(&mut self.unwanted).filter(|goal| goal.met.is_none())
    }

    fn unmet(&self) -> impl Iterator<Item = &Goal> {
        self.wanted.iter().chain(&self.unwanted).filter(|goal| goal.met.is_none())
    }

    fn searches(&self) -> bool {
        self.unmet().any(|goal| goal.search.is_some())
    }

    fn ports(&self) -> impl Iterator<Item = u16> {
        self.unmet().filter_map(|goal| match goal.written.condition {
            Condition::Tcp(port) => Some(port),
            _ => None,
        })
    }

    fn see(&mut self, written: u64, is_met: impl Fn(&Condition) -> bool) {
        for goal in self.goals().filter(|goal| is_met(&goal.written.condition)) {
            goal.met = Some(written);
        }
    }

    fn search(&mut self, bytes: &[u8]) {
        let position = self.position;
        for goal in self.goals() {
            if let Some(count) = goal.search.as_mut().and_then(|search| search.push(bytes)) {
                goal.met = Some(position + count as u64);
            }
        }
        self.position += bytes.len() as u64;
    }

    /// What stands before `position` is gone.
    fn lose(&mut self, position: u64) {
        self.position = position;
        self.goals().filter_map(|goal| goal.search.as_mut()).for_each(Search::restart);
    }

    /// What came first counts: a failure only where it stands before what was waited for.
    fn verdict(&self) -> Option<Result<Value>> {
        let met = self.wanted.iter().filter_map(|goal| goal.met);
        let done_at = match self.any {
            true => met.min(),
            false => self.wanted.iter().all(|goal| goal.met.is_some()).then(|| met.max()).flatten(),
        };
        let failed = self.unwanted.iter().filter(|goal| goal.met.is_some());
        let first = failed.min_by_key(|goal| goal.met);
        match (first, done_at) {
            (Some(failure), done) if done.is_none_or(|at| failure.met < Some(at)) => {
                let why = format!("{} came first", crate::error::quote(&failure.written.word));
                Some(Err(Error::failed(why)))
            }
            (_, Some(_)) => {
                let one = |goal: &Goal| {
                    let mark = goal.met?;
                    Some(json!({ "condition": goal.written.word, "mark": mark }))
                };
                Some(Ok(json!({ "met": self.wanted.iter().filter_map(one).collect::<Vec<_>>() })))
            }
            _ => None,
        }
    }
}

fn is_state(condition: &Condition, state: State) -> bool {
    match condition {
        Condition::Running => state == State::Running,
        Condition::Paused => state == State::Paused,
        Condition::Stopped => !state.is_live(),
        _ => false,
    }
}

/// Whether the other side has not closed it.
fn is_open(stream: &TcpStream) -> bool {
    !matches!(stream.peek(&mut [0]), Ok(0))
        && !stream.take_error().is_ok_and(|error| error.is_some())
}

/// Begins a connection to the port of the host that leads to this one of the guest.
fn connect(info: &str, guest: u16) -> Option<TcpStream> {
    let leads = |port: &crate::definition::port::Port| {
        port.guest == guest && port.protocol == Protocol::Tcp
    };
    let (_, port) = usernet::ports(info).into_iter().find(|(_, port)| leads(port))?;
    let address = match port.address {
        Ipv4Addr::UNSPECIFIED => Ipv4Addr::LOCALHOST,
        address => address,
    };
    sys::begin_to_connect(SocketAddrV4::new(address, port.host?)).ok()
}

#[cfg(test)]
mod tests;
