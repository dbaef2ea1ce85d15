//! `add`: a new VM from files and flags.

use serde::Serialize;
use serde_json::{Map, Value};

use super::context::{Context, Vm};
use super::{sources, start};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::table::Flag;
use crate::definition::merge::merged;
use crate::definition::name::{VmId, VmName};
use crate::error::{Error, Result};
use crate::lock;
use crate::private::make_private;
use crate::wire::status::State;

/// What a command gives that makes a VM.
pub(super) const SHAPE: Shape = Shape {
    list: false,
    columns: &[Column { title: "ID", path: "id", show: plain }],
    fields: &["id", "name", "state", "changed"],
};

#[derive(Debug, Serialize)]
struct Added<'a> {
    id: &'a str,
    name: &'a str,
    state: State,
    changed: bool,
}

pub(super) fn add(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let output = Output::new(invocation, SHAPE)?;
    let mut definition = merged(&sources::one(&invocation.sources)?)?;
    let name = take_name(&mut definition, invocation.operands.first().map(String::as_str))?;
    let id = VmId::random()?;
    let stored = sources::checked(context, definition, &id, &name)?;

    let vm = Vm { id: id.to_string(), name: name.to_string(), definition: Some(stored) };
    if invocation.has(Flag::DryRun) {
        refuse_if_taken(context, &vm)?;
        context.note(&format!("would add {name}"));
        return Ok(0);
    }
    store(context, &vm).map_err(|error| error.about("cannot add", name.as_str()))?;
    let code = match invocation.has(Flag::Start) {
        true => start::start_vms(context, std::slice::from_ref(&vm), |_, _, _| Ok(()))?,
        false => 0,
    };
    let state =
        if invocation.has(Flag::Start) && code == 0 { State::Running } else { State::Stopped };
    say_made(output, &vm.id, &vm.name, state)?;
    Ok(code)
}

/// Prints the new VM's id, or its object, and ends the output.
pub(super) fn say_made(mut output: Output, id: &str, name: &str, state: State) -> Result<()> {
    if output.wants_objects() {
        output.object(&Added { id, name, state, changed: true })?;
    } else {
        output.text(&format!("{id}\n"))?;
    }
    output.finish()
}

/// The VM's name: the operand, else the definition's own, which is kept beside it and not in it.
pub(super) fn take_name(
    definition: &mut Map<String, Value>,
    operand: Option<&str>,
) -> Result<VmName> {
    let own = definition.remove("name");
    match (operand, own) {
        (Some(word), _) => VmName::parse(word),
        (None, Some(Value::String(name))) => VmName::parse(&name),
        (None, Some(_)) => Err(Error::usage("name: a string is expected")),
        (None, None) => Err(Error::usage("the new VM has no name")
            .hint("give one: maqet add NAME …, or \"name\" in the file")),
    }
}

fn refuse_if_taken(context: &Context<'_>, vm: &Vm) -> Result<()> {
    let known = context.store_to_read()?.map(|store| store.by_name(&vm.name)).transpose()?;
    match known.flatten() {
        Some(_) => Err(taken().about("cannot add", &vm.name)),
        None => Ok(()),
    }
}

/// The refusal of a name that another VM has.
pub(super) fn taken() -> Error {
    Error::conflict("there is a VM of that name already")
        .hint("choose another name, or change that VM with \"maqet apply\"")
}

/// Makes the VM's folder with its lock, then the row: a VM that is defined can be locked.
///
/// # Errors
/// `Kind::Conflict` where the name is taken; nothing is left behind then, nor by any other error.
pub(super) fn store(context: &Context<'_>, vm: &Vm) -> Result<()> {
    let mut store = context.store_to_write()?;
    if store.by_name(&vm.name)?.is_some() {
        return Err(taken());
    }
    let folder = context.folders.vm(&vm.id);
    make_private(folder.path())?;
    let definition = vm.definition.as_deref().unwrap_or("{}");
    let stored =
        lock::create(&folder.lock()).and_then(|()| store.insert(&vm.id, &vm.name, definition));
    if stored.is_err() {
        let _ = std::fs::remove_file(folder.lock());
        let _ = std::fs::remove_dir(folder.path());
    }
    stored
}
