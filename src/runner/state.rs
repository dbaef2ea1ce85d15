//! The life of one QEMU as a pure state machine: a phase and an input give a phase and actions.
//!
//! It does no I/O and reads no clock: the loop tells it what happened and when, does what it says,
//! and sleeps until its deadline. Intent (who asked for a stop, and how) stays apart from fact.

use std::time::{Duration, Instant};

use crate::wire::message::Manner;
use crate::wire::runs::Outcome;
use crate::wire::status::State;

/// From QEMU's spawn until the guest runs, at least.
const START_LIMIT: Duration = Duration::from_secs(30);
/// For QEMU to end once QMP `quit` was sent, and once SIGTERM was.
const QUIT_LIMIT: Duration = Duration::from_secs(5);
const FORCED_QUIT_LIMIT: Duration = Duration::from_secs(2);
const TERM_LIMIT: Duration = Duration::from_secs(5);
/// For a QEMU whose monitor closed to end by itself.
const MONITOR_LOST_LIMIT: Duration = Duration::from_secs(2);

/// How far QEMU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no QEMU: the last one has ended, and the next is to be spawned after a pause.
    Resting,
    /// Spawned; its greeting is awaited.
    Greeting,
    /// `qmp_capabilities` was sent. Only its answer counts: a bad device kills QEMU after the
    /// greeting.
    Negotiating,
    /// The machine's type was asked for.
    Identifying,
    /// `cont` was sent.
    Continuing,
    Running,
    Paused,
    Stopping(Step),
    Ended,
}

/// How hard a stop is trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Powerdown,
    Quit,
    Term,
    Kill,
}

/// The QMP commands that the machine itself gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Capabilities,
    MachineType,
    Cont,
    Powerdown,
    Quit,
}

/// A stop as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StopRequest {
    pub(super) manner: Manner,
    /// The guest's time, in place of the definition's; zero is for ever.
    pub(super) guest_time: Option<Duration>,
    pub(super) asked_by: String,
}

/// How QEMU's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Greeted,
    Returned(Order),
    Refused(Order, String),
    /// QMP's event SHUTDOWN with its reason.
    ShutDown(String),
    /// QMP's events STOP and RESUME.
    GuestPaused,
    GuestResumed,
    /// The monitor closed, or spoke nonsense and was closed.
    MonitorLost(String),
    Exited(Exit),
    /// The deadline that the machine named has passed.
    DeadlinePassed,
    Stop(StopRequest),
    /// SIGTERM or SIGINT came to the runner.
    StopSignal,
    /// The command that started this VM went away before it ran.
    StarterLeft,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The pause is over: spawn the next QEMU, whose life is another machine's.
    Spawn,
    Execute(Order),
    /// SIGTERM to QEMU.
    Terminate,
    /// SIGKILL to QEMU.
    Kill,
    /// QEMU is up: answer those who wait for it.
    Ready,
    /// The guest did not heed, and is not to be forced.
    GiveUpStopping,
}

/// What a QEMU's life is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Leave the guest paused at its first instruction.
    pub(super) start_paused: bool,
    /// For the start, where that is more than 30 s.
    pub(super) start_limit: Duration,
    /// The definition's guest time; zero is for ever.
    pub(super) guest_time: Duration,
}

/// One QEMU's life.
#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    deadline: Option<Instant>,
    has_qemu: bool,
    start_paused: bool,
    start_limit: Duration,
    guest_time: Duration,
    came_up: bool,
    monitor_usable: bool,
    no_kill: bool,
    stop_signals: u32,
    asked_by: Option<String>,
    shutdown_reason: Option<String>,
    /// It was sent SIGTERM.
    terminated: bool,
    /// Why the start failed, where QEMU itself does not say.
    failure: Option<String>,
    exit: Option<Exit>,
}

impl Machine {
    /// A QEMU that was spawned at `now`.
    pub(super) fn new(terms: Terms, now: Instant) -> Machine {
        let Terms { start_paused, start_limit, guest_time } = terms;
        let start_limit = start_limit.max(START_LIMIT);
        Machine {
            phase: Phase::Greeting,
            deadline: Some(now + start_limit),
            has_qemu: true,
            start_paused,
            start_limit,
            guest_time,
            came_up: false,
            monitor_usable: true,
            no_kill: false,
            stop_signals: 0,
            asked_by: None,
            shutdown_reason: None,
            terminated: false,
            failure: None,
            exit: None,
        }
    }

    /// No QEMU yet: one is to be spawned at `until`, unless somebody calls it off.
    pub(super) fn resting(terms: Terms, until: Instant) -> Machine {
        let machine = Machine::new(terms, until);
        Machine { phase: Phase::Resting, deadline: Some(until), has_qemu: false, ..machine }
    }

    /// Whether this is the life of a QEMU that was spawned.
    pub(super) fn has_qemu(&self) -> bool {
        self.has_qemu
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// When [`Input::DeadlinePassed`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the guest has run, or could have.
    pub(super) fn came_up(&self) -> bool {
        self.came_up
    }

    /// Whether QMP may be used.
    pub(super) fn monitor_usable(&self) -> bool {
        self.monitor_usable
    }

    /// The state as users know it.
    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Resting
            | Phase::Greeting
            | Phase::Negotiating
            | Phase::Identifying
            | Phase::Continuing => State::Starting,
            Phase::Running => State::Running,
            Phase::Paused => State::Paused,
            Phase::Stopping(_) => State::Stopping,
            Phase::Ended => match self.outcome() {
                Outcome::Stopped | Outcome::HostDown => State::Stopped,
                Outcome::Crashed => State::Crashed,
                Outcome::Failed => State::Failed,
            },
        }
    }

    /// Takes one input and says what to do about it. An input that means nothing in a phase changes
    /// nothing.
    pub(super) fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match (self.phase, input) {
            (Phase::Ended, _) => vec![],
            (_, Input::Exited(exit)) => {
                self.exit = Some(exit);
                self.enter(Phase::Ended, None);
                vec![]
            }
            (_, Input::ShutDown(reason)) => {
                self.shutdown_reason = Some(reason);
                vec![]
            }
            (_, Input::Stop(request)) => self.stop(request, now),
            (_, Input::StopSignal) => {
                self.stop_signals += 1;
                let manner = if self.stop_signals == 1 { Manner::Orderly } else { Manner::Force };
                let asked_by = "a signal to its runner".into();
                self.stop(StopRequest { manner, guest_time: None, asked_by }, now)
            }
            (_, Input::StarterLeft) if !self.came_up && self.asked_by.is_none() => {
                let asked_by = "the end of the command that started it".into();
                self.stop(StopRequest { manner: Manner::Force, guest_time: None, asked_by }, now)
            }
            (_, Input::MonitorLost(_)) => self.lose_monitor(now),

            (Phase::Resting, Input::DeadlinePassed) => {
                self.deadline = None;
                vec![Action::Spawn]
            }

            (Phase::Greeting, Input::Greeted) => self.go(Phase::Negotiating, Order::Capabilities),
            (Phase::Negotiating, Input::Returned(Order::Capabilities)) => {
                self.go(Phase::Identifying, Order::MachineType)
            }
            // A machine that does not tell its type is only not pinned.
            (
                Phase::Identifying,
                Input::Returned(Order::MachineType) | Input::Refused(Order::MachineType, _),
            ) => {
                if self.start_paused {
                    self.come_up(Phase::Paused)
                } else {
                    self.go(Phase::Continuing, Order::Cont)
                }
            }
            (Phase::Continuing, Input::Returned(Order::Cont)) => self.come_up(Phase::Running),
            (Phase::Negotiating | Phase::Continuing, Input::Refused(_, why)) => {
                self.fail(why);
                self.begin(Step::Quit, FORCED_QUIT_LIMIT, now)
            }
            (
                Phase::Greeting | Phase::Negotiating | Phase::Identifying | Phase::Continuing,
                Input::DeadlinePassed,
            ) => {
                self.fail(format!("QEMU was not ready within {} s", self.start_limit.as_secs()));
                self.kill()
            }

            (Phase::Running, Input::GuestPaused) => {
                self.enter(Phase::Paused, None);
                vec![]
            }
            (Phase::Paused, Input::GuestResumed) => {
                self.enter(Phase::Running, None);
                vec![]
            }

            (Phase::Stopping(Step::Powerdown), Input::DeadlinePassed) if self.no_kill => {
                self.asked_by = None;
                self.no_kill = false;
                self.enter(Phase::Running, None);
                vec![Action::GiveUpStopping]
            }
            (Phase::Stopping(Step::Powerdown), Input::DeadlinePassed) => {
                self.begin(Step::Quit, QUIT_LIMIT, now)
            }
            (Phase::Stopping(Step::Quit), Input::DeadlinePassed) => {
                self.begin(Step::Term, TERM_LIMIT, now)
            }
            (Phase::Stopping(Step::Term), Input::DeadlinePassed) => self.kill(),
            _ => vec![],
        }
    }

    fn stop(&mut self, request: StopRequest, now: Instant) -> Vec<Action> {
        let force = request.manner == Manner::Force;
        if let Phase::Stopping(step) = self.phase {
            if request.manner != Manner::NoKill {
                self.no_kill = false;
            }
            return match step {
                Step::Powerdown if force => self.begin(Step::Quit, FORCED_QUIT_LIMIT, now),
                Step::Quit if force => {
                    let sooner = now + FORCED_QUIT_LIMIT;
                    self.deadline = Some(self.deadline.map_or(sooner, |at| at.min(sooner)));
                    vec![]
                }
                _ => vec![],
            };
        }
        self.asked_by = Some(request.asked_by);
        if self.phase == Phase::Resting {
            self.enter(Phase::Ended, None);
            return vec![];
        }
        self.no_kill = request.manner == Manner::NoKill;
        let was_paused = self.phase == Phase::Paused;
        if force || !self.came_up || !self.monitor_usable {
            let limit = if force { FORCED_QUIT_LIMIT } else { QUIT_LIMIT };
            return self.begin(Step::Quit, limit, now);
        }
        let guest_time = request.guest_time.unwrap_or(self.guest_time);
        let deadline = (!guest_time.is_zero()).then(|| now + guest_time);
        self.enter(Phase::Stopping(Step::Powerdown), deadline);
        // A paused guest cannot heed the power button.
        let cont = was_paused.then_some(Action::Execute(Order::Cont));
        cont.into_iter().chain([Action::Execute(Order::Powerdown)]).collect()
    }

    /// Goes to a step of the escalation, or past it where it needs a monitor that is lost.
    fn begin(&mut self, step: Step, limit: Duration, now: Instant) -> Vec<Action> {
        match step {
            Step::Quit if self.monitor_usable => {
                self.enter(Phase::Stopping(Step::Quit), Some(now + limit));
                vec![Action::Execute(Order::Quit)]
            }
            Step::Kill => self.kill(),
            _ => {
                self.terminated = true;
                self.enter(Phase::Stopping(Step::Term), Some(now + TERM_LIMIT));
                vec![Action::Terminate]
            }
        }
    }

    fn kill(&mut self) -> Vec<Action> {
        self.enter(Phase::Stopping(Step::Kill), None);
        vec![Action::Kill]
    }

    fn lose_monitor(&mut self, now: Instant) -> Vec<Action> {
        self.monitor_usable = false;
        let soon = now + MONITOR_LOST_LIMIT;
        match self.phase {
            // Most often QEMU is about to end, and will say why by its exit.
            Phase::Greeting | Phase::Negotiating | Phase::Identifying | Phase::Continuing => {
                self.enter(Phase::Stopping(Step::Quit), Some(soon));
            }
            Phase::Stopping(Step::Powerdown | Step::Quit) => {
                self.deadline = Some(self.deadline.map_or(soon, |at| at.min(soon)));
            }
            _ => {}
        }
        vec![]
    }

    fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    fn go(&mut self, phase: Phase, order: Order) -> Vec<Action> {
        self.enter(phase, self.deadline);
        vec![Action::Execute(order)]
    }

    fn come_up(&mut self, phase: Phase) -> Vec<Action> {
        self.came_up = true;
        self.enter(phase, None);
        vec![Action::Ready]
    }

    fn enter(&mut self, phase: Phase, deadline: Option<Instant>) {
        self.phase = phase;
        self.deadline = deadline;
    }
}

mod end;
#[cfg(test)]
mod tests;
