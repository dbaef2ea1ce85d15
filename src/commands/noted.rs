//! What the runs of a VM found out that is to be stored: the versioned type of its machine, and the files
//! that were made for it.
//!
//! The runner, which has no database, writes them into the lines of its runs; whoever started it stores
//! them. Where that one was killed before it could, the next start does. Nothing is started here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::context::{Context, Vm, parse_stored};
use crate::control::life;
use crate::definition::types::{Definition, Disk};
use crate::error::Result;
use crate::qemu::machine;
use crate::store::Store;
use crate::wire::runs::Run;

/// What the `file` table calls what a start makes.
const KIND: &str = "disk";

/// Stores what a start found out: the versioned type of the machine, at the first one, and the files
/// that it made. A failure is no failure of the start: the next one stores it.
pub(super) fn remember(context: &Context<'_>, vm: &Vm) {
    if let Err(error) = store_findings(context, vm) {
        let name = &vm.name;
        context
            .note(&format!("{name} runs, but not all about it could be stored: {}", error.message));
    }
}

fn store_findings(context: &Context<'_>, vm: &Vm) -> Result<()> {
    let run = life::last_run(&context.folders.vm(&vm.id));
    // Most often there is nothing new, and then no database to be opened once more.
    let known = vm.definition.as_deref().map(parse_stored).transpose()?.unwrap_or_default();
    let is_news = |run: &Run| {
        !run.created.is_empty() || run.machine.as_deref().is_some_and(|it| pins(it, &known))
    };
    let Some(run) = run.filter(is_news) else { return Ok(()) };
    let row = match context.store_to_read()? {
        Some(store) => store.by_id(&vm.id)?,
        None => None,
    };
    let Some(row) = row else { return Ok(()) };
    let mut definition = parse_stored(&row.definition)?;
    let pin = run.machine.filter(|version| pins(version, &definition));
    let mut store = context.store_to_write()?;
    for path in &run.created {
        store.add_file(&vm.id, path, KIND)?;
    }
    if let Some(version) = pin {
        definition.insert("machine".into(), version.into());
        let new = Value::Object(definition).to_string();
        store.update_definition(&vm.id, &row.definition, &new)?;
    }
    Ok(())
}

/// Whether a definition leaves the version of its machine open, and this is one of its versions.
fn pins(version: &str, definition: &Map<String, Value>) -> bool {
    let binary = definition.get("binary").and_then(Value::as_str).unwrap_or_default();
    let machine = definition.get("machine").and_then(Value::as_str);
    let alias = machine.unwrap_or_else(|| machine::default_type(Path::new(binary)));
    machine::is_version_of(version, alias)
}

/// Puts the version of its machine that the last run had into a definition that leaves it open.
pub(super) fn pin(context: &Context<'_>, vm: &Vm, definition: &mut Map<String, Value>) {
    let runs = life::all_runs(&context.folders.vm(&vm.id));
    let known = runs.into_iter().rev().find_map(|run| run.machine);
    if let Some(version) = known.filter(|version| pins(version, definition)) {
        definition.insert("machine".into(), version.into());
    }
}

/// Stores the files that earlier runs made, where the commands that started them were killed before
/// they could. Only those that the definition would have made count: what it has forgotten since may be
/// somebody else's file by now.
pub(super) fn note_earlier(
    context: &Context<'_>,
    vm: &Vm,
    definition: &Map<String, Value>,
    store: &Store,
) -> Result<()> {
    let folder = context.folders.vm(&vm.id);
    let runs = life::all_runs(&folder).into_iter();
    let made: BTreeSet<PathBuf> = runs.flat_map(|run| run.created).map(PathBuf::from).collect();
    if made.is_empty() {
        return Ok(());
    }
    let noted = store.files(&vm.id)?;
    let mut lost: Vec<PathBuf> = made
        .into_iter()
        .filter(|path| path.exists() && !noted.iter().any(|file| path == Path::new(&file.path)))
        .collect();
    if !lost.is_empty() {
        let disks = Definition::read(definition)?.storage.into_iter();
        let makes = disks.filter(Disk::is_made_when_absent).map(|disk| disk.path(folder.path()));
        let makes: BTreeSet<PathBuf> = makes.chain([folder.variables()]).collect();
        lost.retain(|path| makes.contains(path));
    }
    if lost.is_empty() {
        return Ok(());
    }
    let mut store = context.store_to_write()?;
    lost.iter().try_for_each(|path| store.add_file(&vm.id, &path.to_string_lossy(), KIND))
}
