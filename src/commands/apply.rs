//! `apply`: definitions changed.
//!
//! First everything is worked out, then everything is stored: one wrong definition among many, and
//! nothing is changed.

use serde_json::{Map, Value};

use super::context::{Context, Vm, parse_stored};
use super::{add, sources};
use crate::cli::Source;
use crate::cli::output::Output;
use crate::cli::table::Flag;
use crate::control::life;
use crate::definition::merge::{Part, merged, onto};
use crate::definition::name::{VmId, VmName};
use crate::error::{Error, Result};
use crate::wire::status::State;

/// A VM and the definition that it is to have.
#[derive(Debug)]
struct Target {
    vm: Vm,
    /// There is no such VM yet.
    is_new: bool,
    /// What is to be stored, where that is not what is stored already.
    change: Option<String>,
}

pub(super) fn apply(context: &Context<'_>) -> Result<u8> {
    let mut output = context.changes()?;
    let targets = targets(context)?;
    let mut codes = Vec::new();
    for target in &targets {
        let stored = match &target.change {
            Some(_) if context.invocation.has(Flag::DryRun) => Ok(()),
            Some(new) => store(context, target, new),
            None => Ok(()),
        };
        let said = stored.and_then(|()| say(context, &mut output, target));
        codes.push(match said {
            Ok(()) => 0,
            Err(error) => context.tell("cannot change", &target.vm, error),
        });
    }
    context.finish(output, codes)
}

/// What the command line is about, with nothing stored yet.
fn targets(context: &Context<'_>) -> Result<Vec<Target>> {
    let invocation = context.invocation;
    if context.selects_vms() {
        if invocation.sources.is_empty() {
            return Err(Error::usage("nothing to apply is given")
                .hint("give -f FILE, or a flag such as --memory 2G"));
        }
        let parts = sources::one(&invocation.sources)?;
        let vms = context.vms()?;
        return vms.into_iter().map(|vm| target(context, vm, false, &parts)).collect();
    }
    if !invocation.sources.iter().any(|source| matches!(source, Source::File(_))) {
        return Err(Error::usage("no VM is named, and no file that names one")
            .hint("maqet apply VM --memory 2G, or maqet apply -f FILE"));
    }
    let all = sources::by_name(&invocation.sources)?;
    let store = context.store_to_read()?;
    all.into_iter()
        .map(|(name, parts)| {
            let row = store.as_ref().map(|store| store.by_name(name.as_str())).transpose()?;
            match row.flatten() {
                Some(row) => target(context, row.into(), false, &parts),
                None => {
                    let id = VmId::random()?.to_string();
                    let vm = Vm { id, name: name.to_string(), definition: None };
                    target(context, vm, true, &parts)
                }
            }
        })
        .collect()
}

fn target(context: &Context<'_>, vm: Vm, is_new: bool, parts: &[Part]) -> Result<Target> {
    let known = vm.definition.as_deref().map(parse_stored).transpose()?;
    if known.is_none() && !is_new {
        return Err(Error::failed("its definition cannot be read").about("cannot change", &vm.name));
    }
    let replace = is_new || context.invocation.has(Flag::Replace);
    let stored = known.clone().unwrap_or_default();
    let whole = if replace { merged(parts) } else { onto(stored, parts) };
    let new = whole.and_then(|whole| ready(context, &vm, whole));
    let new = new.map_err(|error| error.about("cannot change", &vm.name))?;
    let change = match known {
        Some(known) if parse_stored(&new)? == known => None,
        _ => Some(new),
    };
    Ok(Target { vm, is_new, change })
}

fn ready(context: &Context<'_>, vm: &Vm, definition: Map<String, Value>) -> Result<String> {
    sources::checked(context, definition, &VmId::parse(&vm.id)?, &VmName::parse(&vm.name)?)
}

fn store(context: &Context<'_>, target: &Target, new: &str) -> Result<()> {
    let Target { vm, is_new, .. } = target;
    if *is_new {
        let vm = Vm { definition: Some(new.to_owned()), ..vm.clone() };
        return add::store(context, &vm);
    }
    let old = vm.definition.as_deref().unwrap_or_default();
    context.store_to_write()?.update_definition(&vm.id, old, new)
}

fn say(context: &Context<'_>, output: &mut Output, target: &Target) -> Result<()> {
    let Target { vm, is_new, change } = target;
    let state = match is_new {
        true => State::Stopped,
        false => life::look_at(&context.folders, &vm.id, &vm.name)?.state,
    };
    let would = if context.invocation.has(Flag::DryRun) { "would be " } else { "" };
    context.note(&match (is_new, change) {
        (true, _) => format!("{}: {would}added", vm.name),
        (false, None) => format!("{}: nothing changes", vm.name),
        (false, Some(_)) if state.is_live() => {
            format!("{}: {would}changed, from its next start on", vm.name)
        }
        (false, Some(_)) => format!("{}: {would}changed", vm.name),
    });
    context.say_change(output, vm, state, change.is_some())
}
