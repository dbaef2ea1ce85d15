//! `disk resize`: an image of another size, and the disk of the QEMU that runs.

use serde::Serialize;
use serde_json::{Value, json};

use super::{named, plug};
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::commands::context::Context;
use crate::commands::stopped::Stopped;
use crate::commands::target::Target;
use crate::definition::types::{Disk, Format};
use crate::definition::units::{self, Bare};
use crate::error::{Error, Result};
use crate::qemu::argv;
use crate::qemu::image::{self, Header};
use crate::qemu::img::Img;
use crate::qemu::look::look;

const SHAPE: Shape =
    Shape { list: false, columns: &[], fields: &["name", "disk", "size", "changed"] };

#[derive(Debug, Serialize)]
struct Resized<'a> {
    name: &'a str,
    disk: &'a str,
    /// In bytes.
    size: u64,
    changed: bool,
}

pub(in crate::commands) fn resize(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let target = Target::of(context)?;
    let operands = &context.invocation.operands;
    let (name, wanted) = (operands.get(1), operands.get(2));
    let (name, wanted) = (name.map_or("", String::as_str), wanted.map_or("", String::as_str));
    let about = |error: Error| error.about("cannot resize a disk of", &target.vm.name);
    let definition = context.definition(&target.vm)?;
    let disk = named(&definition.storage, name).map_err(about)?;
    let (size, changed) = carry_out(context, &target, disk, wanted).map_err(about)?;
    if !changed {
        context.note(&format!("{name} has {} already", units::bytes(size)));
    }
    if output.wants_objects() {
        output.object(&Resized { name: &target.vm.name, disk: name, size, changed })?;
    }
    output.finish()?;
    Ok(0)
}

/// The size that the disk has then, and whether it had another.
fn carry_out(
    context: &Context<'_>,
    target: &Target,
    disk: &Disk,
    wanted: &str,
) -> Result<(u64, bool)> {
    if disk.readonly || !matches!(disk.format, Format::Qcow2 | Format::Raw) {
        return Err(Error::usage("a disk that is only read keeps its size"));
    }
    let is_running = target.is_running()?;
    let _stopped = match is_running {
        false => Some(Stopped::take(context, &target.vm)?),
        true => None,
    };
    let path = disk.path(context.folders.vm(&target.vm.id).path());
    let gone = || {
        Error::failed(format!("its image {} is not there", path.display()))
            .hint("the next start makes it, as large as the definition says")
    };
    let (header, _) = look(&path)?.ok_or_else(gone)?;
    image::check(disk, &path, &header)?;
    let now = match header {
        Header::Qcow2 { virtual_size, .. } if disk.format == Format::Qcow2 => virtual_size,
        _ => std::fs::metadata(&path).map_or(0, |found| found.len()),
    };
    let size = match wanted.strip_prefix('+') {
        Some(more) => now.saturating_add(units::size(more, Bare::Refused)?),
        None => units::size(wanted, Bare::Refused)?,
    };
    check(context, is_running, now, size)?;
    if context.invocation.has(Flag::DryRun) {
        let (name, new) = (&disk.name, units::bytes(size));
        context.note(&format!("{name} would have {new} instead of {}", units::bytes(now)));
        return Ok((size, size != now));
    }
    if size != now {
        match is_running {
            true => {
                let node = argv::node_name(disk.name.as_str());
                let arguments = json!({ "node-name": node, "size": size });
                plug::monitor(context, &target.vm).execute("block_resize", &arguments)?;
            }
            false => resize_image(disk, &path, size, size < now)?,
        }
    }
    remember(context, target, disk, size)?;
    Ok((size, size != now))
}

fn check(context: &Context<'_>, is_running: bool, now: u64, size: u64) -> Result<()> {
    if !size.is_multiple_of(512) {
        return Err(Error::usage("the size of a disk is a whole number of 512 bytes"));
    }
    if size >= now {
        return Ok(());
    }
    if is_running {
        return Err(Error::conflict("a disk can only grow while its VM runs").hint("stop it first"));
    }
    match context.invocation.has(Flag::Shrink) {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "that is less than the {} that it has: what lies behind is lost",
            units::bytes(now)
        ))
        .hint("shrink the guest's file system first, and then add --shrink")),
    }
}

fn resize_image(disk: &Disk, path: &std::path::Path, size: u64, shrink: bool) -> Result<()> {
    let shrink = shrink.then_some("--shrink");
    let words = ["resize", "-q", "-f", disk.format.as_str()].into_iter().chain(shrink);
    Img::new(words).word(path).word(size.to_string()).run()
}

/// The definition's own size, where it has one, follows.
fn remember(context: &Context<'_>, target: &Target, disk: &Disk, size: u64) -> Result<()> {
    if disk.size.is_none() || disk.size == Some(size) {
        return Ok(());
    }
    let mut definition = target.stored.clone();
    if let Some(Value::Array(items)) = definition.get_mut("storage") {
        let item = items.iter_mut().find(|item| item["name"] == *disk.name.as_str());
        if let Some(item) = item {
            item["size"] = units::exact(size).into();
        }
    }
    let new = Value::Object(definition).to_string();
    context.store_to_write()?.update_definition(&target.vm.id, &target.text, &new)
}
