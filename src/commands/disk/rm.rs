//! `disk rm`: a disk less for a VM, and for the QEMU that runs. The image stays unless its deletion is
//! asked for.
//!
//! A guest that runs lets the disk go first; then the definition forgets it, and the image goes last:
//! a kill in between leaves a file that is noted as the VM's own, which `doctor` names.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{named, plug};
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::commands::context::Context;
use crate::commands::rm::{is_among, others, refuse_if_protected, say_kept};
use crate::commands::stopped::Stopped;
use crate::commands::target::Target;
use crate::definition::types::Disk;
use crate::error::{Error, Kind, Result};

const SHAPE: Shape = Shape { list: false, columns: &[], fields: &["name", "disk", "changed"] };

#[derive(Debug, Serialize)]
struct Removed<'a> {
    name: &'a str,
    disk: &'a str,
    changed: bool,
}

pub(in crate::commands) fn rm(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let target = Target::of(context)?;
    let name = context.invocation.operands.get(1).map_or("", String::as_str);
    let about = |error: Error| error.about("cannot remove a disk of", &target.vm.name);
    refuse_if_protected(context, &target.vm).map_err(about)?;
    let definition = context.definition(&target.vm)?;
    let disk = named(&definition.storage, name).map_err(about)?;
    if context.invocation.has(Flag::DryRun) {
        context.note(&format!("{}: would lose the disk {name}", target.vm.name));
        return Ok(0);
    }
    if context.invocation.has(Flag::DeleteStorage) {
        context.confirm(&format!("delete the image of the disk {name}"))?;
    }
    carry_out(context, &target, disk).map_err(about)?;
    if output.wants_objects() {
        output.object(&Removed { name: &target.vm.name, disk: name, changed: true })?;
    }
    output.finish()?;
    Ok(0)
}

fn carry_out(context: &Context<'_>, target: &Target, disk: &Disk) -> Result<()> {
    let is_running = target.is_running()?;
    let is_live = context.invocation.has(Flag::Live);
    if is_live && !is_running {
        return Err(Error::new(Kind::NotRunning, "it is not running"));
    }
    let _stopped = match is_running {
        false => Some(Stopped::take(context, &target.vm)?),
        true => None,
    };
    if is_running {
        plug::unplug(context, &target.vm, disk.name.as_str())?;
    }
    if is_live {
        return Ok(());
    }
    let mut definition = target.stored.clone();
    if let Some(Value::Array(items)) = definition.get_mut("storage") {
        items.retain(|item| item["name"] != *disk.name.as_str());
    }
    let new = Value::Object(definition).to_string();
    context.store_to_write()?.update_definition(&target.vm.id, &target.text, &new)?;
    let path = disk.path(context.folders.vm(&target.vm.id).path());
    if context.invocation.has(Flag::DeleteStorage) {
        delete(context, target, &path)
    } else {
        if path.exists() {
            say_kept(context, &target.vm, &path);
        }
        Ok(())
    }
}

/// Deletes an image that maqet made, unless another VM uses or stands on it.
fn delete(context: &Context<'_>, target: &Target, path: &Path) -> Result<()> {
    let vm = &target.vm;
    let mut store = context.store_to_write()?;
    let noted = path.to_string_lossy();
    if !store.files(&vm.id)?.iter().any(|file| *file.path == *noted) {
        context.note(&format!("{}: kept {}: maqet did not make it", vm.name, path.display()));
        return Ok(());
    }
    let others = others(context, vm, &store)?;
    if let Some((user, _)) = others.iter().find(|(_, used)| is_among(path, used)) {
        context.note(&format!("{}: kept {}: {user} uses it", vm.name, path.display()));
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(format_args!("delete {}", path.display()), &error));
        }
        _ => {}
    }
    store.forget_file(&vm.id, &noted)
}
