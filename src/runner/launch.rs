//! How QEMU begins: the runner spawns a step of the same binary, which gives up what QEMU must not
//! have and becomes QEMU.
//!
//! The step exists because the crate forbids unsafe code and so `pre_exec`. A call that fails in it
//! fails the start.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::definition::types::{Definition, Display};
use crate::error::{Error, Result};
use crate::lock::Guard;
use crate::qemu::argv;
use crate::sys;
use crate::wire::status::exception;

/// The hidden word by which the binary knows that it is the step.
pub(crate) const WORD: &str = "__launch";

/// The variables that QEMU sees, besides `LC_*`.
const ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];
/// Those by which a window finds its screen, X11's or Wayland's.
const SCREEN: [&str; 4] = ["DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"];
/// How much likelier than others QEMU is to be chosen when memory runs out (proc(5)).
const OOM_SCORE: &str = "200";

/// The ends of QEMU's descriptors that are QEMU's.
#[derive(Debug)]
pub(super) struct QemuEnds {
    pub(super) monitor: UnixStream,
    pub(super) agent: Option<UnixStream>,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// What QEMU keeps of what is taken from it else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leave {
    /// A set-id helper of its own may gain its rights.
    pub(super) rights: bool,
    /// The variables by which a window finds its screen.
    pub(super) screen: bool,
}

impl Leave {
    pub(super) fn of(definition: &Definition) -> Leave {
        Leave {
            rights: argv::needs_helper(definition),
            screen: matches!(definition.display, Display::Gtk(_) | Display::Sdl(_)),
        }
    }

    /// What a definition leaves to its QEMU, in the words of `status`.
    pub(super) fn exceptions(definition: &Definition) -> Vec<String> {
        let leave = Leave::of(definition);
        let all = [
            (!argv::is_sandboxed(definition), exception::SYSTEM_CALLS),
            (leave.rights, exception::NEW_PRIVILEGES),
            (leave.screen, exception::SCREEN),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word.to_owned()).collect()
    }

    /// The word by which the step is told.
    fn word(self) -> &'static str {
        match (self.rights, self.screen) {
            (false, false) => "-",
            (true, false) => "rights",
            (false, true) => "screen",
            (true, true) => "rights,screen",
        }
    }

    fn parse(word: &str) -> Option<Leave> {
        let known = |word: &&str| matches!(*word, "-" | "rights" | "screen");
        let words: Vec<&str> = word.split(',').collect();
        let leave = Leave { rights: words.contains(&"rights"), screen: words.contains(&"screen") };
        words.iter().all(known).then_some(leave)
    }
}

/// Spawns QEMU. The monitor, the agent and the guard pass the exec and nothing else does: they are
/// made inheritable just before, and the runner's copies closed or mended right after.
pub(super) fn spawn(
    argv: &[String],
    folder: &Path,
    ends: QemuEnds,
    guard: &Guard,
    leave: Leave,
) -> Result<Child> {
    let cannot = |error| Error::io("start QEMU", &error);
    let QemuEnds { monitor, agent, stdin, stdout, stderr } = ends;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("maqet")
        .arg(WORD)
        .arg(std::process::id().to_string())
        .arg(leave.word())
        .args(argv)
        .current_dir(folder)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr));
    sys::set_inheritable(&monitor, true).map_err(cannot)?;
    if let Some(agent) = &agent {
        sys::set_inheritable(agent, true).map_err(cannot)?;
    }
    guard.set_inheritable(true).map_err(cannot)?;
    let spawned = command.spawn();
    guard.set_inheritable(false).map_err(cannot)?;
    spawned.map_err(cannot)
}

/// The step itself: `__launch RUNNER_PID LEAVE ARGV…`. It returns only where QEMU could not be started.
pub(crate) fn step(mut words: impl Iterator<Item = OsString>) -> Error {
    let usage = || Error::usage("this step belongs to the start of a VM");
    let Some(runner) = words.next().and_then(|word| word.to_str()?.parse::<i32>().ok()) else {
        return usage();
    };
    let leave = words.next().and_then(|word| Leave::parse(word.to_str()?));
    let (Some(leave), Some(program)) = (leave, words.next()) else { return usage() };
    match shed(runner, leave) {
        Ok(()) => become_qemu(&program, words, leave),
        Err(error) => error,
    }
}

/// Gives up what QEMU must not have.
fn shed(runner: i32, leave: Leave) -> Result<()> {
    let done = |what: &'static str| move |error| Error::io(what, &error);
    sys::new_session().map_err(done("begin a session for QEMU"))?;
    sys::die_with_parent().map_err(done("tie QEMU's life to its runner's"))?;
    // The runner may have died before the line above: then nothing ties us to it.
    if sys::parent_pid() != runner {
        return Err(Error::failed("the runner is gone"));
    }
    sys::no_core_dumps().map_err(done("forbid core dumps to QEMU"))?;
    if !leave.rights {
        sys::no_new_privileges().map_err(done("forbid new privileges to QEMU"))?;
    }
    // Raising one's own score is always allowed.
    write_oom_score().map_err(done("write /proc/self/oom_score_adj"))
}

fn write_oom_score() -> std::io::Result<()> {
    use std::io::Write;
    File::options().write(true).open("/proc/self/oom_score_adj")?.write_all(OOM_SCORE.as_bytes())
}

fn become_qemu(program: &OsStr, argv: impl Iterator<Item = OsString>, leave: Leave) -> Error {
    let environment = std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            ENVIRONMENT.contains(&name)
                || name.starts_with("LC_")
                || (leave.screen && SCREEN.contains(&name))
        })
    });
    let environment: Vec<_> = environment.collect();
    let error = Command::new(program).args(argv).env_clear().envs(environment).exec();
    Error::io(format_args!("execute {}", program.display()), &error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn the_step_refuses_to_run_for_a_runner_that_is_not_its_parent() {
        for words in [vec![], vec!["x"], vec!["1"], vec!["1", "x", "true"]] {
            let error = step(words.into_iter().map(OsString::from));
            assert_eq!(error.kind, Kind::Usage);
        }
    }
}
