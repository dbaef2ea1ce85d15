//! How a run ended, told from what the machine saw of it. Pure, as the machine is.

use super::{Exit, Machine};
use crate::time::Timestamp;
use crate::wire::runs::{End, EndedBy, Outcome};

impl Machine {
    /// How the run ended; of use once the phase is `Phase::Ended`.
    pub(in crate::runner) fn end(&self, at: Timestamp) -> End {
        let exit = self.exit.unwrap_or(Exit { code: None, signal: None });
        let outcome = self.outcome();
        let detail = match (&self.failure, outcome) {
            (Some(failure), _) => Some(failure.clone()),
            (None, Outcome::Crashed | Outcome::Failed) => Some(describe(exit)),
            (None, _) if self.shutdown_reason.as_deref() == Some("guest-panic") => {
                Some("the guest panicked".into())
            }
            _ => None,
        };
        End {
            outcome,
            exit_code: exit.code,
            signal: exit.signal,
            by: self.ended_by(exit),
            asked_by: self.asked_by.clone(),
            detail,
            ended_at: Some(at),
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let clean = self.exit.is_some_and(|exit| exit.code == Some(0));
        match (self.failure.is_some(), self.asked_by.is_some(), self.came_up) {
            (true, _, _) => Outcome::Failed,
            (_, true, _) => Outcome::Stopped,
            (_, _, false) => Outcome::Failed,
            _ if clean => Outcome::Stopped,
            _ => Outcome::Crashed,
        }
    }

    fn ended_by(&self, exit: Exit) -> Option<EndedBy> {
        match (exit.signal, self.shutdown_reason.as_deref()) {
            (Some(9), _) if self.asked_by.is_some() => Some(EndedBy::Kill),
            (Some(15), _) => Some(EndedBy::Term),
            (Some(_), _) => None,
            (None, Some("host-qmp-quit")) => Some(EndedBy::Quit),
            (None, Some("host-signal")) => Some(EndedBy::Term),
            (None, Some(reason)) if reason.starts_with("guest-") => Some(EndedBy::Guest),
            // One whose monitor is lost cannot say why it has ended.
            (None, None) if self.terminated => Some(EndedBy::Term),
            _ => None,
        }
    }
}

/// An exit in words.
fn describe(exit: Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("QEMU ended with exit code {code}"),
        (None, Some(signal)) => {
            format!("QEMU was killed by signal {signal}{}", signal_name(signal))
        }
        (None, None) => "QEMU ended".into(),
    }
}

/// The names of the signals that end a process most often (signal(7)).
fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        31 => " (SIGSYS)",
        _ => "",
    }
}
