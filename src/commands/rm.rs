//! `rm`: removes VMs, and tells what it leaves.
//!
//! Both locks are held while a VM is removed, and its lock file goes last: so no start ever meets
//! half a VM. The database's row goes just before: what a crash leaves in between is a whole VM or
//! an empty folder.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::context::{Context, Vm};
use super::doctor::{entries, is_unfinished};
use super::power::stop_all;
use super::rehearsal::rehearse;
use super::stopped::{self, Stopped};
use crate::cli::table::Flag;
use crate::control::life;
use crate::definition::types::{Definition, Disk, Firmware};
use crate::definition::units;
use crate::error::{Error, Kind, Result, quote};
use crate::paths::{Log, VmFolder, rotated};
use crate::store::Store;
use crate::wire::message::{Manner, StopCall};
use crate::wire::status::State;

pub(super) fn rm(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = context.changes()?;
    let vms = match known(context) {
        Ok(vms) => vms,
        Err(error) if error.kind == Kind::NotFound && invocation.has(Flag::IfExists) => {
            context.note(&error.message);
            vec![]
        }
        Err(error) => return Err(error),
    };
    if invocation.has(Flag::DryRun) {
        let code = rehearse(context, &mut output, "remove", &vms, |life| {
            let is_live = life.state.is_live() && !invocation.has(Flag::Force);
            let vm = vms.iter().find(|vm| vm.id == life.id);
            vm.map_or(Ok(()), |vm| refuse_if_protected(context, vm))?;
            if is_live { Err(running()) } else { Ok(Some(State::Stopped)) }
        })?;
        return context.finish(output, [code]);
    }
    let delete = invocation.has(Flag::DeleteStorage);
    if !vms.is_empty() && (delete || invocation.has(Flag::All)) {
        let names: Vec<&str> = vms.iter().map(|vm| vm.name.as_str()).collect();
        let what = if delete { " and the disk images that maqet made for them" } else { "" };
        context.confirm(&format!("remove {}{what}", names.join(", ")))?;
    }
    let mut codes = Vec::new();
    for vm in &vms {
        codes.push(match remove(context, vm) {
            Ok(()) => {
                context.say_change(&mut output, vm, State::Stopped, true)?;
                0
            }
            Err(error) => context.tell("cannot remove", vm, error),
        });
    }
    context.finish(output, codes)
}

/// The VMs that are named. With --if-exists those of them that exist.
fn known(context: &Context<'_>) -> Result<Vec<Vm>> {
    if !context.invocation.has(Flag::IfExists) {
        return context.vms();
    }
    let mut vms: Vec<Vm> = Vec::new();
    if context.invocation.operands.is_empty() {
        return context.vms();
    }
    for word in &context.invocation.operands {
        match context.vms_named(std::slice::from_ref(word)) {
            Ok(found) => vms.extend(found),
            Err(error) if error.kind == Kind::NotFound => context.note(&error.message),
            Err(error) => return Err(error),
        }
    }
    Ok(vms)
}

pub(super) fn refuse_if_protected(context: &Context<'_>, vm: &Vm) -> Result<()> {
    match context.definition(vm) {
        Ok(definition) if definition.protect => Err(Error::conflict("it is protected")
            .hint(format!("\"maqet apply {} --protect=false\" takes that off", vm.name))),
        // A definition that cannot be read must not keep a VM from being removed.
        _ => Ok(()),
    }
}

fn running() -> Error {
    Error::conflict("it is running").hint("stop it first, or let --force end it")
}

fn remove(context: &Context<'_>, vm: &Vm) -> Result<()> {
    refuse_if_protected(context, vm)?;
    let definition = context.definition(vm).ok();
    if context.invocation.has(Flag::Force) {
        let call = StopCall { manner: Manner::Force, ..StopCall::default() };
        for stopped in stop_all(context, std::slice::from_ref(vm), &call) {
            stopped?;
        }
    }
    let folder = context.folders.vm(&vm.id);
    // Without a lock it is what an rm that was cut short has left, or a folder that somebody removed.
    let _stopped = Stopped::take_if_there(context, vm)
        .map_err(|error| if error == stopped::running(&vm.name) { running() } else { error })?;
    let mut store = context.store_to_write()?;
    let disks = Disks::of(vm, definition.as_ref(), &folder, &store)?;
    if context.invocation.has(Flag::DeleteStorage) {
        disks.delete(context, vm, &store)?;
    } else {
        for path in disks.all() {
            say_kept(context, vm, path);
        }
    }
    for file in Log::ALL.map(|log| folder.log(log)) {
        let _ = std::fs::remove_file(rotated(&file));
        let _ = std::fs::remove_file(file);
    }
    folder.pictures().for_each(|path| drop(std::fs::remove_file(path)));
    for lines in [folder.runs(), folder.events()] {
        let _ = std::fs::remove_file(lines.with_extension("ndjson.new"));
        let _ = std::fs::remove_file(lines);
    }
    let _ = std::fs::remove_file(folder.unfinished_snapshot());
    let _ = std::fs::remove_file(folder.guard());
    match store.remove(&vm.id) {
        Err(error) if error.kind != Kind::NotFound => return Err(error),
        _ => {}
    }
    let _ = std::fs::remove_file(folder.lock());
    let _ = std::fs::remove_dir(folder.disks());
    let _ = std::fs::remove_dir(folder.path());
    Ok(())
}

/// The images of a VM: those that maqet made, and those that were there before.
#[derive(Debug)]
struct Disks {
    made: BTreeSet<PathBuf>,
    given: BTreeSet<PathBuf>,
}

impl Disks {
    fn of(
        vm: &Vm,
        definition: Option<&Definition>,
        folder: &VmFolder,
        store: &Store,
    ) -> Result<Disks> {
        let mut made: BTreeSet<PathBuf> = store
            .files(&vm.id)
            .unwrap_or_default()
            .into_iter()
            .map(|file| file.path.into())
            .collect();
        let runs = life::all_runs(folder);
        made.extend(runs.into_iter().flat_map(|run| run.created).map(PathBuf::from));
        let disks = definition.map(|definition| definition.storage.as_slice()).unwrap_or_default();
        let named = |disk: &Disk| disk.path(folder.path());
        // A start that was cut short has noted nothing yet: what bears the name that it would have
        // given, in the VM's own folder, is ours. Anything else there somebody has put there.
        let is_named_so = |disk: &&Disk| disk.file.is_none() && disk.is_made_when_absent();
        let makes: BTreeSet<PathBuf> = disks.iter().filter(is_named_so).map(named).collect();
        let mut given: BTreeSet<PathBuf> = disks.iter().map(named).collect();
        made.insert(folder.variables());
        made.extend(entries(folder.path()).filter(|path| is_unfinished(path)));
        for path in entries(&folder.disks()) {
            let ours = is_unfinished(&path) || makes.contains(&path);
            if ours { &mut made } else { &mut given }.insert(path);
        }
        made.retain(|path| path.exists());
        given.retain(|path| path.exists() && !made.contains(path));
        Ok(Disks { made, given })
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.made.iter().chain(&self.given)
    }

    /// Deletes what maqet made, but for what another VM uses or stands on.
    fn delete(&self, context: &Context<'_>, vm: &Vm, store: &Store) -> Result<()> {
        let others = others(context, vm, store)?;
        for path in &self.made {
            if let Some((name, _)) = others.iter().find(|(_, used)| is_among(path, used)) {
                context.note(&format!("{}: kept {}: {name} uses it", vm.name, path.display()));
                continue;
            }
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format_args!("delete {}", path.display()), &error));
                }
                _ => {}
            }
        }
        for path in &self.given {
            say_kept(context, vm, path);
        }
        Ok(())
    }
}

/// The images that the other VMs use, stand on or are copied from, by the VM's name.
///
/// # Errors
/// `Kind::Conflict` where one of their definitions cannot be read.
pub(super) fn others(
    context: &Context<'_>,
    vm: &Vm,
    store: &Store,
) -> Result<Vec<(String, Vec<PathBuf>)>> {
    let mut others = Vec::new();
    for row in store.all()?.into_iter().filter(|row| row.id != vm.id) {
        let folder = context.folders.vm(&row.id);
        let used = context.effective(&row.definition).and_then(|map| used(&folder, &map));
        let used = used.map_err(|error| {
            let name = quote(&row.name);
            Error::conflict(format!("what {name} uses cannot be known: {}", error.message))
                .hint("without --delete-storage the images are kept")
        })?;
        others.push((row.name, used));
    }
    Ok(others)
}

/// The images that a definition names: those of its disks, what they stand on, of what they are copies,
/// and those of its firmware.
fn used(folder: &VmFolder, definition: &Map<String, Value>) -> Result<Vec<PathBuf>> {
    let Definition { storage, firmware, .. } = Definition::read(definition)?;
    let images = storage.into_iter().flat_map(|disk| {
        let image = disk.path(folder.path());
        let backing = disk.backing.map(|backing| backing.file);
        std::iter::once(image).chain(backing).chain(disk.from)
    });
    let files = match firmware {
        Firmware::Files { code, vars } => vec![code, vars],
        Firmware::Bios | Firmware::Uefi => vec![],
    };
    Ok(images.chain(files).collect())
}

/// Whether one of these paths leads to the file, by whatever links and whatever name.
pub(super) fn is_among(file: &Path, paths: &[PathBuf]) -> bool {
    let identity =
        |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let sought = identity(file);
    paths.iter().any(|path| path == file || (sought.is_some() && identity(path) == sought))
}

pub(super) fn say_kept(context: &Context<'_>, vm: &Vm, path: &Path) {
    let size = std::fs::metadata(path).map_or(0, |found| found.len());
    let (path, size) = (path.display(), units::bytes(size));
    context.note(&format!("{}: kept {path} ({size})", vm.name));
}
