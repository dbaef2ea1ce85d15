//! The process of one VM, from its locks to its end: in a session of its own behind `start`, or in
//! the foreground.
//!
//! It starts QEMU, speaks QMP with it, and serves clients until QEMU has ended. It is a set of
//! descriptors and a pure state machine; it knows no database and no command line, and shares with
//! the commands only what stands in `wire` and below. Here are the steps of a start in their order:
//! a crash between any two of them leaves nothing that the next command does not put right.

mod again;
mod agent;
mod console;
mod copying;
mod events;
mod execs;
mod front;
mod home;
mod keyboard;
pub(crate) mod launch;
mod logs;
mod monitor;
mod notify;
mod pictures;
mod record;
mod session;
mod starter;
mod state;
mod streams;
mod supervisor;
mod turn;
mod watch;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use self::again::Again;
use self::agent::Agent;
use self::console::Console;
use self::copying::Copying;
use self::events::Followers;
use self::execs::Execs;
use self::front::Front;
use self::home::Home;
use self::keyboard::Keyboard;
use self::launch::{Leave, QemuEnds};
use self::logs::{CappedLog, Lost};
use self::monitor::Monitor;
pub(crate) use self::notify::Readiness;
use self::pictures::Pictures;
use self::record::Record;
use self::session::Sessions;
use self::starter::Starter;
use self::state::{Machine, Terms};
use self::streams::{Output, Signals};
use self::supervisor::{Ended, Facts, Qemu, Supervisor};
use self::watch::Watches;
use crate::definition::name::VmName;
use crate::definition::types::{Definition, MachineType, Program, Restart};
use crate::error::{Error, Kind, Result};
use crate::lock::{self, Attempt, Guard};
use crate::paths::{Log, VmFolder};
use crate::private::check_private;
use crate::qemu::copy::Runs;
use crate::qemu::{argv, firmware, images, machine, program};
use crate::sys;
use crate::time::Timestamp;
use crate::wire::handoff::{FromRunner, Mission, Order};
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
    let place = Place { front: None };
    let error = match be_runner(&mission, &mut starter, place, Starter::order) {
        Ok(Over::Held | Over::Ended(Ended { error: None, .. })) => return Ok(()),
        Ok(Over::Ended(Ended { error: Some(error), .. })) | Err(error) => error,
    };
    starter.say(&FromRunner::Failed(error.clone()));
    Err(error)
}

/// Is the runner of one VM in this process, with its console on standard input and output, until its
/// QEMU has ended. `order` reads the definition, once both locks are held; `None`: no such VM.
///
/// # Errors
/// `Kind::Conflict` where the VM has a runner already; what keeps QEMU from being started.
pub(crate) fn foreground(
    mission: &Mission,
    readiness: Readiness,
    order: impl FnOnce() -> Result<Option<Order>>,
) -> Result<Exit> {
    sys::private_umask();
    // What the caller left open is for nobody else.
    sys::close_inherited_on_exec();
    let mut starter = Starter::Foreground(readiness);
    let place = Place { front: Some(Front::new()) };
    match be_runner(mission, &mut starter, place, |_| order())? {
        Over::Held => Err(Error::conflict("it is running already").hint("stop it first")),
        Over::Ended(ended) => Ok(Exit::of(ended)),
    }
}

/// How a VM in the foreground ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// 0 when the guest shut down or was stopped, else QEMU's own, and 1 where a signal ended it.
    pub(crate) code: u8,
    /// Why, where that is not 0.
    pub(crate) error: Option<Error>,
}

impl Exit {
    fn of(Ended { end, error, stderr }: Ended) -> Exit {
        if end.outcome == Outcome::Stopped {
            return Exit { code: 0, error: None };
        }
        let code = end.exit_code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
        let why = end.detail.unwrap_or_else(|| "QEMU ended".to_owned());
        let error = error.unwrap_or_else(|| Error::failed(why).quoting(&stderr));
        Exit { code: code.unwrap_or(Kind::Failed.exit_code()), error: Some(error) }
    }
}

/// Where the VM runs.
#[derive(Debug)]
struct Place {
    /// The console's way to standard input and output, in the foreground.
    front: Option<Front>,
}

/// How it came out.
#[derive(Debug)]
enum Over {
    /// Another runner holds the VM's lock.
    Held,
    Ended(Ended),
}

fn be_runner(
    mission: &Mission,
    starter: &mut Starter,
    place: Place,
    order: impl FnOnce(&mut Starter) -> Result<Option<Order>>,
) -> Result<Over> {
    // Who holds the lock must survive a SIGHUP.
    let signals = Signals::register()?;
    let folder = mission.folders.vm(&mission.id.to_string());
    let _lock = match lock::take(&folder.lock())? {
        Attempt::Taken(lock) => lock,
        Attempt::Held => {
            starter.say(&FromRunner::Held { held: true });
            return Ok(Over::Held);
        }
        Attempt::Gone => return Err(Error::not_found("there is no such VM any more")),
    };
    check_private(folder.path())?;
    let lost = Lost::default();
    begin_log(&folder, mission.level, &lost, place.front.is_none());
    let guard = Guard::take(&folder.guard(), Instant::now() + GUARD_LIMIT)?;
    let mut record = Record::begin(&folder, lost.clone());
    let held = Held { folder: &folder, guard: &guard, lost: &lost };
    let ordered = || {
        starter.say(&FromRunner::Locked { locked: true });
        let order = order(starter)?;
        order.ok_or_else(|| Error::not_found("there is no such VM any more"))
    };
    let ended = match ordered() {
        Ok(order) => run(mission, &held, signals, starter, &mut record, (order, place)),
        Err(error) => Err(error),
    };
    match ended {
        Ok(ended) => {
            let Ended { end, error, stderr } = &ended;
            log::info!("ended: {end:?}");
            record.end(end.clone(), error.as_ref(), stderr);
            Ok(Over::Ended(ended))
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
/// however it ended; from one QEMU to the next that its `restart` asks for, it stays.
fn run(
    mission: &Mission,
    held: &Held<'_>,
    mut signals: Signals,
    starter: &mut Starter,
    record: &mut Record,
    (order, place): (Order, Place),
) -> Result<Ended> {
    let vm = Definition::read(&order.definition)?;
    let name = VmName::parse(&order.name)?;
    sys::set_process_name(&format!("maqet:{name}"))
        .map_err(|error| Error::io("name the process", &error))?;
    let id = mission.id.to_string();
    let (mut home, listener, key) = Home::make(&mission.folders, &id, as_json(&order)?)?;
    let mut sessions = Sessions::new(listener, id, key);
    let terms = Terms {
        start_paused: order.paused,
        start_limit: order.start_limit(),
        guest_time: vm.stop_timeout.duration().unwrap_or(Duration::ZERO),
    };
    // In the foreground that is for whoever has started us.
    let restart = if place.front.is_some() { Restart::Never } else { vm.restart };
    let words = order.definition;
    let screen_socket = argv::screen_socket(&vm.display);
    let recipe = Recipe { mission, held, name: &name, words, definition: vm };
    let mut copying = Copying {
        recipe: &recipe,
        sessions: &mut sessions,
        signals: &mut signals,
        starter,
        home: &mut home,
        since: Timestamp::now(),
        asked_by: None,
        waiting: Vec::new(),
    };
    let ended = match recipe.spawn(&mut |copy| copying.run(copy)) {
        Err(error) => copying.end(error),
        Ok((facts, qemu)) => {
            let supervisor = Supervisor {
                recipe,
                terms,
                again: Again::new(restart),
                machine: Machine::new(terms, facts.spawned),
                facts,
                qemu,
                sessions,
                signals,
                starter,
                home: &mut home,
                record,
                lost: held.lost.clone(),
                front: place.front,
                since: Timestamp::now(),
                waiting: Vec::new(),
                watches: Watches::default(),
                execs: Execs::default(),
                keyboard: Keyboard::new(Instant::now()),
                followers: Followers::default(),
                pictures: Pictures::new(held.folder.clone()),
            };
            supervisor.run().map_err(|error| Error::io("wait for QEMU", &error))
        }
    };
    home.remove();
    // A QEMU that was killed leaves it.
    if let Some(socket) = screen_socket {
        let _ = std::fs::remove_file(held.folder.path().join(socket));
    }
    ended
}

/// What a VM was started with, for `show --diff`: its definition, with its name.
fn as_json(order: &Order) -> Result<String> {
    let mut definition = order.definition.clone();
    definition.insert("name".into(), order.name.as_str().into());
    serde_json::to_string(&definition)
        .map_err(|error| Error::failed(format!("cannot write the definition: {error}")))
}

/// What each QEMU of a VM is made of, the next ones too: what was handed over at the start.
#[derive(Debug)]
struct Recipe<'a> {
    mission: &'a Mission,
    held: &'a Held<'a>,
    name: &'a VmName,
    /// The definition, as it was handed over and as it was read.
    words: Map<String, Value>,
    definition: Definition,
}

impl Recipe<'_> {
    /// Starts QEMU; `copies` runs what copies the images that are not there yet.
    fn spawn(&self, copies: &mut Runs<'_>) -> Result<(Facts, Qemu)> {
        start_qemu(self, copies)
    }

    /// Keeps the next QEMU to the machine that this one has: another version of the program may lie
    /// in its place by then, and would make the guest another one.
    fn pin(&mut self, version: &str) {
        let given = self.definition.machine.as_ref().map(MachineType::as_str);
        if given.is_some_and(|given| !machine::is_version_of(version, given)) {
            return;
        }
        self.words.insert("machine".into(), version.into());
        if let Ok(pinned) = Definition::read(&self.words) {
            self.definition = pinned;
        }
    }
}

/// Makes the disks and QEMU's descriptors, and spawns QEMU.
fn start_qemu(recipe: &Recipe<'_>, copies: &mut Runs<'_>) -> Result<(Facts, Qemu)> {
    let Recipe { mission, held, name, definition, .. } = recipe;
    let Held { folder, guard, lost } = held;
    let cannot = |error| Error::io("make QEMU's descriptors", &error);
    let id = mission.id.to_string();
    let mut images = images::prepare(&definition.storage, &id, folder, copies)?;
    let binary = find_binary(definition)?;
    let firmware = firmware::prepare(definition, &binary, &id, folder, &mut images.created)?;
    let (kvm, block_devices) = (sys::kvm_opens(), images.block_devices);
    let host = argv::Host { binary, kvm, block_devices, firmware };

    let (monitor, qemu_monitor) = UnixStream::pair().map_err(cannot)?;
    let agent = argv::wants_agent(definition, &host.binary).then(UnixStream::pair).transpose();
    let (agent, qemu_agent) = agent.map_err(cannot)?.unzip();
    let (stdin, console_input) = sys::pipe().map_err(cannot)?;
    sys::set_nonblocking(&console_input).map_err(cannot)?;
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
    let child = launch::spawn(&words, folder.path(), ends, guard, Leave::of(definition))?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let pidfd = sys::pidfd_open(pid).map_err(cannot)?;
    let facts = Facts {
        id,
        name: name.to_string(),
        accel: argv::accel(definition, &host),
        sandbox: argv::is_sandboxed(definition),
        exceptions: Leave::exceptions(definition),
        created: images.created,
        spawned,
    };
    let qemu = Qemu {
        child,
        pidfd,
        monitor: Monitor::new(monitor).map_err(cannot)?,
        console: Console::new(console, console_input.into()),
        stderr,
        agent: Agent::new(agent).map_err(cannot)?,
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

/// From here on what is logged goes into the VM's own log, and `with_stderr` what a panic would say,
/// too.
fn begin_log(folder: &VmFolder, level: log::LevelFilter, lost: &Lost, with_stderr: bool) {
    let log = CappedLog::resume(folder.log(Log::Runner), lost.clone());
    if let Some(file) = log.file().filter(|_| with_stderr) {
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
