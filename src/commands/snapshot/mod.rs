//! `snapshot`: what a VM was at some time, kept in its images, and gone back to.
//!
//! Of a running VM QEMU takes and loads them, memory and all; of a stopped one qemu-img does, and
//! they are of its disks alone. What stands in the way is said before anything is paused.

use std::time::Duration;

use serde_json::Value;

use self::note::Note;
use super::button::silent;
use super::context::{Context, Vm};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::report::shared_exit_code;
use crate::cli::table::Flag;
use crate::control::life;
use crate::definition::types::Definition;
use crate::definition::units;
use crate::error::{Error, Kind, Result, quote};
use crate::qemu::snapshot::{Drive, Snapshot, SnapshotName, gather};
use crate::time::Timestamp;
use crate::wire::status::State;

mod live;
mod note;
mod offline;

/// For all of it, where --timeout says nothing: memory is written as fast as the disk takes it.
const LIMIT: Duration = Duration::from_secs(600);

const FIELDS: &[&str] = &["name", "date", "vm_state_size", "vm_clock", "drives", "missing"];

const LIST: Shape = Shape {
    list: true,
    columns: &[
        Column { title: "NAME", path: "name", show: plain },
        Column { title: "DATE", path: "date", show: plain },
        Column { title: "MEMORY", path: "vm_state_size", show: size },
        Column { title: "CLOCK", path: "vm_clock", show: clock },
        Column { title: "DRIVES", path: "drives", show: names },
        Column { title: "MISSING", path: "missing", show: names },
    ],
    fields: FIELDS,
};
const MADE: Shape = Shape { list: false, columns: &[], fields: FIELDS };

/// What is asked of a VM's snapshots.
struct Task<'a> {
    context: &'a Context<'a>,
    vm: Vm,
    definition: Definition,
    /// Those of `--drive`; all where there is none.
    drives: Vec<&'a str>,
    state: State,
}

impl<'a> Task<'a> {
    fn new(context: &'a Context<'a>) -> Result<Task<'a>> {
        let vm = context.vm()?;
        let definition = context.definition(&vm)?;
        let life = life::look_at(&context.folders, &vm.id, &vm.name)?;
        if life.responding == Some(false) {
            return Err(silent(&life));
        }
        let drives = context.invocation.values(Flag::Drive).collect();
        Ok(Task { context, vm, definition, drives, state: life.state })
    }

    /// Whether QEMU has the disks.
    fn is_live(&self) -> Result<bool> {
        match self.state {
            State::Running | State::Paused => Ok(true),
            state if state.is_live() => {
                Err(Error::conflict(format!("it is {state}")).hint("try again in a moment"))
            }
            _ => Ok(false),
        }
    }

    /// The note of the snapshot that is made, held; one that is only rehearsed changes nothing.
    fn note(&self) -> Result<Note> {
        let folder = self.context.folders.vm(&self.vm.id);
        match self.is_rehearsal() {
            true => Note::look(&folder),
            false => Note::hold(&folder, self.context.deadline(LIMIT)),
        }
    }

    fn is_rehearsal(&self) -> bool {
        self.context.invocation.has(Flag::DryRun)
    }

    fn refuse_if_protected(&self) -> Result<()> {
        if !self.definition.protect {
            return Ok(());
        }
        Err(Error::conflict("it is protected")
            .hint(format!("\"maqet apply {} --protect=false\" takes that off", self.vm.name)))
    }
}

/// The reasons why something cannot be done; never none.
#[derive(Debug)]
struct Reasons(Vec<Error>);

impl From<Error> for Reasons {
    fn from(error: Error) -> Reasons {
        Reasons(vec![error])
    }
}

pub(super) fn ls(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, LIST)?;
    let vm = context.vm()?;
    let drives = || -> Result<Vec<Drive>> {
        let task = Task::new(context)?;
        if task.is_live()? { live::drives(&task) } else { offline::drives(&task) }
    };
    let drives = drives().map_err(|error| error.about("cannot list the snapshots of", &vm.name))?;
    for snapshot in gather(&drives) {
        output.object(&snapshot)?;
    }
    output.finish()?;
    Ok(0)
}

pub(super) fn create(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, MADE)?;
    let given = context.invocation.operands.get(1);
    let given = given.map(|name| SnapshotName::parse(name)).transpose()?;
    let name = given.unwrap_or_else(|| SnapshotName::at(Timestamp::now()));
    let vm = context.vm()?;
    let made = || -> Result<Option<Snapshot>, Reasons> {
        let task = Task::new(context)?;
        match task.is_live()? {
            true => live::create(&task, &name),
            false => offline::create(&task, &name),
        }
    };
    match made() {
        Ok(None) => context.note(&format!("would make the snapshot {name} of {}", vm.name)),
        Ok(Some(snapshot)) if output.wants_objects() => output.object(&snapshot)?,
        Ok(Some(snapshot)) => output.text(&format!("{}\n", snapshot.name))?,
        Err(Reasons(reasons)) => {
            let codes: Vec<u8> = reasons
                .into_iter()
                .map(|reason| context.tell("cannot make a snapshot of", &vm, reason))
                .collect();
            return Ok(shared_exit_code(codes));
        }
    }
    output.finish()?;
    Ok(0)
}

pub(super) fn load(context: &Context<'_>) -> Result<u8> {
    let mut output = context.changes()?;
    let vm = context.vm()?;
    let name = context.invocation.operands.get(1).map_or("", String::as_str);
    let loaded = || -> Result<State> {
        let task = Task::new(context)?;
        task.refuse_if_protected()?;
        let live = task.is_live()?;
        if live {
            live::load(&task, name)?
        } else {
            offline::load(&task, name)?
        }
        Ok(task.state)
    };
    let state = loaded().map_err(|error| error.about("cannot load a snapshot into", &vm.name))?;
    let done = !context.invocation.has(Flag::DryRun);
    if !done {
        context.note(&format!("would load the snapshot {name} into {}", vm.name));
    }
    context.say_change(&mut output, &vm, state, true)?;
    output.finish()?;
    Ok(0)
}

pub(super) fn rm(context: &Context<'_>) -> Result<u8> {
    let mut output = context.changes()?;
    let vm = context.vm()?;
    let mut names: Vec<&str> = Vec::new();
    for name in context.invocation.operands.iter().skip(1) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let removed = || -> Result<State> {
        let task = Task::new(context)?;
        task.refuse_if_protected()?;
        let live = task.is_live()?;
        if live {
            live::rm(&task, &names)?
        } else {
            offline::rm(&task, &names)?
        }
        if !task.is_rehearsal() {
            forget(&task, &names)?;
        }
        Ok(task.state)
    };
    let state = removed().map_err(|error| error.about("cannot remove a snapshot of", &vm.name))?;
    if context.invocation.has(Flag::DryRun) {
        context.note(&format!("would remove {} of {}", names.join(", "), vm.name));
    }
    context.say_change(&mut output, &vm, state, true)?;
    output.finish()?;
    Ok(0)
}

/// Each drive that is written to and cannot be snapshotted, by itself; and a VM without any that
/// can.
fn refuse_unfit(unfit: &[(String, String)], drives: &[Drive]) -> Result<(), Reasons> {
    let mut reasons: Vec<Error> = unfit
        .iter()
        .map(|(drive, why)| {
            let drive = quote(drive);
            Error::failed(format!("its drive {drive} can hold no snapshot: {why}"))
                .hint("--drive NAME takes only the drives that are named")
        })
        .collect();
    if drives.is_empty() {
        reasons.push(Error::failed("it has no drive that can hold a snapshot").hint(
            "snapshots lie in qcow2 images that are written to: \"maqet add\" makes such disks",
        ));
    }
    if reasons.is_empty() { Ok(()) } else { Err(Reasons(reasons)) }
}

/// What is to be done with a snapshot that has the name of one that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// It is whole: it goes when the new one is there.
    Whole,
    /// It is of fewer drives, or was never finished: it goes first.
    Part,
}

/// Whether a snapshot may be made: `all` are the VM's drives, `chosen` those that it is to be of.
fn before(
    task: &Task<'_>,
    note: &mut Note,
    name: &str,
    all: &[Drive],
    chosen: &[Drive],
) -> Result<Before> {
    let having: Vec<&Drive> = all.iter().filter(|drive| drive.has(name)).collect();
    if having.is_empty() {
        return Ok(Before::Nothing);
    }
    let is_chosen = |drive: &Drive| chosen.iter().any(|it| it.name == drive.name);
    let is_whole = chosen.iter().all(|drive| drive.has(name));
    if is_whole && note.is_of(name) {
        note.forget();
    }
    // What was cut short and is not whole has been promised to nobody.
    if !task.context.invocation.has(Flag::Replace) && !note.is_of(name) {
        return Err(Error::conflict(format!("there is a snapshot {} already", quote(name)))
            .hint("--replace puts the new one in its place"));
    }
    if let Some(other) = having.iter().find(|drive| !is_chosen(drive)) {
        let told = format!("the snapshot {} is of the drive {}, too", quote(name), other.name);
        return Err(Error::conflict(told).hint("remove it first, or choose another name"));
    }
    Ok(if is_whole { Before::Whole } else { Before::Part })
}

/// What was cut short is gone with the snapshot of its name.
fn forget(task: &Task<'_>, names: &[&str]) -> Result<()> {
    let is_noted = |note: &Note| names.iter().any(|name| note.is_of(name));
    if !is_noted(&Note::look(&task.context.folders.vm(&task.vm.id))?) {
        return Ok(());
    }
    let note = task.note()?;
    if is_noted(&note) { note.end() } else { Ok(()) }
}

/// A snapshot that is to be loaded must be there, and on all of these drives.
fn check_whole(name: &str, drives: &[Drive]) -> Result<()> {
    let (having, lacking): (Vec<&Drive>, Vec<&Drive>) = drives.iter().partition(|it| it.has(name));
    match (having.first(), lacking.first()) {
        (None, _) => Err(unknown(name)),
        (Some(_), None) => Ok(()),
        (Some(_), Some(lacking)) => {
            let has: Vec<String> =
                having.iter().map(|drive| format!("--drive {}", drive.name)).collect();
            let name = quote(name);
            Err(Error::conflict(format!(
                "the snapshot {name} is not of its drive {}",
                lacking.name
            ))
            .hint(format!(
                "of a stopped VM the drives that have it can be loaded alone: {}",
                has.join(" ")
            )))
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("it has no snapshot {}", quote(name)))
        .hint("\"maqet snapshot ls\" shows those that it has")
}

fn confirm_load(task: &Task<'_>, name: &str, what: &str) -> Result<()> {
    let vm = &task.vm.name;
    task.context.confirm(&format!(
        "load the snapshot {} into {vm}, and lose what its {what} now",
        quote(name)
    ))
}

/// The snapshot as it is after it was made.
fn made(name: &str, drives: &[Drive]) -> Result<Option<Snapshot>, Reasons> {
    let found = gather(drives).into_iter().find(|snapshot| snapshot.name == name);
    Ok(Some(found.ok_or_else(|| Error::failed("it is not there, though nothing failed"))?))
}

fn size(value: &Value) -> String {
    match value.as_u64() {
        None | Some(0) => "-".to_owned(),
        Some(bytes) => units::bytes(bytes),
    }
}

fn clock(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}s"))
}

fn names(value: &Value) -> String {
    let names: Vec<&str> =
        value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}
