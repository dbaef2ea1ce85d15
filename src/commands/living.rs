//! The VMs that run, as their runners know them: for when the database cannot be read, or knows nothing
//! of them because it was deleted or another one lies in its place. Changes nothing.

use super::vm::Vm;
use crate::control::life;
use crate::definition::name::VmRef;
use crate::paths::Folders;

/// The VMs that live and whose id is `wanted`, without a definition.
pub(super) fn living(folders: &Folders, mut wanted: impl FnMut(&str) -> bool) -> Vec<Vm> {
    let entries = std::fs::read_dir(folders.live()).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let vms: Vec<_> = ids.filter(|id| wanted(id)).map(|id| (id.clone(), id)).collect();
    let lives = life::look(folders, &vms).into_iter().flatten();
    lives
        .filter(|life| life.state.is_live())
        .map(|life| {
            let name = life.runner_name.unwrap_or_else(|| life.id.clone());
            Vm { id: life.id, name, definition: None }
        })
        .collect()
}

/// Whether a word of the command line means this VM.
pub(super) fn is_meant(vm: &Vm, reference: &VmRef) -> bool {
    match reference {
        VmRef::Name(name) => vm.name == name.as_str(),
        VmRef::Id(id) => vm.id == id.to_string(),
        VmRef::IdPrefix(prefix) => vm.id.starts_with(prefix),
    }
}
