//! The process of one VM, from its locks to its end.
//!
//! It starts QEMU, speaks QMP with it, and serves clients until QEMU has ended. It is a set of
//! descriptors and a pure state machine; it knows no database and no command line, and shares with
//! the commands only what stands in `wire` and below. Here are the steps of a start in their order:
//! a crash between any two of them leaves nothing that the next command does not put right.

mod disks;
mod home;
pub(crate) mod launch;
mod logs;
mod monitor;
mod session;
mod starter;
mod state;
mod streams;
mod supervisor;
mod turn;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::home::Home;
use self::launch::QemuEnds;
use self::logs::{CappedLog, Lost, Record};
use self::monitor::Monitor;
use self::session::Sessions;
use self::starter::Starter;
use self::state::Machine;
use self::streams::{AgentChannel, Output, Signals};
use self::supervisor::{Ended, Facts, Qemu, Supervisor};
use crate::definition::name::VmName;
use crate::definition::types::{Definition, Program};
use crate::error::{Error, Result};
use crate::lock::{self, Attempt, Guard};
use crate::paths::{Log, VmFolder};
use crate::private::check_private;
use crate::qemu::{argv, machine, program};
use crate::sys;
use crate::time::Timestamp;
use crate::wire::handoff::{FromRunner, Mission};
use crate::wire::runs::{End, Outcome};

/// For a previous QEMU to be gone.
const GUARD_LIMIT: Duration = Duration::from_secs(10);

/// Is the runner of one VM until its QEMU has ended. What goes wrong before the VM runs is told to
/// the command that spawned it, last, when everything has been cleaned up.
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> Result<()> {
    let mission = Mission::parse(words)
        .ok_or_else(|| Error::usage("this step belongs to the start of a VM"))?;
    sys::new_session().map_err(|error| Error::io("begin a session", &error))?;
    sys::private_umask();
    let mut starter = Starter::take()?;
    match be_runner(&mission, &mut starter) {
        Ok(()) => Ok(()),
        Err(error) => {
            starter.say(&FromRunner::Failed(error.clone()));
            Err(error)
        }
    }
}

fn be_runner(mission: &Mission, starter: &mut Starter) -> Result<()> {
    // Who holds the lock must survive a SIGHUP.
    let signals = Signals::register()?;
    let folder = mission.folders.vm(&mission.id.to_string());
    let _lock = match lock::take(&folder.lock())? {
        Attempt::Taken(lock) => lock,
        Attempt::Held => {
            starter.say(&FromRunner::Held { held: true });
            return Ok(());
        }
        Attempt::Gone => return Err(Error::not_found("there is no such VM any more")),
    };
    check_private(folder.path())?;
    let lost = Lost::default();
    begin_log(&folder, mission.level, &lost);
    let guard = Guard::take(&folder.guard(), Instant::now() + GUARD_LIMIT)?;
    let mut record = Record::begin(&folder, lost.clone());
    let held = Held { folder: &folder, guard: &guard, lost: &lost };
    match run(mission, &held, signals, starter, &mut record) {
        Ok(Ended { end, error, stderr }) => {
            log::info!("ended: {end:?}");
            record.end(end, error.as_ref(), &stderr);
            error.map_or(Ok(()), Err)
        }
        Err(error) => {
            log::error!("{error}");
            record.end(never_started(&error), Some(&error), "");
            Err(error)
        }
    }
}

/// What a runner has once it holds both locks.
#[derive(Debug)]
struct Held<'a> {
    folder: &'a VmFolder,
    guard: &'a Guard,
    lost: &'a Lost,
}

/// From the definition to QEMU's end, with both locks held. The runtime folder is gone afterwards,
/// however it ended.
fn run(
    mission: &Mission,
    held: &Held<'_>,
    signals: Signals,
    starter: &mut Starter,
    record: &mut Record,
) -> Result<Ended> {
    starter.say(&FromRunner::Locked { locked: true });
    let order = starter.order()?.ok_or_else(|| Error::not_found("there is no such VM any more"))?;
    let vm = Definition::read(&order.definition)?;
    let name = VmName::parse(&order.name)?;
    sys::set_process_name(&format!("maqet:{name}"))
        .map_err(|error| Error::io("name the process", &error))?;
    let id = mission.id.to_string();
    let (mut home, listener, key) = Home::make(&mission.folders, &id)?;
    let sessions = Sessions::new(listener, id, key);
    let started = start_qemu(mission, held, &name, &vm);
    let ended = started.and_then(|(facts, qemu)| {
        let guest_time = vm.stop_timeout.duration().unwrap_or(Duration::ZERO);
        let supervisor = Supervisor {
            machine: Machine::new(order.paused, guest_time, facts.spawned),
            facts,
            qemu,
            sessions,
            signals,
            starter,
            home: &mut home,
            record,
            lost: held.lost.clone(),
            since: Timestamp::now(),
            waiting: Vec::new(),
        };
        supervisor.run().map_err(|error| Error::io("wait for QEMU", &error))
    });
    home.remove();
    ended
}

/// Makes the disks and QEMU's descriptors, and spawns QEMU.
fn start_qemu(
    mission: &Mission,
    held: &Held<'_>,
    name: &VmName,
    definition: &Definition,
) -> Result<(Facts, Qemu)> {
    let Held { folder, guard, lost } = held;
    let cannot = |error| Error::io("make QEMU's descriptors", &error);
    let id = mission.id.to_string();
    let images = disks::prepare(definition, &id, folder)?;
    let binary = find_binary(definition)?;
    let host = argv::Host { binary, kvm: sys::kvm_opens(), block_devices: images.block_devices };

    let (monitor, qemu_monitor) = UnixStream::pair().map_err(cannot)?;
    let agent = argv::wants_agent(definition, &host.binary).then(UnixStream::pair).transpose();
    let (agent, qemu_agent) = agent.map_err(cannot)?.unzip();
    let (console_output, stdin) =
        sys::pipe().map(|(theirs, ours)| (ours, theirs)).map_err(cannot)?;
    let console_log = CappedLog::begin(folder.log(Log::Console), (*lost).clone());
    let (console, stdout) = Output::console(console_log).map_err(cannot)?;
    let qemu_log = CappedLog::begin(folder.log(Log::Qemu), (*lost).clone());
    let (stderr, qemu_stderr) = Output::stderr(qemu_log).map_err(cannot)?;

    let wires = argv::Wires {
        qmp: sys::number(&qemu_monitor),
        agent: qemu_agent.as_ref().map(sys::number),
    };
    let vm = argv::Vm { id: &mission.id, name, definition, folder: folder.path() };
    let words = argv::build(&vm, &host, &wires)?;
    log::debug!("{words:?}");
    let ends =
        QemuEnds { monitor: qemu_monitor, agent: qemu_agent, stdin, stdout, stderr: qemu_stderr };
    let spawned = Instant::now();
    let child = launch::spawn(&words, folder.path(), ends, guard)?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let pidfd = sys::pidfd_open(pid).map_err(cannot)?;
    let facts = Facts {
        id,
        name: name.to_string(),
        accel: argv::accel(definition, &host),
        sandbox: definition.sandbox,
        created: images.created,
        spawned,
    };
    let qemu = Qemu {
        child,
        pidfd,
        monitor: Monitor::new(monitor).map_err(cannot)?,
        console,
        _console_input: console_output,
        stderr,
        agent: AgentChannel::new(agent).map_err(cannot)?,
    };
    Ok((facts, qemu))
}

/// The program that a definition means.
pub(crate) fn find_binary(definition: &Definition) -> Result<PathBuf> {
    match &definition.binary {
        None => program::find(machine::default_program().as_ref()),
        Some(Program::Name(name)) => program::find(name.as_ref()),
        Some(Program::Path(path)) => program::find(path.as_os_str()),
    }
}

/// The end of a run whose QEMU was never spawned.
fn never_started(error: &Error) -> End {
    End {
        outcome: Outcome::Failed,
        exit_code: None,
        signal: None,
        by: None,
        asked_by: None,
        detail: Some(error.message.clone()),
        ended_at: Some(Timestamp::now()),
    }
}

/// From here on what is logged, and what a panic would say, goes into the VM's own log.
fn begin_log(folder: &VmFolder, level: log::LevelFilter, lost: &Lost) {
    let log = CappedLog::resume(folder.log(Log::Runner), lost.clone());
    if let Some(file) = log.file() {
        let _ = sys::redirect_stderr(file);
    }
    let target = env_logger::Target::Pipe(Box::new(log));
    let format = |out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>| {
        use std::io::Write;
        writeln!(out, "{} {} {}", Timestamp::now(), record.level(), record.args())
    };
    let mut builder = env_logger::Builder::new();
    let _ = builder.filter_level(level).target(target).format(format).try_init();
}
