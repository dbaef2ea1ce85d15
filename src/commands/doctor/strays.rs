//! What `doctor` finds where VMs lie: files that belong to no VM, and VMs without their files. Changes
//! nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Mend};
use crate::commands::context::{Context, Vm};
use crate::commands::{edit, ephemeral};
use crate::definition::types::Definition;
use crate::error::{Error, Result, quote};
use crate::lock::{self, Holder};
use crate::private::check_private;
use crate::qemu::make::UNFINISHED;
use crate::store::{Row, Store};

/// The findings about all VMs; one that all is well where there are none.
pub(super) fn strays(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = left_behind(context);
    let Ok(Some(store)) = context.store_to_read() else { return findings };
    let Ok(rows) = store.all() else { return findings };
    findings.extend(folders(context, &rows));
    let mut seen = BTreeSet::new();
    for row in &rows {
        findings.extend(files(context, row, &store, &mut seen));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("vms", "every VM has its folder and its files, and no other"));
    }
    findings
}

/// VMs without their folder, and folders and links without their VM.
fn folders(context: &Context<'_>, rows: &[Row]) -> Vec<Finding> {
    let stored: BTreeSet<String> = rows.iter().map(|row| row.id.clone()).collect();
    let vms = context.folders.data().join("vms");
    let live = context.folders.live();
    let (there, links) = match (names(&vms), names(&live)) {
        (Ok(there), Ok(links)) => (there, links),
        (Err(error), _) | (_, Err(error)) => return vec![Finding::wrong("vms", &error)],
    };
    let mut findings = Vec::new();
    for row in rows.iter().filter(|row| !there.contains(&row.id)) {
        let error =
            Error::failed(format!("the VM {} has no folder in {}", row.name, vms.display()))
                .hint(format!("\"maqet rm {}\" removes it, \"maqet add\" makes it anew", row.name));
        findings.push(Finding::wrong("vms", &error).mended_by(Mend::Folder(row.id.clone())));
    }
    for row in rows.iter().filter(|row| there.contains(&row.id)) {
        if let Err(error) = check_private(context.folders.vm(&row.id).path()) {
            findings.push(Finding::wrong("vms", &error));
        }
    }
    for id in there.difference(&stored) {
        let path = vms.join(id);
        findings.push(Finding::note(
            "vms",
            format!("{} belongs to no VM", path.display()),
            format!("look into {} and remove it", path.display()),
        ));
    }
    for id in links {
        let path = context.folders.live_link(&id);
        // Who holds the lock may be alive; a lock that cannot be looked at tells nothing.
        let is_alone = match lock::holder(&context.folders.vm(&id).lock()) {
            Ok(holder) => holder == Holder::Nobody,
            Err(_) => false,
        };
        if !is_alone {
            continue;
        }
        let found = match stored.contains(&id) {
            true => format!("{} was left by a runner that is gone", path.display()),
            false => format!("{} belongs to no VM", path.display()),
        };
        let hint = "a link that nobody needs; --fix removes it, and so does the VM's next start";
        findings.push(Finding::note("vms", found, hint).mended_by(Mend::Link(id)));
    }
    findings
}

/// What killed commands have left: VMs that are stored nowhere, and what was being edited.
fn left_behind(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scratch in ephemeral::left(&context.folders) {
        let found =
            format!("{} was left by a \"run --rm\" that was killed", scratch.data().display());
        let hint = "the next \"run --rm\" removes it, and so does --fix";
        findings.push(Finding::note("vms", found, hint).mended_by(Mend::Scratch(scratch)));
    }
    for path in edit::left() {
        let path = path.display();
        findings.push(Finding::note(
            "vms",
            format!("{path} was left by an \"edit\" that was killed"),
            format!("what was written is in it: look into {path} and remove it"),
        ));
    }
    findings
}

/// The names in a folder, which may not be there. One that cannot be read is not one that is empty.
fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.and_then(Iterator::collect::<std::io::Result<Vec<_>>>),
    };
    let entries =
        entries.map_err(|error| Error::io(format_args!("read {}", folder.display()), &error))?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// The images of one VM: those that are missing, those that none of its disks names, and those that
/// were never finished. `seen` are the files that have been told of already.
fn files(
    context: &Context<'_>,
    row: &Row,
    store: &Store,
    seen: &mut BTreeSet<PathBuf>,
) -> Vec<Finding> {
    let vm = Vm::from(row.clone());
    let name = quote(&vm.name);
    let Ok(definition) = context.definition(&vm) else {
        let error = Error::failed(format!("the definition of {name} cannot be read"))
            .hint(format!("\"maqet check {}\" says what is wrong with it", vm.name));
        return vec![Finding::wrong("vms", &error)];
    };
    let folder = context.folders.vm(&vm.id);
    let mut named = images(&definition, folder.path());
    named.insert(folder.variables());
    let mut findings = Vec::new();
    for disk in definition.storage.iter().filter(|disk| !disk.is_made_when_absent()) {
        let path = disk.path(folder.path());
        if !path.exists() {
            let (disk, path) = (&disk.name, path.display());
            let error = Error::failed(format!("{name}: the image of {disk} is gone: {path}"))
                .hint(format!("\"maqet disk rm {} {disk}\" takes it from the definition", vm.name));
            findings.push(Finding::wrong("disks", &error));
        }
    }
    let noted = store.files(&vm.id).unwrap_or_default().into_iter();
    let noted = noted.map(|file| PathBuf::from(file.path)).filter(|path| path.exists());
    let beside = named.iter().filter_map(|path| path.parent()).map(Path::to_owned);
    let beside: BTreeSet<PathBuf> = beside.chain([folder.disks()]).collect();
    let unfinished =
        beside.iter().flat_map(|folder| entries(folder)).filter(|path| is_unfinished(path));
    let own = entries(&folder.disks());
    for path in noted.chain(own).chain(unfinished).collect::<BTreeSet<_>>() {
        if named.contains(&path) || !seen.insert(path.clone()) {
            continue;
        }
        let shown = path.display();
        findings.push(match is_unfinished(&path) {
            true => Finding::note(
                "disks",
                format!("{shown} was never finished"),
                "the next start of its VM makes it anew; --fix removes it",
            )
            .mended_by(Mend::Unfinished { vm: vm.clone(), path: path.clone() }),
            false => Finding::note(
                "disks",
                format!("{name}: none of its disks names {shown}"),
                format!(
                    "\"maqet disk add {} file={shown}\" takes it; else it may be removed",
                    vm.name
                ),
            ),
        });
    }
    findings
}

/// What a definition's disks are and stand on.
fn images(definition: &Definition, folder: &Path) -> BTreeSet<PathBuf> {
    let disks = definition.storage.iter();
    let all = disks.flat_map(|disk| {
        let backing = disk.backing.as_ref().map(|backing| backing.file.clone());
        std::iter::once(disk.path(folder)).chain(backing)
    });
    all.collect()
}

pub(in crate::commands) fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
}

pub(in crate::commands) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
