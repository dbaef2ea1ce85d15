//! DEF of a command line to the parts of a definition, and a merged definition to one that can be
//! stored.
//!
//! Files are read here and nowhere else. How parts merge is not decided here, and nothing is stored.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::context::Context;
use crate::cli::Source;
use crate::definition::merge::{Part, absolute, merge};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::Definition;
use crate::definition::{formats, json, keys, predecessor, set, spec};
use crate::error::{Error, Result, quote};
use crate::qemu::argv;
use crate::qemu::look::look;

/// The parts of one definition: files from left to right, then flags.
///
/// # Errors
/// `Kind::Usage` for what is no definition, and for a file that holds several.
pub(super) fn one(sources: &[Source]) -> Result<Vec<Part>> {
    let mut files = Vec::new();
    for path in file_names(sources) {
        let mut documents = read_file(path)?;
        match (documents.pop(), documents.len()) {
            (Some(document), 0) => files.push(document),
            (_, more) => {
                let error = format!("{} holds {} definitions", named(path), more + 1);
                return Err(Error::usage(error)
                    .hint("one VM takes one; \"maqet apply -f\" without a VM takes them all"));
            }
        }
    }
    with_flags(files, sources)
}

/// The parts of every definition in the files by the VM's name, in the order in which the names
/// appear. Definitions of one name are one; the flags belong to each.
///
/// # Errors
/// `Kind::Usage` for what is no definition, and for one without a name.
pub(super) fn by_name(sources: &[Source]) -> Result<Vec<(VmName, Vec<Part>)>> {
    let mut all: Vec<(VmName, Vec<Map<String, Value>>)> = Vec::new();
    for path in file_names(sources) {
        for document in read_file(path)? {
            let name = match document.get("name") {
                Some(Value::String(name)) => VmName::parse(name)?,
                _ => {
                    let error = format!("a definition in {} has no name", named(path));
                    return Err(
                        Error::usage(error).hint("write \"name\" in it, or name the VM before -f")
                    );
                }
            };
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, documents)) => documents.push(document),
                None => all.push((name, vec![document])),
            }
        }
    }
    all.into_iter().map(|(name, documents)| Ok((name, with_flags(documents, sources)?))).collect()
}

/// A merged definition as it is stored: the formats of existing images written into it, and held to
/// what `start` would refuse in the definition itself.
///
/// # Errors
/// `Kind::Usage` for a definition that is wrong; a file that is there and cannot be read.
pub(super) fn checked(
    context: &Context<'_>,
    mut definition: Map<String, Value>,
    id: &VmId,
    name: &VmName,
) -> Result<String> {
    definition.remove("name");
    formats::fill_in(&mut definition, |path| Ok(look(path)?.map(|(header, _)| header.format())))?;
    let stored = Value::Object(definition).to_string();
    let typed = Definition::read(&context.effective(&stored)?)?;
    let folder = context.folders.vm(&id.to_string());
    let vm = argv::Vm { id, name, definition: &typed, folder: folder.path() };
    argv::build(&vm, &argv::Host::unseen(&typed), &argv::Wires::NOMINAL)
        .map_err(|error| error.or_hint("leave it out, or choose another --machine"))?;
    Ok(stored)
}

/// A disk that comes to these items of a definition: its name, and the part that adds it.
///
/// # Errors
/// `Kind::Usage` for what is no disk.
pub(super) fn disk(spec: &str, items: &[Value]) -> Result<(String, Map<String, Value>)> {
    let item = spec::disk(spec).map_err(|error| error.or_hint("see \"maqet help definition\""))?;
    let taken = |name: &str| items.iter().any(|item| item["name"] == *name);
    newcomer(item, "storage", "disk", taken)
}

/// A network card beside those whose names are taken: its name, and the part that adds it.
///
/// # Errors
/// `Kind::Usage` for what is no network card.
pub(super) fn card(
    spec: &str,
    taken: impl Fn(&str) -> bool,
) -> Result<(String, Map<String, Value>)> {
    let item = spec::net(spec).map_err(|error| error.or_hint("see \"maqet help definition\""))?;
    newcomer(item, "network", "net", taken)
}

/// An item of a list with a name: its own, or the first of `prefix0`, `prefix1`, … that is free.
fn newcomer(
    mut item: Map<String, Value>,
    list: &str,
    prefix: &str,
    taken: impl Fn(&str) -> bool,
) -> Result<(String, Map<String, Value>)> {
    let name = match item.get("name") {
        Some(Value::String(name)) => name.clone(),
        _ => {
            let mut names = (0..).map(|number| format!("{prefix}{number}"));
            names.find(|name| !taken(name)).unwrap_or_default()
        }
    };
    item.insert("name".to_owned(), name.as_str().into());
    let mut part = part(list, item.into());
    absolute(&mut part, &here()?)?;
    Ok((name, part))
}

fn file_names(sources: &[Source]) -> impl Iterator<Item = &str> {
    sources.iter().filter_map(|source| match source {
        Source::File(path) => Some(path.as_str()),
        _ => None,
    })
}

/// What files hold, and the flags behind it.
fn with_flags(files: Vec<Map<String, Value>>, sources: &[Source]) -> Result<Vec<Part>> {
    parts(files, sources).map_err(|error| error.or_hint("see \"maqet help definition\""))
}

fn parts(files: Vec<Map<String, Value>>, sources: &[Source]) -> Result<Vec<Part>> {
    let here = here()?;
    let mut merged = Map::new();
    let mut parts = Vec::new();
    for document in files {
        merge(&mut merged, document.clone());
        parts.push(Part::Object(document));
    }
    for source in sources {
        let mut part = match source {
            Source::File(_) => continue,
            Source::Port(text) => {
                parts.push(Part::Port(text.clone()));
                continue;
            }
            Source::Key { key, value } => from_key(key, value)?,
            Source::Disk(text) => part("storage", spec::disk(text)?.into()),
            Source::Cdrom(text) => part("storage", spec::cdrom(text)?.into()),
            Source::Share(text) => part("storage", spec::share(text)?.into()),
            Source::Net(text) => part("network", spec::net(text)?.into()),
            Source::Label(text) => set::label(text)?,
            Source::Set(text) => set::set(text)?,
            Source::Arg(word) => part("args", word.as_str().into()),
        };
        absolute(&mut part, &here)?;
        name_by_place(&mut part, &merged, source);
        merge(&mut merged, part.clone());
        parts.push(Part::Object(part));
    }
    Ok(parts)
}

/// An unnamed disk or card of a flag is named by its place among all, not among the flag's one.
fn name_by_place(part: &mut Map<String, Value>, merged: &Map<String, Value>, source: &Source) {
    let (list, prefix) = match source {
        Source::Disk(_) | Source::Cdrom(_) | Source::Share(_) => ("storage", "disk"),
        Source::Net(_) => ("network", "net"),
        _ => return,
    };
    let place = merged.get(list).and_then(Value::as_array).map_or(0, Vec::len);
    if let Some(Value::Array(items)) = part.get_mut(list) {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.entry("name").or_insert_with(|| format!("{prefix}{place}").into());
        }
    }
}

fn part(list: &str, item: Value) -> Map<String, Value> {
    Map::from_iter([(list.to_owned(), json!([item]))])
}

fn from_key(name: &str, text: &str) -> Result<Map<String, Value>> {
    let key = keys::find(keys::DEFINITION, name)
        .ok_or_else(|| Error::usage(format!("there is no key {}", quote(name))))?;
    Ok(Map::from_iter([(name.to_owned(), key.value_of(text)?)]))
}

/// The definitions in a file, at least one, with absolute paths.
fn read_file(path: &str) -> Result<Vec<Map<String, Value>>> {
    let here = here()?;
    let (bytes, folder) = if path == "-" {
        (read_all(std::io::stdin(), &named(path))?, here)
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| Error::io(format_args!("read {}", quote(path)), &error))?;
        let folder = here.join(path).parent().map_or_else(|| here.clone(), Path::to_owned);
        (read_all(file, path)?, folder)
    };
    let mut documents = json::documents(&bytes, &named(path))?;
    for document in &mut documents {
        predecessor::translate(document, &folder)?;
        absolute(document, &folder)?;
    }
    Ok(documents)
}

/// The one definition in a text; its relative paths begin at the working directory.
///
/// # Errors
/// `Kind::Usage` for what is no definition, or several.
pub(super) fn from_text(bytes: &[u8]) -> Result<Map<String, Value>> {
    let mut documents = json::documents(bytes, "the definition")?;
    let (Some(mut document), true) = (documents.pop(), documents.is_empty()) else {
        return Err(Error::usage("these are several definitions").hint("one VM takes one"));
    };
    let here = here()?;
    predecessor::translate(&mut document, &here)?;
    absolute(&mut document, &here)?;
    Ok(document)
}

fn here() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| Error::io("tell the working directory", &error))
}

fn named(path: &str) -> String {
    if path == "-" { "standard input".to_owned() } else { path.to_owned() }
}

fn read_all(input: impl Read, source: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(json::LARGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(format_args!("read {}", quote(source)), &error))?;
    Ok(bytes)
}
