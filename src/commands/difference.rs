//! `show --diff`: what QEMU was started with, against what a start would give it now.

use std::io::Read;

use serde::Serialize;
use serde_json::{Map, Value};

use super::cmdline::{running, would_be};
use super::context::{Context, Vm};
use super::noted::pin;
use super::start::handed_over;
use crate::cli::output::{Column, Output, Shape, plain};
use crate::control::life::{self, Life};
use crate::definition::difference as definitions;
use crate::definition::types::Definition;
use crate::error::{Error, Kind, Result};
use crate::qemu::argv::Wires;
use crate::qemu::difference as lines;
use crate::qemu::script::quoted;
use crate::wire::status::State;

const SHAPE: Shape = Shape {
    list: false,
    columns: &[Column { title: "NAME", path: "name", show: plain }],
    fields: &["name", "definition.*", "argv.removed.*", "argv.added.*"],
};

/// The most that a runner is ever handed, in bytes.
const LARGEST: u64 = 16 << 20;

#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    definition: Vec<definitions::Difference>,
    argv: lines::Difference,
}

pub(super) fn diff(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let vms = context.vms()?;
    let mut codes = Vec::new();
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    for (vm, life) in vms.iter().zip(life::look(&context.folders, &names)) {
        let shown = match life.and_then(|life| compare(context, vm, life)) {
            Ok(shown) => shown,
            Err(error) => {
                codes.push(context.tell("cannot compare the definition of", vm, error));
                continue;
            }
        };
        if output.wants_objects() {
            output.object(&shown)?;
        } else {
            let text = as_text(&shown);
            if vms.len() > 1 && !text.is_empty() {
                output.text(&format!("{}:\n", vm.name))?;
            }
            output.guest(text.as_bytes())?;
        }
        codes.push(0);
    }
    context.finish(output, codes)
}

fn compare<'a>(context: &Context<'_>, vm: &'a Vm, life: Life) -> Result<Shown<'a>> {
    let stopped = |why: &str| {
        let hint = "what is stored holds from its next start on";
        Err(Error::new(Kind::NotRunning, why).hint(hint))
    };
    if !life.state.is_live() {
        return stopped("it is not running");
    }
    if life.responding != Some(true) {
        return Err(life.obstacle.unwrap_or_else(|| Error::timeout("its runner does not answer")));
    }
    let argv = match running(&life)? {
        Some(argv) if life.state != State::Starting => argv,
        _ => return stopped("it does not run yet"),
    };
    let mut given = given(context, vm)?;
    // The version of its machine is what the start itself has found out.
    pin(context, vm, &mut given);
    let (name, mut stored) = handed_over(context, vm)?
        .ok_or_else(|| Error::new(Kind::NotFound, "there is no such VM any more"))?;
    let now = Vm { name, ..vm.clone() };
    let definition = Definition::read(&stored)?;
    let would = would_be(context, &now, &definition, Wires::of(&argv))?;
    stored.insert("name".into(), now.name.into());
    Ok(Shown {
        name: &vm.name,
        definition: definitions::between(&given, &stored),
        argv: lines::between(&argv, &would),
    })
}

/// The definition that the VM's runner was handed, with its name.
fn given(context: &Context<'_>, vm: &Vm) -> Result<Map<String, Value>> {
    let missing = || Error::failed("what it was started with is not known");
    let runtime = context.folders.live_runtime(&vm.id).ok_or_else(missing)?;
    let path = runtime.definition();
    let cannot = |why: &dyn std::fmt::Display| {
        Error::failed(format!("what it was started with is not known: {}: {why}", path.display()))
            .hint("\"maqet restart\" starts it with what is stored")
    };
    let file = runtime.open(&path).map_err(|error| cannot(&error))?;
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).map_err(|error| cannot(&error))?;
    serde_json::from_slice(&text).map_err(|error| cannot(&error))
}

/// A line for each thing that is gone, and for each that comes.
fn as_text(shown: &Shown<'_>) -> String {
    let mut text = String::new();
    for definitions::Difference { path, running, stored } in &shown.definition {
        for (sign, value) in [('-', running), ('+', stored)] {
            if let Some(value) = value {
                text.push_str(&format!("{sign} {path}: {value}\n"));
            }
        }
    }
    for (sign, words) in [('-', &shown.argv.removed), ('+', &shown.argv.added)] {
        for option in lines::options(words) {
            let words: Vec<String> = option.iter().map(|word| quoted(word)).collect();
            text.push_str(&format!("{sign} argv: {}\n", words.join(" ")));
        }
    }
    text
}
