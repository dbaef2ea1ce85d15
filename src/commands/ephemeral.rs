//! `run --rm`: a VM that is stored nowhere. Its folder and its locks lie in the runtime folder, and
//! what its guest writes to disks goes into overlays that are thrown away.
//!
//! What a killed one has left is removed by the next, under its lock.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::context::{Context, Vm};
use super::foreground::{foreground, stored as run_stored};
use super::start::start_limit_ms;
use super::{add, sources};
use crate::backoff::retry;
use crate::cli::Source;
use crate::cli::table::Flag;
use crate::definition::merge::merged;
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Disk, Media};
use crate::error::{Error, Kind, Result};
use crate::lock::{self, Attempt, Guard};
use crate::paths::Folders;
use crate::private::{check_private, make_private};
use crate::runner::Readiness;
use crate::sys;
use crate::wire::handoff::{Mission, Order};

/// What such a VM is called unless its definition says.
const NAME: &str = "rm";
/// In a scratch folder: a link to where the overlays lie.
const OVERLAYS: &str = "overlays";
/// For a scratch folder to be held by its maker, while others look at it.
const HELD_LIMIT: Duration = Duration::from_secs(2);
/// How often the making of one may fail meanwhile, for it is removed under its maker.
const FAILURES: u32 = 2;

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
    held: Option<File>,
    /// Made where it is needed.
    overlays: PathBuf,
}

impl Scratch {
    fn make(folders: &Folders, id: &VmId) -> Result<Scratch> {
        let temporary = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
        let temporary = temporary.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let temporary = std::path::absolute(&temporary)
            .map_err(|error| Error::io(format_args!("use {}", temporary.display()), &error))?;
        // Who sweeps at that moment may hold it before its maker does, and remove it.
        let mut failures = 0;
        let made = retry(Instant::now() + HELD_LIMIT, || match Scratch::held(folders, id) {
            Err(_) if failures < FAILURES => {
                failures += 1;
                None
            }
            made => made.transpose(),
        });
        let made = made.ok_or_else(|| Error::timeout("somebody else holds its folder"))?;
        let (folders, held) = made?;
        let overlays = temporary.join(format!("maqet-{id}"));
        let scratch = Scratch { overlays, folders, held: Some(held) };
        scratch.folders.make_data()?;
        let cannot = |error| Error::io("make the folder of the VM", &error);
        std::os::unix::fs::symlink(&scratch.overlays, scratch.folders.data().join(OVERLAYS))
            .map_err(cannot)?;
        let folder = scratch.folders.vm(&id.to_string());
        make_private(folder.path())?;
        lock::create(&folder.lock())?;
        Ok(scratch)
    }

    /// Makes the folder and holds it; `None` where somebody else held it first.
    fn held(folders: &Folders, id: &VmId) -> Result<Option<(Folders, File)>> {
        let folders = folders.make_scratch(&id.to_string())?;
        let held = hold(&folders)?;
        Ok(held.map(|held| (folders, held)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.held = None;
        // What stays is found by the next one.
        let _ = clear(&self.folders);
    }
}

/// Holds a scratch folder: the flock of the folder itself is with who makes, uses or removes it. `None`
/// where somebody does, or it is not there any more.
fn hold(scratch: &Folders) -> Result<Option<File>> {
    let path = scratch.data();
    let hold = || -> std::io::Result<Option<File>> {
        let mut options = File::options();
        let folder = options.read(true).custom_flags(sys::NO_FOLLOW).open(path)?;
        Ok(lock::hold(&folder, path)?.then_some(folder))
    };
    match hold() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        held => held.map_err(|error| Error::io(format_args!("hold {}", path.display()), &error)),
    }
}

/// Removes what VMs of this kind have left whose runner was killed.
fn sweep(folders: &Folders) {
    for scratch in folders.scratches() {
        // What stays is found by the next one.
        let _ = clear(&scratch);
    }
}

/// The scratch folders that nobody holds.
pub(super) fn left(folders: &Folders) -> Vec<Folders> {
    let is_left = |scratch: &Folders| hold(scratch).is_ok_and(|held| held.is_some());
    folders.scratches().into_iter().filter(is_left).collect()
}

/// Removes one of them, its overlays and its VM's runtime folder.
///
/// # Errors
/// Where somebody holds it, or its VM's locks, or something of it cannot be removed.
pub(super) fn clear(scratch: &Folders) -> Result<()> {
    let held = || Error::conflict("somebody holds it now");
    let _held = hold(scratch)?.ok_or_else(held)?;
    let mut vms = std::fs::read_dir(scratch.data().join("vms")).into_iter().flatten().flatten();
    if let Some(id) = vms.find_map(|vm| vm.file_name().into_string().ok()) {
        let folder = scratch.vm(&id);
        // Without a lock no runner ever had it. The QEMU of a killed one may still be dying.
        let _lock = match lock::take(&folder.lock())? {
            Attempt::Held => return Err(held()),
            attempt => attempt,
        };
        let _guard = Guard::take(&folder.guard(), Instant::now())?;
        scratch.clear_live(&id)?;
    }
    let cannot = |path: &Path, error| Error::io(format_args!("remove {}", path.display()), &error);
    if let Ok(overlays) = std::fs::read_link(scratch.data().join(OVERLAYS)) {
        let is_there = match std::fs::symlink_metadata(&overlays) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            there => there.map(|_| true).map_err(|error| cannot(&overlays, error))?,
        };
        match check_private(&overlays) {
            // They lie where others write, too: what came there since is theirs.
            Err(error) if !is_there || error.kind == Kind::Permission => {}
            ours => {
                ours?;
                std::fs::remove_dir_all(&overlays).map_err(|error| cannot(&overlays, error))?;
            }
        }
    }
    std::fs::remove_dir_all(scratch.data()).map_err(|error| cannot(scratch.data(), error))
}
