//! `add`: a new VM from files and flags.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::context::{Context, Vm};
use super::start;
use crate::cli::Source;
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::table::Flag;
use crate::definition::merge::{absolute, merge};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::Definition;
use crate::definition::{formats, json, keys, spec};
use crate::error::{Error, Result, quote};
use crate::lock;
use crate::private::make_private;
use crate::qemu::argv;
use crate::qemu::look::look;
use crate::wire::status::State;

const SHAPE: Shape = Shape {
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
    let mut output = Output::new(invocation, SHAPE)?;
    let mut definition = gather(&invocation.sources)?;
    let name = take_name(&mut definition, invocation.operands.first().map(String::as_str))?;
    formats::fill_in(&mut definition, |path| Ok(look(path)?.map(|(header, _)| header.format())))?;
    let stored = Value::Object(definition).to_string();
    let id = VmId::random()?;
    check(context, &stored, &id, &name)?;

    let vm = Vm { id: id.to_string(), name: name.to_string(), definition: Some(stored) };
    store(context, &vm).map_err(|error| error.about("cannot add", name.as_str()))?;
    let code = match invocation.has(Flag::Start) {
        true => start::start_vms(context, std::slice::from_ref(&vm), |_, _, _| Ok(()))?,
        false => 0,
    };
    let state =
        if invocation.has(Flag::Start) && code == 0 { State::Running } else { State::Stopped };
    if output.wants_objects() {
        output.object(&Added { id: &vm.id, name: &vm.name, state, changed: true })?;
    } else {
        output.text(&format!("{}\n", vm.id))?;
    }
    output.finish()?;
    Ok(code)
}

/// Merges the sources of a command: files from left to right, then flags.
fn gather(sources: &[Source]) -> Result<Map<String, Value>> {
    let here =
        std::env::current_dir().map_err(|error| Error::io("tell the working directory", &error))?;
    let mut merged = Map::new();
    let files = sources.iter().filter(|source| matches!(source, Source::File(_)));
    let flags = sources.iter().filter(|source| !matches!(source, Source::File(_)));
    for source in files.chain(flags) {
        let (mut part, folder) = match source {
            Source::File(path) => read_file(path, &here)?,
            Source::Key { key, value } => (from_key(key, value)?, here.clone()),
            Source::Disk(text) => (part("storage", spec::disk(text)?.into()), here.clone()),
            Source::Net(text) => (part("network", spec::net(text)?.into()), here.clone()),
            Source::Arg(word) => (part("args", word.as_str().into()), here.clone()),
        };
        absolute(&mut part, &folder)?;
        merge_in_order(&mut merged, part, source);
    }
    Ok(merged)
}

/// An unnamed disk or card of a flag is named by its place among all, not among the flag's one.
fn merge_in_order(merged: &mut Map<String, Value>, mut part: Map<String, Value>, source: &Source) {
    let (list, prefix) = match source {
        Source::Disk(_) => ("storage", "disk"),
        Source::Net(_) => ("network", "net"),
        _ => return merge(merged, part),
    };
    let place = merged.get(list).and_then(Value::as_array).map_or(0, Vec::len);
    if let Some(Value::Array(items)) = part.get_mut(list) {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.entry("name").or_insert_with(|| format!("{prefix}{place}").into());
        }
    }
    merge(merged, part);
}

fn part(list: &str, item: Value) -> Map<String, Value> {
    Map::from_iter([(list.to_owned(), json!([item]))])
}

fn from_key(name: &str, text: &str) -> Result<Map<String, Value>> {
    let key = keys::find(keys::DEFINITION, name)
        .ok_or_else(|| Error::usage(format!("there is no key {}", quote(name))))?;
    Ok(Map::from_iter([(name.to_owned(), key.value_of(text)?)]))
}

/// The definition in a file, and the folder to which its paths are relative.
fn read_file(path: &str, here: &Path) -> Result<(Map<String, Value>, PathBuf)> {
    let (source, bytes, folder) = if path == "-" {
        (
            "standard input".to_owned(),
            read_all(std::io::stdin(), "standard input")?,
            here.to_owned(),
        )
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| Error::io(format_args!("read {}", quote(path)), &error))?;
        let folder = here.join(path).parent().map_or_else(|| here.to_owned(), Path::to_owned);
        (path.to_owned(), read_all(file, path)?, folder)
    };
    let mut documents = json::documents(&bytes, &source)?;
    let count = documents.len();
    match documents.pop() {
        Some(document) if count == 1 => Ok((document, folder)),
        _ => Err(Error::usage(format!("{source} holds {count} definitions"))
            .hint("add takes one at a time")),
    }
}

fn read_all(input: impl Read, source: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(json::LARGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(format_args!("read {}", quote(source)), &error))?;
    Ok(bytes)
}

/// The VM's name: the operand, else the definition's own, which is kept beside it and not in it.
fn take_name(definition: &mut Map<String, Value>, operand: Option<&str>) -> Result<VmName> {
    let own = definition.remove("name");
    match (operand, own) {
        (Some(word), _) => VmName::parse(word),
        (None, Some(Value::String(name))) => VmName::parse(&name),
        (None, Some(_)) => Err(Error::usage("name: a string is expected")),
        (None, None) => Err(Error::usage("the new VM has no name")
            .hint("give one: maqet add NAME …, or \"name\" in the file")),
    }
}

/// Finds out beforehand what `start` would refuse in the definition itself.
fn check(context: &Context<'_>, stored: &str, id: &VmId, name: &VmName) -> Result<()> {
    let definition = Definition::read(&context.effective(stored)?)?;
    let folder = context.folders.vm(&id.to_string());
    let vm = argv::Vm { id, name, definition: &definition, folder: folder.path() };
    argv::build(&vm, &argv::Host::unseen(&definition), &argv::Wires::NOMINAL).map(drop)
}

/// Makes the VM's folder with its lock, then the row: a VM that is defined can be locked.
fn store(context: &Context<'_>, vm: &Vm) -> Result<()> {
    let mut store = context.store_to_write()?;
    if store.by_name(&vm.name)?.is_some() {
        return Err(Error::conflict("there is a VM of that name already")
            .hint("choose another name, or remove that VM first"));
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
