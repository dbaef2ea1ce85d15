//! `disk add`: one more disk for a VM, and for the QEMU that runs.
//!
//! The definition comes first, with the note that the image is maqet's own: a kill in between leaves a
//! VM whose next start makes the image, and no file that nobody knows. The same command again gives a
//! VM that runs what it lacks.

use std::os::fd::AsFd;
use std::path::PathBuf;

use serde::Serialize;

use super::{KIND, named, plug};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::progress::Progress;
use crate::cli::table::Flag;
use crate::commands::context::{Context, Vm};
use crate::commands::sources;
use crate::commands::stopped::Stopped;
use crate::commands::target::Target;
use crate::definition::merge::{Part, onto};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Disk};
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::qemu::copy::Conversion;
use crate::qemu::images::{self, Images};

const SHAPE: Shape = Shape {
    list: false,
    columns: &[Column { title: "DISK", path: "disk", show: plain }],
    fields: &["name", "disk", "file", "changed"],
};

#[derive(Debug, Serialize)]
struct Added<'a> {
    name: &'a str,
    disk: &'a str,
    file: String,
    changed: bool,
}

/// What the definition is to be, and the disk in it.
#[derive(Debug)]
struct Plan {
    disk: Disk,
    path: PathBuf,
    text: String,
    definition: Definition,
    is_new: bool,
    /// The definition has it already, and the VM that runs has not.
    is_missing: bool,
    /// The image is to be made.
    is_made: bool,
}

pub(in crate::commands) fn add(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let target = Target::of(context)?;
    let about = |error: Error| error.about("cannot add a disk to", &target.vm.name);
    let plan = plan(context, &target).map_err(about)?;
    let name = plan.disk.name.as_str();
    if context.invocation.has(Flag::DryRun) {
        context.note(&match plan.is_new || plan.is_missing {
            true => format!("{}: would get the disk {name}", target.vm.name),
            false => format!("{}: has the disk {name} already", target.vm.name),
        });
        return Ok(0);
    }
    if plan.is_new {
        carry_out(context, &target, &plan).map_err(about)?;
    } else if plan.is_missing {
        let vm = &target.vm;
        let images = prepare(context, vm, &plan).map_err(about)?;
        plug::plug(context, vm, &plan.definition, &images, &plan.disk).map_err(about)?;
    } else {
        context.note(&format!("{}: has the disk {name} already", target.vm.name));
    }
    if output.wants_objects() {
        let file = plan.path.display().to_string();
        let name = &target.vm.name;
        let disk = plan.disk.name.as_str();
        output.object(&Added { name, disk, file, changed: plan.is_new || plan.is_missing })?;
    } else {
        output.text(&format!("{name}\n"))?;
    }
    output.finish()?;
    Ok(0)
}

fn plan(context: &Context<'_>, target: &Target) -> Result<Plan> {
    let spec = context.invocation.operands.get(1).map_or("", String::as_str);
    let (name, item) = sources::disk(spec, target.items("storage"))?;
    let known = target.items("storage").iter().any(|item| item["name"] == *name);
    let (id, vm_name) = (VmId::parse(&target.vm.id)?, VmName::parse(&target.vm.name)?);
    let whole = onto(target.stored.clone(), &[Part::Object(item)])?;
    let text = sources::checked(context, whole, &id, &vm_name)?;
    let is_new = crate::commands::context::parse_stored(&text)? != target.stored;
    if known && is_new {
        return Err(Error::conflict(format!("it has another disk {}", quote(&name)))
            .hint("choose another name, or change that one with \"maqet apply\""));
    }
    let definition = Definition::read(&context.effective(&text)?)?;
    let disk = named(&definition.storage, &name)?.clone();
    let path = disk.path(context.folders.vm(&target.vm.id).path());
    let is_made = is_new && disk.is_made_when_absent() && !path.exists();
    if is_new && disk.file.is_none() && path.exists() {
        return Err(Error::conflict(format!("there is a file {} already", path.display()))
            .hint(format!("to use it, add file={}", path.display())));
    }
    let is_missing =
        !is_new && target.is_running()? && !plug::is_plugged(context, &target.vm, &disk)?;
    Ok(Plan { disk, path, text, definition, is_new, is_missing, is_made })
}

fn carry_out(context: &Context<'_>, target: &Target, plan: &Plan) -> Result<()> {
    let is_running = target.is_running()?;
    let is_live = context.invocation.has(Flag::Live);
    if is_live && !is_running {
        return Err(Error::new(crate::error::Kind::NotRunning, "it is not running")
            .hint("without --live the disk is there from the next start on"));
    }
    let _stopped = match is_running {
        false => Some(Stopped::take(context, &target.vm)?),
        true => None,
    };
    store(context, target, plan, is_live)?;
    let mut is_ours = false;
    let done = prepare(context, &target.vm, plan).and_then(|images| {
        is_ours = images.created.contains(&plan.path);
        match is_running {
            true => plug::plug(context, &target.vm, &plan.definition, &images, &plan.disk),
            false => Ok(()),
        }
    });
    match done {
        Ok(()) if plan.is_made && !is_ours => forget(context, target, plan),
        Ok(()) => Ok(()),
        Err(error) => Err(match take_back(context, target, plan, is_live, is_ours) {
            Ok(()) => error,
            Err(worse) => {
                let both = format!("{}; and its definition keeps it", error.message);
                error.worded(format!("{both}: {}", worse.message))
            }
        }),
    }
}

/// Stores the definition, unless only the running VM is meant, and whose the image is.
fn store(context: &Context<'_>, target: &Target, plan: &Plan, is_live: bool) -> Result<()> {
    let (id, path) = (&target.vm.id, plan.path.to_string_lossy());
    let new = if is_live { &target.text } else { &plan.text };
    let mut store = context.store_to_write()?;
    match plan.is_made {
        true => store.update_with_file(id, (&target.text, new), (&path, KIND)),
        false => store.update_definition(id, &target.text, new),
    }
}

/// Looks at the image, or makes it.
fn prepare(context: &Context<'_>, vm: &Vm, plan: &Plan) -> Result<Images> {
    let folder = context.folders.vm(&vm.id);
    let disks = std::slice::from_ref(&plan.disk);
    // What is killed in the middle of a copy would leave a part of it until the next start.
    let interrupt = plan.disk.from.is_some().then(Interrupt::heed).transpose()?;
    let quiet = context.invocation.quiet();
    images::prepare(disks, &vm.id, &folder, &mut |Conversion { img, scale }| {
        let what = format!("copying {}", plan.disk.name);
        let mut progress = Progress::new(quiet, what, Some(scale.total));
        let mut reached = 0;
        let mut heard = |printed: &[u8]| {
            reached = scale.done(printed).unwrap_or(reached);
            progress.reach(reached);
            Ok(())
        };
        match &interrupt {
            Some(interrupt) => {
                let copied = img.interrupted_by(interrupt.as_fd()).hear(&mut heard);
                interrupt.check().and(copied)
            }
            None => img.hear(&mut heard),
        }
    })
}

/// Makes everything what it was. Only an image that was made here, `is_ours`, is deleted: where that
/// failed, there may be somebody else's by now.
fn take_back(
    context: &Context<'_>,
    target: &Target,
    plan: &Plan,
    is_live: bool,
    is_ours: bool,
) -> Result<()> {
    if is_ours {
        let _ = std::fs::remove_file(&plan.path);
    }
    if !is_live {
        let (id, new, old) = (&target.vm.id, &plan.text, &target.text);
        context.store_to_write()?.update_definition(id, new, old)?;
    }
    match plan.is_made {
        true => forget(context, target, plan),
        false => Ok(()),
    }
}

/// Takes back the note that the image is maqet's own.
fn forget(context: &Context<'_>, target: &Target, plan: &Plan) -> Result<()> {
    let path = plan.path.to_string_lossy();
    context.store_to_write()?.forget_file(&target.vm.id, &path)
}
