//! `run --rm`: a VM that is stored nowhere. Its folder and its locks lie in the runtime folder, and
//! what its guest writes to disks goes into overlays that are thrown away.
//!
//! What a killed one has left is removed by the next, under its lock.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value};

use super::context::{Context, Vm};
use super::foreground::{foreground, stored as run_stored};
use super::start::start_limit_ms;
use super::{add, sources};
use crate::cli::Source;
use crate::cli::table::Flag;
use crate::definition::merge::merged;
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Disk, Media};
use crate::error::{Error, Result};
use crate::lock::{self, Attempt, Guard, Holder};
use crate::paths::Folders;
use crate::private::{check_private, make_private};
use crate::runner::Readiness;
use crate::wire::handoff::{Mission, Order};

/// What such a VM is called unless its definition says.
const NAME: &str = "rm";
/// In a scratch folder: a link to where the overlays lie.
const OVERLAYS: &str = "overlays";

pub(super) fn run(context: &Context<'_>, readiness: Readiness) -> Result<u8> {
    let invocation = context.invocation;
    let mut sources: Vec<Source> = Vec::new();
    sources.extend(invocation.operands.first().map(|file| Source::Disk(as_disk(file))));
    sources.extend(invocation.sources.iter().cloned());
    let mut definition = merged(&sources::one(&sources)?)?;
    let own = definition.remove("name");
    let name = match (invocation.value(Flag::Keep), own.as_ref().and_then(Value::as_str)) {
        (Some(name), _) | (None, Some(name)) => VmName::parse(name)?,
        (None, None) => VmName::parse(NAME)?,
    };
    let id = VmId::random()?;
    let stored = sources::checked(context, definition, &id, &name)?;
    let definition = super::context::parse_stored(&stored)?;
    if invocation.has(Flag::Keep) {
        let definition = Value::Object(overlaid(context, definition, None)?).to_string();
        let vm = Vm { id: id.to_string(), name: name.to_string(), definition: Some(definition) };
        add::store(context, &vm).map_err(|error| error.about("cannot add", name.as_str()))?;
        return run_stored(context, &vm, readiness);
    }
    sweep(&context.folders);
    let scratch = Scratch::make(&context.folders, &id)?;
    let definition = overlaid(context, definition, Some(&scratch.overlays))?;
    let definition = context.effective(&Value::Object(definition).to_string())?;
    let level = context.runner_log_level();
    let mission = Mission { id, level, folders: scratch.folders.clone() };
    let start_limit_ms = start_limit_ms(context);
    let order = Order { name: name.to_string(), definition, paused: false, start_limit_ms };
    let code = foreground(context, name.as_str(), &mission, readiness, || Ok(Some(order)));
    drop(scratch);
    // Before, the QEMU of a killed one may still have been dying.
    sweep(&context.folders);
    code
}

/// A file as the text of `--disk`, in which a bare `20G` would be a size.
fn as_disk(file: &str) -> String {
    let file = file.replace(',', ",,");
    if file.contains('/') { file } else { format!("./{file}") }
}

/// The definition with every disk that the guest may write standing on what was given. The overlays
/// lie in `folder`; in the VM's own where there is none.
fn overlaid(
    context: &Context<'_>,
    mut definition: Map<String, Value>,
    folder: Option<&Path>,
) -> Result<Map<String, Value>> {
    let typed =
        Definition::read(&context.effective(&Value::Object(definition.clone()).to_string())?)?;
    super::start::refuse_template(Some(&typed))?;
    let Some(Value::Array(storage)) = definition.get_mut("storage") else {
        return Ok(definition);
    };
    let items = storage.iter_mut().filter_map(Value::as_object_mut);
    for item in items {
        let same =
            |disk: &&Disk| item.get("name").and_then(Value::as_str) == Some(disk.name.as_str());
        let Some(disk) = typed.storage.iter().find(same) else { continue };
        if disk.readonly || disk.media == Media::Cdrom {
            continue;
        }
        let there = disk.file.as_ref().filter(|file| file.exists());
        if let Some(file) = there {
            if disk.backing.is_some() {
                let name = &disk.name;
                return Err(Error::usage(format!(
                    "the disk {name} stands on another image already"
                ))
                .hint("--rm can put an overlay only on an image without a backing_file"));
            }
            item.insert("backing_file".into(), file.to_string_lossy().into());
            item.insert("backing_format".into(), disk.format.as_str().into());
            item.insert("type".into(), "qcow2".into());
            item.remove("size");
            item.remove("from");
        }
        match folder {
            Some(folder) => {
                make_private(folder)?;
                let format = if there.is_some() { "qcow2" } else { disk.format.as_str() };
                let file = folder.join(format!("{}.{format}", disk.name));
                item.insert("file".into(), file.to_string_lossy().into());
            }
            None => drop(item.remove("file")),
        }
    }
    Ok(definition)
}

/// The folders of one VM that is stored nowhere, gone when it is dropped.
#[derive(Debug)]
struct Scratch {
    folders: Folders,
    id: String,
    /// Made where it is needed.
    overlays: PathBuf,
}

impl Scratch {
    fn make(folders: &Folders, id: &VmId) -> Result<Scratch> {
        let temporary = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
        let temporary = temporary.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let temporary = std::path::absolute(&temporary)
            .map_err(|error| Error::io(format_args!("use {}", temporary.display()), &error))?;
        let id = id.to_string();
        let folders = folders.make_scratch(&id)?;
        let scratch = Scratch { overlays: temporary.join(format!("maqet-{id}")), folders, id };
        let cannot = |error| Error::io("make the folder of the VM", &error);
        std::os::unix::fs::symlink(&scratch.overlays, scratch.folders.data().join(OVERLAYS))
            .map_err(cannot)?;
        let folder = scratch.folders.vm(&scratch.id);
        make_private(folder.path())?;
        lock::create(&folder.lock())?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Without a lock it was never whole.
        if self.folders.vm(&self.id).lock().exists() {
            // What stays is found by the next one.
            let _ = clear(&self.folders, &self.id);
        } else {
            remove(self.folders.data());
        }
    }
}

/// Removes a scratch folder and the overlays to which it leads. Its lock goes when all else has gone:
/// what cannot be removed now is found by it later.
fn remove(scratch: &Path) {
    // They lie where others write, too: what came there since is theirs.
    if let Ok(overlays) = std::fs::read_link(scratch.join(OVERLAYS))
        && check_private(&overlays).is_ok()
        && std::fs::remove_dir_all(overlays).is_err()
    {
        return;
    }
    let vms = scratch.join("vms");
    let all =
        [entries(scratch), entries(&vms).iter().flat_map(|vm| entries(vm)).collect()].concat();
    let mut is_all = true;
    for path in all.iter().filter(|path| **path != vms && !path.ends_with("lock")) {
        let removed = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
        is_all &= removed.is_ok();
    }
    if is_all {
        let _ = std::fs::remove_dir_all(scratch);
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Removes what VMs of this kind have left whose runner was killed: those whose locks are free.
fn sweep(folders: &Folders) {
    for (scratch, id) in left(folders) {
        if let Some(id) = id {
            // What stays is found by the next one.
            let _ = clear(&scratch, &id);
        }
    }
}

/// The scratch folders whose VM nobody runs, with its id. Where it has none, a killed command left it,
/// or one is making it at this moment.
pub(super) fn left(folders: &Folders) -> Vec<(Folders, Option<String>)> {
    let mut left = Vec::new();
    for scratch in folders.scratches() {
        let vms = std::fs::read_dir(scratch.data().join("vms")).into_iter().flatten().flatten();
        let id = vms.filter_map(|vm| vm.file_name().into_string().ok()).next();
        let holder = id.as_ref().map(|id| lock::holder(&scratch.vm(id).lock()));
        if holder.is_none_or(|holder| holder.is_ok_and(|holder| holder == Holder::Nobody)) {
            left.push((scratch, id));
        }
    }
    left
}

/// Removes one of them, under its VM's locks.
///
/// # Errors
/// Where somebody holds one, there is none, or its live link cannot be removed.
pub(super) fn clear(scratch: &Folders, id: &str) -> Result<()> {
    let folder = scratch.vm(id);
    let Attempt::Taken(_lock) = lock::take(&folder.lock())? else {
        return Err(Error::conflict("nobody can hold its lock now"));
    };
    let _guard = Guard::take(&folder.guard(), Instant::now())?;
    scratch.clear_live(id)?;
    remove(scratch.data());
    Ok(())
}
