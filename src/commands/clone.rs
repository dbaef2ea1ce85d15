//! `clone`: a new VM that is a copy of a stopped one, its disks with it, or, from a template, with
//! disks that stand on the template's.
//!
//! What the new definition is to be is worked out first, by `definition::copied`; then the disks are
//! copied under both locks of the source, and the row is written last.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::add::{SHAPE, say_made};
use super::context::{Context, Vm, parse_stored};
use super::newcomer::{Newcomer, data_bytes, refuse_if_taken};
use super::own_disks::{Own, own_disks, stored_now};
use super::sources;
use super::stopped::{Stopped, running};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::table::Flag;
use crate::control::life;
use crate::definition::copied::{self, Fate};
use crate::definition::merge::onto;
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Disk, Format};
use crate::definition::units;
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::paths::VmFolder;
use crate::qemu::firmware;
use crate::qemu::image::{self, Header};
use crate::qemu::img::Img;
use crate::wire::status::State;

/// A disk image to copy, and what it stands on where that has to be written into the copy.
#[derive(Debug)]
struct Job {
    from: PathBuf,
    to: PathBuf,
    rebase: Option<(PathBuf, &'static str)>,
}

/// The new VM, with nothing made yet.
#[derive(Debug)]
struct Plan {
    definition: String,
    jobs: Vec<Job>,
    notes: Vec<String>,
}

pub(super) fn clone(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let output = Output::new(invocation, SHAPE)?;
    let source = context.vm()?;
    let new = invocation.operands.get(1).map_or("", String::as_str);
    let name = VmName::parse(new)?;
    refuse_if_taken(context, &name)?;
    let id = VmId::random()?;
    let about = |error: Error| error.about("cannot clone", &source.name);
    if invocation.has(Flag::DryRun) {
        let plan = rehearsed(context, &source, &id, &name).map_err(about)?;
        let bytes = units::bytes(data_bytes(plan.jobs.iter().map(|job| &job.from)));
        plan.notes.iter().for_each(|note| context.note(note));
        context.note(&format!("would clone {} as {name}, with {bytes} of disks", source.name));
        return Ok(0);
    }
    let notes = cloned(context, &source, &id, &name).map_err(about)?;
    notes.iter().for_each(|note| context.note(note));
    say_made(output, &id.to_string(), name.as_str(), State::Stopped)?;
    Ok(0)
}

fn rehearsed(context: &Context<'_>, source: &Vm, id: &VmId, name: &VmName) -> Result<Plan> {
    if life::look_at(&context.folders, &source.id, &source.name)?.state.is_live() {
        return Err(running(&source.name));
    }
    plan(context, source, id, name)
}

fn cloned(context: &Context<'_>, source: &Vm, id: &VmId, name: &VmName) -> Result<Vec<String>> {
    // Before anything is made a signal may end us as it does anybody, also while we wait.
    let _stopped = Stopped::take(context, source)?;
    let interrupt = Interrupt::heed()?;
    let source = stored_now(context, source)?;
    let plan = plan(context, &source, id, name)?;
    let mut made = Newcomer::make(context, id)?;
    let total = data_bytes(plan.jobs.iter().map(|job| &job.from));
    let what = format!("copying {}", source.name);
    let mut progress = Progress::new(context.invocation.quiet(), what, Some(total));
    for job in &plan.jobs {
        made.copy(&job.from, &job.to, &mut progress, &interrupt)?;
        if let Some((backing, format)) = &job.rebase {
            let words = ["rebase", "-u", "-f", "qcow2", "-F", format, "-b"];
            Img::new(words).word(backing).word(&job.to).run()?;
        }
    }
    drop(progress);
    interrupt.check()?;
    made.store(context, name, &plan.definition)?;
    Ok(plan.notes)
}

fn plan(context: &Context<'_>, source: &Vm, id: &VmId, name: &VmName) -> Result<Plan> {
    let unreadable = || Error::failed("its definition cannot be read");
    let stored = parse_stored(source.definition.as_deref().ok_or_else(unreadable)?)?;
    let typed = context.definition(source)?;
    let (from, to) = (context.folders.vm(&source.id), context.folders.vm(&id.to_string()));
    let linked = context.invocation.has(Flag::Linked);
    if linked {
        refuse_unless_template(context, source)?;
    }
    let own = own_disks(&typed, &from)?;
    let mut base = stored;
    let without_addresses = copied::without_addresses(&mut base);
    base.remove("template");
    for own in &own {
        copied::move_disk(&mut base, own.disk.name.as_str(), &fate(own, &to, linked)?);
    }
    let whole: Map<String, Value> = onto(base, &sources::one(&context.invocation.sources)?)?;
    let definition = sources::checked(context, whole, id, name)?;
    let new = Definition::read(&context.effective(&definition)?)?;
    let notes = without_addresses
        .into_iter()
        .map(|card| format!("{name}: the card {card} gets a hardware address of its own"))
        .collect();
    let mut jobs = if linked { Vec::new() } else { jobs(&own, &new, &to)? };
    // Each VM has variables of its own, one with linked disks, too.
    let variables = firmware::variables(&typed, &from)?;
    jobs.extend(variables.filter(|_| new.firmware.has_variables()).map(|from| Job {
        from,
        to: to.variables(),
        rebase: None,
    }));
    Ok(Plan { definition, jobs, notes })
}

fn refuse_unless_template(context: &Context<'_>, source: &Vm) -> Result<()> {
    let effective = context.effective(source.definition.as_deref().unwrap_or("{}"))?;
    match effective.get("template") {
        Some(Value::Bool(true)) => Ok(()),
        _ => Err(Error::conflict(
            "it is no template, and a later write to its disks would ruin \
                                  every VM that stands on them",
        )
        .hint(format!(
            "without --linked its disks are copied; or make it one: maqet apply {} \
                       --set template=true",
            source.name
        ))),
    }
}

fn fate(own: &Own<'_>, to: &VmFolder, linked: bool) -> Result<Fate> {
    let (disk, path) = (own.disk, &own.path);
    let Some(header) = &own.header else { return Ok(Fate::Unmade) };
    if linked {
        image::check_backing(disk.format, path, header)?;
        return Ok(Fate::Linked(path.clone(), disk.format.as_str()));
    }
    Ok(Fate::Copied(to.disks().join(format!("{}.{}", disk.name, disk.format.as_str()))))
}

/// What is to be copied: the source's own images, where the new definition still has the disk and
/// has it in the new VM's folder.
fn jobs(own: &[Own<'_>], new: &Definition, to: &VmFolder) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for own in own.iter().filter(|own| own.header.is_some()) {
        let same = |disk: &&Disk| disk.name == own.disk.name;
        let Some(after) = new.storage.iter().find(same) else { continue };
        let path = after.path(to.path());
        if !path.starts_with(to.path()) {
            continue;
        }
        if after.format != own.disk.format {
            let (name, format) = (quote(own.disk.name.as_str()), own.disk.format.as_str());
            return Err(Error::usage(format!("the copy of the disk {name} is of type {format}"))
                .hint("leave its type as it is"));
        }
        // A name that is relative to the image means another file where the copy lies.
        let rebase = match (&own.header, &after.backing, own.disk.format) {
            (
                Some(Header::Qcow2 { backing_file: Some(named), .. }),
                Some(backing),
                Format::Qcow2,
            ) if !named.starts_with('/') => Some((backing.file.clone(), backing.format.as_str())),
            _ => None,
        };
        jobs.push(Job { from: own.path.clone(), to: path, rebase });
    }
    Ok(jobs)
}
