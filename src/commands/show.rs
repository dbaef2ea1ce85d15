//! `show` and `rename`: what is stored of a VM.

use serde::Serialize;
use serde_json::{Map, Value};

use super::context::{Change, Context, parse_stored};
use super::difference::diff;
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::table::Flag;
use crate::control::life;
use crate::definition::name::VmName;
use crate::error::{Error, Result, quote};

/// Definitions have any key; the table is never used, for eyes see the definition itself.
const SHAPE: Shape = Shape {
    list: false,
    columns: &[Column { title: "NAME", path: "name", show: plain }],
    fields: &[
        "name",
        "description",
        "labels",
        "labels.*",
        "binary",
        "machine",
        "accel",
        "cpu_model",
        "cpu",
        "cpu.sockets",
        "cpu.cores",
        "cpu.threads",
        "memory",
        "firmware",
        "kernel",
        "initrd",
        "append",
        "boot",
        "boot.order",
        "boot.menu",
        "display",
        "vga",
        "storage",
        "network",
        "serial",
        "agent",
        "rng",
        "hotplug_slots",
        "sandbox",
        "stop_timeout",
        "restart",
        "autostart",
        "protect",
        "template",
        "args",
    ],
};

#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    #[serde(flatten)]
    definition: Map<String, Value>,
}

pub(super) fn show(context: &Context<'_>) -> Result<u8> {
    if context.invocation.has(Flag::Diff) {
        return diff(context);
    }
    let mut output = Output::new(context.invocation, SHAPE)?;
    for vm in context.vms()? {
        let stored = vm.definition.as_deref();
        let stored = stored.ok_or_else(|| Error::failed("the database cannot be read"))?;
        let shown = Shown { name: &vm.name, definition: parse_stored(stored)? };
        if output.wants_objects() {
            output.object(&shown)?;
        } else {
            output.guest(as_text(&shown)?.as_bytes())?;
        }
    }
    output.finish()?;
    Ok(0)
}

/// A stored definition as a person reads it, and as `-f` does.
///
/// # Errors
/// None, as long as JSON can be written.
pub(super) fn pretty(name: &str, definition: Map<String, Value>) -> Result<String> {
    as_text(&Shown { name, definition })
}

fn as_text(shown: &Shown<'_>) -> Result<String> {
    serde_json::to_string_pretty(shown)
        .map(|text| text + "\n")
        .map_err(|error| Error::failed(format!("cannot write the definition: {error}")))
}

pub(super) fn rename(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, Change::SHAPE)?;
    let new = context.invocation.operands.get(1).map(String::as_str).unwrap_or_default();
    let new = VmName::parse(new)?;
    let mut vm = context.vm()?;
    let changed = vm.name != new.as_str();
    if changed && context.invocation.has(Flag::DryRun) {
        let known =
            context.store_to_read()?.map(|store| store.by_name(new.as_str())).transpose()?;
        if known.flatten().is_some() {
            let error =
                Error::conflict(format!("a VM named {} exists already", quote(new.as_str())));
            return Err(error.about("cannot rename", &vm.name));
        }
        context.note(&format!("would rename {} to {new}", vm.name));
    } else if changed {
        let renamed = context.store_to_write()?.rename(&vm.id, new.as_str());
        renamed.map_err(|error| error.about("cannot rename", &vm.name))?;
        vm.name = new.to_string();
    } else {
        context.note(&format!("{new} is its name already"));
    }
    if output.wants_objects() {
        let state = life::look_at(&context.folders, &vm.id, &vm.name)?.state;
        context.say_change(&mut output, &vm, state, changed)?;
    }
    output.finish()?;
    Ok(0)
}
