//! `import`: a new VM of an archive, all of it or nothing.
//!
//! An archive may come from anybody. Its definition is judged before any image is written, an image
//! only where the definition has a disk for it, and each is looked at as at a start before the row
//! is written.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::IsTerminal;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::add::{SHAPE, say_made, take_name};
use super::context::Context;
use super::export::{DEFINITION, DISKS};
use super::newcomer::{Newcomer, refuse_if_taken};
use super::sources;
use super::unpack::{Archive, Member};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::table::Flag;
use crate::definition::merge::{absolute, merge};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::Definition;
use crate::definition::{json, trust};
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::paths::{VARIABLES, VmFolder};
use crate::qemu::firmware;
use crate::qemu::image;
use crate::qemu::look::look;
use crate::wire::status::State;

pub(super) fn import(context: &Context<'_>) -> Result<u8> {
    let output = Output::new(context.invocation, SHAPE)?;
    let from = context.invocation.operands.first().map_or("", String::as_str);
    let shown = if from == "-" { "standard input".to_owned() } else { quote(from) };
    let (id, name) = imported(context, from)
        .map_err(|error| error.said_of(format_args!("cannot import {shown}")))?;
    say_made(output, &id.to_string(), name.as_str(), State::Stopped)?;
    Ok(0)
}

fn imported(context: &Context<'_>, from: &str) -> Result<(VmId, VmName)> {
    let interrupt = Interrupt::heed()?;
    let file = match from {
        "-" if std::io::stdin().is_terminal() => {
            return Err(Error::usage("no archive comes from a terminal").hint("name a file"));
        }
        "-" => None,
        path => Some(File::open(path).map_err(|error| Error::io("open it", &error))?),
    };
    // A pipe has no length.
    let total = file.as_ref().and_then(|file| file.metadata().ok()).filter(Metadata::is_file);
    let total = total.map(|found| found.len());
    let progress = Progress::new(context.invocation.quiet(), "unpacking", total);
    let mut archive = Archive::new(file, &interrupt, progress);
    let mut definition = definition(&mut archive)?;
    let name = take_name(&mut definition, context.invocation.operands.get(1).map(String::as_str))?;
    refuse_if_taken(context, &name)?;
    if !context.invocation.has(Flag::Trust) {
        refuse_reaching(&definition)?;
    }
    let id = VmId::random()?;
    let mut made = Newcomer::make(context, &id)?;
    let folder = context.folders.vm(&id.to_string());
    absolute(&mut definition, folder.path())?;
    // A file of the archive is not there yet: what it is, only the definition says.
    let stored = sources::checked(context, definition, &id, &name)?;
    let typed = Definition::read(&context.effective(&stored)?)?;
    let mut expected = expected(&typed, &folder)?;
    while let Some(member) = archive.next()? {
        if member.is_folder {
            refuse_folder(&member)?;
            continue;
        }
        let path = expected.remove(&member.name).ok_or_else(|| unexpected(&member))?;
        let file = made.create(&path)?;
        archive.unpack(&member, &file)?;
    }
    judge(&typed, &folder)?;
    drop(archive);
    interrupt.check()?;
    made.store(context, &name, &stored)?;
    Ok((id, name))
}

/// The definition, which comes first: only so are the images never written for nothing.
fn definition(archive: &mut Archive<'_>) -> Result<Map<String, Value>> {
    let no_export = |what: String| {
        Error::failed(what).hint("an archive that \"maqet export\" makes begins with it")
    };
    loop {
        let member =
            archive.next()?.ok_or_else(|| no_export(format!("there is no {DEFINITION} in it")))?;
        if member.is_folder {
            refuse_folder(&member)?;
            continue;
        }
        if member.name != DEFINITION {
            let name = quote(&member.name);
            return Err(no_export(format!("it begins with {name}, not with {DEFINITION}")));
        }
        let bytes = archive.bytes(&member, json::LARGEST as u64)?;
        let mut all = json::documents(&bytes, DEFINITION)?;
        let (Some(document), true) = (all.pop(), all.is_empty()) else {
            return Err(Error::usage(format!("{DEFINITION} holds several definitions")));
        };
        // As any source: null takes a default back, and what has no name gets one by its place.
        let mut definition = Map::new();
        merge(&mut definition, document);
        return Ok(definition);
    }
}

fn refuse_reaching(definition: &Map<String, Value>) -> Result<()> {
    let reached = trust::reached(definition);
    if reached.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = reached.iter().map(|one| quote(one)).collect();
    Err(Error::usage(format!("its definition reaches out of it: {}", all.join(", ")))
        .hint("if you trust it, say --trust"))
}

/// The members that may come, and where each belongs: the images in the VM's folder.
fn expected(definition: &Definition, folder: &VmFolder) -> Result<BTreeMap<String, PathBuf>> {
    let mut all = BTreeMap::new();
    for disk in &definition.storage {
        let path = disk.path(folder.path());
        let Ok(below) = path.strip_prefix(folder.path()) else { continue };
        let file = path.file_name().and_then(|name| name.to_str());
        let (Some(file), true) = (file, path.parent() == Some(&folder.disks())) else {
            return Err(Error::usage(format!(
                "its disk {} does not lie in {DISKS}: {}",
                quote(disk.name.as_str()),
                below.display()
            )));
        };
        let member = format!("{DISKS}/{file}");
        if all.insert(member.clone(), path).is_some() {
            return Err(Error::usage(format!("two of its disks are in {}", quote(&member))));
        }
    }
    if definition.firmware.has_variables() {
        all.insert(VARIABLES.to_owned(), folder.variables());
    }
    Ok(all)
}

fn refuse_folder(member: &Member) -> Result<()> {
    match member.name.trim_end_matches('/') {
        "" | "." | DISKS => Ok(()),
        _ => Err(unexpected(member)),
    }
}

fn unexpected(member: &Member) -> Error {
    let name = quote(&member.name);
    Error::failed(format!("{name} in it belongs to no disk of the definition, or comes twice"))
}

/// What a start would refuse in the images.
fn judge(definition: &Definition, folder: &VmFolder) -> Result<()> {
    firmware::variables(definition, folder)?;
    for disk in &definition.storage {
        let path = disk.path(folder.path());
        let is_inside = path.starts_with(folder.path());
        match look(&path)? {
            Some((header, _)) => image::check(disk, &path, &header)?,
            None if disk.is_made_when_absent() || !is_inside => {}
            None => {
                let name = quote(disk.name.as_str());
                return Err(Error::failed(format!("the image of the disk {name} is not in it")));
            }
        }
    }
    Ok(())
}
