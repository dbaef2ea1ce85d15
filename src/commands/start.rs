//! `start`: several VMs side by side, as many at once as there are CPUs.
//!
//! All runners of a batch are spawned before the first is waited for: the QEMUs come up together.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::console;
use super::context::{Context, Vm};
use super::monitor::Monitor;
use super::noted::{note_earlier, pin, remember};
use super::rehearsal::rehearse;
use crate::cli::progress::Progress;
use crate::cli::table::Flag;
use crate::control::ask::{Patience, Question, Reply, ask_one};
use crate::control::life::{self, Life};
use crate::control::readiness::{Readiness, Until, wait_for_vm_ready};
use crate::control::spawn::{Start, Started, wait_until_free};
use crate::definition::name::VmId;
use crate::definition::types::{Accel, Definition};
use crate::error::{Error, Result};
use crate::store::Row;
use crate::wire::copied::Copied;
use crate::wire::handoff::{Mission, Order};
use crate::wire::message::{Call, Request};
use crate::wire::status::State;

/// For one start, where --timeout says nothing: the runner gives QEMU 30 s, and a previous QEMU 10 s
/// to be gone.
const START_LIMIT: Duration = Duration::from_secs(45);

/// For QEMU to let a guest go on.
const RESUME_LIMIT: Duration = Duration::from_secs(5);

/// What is said about each VM: the VM, its state now, and whether that was our doing.
type Say<'a> = dyn FnMut(&Vm, State, bool) -> Result<()> + 'a;

pub(super) fn start(context: &Context<'_>) -> Result<u8> {
    let mut output = context.changes()?;
    let vms = context.vms()?;
    if context.invocation.has(Flag::DryRun) {
        let paused = context.invocation.has(Flag::Paused);
        let code = rehearse(context, &mut output, "start", &vms, |life| {
            Ok(match (life.state, paused) {
                (State::Running, _) | (State::Paused, true) => None,
                (_, true) => Some(State::Paused),
                (_, false) => Some(State::Running),
            })
        })?;
        return context.finish(output, [code]);
    }
    let attached = match (context.invocation.has(Flag::Console), vms.as_slice()) {
        (false, _) => None,
        (true, [vm]) => Some(vm),
        (true, _) => return Err(Error::usage("\"--console\" is for one VM")),
    };
    let code = start_vms(context, &vms, |vm, state, changed| {
        context.say_change(&mut output, vm, state, changed)
    })?;
    output.finish()?;
    match attached.filter(|_| code == 0) {
        Some(vm) => console::of_started(context, vm),
        None => Ok(code),
    }
}

/// Starts VMs, tells the errors, and gives the exit code.
pub(super) fn start_vms(
    context: &Context<'_>,
    vms: &[Vm],
    mut say: impl FnMut(&Vm, State, bool) -> Result<()>,
) -> Result<u8> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = context.invocation.count(Flag::Jobs).map_or(cpus, |jobs| jobs.max(1) as usize);
    let mut codes = Vec::new();
    for batch in vms.chunks(jobs) {
        let mut until = patience(context);
        let begin = |vm| (vm, begin(context, vm, until.deadline));
        let begun: Vec<_> = batch.iter().map(begin).collect();
        // First all definitions, then all waits.
        let handed: Vec<_> = begun
            .into_iter()
            .map(|(vm, begun)| (vm, begun.and_then(|begun| begun.hand_over(context, vm))))
            .collect();
        for (vm, handed) in handed {
            let outcome = handed.and_then(|begun| begun.finish(context, vm, &mut until, &mut say));
            codes.push(match outcome {
                Ok(()) => 0,
                Err(error) => context.tell("cannot start", vm, error),
            });
        }
    }
    Ok(crate::cli::report::shared_exit_code(codes))
}

/// A VM on its way up, or up already.
#[derive(Debug)]
enum Begun {
    Spawned(Box<Start>),
    Live(Box<Life>),
}

fn begin(context: &Context<'_>, vm: &Vm, deadline: Instant) -> Result<Begun> {
    let life = life::look_at(&context.folders, &vm.id, &vm.name)?;
    if life.state.is_live() {
        return Ok(Begun::Live(Box::new(life)));
    }
    refuse_template(context.definition(vm).as_ref().ok())?;
    warn_of_tcg(context, vm);
    Start::begin(mission(context, vm)?, deadline).map(|start| Begun::Spawned(Box::new(start)))
}

pub(super) fn mission(context: &Context<'_>, vm: &Vm) -> Result<Mission> {
    let id = VmId::parse(&vm.id)?;
    Ok(Mission { id, level: context.runner_log_level(), folders: context.folders.clone() })
}

impl Begun {
    fn hand_over(mut self, context: &Context<'_>, vm: &Vm) -> Result<Begun> {
        if let Begun::Spawned(start) = &mut self {
            start.hand_over(|| order(context, vm))?;
        }
        Ok(self)
    }

    /// Waits until the VM is up, starting again where a previous run was still ending.
    fn finish(
        self,
        context: &Context<'_>,
        vm: &Vm,
        until: &mut Until,
        say: &mut Say<'_>,
    ) -> Result<()> {
        let mut begun = self;
        loop {
            begun = match begun {
                Begun::Live(life) => match settle(context, vm, *life, until, say)? {
                    None => return Ok(()),
                    Some(again) => again,
                },
                Begun::Spawned(start) => {
                    let mut copying = Copying::of(context, vm);
                    let started = start.finish(until, &mut |copied| copying.show(copied));
                    drop(copying);
                    match started? {
                        Started::Now => {
                            remember(context, vm);
                            let paused = context.invocation.has(Flag::Paused);
                            let state = if paused { State::Paused } else { State::Running };
                            return say(vm, state, true);
                        }
                        // What the other one has come to meanwhile decides what is left to be done.
                        Started::ByAnother | Started::TryAgain => {
                            begin(context, vm, until.deadline)?.hand_over(context, vm)?
                        }
                    }
                }
            };
            if Instant::now() >= until.deadline {
                return Err(Error::timeout("it was not up in time"));
            }
        }
    }
}

/// Brings a VM that lives to where `start` leads. A new start where it ended in the meantime.
fn settle(
    context: &Context<'_>,
    vm: &Vm,
    life: Life,
    until: &mut Until,
    say: &mut Say<'_>,
) -> Result<Option<Begun>> {
    if life.responding == Some(false) {
        let silent = Error::timeout("its runner does not answer")
            .hint("\"maqet stop --force\" ends it together with its QEMU");
        return Err(life.obstacle.filter(|error| error.kind != silent.kind).unwrap_or(silent));
    }
    let start_again =
        |until: &Until| begin(context, vm, until.deadline)?.hand_over(context, vm).map(Some);
    match life.state {
        State::Running => {
            context.note(&format!("{} is running already", vm.name));
            say(vm, State::Running, false).map(|()| None)
        }
        State::Paused if context.invocation.has(Flag::Paused) => {
            context.note(&format!("{} is paused already", vm.name));
            say(vm, State::Paused, false).map(|()| None)
        }
        State::Paused => {
            resume(context, vm)?;
            context.note(&format!("{} was paused, and goes on", vm.name));
            say(vm, State::Running, true).map(|()| None)
        }
        State::Starting => match wait_until_ready(context, vm, until) {
            Readiness::Ready => say(vm, State::Running, false).map(|()| None),
            Readiness::Over => {
                let run = life::last_run(&context.folders.vm(&vm.id));
                run.and_then(|run| run.error).map_or_else(|| start_again(until), Err)
            }
            Readiness::TimedOut(obstacle) => {
                Err(obstacle.unwrap_or_else(|| Error::timeout("it was not up in time")))
            }
        },
        _ => {
            context.note(&format!("{} is stopping; waiting for its end", vm.name));
            if !wait_until_free(&mission(context, vm)?, until.deadline)? {
                return Err(Error::timeout("its previous run did not end in time")
                    .hint("\"maqet stop --force\" ends it at once"));
            }
            start_again(until)
        }
    }
}

/// Waits for a VM that another command starts, or one that is started again.
fn wait_until_ready(context: &Context<'_>, vm: &Vm, until: &mut Until) -> Readiness {
    let mut copying = Copying::of(context, vm);
    wait_for_vm_ready(&context.folders, &vm.id, until, &mut |copied| copying.show(copied))
}

/// How long a start is waited for. A `--timeout` holds whatever is done in it; else images may be
/// copied first.
fn patience(context: &Context<'_>) -> Until {
    let after_copying = (!context.invocation.has(Flag::Timeout)).then_some(START_LIMIT);
    Until { deadline: context.deadline(START_LIMIT), after_copying }
}

/// Shows how far the copies of a start's images are, one after the other.
#[derive(Debug)]
struct Copying<'a> {
    context: &'a Context<'a>,
    vm: &'a Vm,
    progress: Option<(Copied, Progress)>,
}

impl<'a> Copying<'a> {
    fn of(context: &'a Context<'a>, vm: &'a Vm) -> Copying<'a> {
        Copying { context, vm, progress: None }
    }

    /// The runner said so.
    fn show(&mut self, now: Copied) {
        let same =
            |(before, _): &(Copied, Progress)| before.total == now.total && before.done <= now.done;
        if !self.progress.as_ref().is_some_and(same) {
            let what = format!("copying {}", self.vm.name);
            let quiet = self.context.invocation.quiet();
            // It may have gone on for long: another command's, or a VM's of several.
            let progress = Progress::new(quiet, what, Some(now.total)).from(now.done);
            self.progress = Some((now, progress));
        }
        if let Some((before, progress)) = &mut self.progress {
            *before = now;
            progress.reach(now.done);
        }
    }
}

/// Lets the guest of a paused VM go on.
fn resume(context: &Context<'_>, vm: &Vm) -> Result<()> {
    let until = context.deadline(RESUME_LIMIT);
    Monitor::new(context, vm, until).refuse_half_loaded(&vm.name)?;
    let call = Call::Qmp { command: "cont".into(), arguments: Map::new(), unsafe_: false };
    let question = Question { id: vm.id.clone(), request: Request::from(call), repeatable: true };
    match ask_one(&context.folders, question, Patience::of(RESUME_LIMIT)) {
        Reply::Answer(answer) => answer.map(drop),
        Reply::NoRunner => Err(Error::conflict("it has just ended")),
        Reply::Silent(error) | Reply::Late(error) => Err(error),
    }
}

/// What the runner is to start: read once it holds the VM's locks, and never before.
pub(super) fn order(context: &Context<'_>, vm: &Vm) -> Result<Option<Order>> {
    let Some(store) = context.store_to_read()? else { return Ok(None) };
    let Some(row) = store.by_id(&vm.id)? else { return Ok(None) };
    let definition = effective(context, vm, &row)?;
    if let Err(error) = note_earlier(context, vm, &definition, &store) {
        log::warn!("{}: what earlier starts made could not be stored: {error}", vm.name);
    }
    let paused = context.invocation.has(Flag::Paused);
    let start_limit_ms = start_limit_ms(context);
    Ok(Some(Order { name: row.name, definition, paused, start_limit_ms }))
}

/// The name and the definition that a start would give to the runner now; `None`: no such VM.
pub(super) fn handed_over(
    context: &Context<'_>,
    vm: &Vm,
) -> Result<Option<(String, Map<String, Value>)>> {
    let Some(store) = context.store_to_read()? else { return Ok(None) };
    let Some(row) = store.by_id(&vm.id)? else { return Ok(None) };
    let definition = effective(context, vm, &row)?;
    Ok(Some((row.name, definition)))
}

fn effective(context: &Context<'_>, vm: &Vm, row: &Row) -> Result<Map<String, Value>> {
    let mut definition = context.effective(&row.definition)?;
    // An earlier start may have been cut short before it stored the version of its machine.
    pin(context, vm, &mut definition);
    Ok(definition)
}

/// `--timeout`, for the runner: who allows a start two minutes has a reason, such as much memory to be
/// allocated beforehand. The command ends the start when that is over.
pub(super) fn start_limit_ms(context: &Context<'_>) -> Option<u64> {
    let now = Instant::now();
    let given = context.invocation.has(Flag::Timeout).then(|| context.deadline(START_LIMIT) - now);
    given.map(|given| u64::try_from(given.as_millis()).unwrap_or(u64::MAX))
}

/// A template is there to be cloned: a later write to its images would ruin every clone upon them.
///
/// # Errors
/// `Kind::Conflict`, with a hint.
pub(super) fn refuse_template(definition: Option<&Definition>) -> Result<()> {
    match definition {
        Some(definition) if definition.template => {
            Err(Error::conflict("it is a template, and never starts")
                .hint("\"maqet clone --linked\" makes VMs of it; its key \"template\" says so"))
        }
        _ => Ok(()),
    }
}

/// Says that the guest's code will be translated, where nobody chose that.
pub(super) fn warn_of_tcg(context: &Context<'_>, vm: &Vm) {
    let auto = context.definition(vm).is_ok_and(|definition| definition.accel == Accel::Auto);
    if auto && !crate::sys::kvm_opens() {
        context.note(&format!("{}: /dev/kvm cannot be opened; it runs under TCG, slowly", vm.name));
    }
}
