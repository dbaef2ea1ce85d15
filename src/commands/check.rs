//! `check`: definitions held to what a start would find, all of it at once; nothing is changed.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::candidates::candidates;
use super::context::{Context, Vm};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::definition::name::{VmId, VmName};
use crate::definition::port::Port;
use crate::definition::types::{Definition, Firmware};
use crate::definition::{faults, formats};
use crate::error::{Error, Result};
use crate::qemu::copy::Original;
use crate::qemu::firmware;
use crate::qemu::look::{examine, examine_backing, look};
use crate::qemu::{argv, program};

const CHECKED: Shape = Shape {
    list: false,
    columns: &[Column { title: "NAME", path: "name", show: plain }],
    fields: &["name", "ok", "problems.*", "notes.*"],
};

#[derive(Debug, Serialize)]
struct Checked<'a> {
    name: &'a str,
    ok: bool,
    problems: Vec<Problem<'a>>,
    /// What is no fault.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Problem<'a> {
    /// The JSON path; none where it is no key's.
    path: Option<&'a str>,
    message: &'a str,
    hint: Option<&'a str>,
}

impl Problem<'_> {
    fn of(error: &Error) -> Problem<'_> {
        let path = Some(faults::path_of(&error.message)).filter(|path| !path.is_empty());
        Problem { path, message: &error.message, hint: error.hint.as_deref() }
    }
}

pub(super) fn check(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, CHECKED)?;
    let mut codes = Vec::new();
    for (vm, definition) in candidates(context, "check")? {
        let (found, notes) = match definition {
            Ok(whole) => problems(context, &vm, whole)?,
            Err(error) => (vec![error], Vec::new()),
        };
        if !output.is_json() {
            notes.iter().for_each(|note| context.note(&format!("{}: {note}", vm.name)));
        }
        if output.wants_objects() {
            let problems = found.iter().map(Problem::of).collect();
            output.object(&Checked { name: &vm.name, ok: found.is_empty(), problems, notes })?;
        }
        codes.extend(found.is_empty().then_some(0));
        codes
            .extend(found.into_iter().map(|error| context.tell("there is a fault in", &vm, error)));
    }
    context.finish(output, codes)
}

/// Everything that a start of this definition would refuse or miss; and what is no fault.
fn problems(
    context: &Context<'_>,
    vm: &Vm,
    mut whole: Map<String, Value>,
) -> Result<(Vec<Error>, Vec<String>)> {
    whole.remove("name");
    // What cannot be looked at is told below, with its key.
    let format = |path: &Path| Ok(look(path).ok().flatten().map(|(header, _)| header.format()));
    formats::fill_in(&mut whole, format)?;
    let effective = context.effective(&Value::Object(whole).to_string())?;
    let (definition, wrong) = faults::read(&effective);
    let mut found: Vec<Error> =
        wrong.into_iter().map(|error| of_its_file(error, &effective)).collect();
    let Some(definition) = definition else { return Ok((found, Vec::new())) };
    let (id, name) = (VmId::parse(&vm.id)?, VmName::parse(&vm.name)?);
    let folder = context.folders.vm(&vm.id);
    let host = argv::Host::unseen(&definition);
    found.extend(program::find(host.binary.as_os_str()).err().map(|error| at("binary", error)));
    let no_firmware = firmware::find(&definition, &host.binary).err();
    found.extend(no_firmware.map(|error| at("firmware", error)));
    let target = argv::Vm { id: &id, name: &name, definition: &definition, folder: folder.path() };
    let refused = argv::build(&target, &host, &argv::Wires::NOMINAL).err();
    found.extend(refused.map(|error| error.or_hint("leave it out, or choose another --machine")));
    found.extend(files(&definition, &effective, folder.path()));
    Ok((found, taken_ports(context, vm, &definition)))
}

/// The fault with the JSON path in front.
fn at(path: &str, error: Error) -> Error {
    error.said_of(path)
}

/// A format that is missing because its file cannot be looked at is a fault of the file.
fn of_its_file(error: Error, effective: &Map<String, Value>) -> Error {
    let path = faults::path_of(&error.message);
    let item = |path: &str| {
        let place: usize = path.strip_prefix("storage[")?.strip_suffix(']')?.parse().ok()?;
        effective.get("storage")?.get(place)?.as_object()
    };
    for (format, key) in [("type", "file"), ("backing_format", "backing_file")] {
        let Some(above) = path.strip_suffix(format).and_then(|path| path.strip_suffix('.')) else {
            continue;
        };
        let Some(item) = item(above).filter(|item| !item.contains_key(format)) else { continue };
        let Some(Value::String(file)) = item.get(key) else { continue };
        let path = format!("{above}.{key}");
        return match look(Path::new(file)) {
            Ok(Some(_)) => error,
            Ok(None) => error.worded(missing(&path, Path::new(file)).message.clone()),
            Err(refused) => at(&path, refused),
        };
    }
    error
}

fn missing(path: &str, file: &Path) -> Error {
    Error::failed(format!("{path}: the image is not there: {}", file.display()))
        .hint("correct the path, or give the disk a size to have its image made")
}

/// What is wrong with the files that a definition names: they are looked at as a start does.
fn files(definition: &Definition, effective: &Map<String, Value>, folder: &Path) -> Vec<Error> {
    let mut found = Vec::new();
    let items = effective.get("storage").and_then(Value::as_array);
    let place = |name: &str| items?.iter().position(|item| item["name"] == *name);
    for disk in &definition.storage {
        let Some(place) = place(disk.name.as_str()) else { continue };
        let key = |key: &str| format!("storage[{place}].{key}");
        let path = disk.path(folder);
        match examine(disk, &path) {
            Ok(Some(_)) => {}
            Ok(None) if disk.is_made_when_absent() => {
                let original = disk.from.as_deref().map(Original::look);
                found.extend(original.and_then(Result::err).map(|error| at(&key("from"), error)));
            }
            Ok(None) => found.push(missing(&key("file"), &path)),
            Err(error) => found.push(at(&key("file"), error)),
        }
        if let Some(backing) = &disk.backing {
            match examine_backing(backing) {
                Ok(Some(_)) => {}
                Ok(None) => found.push(missing(&key("backing_file"), &backing.file)),
                Err(error) => found.push(at(&key("backing_file"), error)),
            }
        }
    }
    for share in &definition.shares {
        let refused = match std::fs::metadata(&share.path) {
            Ok(kind) if kind.is_dir() => None,
            Ok(_) => Some(Error::failed(format!("{} is no folder", share.path.display()))),
            Err(error) => Some(Error::io(format_args!("share {}", share.path.display()), &error)),
        };
        let place = place(share.name.as_str()).unwrap_or_default();
        found.extend(refused.map(|error| at(&format!("storage[{place}].path"), error)));
    }
    if let Firmware::Files { code, vars } = &definition.firmware {
        found.extend(unreadable("firmware.code", code));
        found.extend(unreadable("firmware.vars", vars));
    }
    if let Some(boot) = &definition.direct_boot {
        found.extend(unreadable("kernel", &boot.kernel));
        found.extend(boot.initrd.iter().filter_map(|path| unreadable("initrd", path)));
    }
    found
}

fn unreadable(key: &str, path: &Path) -> Option<Error> {
    let error = std::fs::File::open(path).err()?;
    Some(at(key, Error::io(format_args!("read the {key} {}", path.display()), &error)))
}

/// Ports of this host that another VM's definition has, too: both may be meant never to run at once.
fn taken_ports(context: &Context<'_>, vm: &Vm, definition: &Definition) -> Vec<String> {
    let mine = ports(definition);
    if mine.is_empty() {
        return Vec::new();
    }
    let mut notes = Vec::new();
    for other in context.every_vm().unwrap_or_default() {
        let Ok(theirs) = context.definition(&other) else { continue };
        for (number, port) in mine.iter().filter_map(|port| Some((port.host?, port))) {
            if other.name != vm.name && ports(&theirs).iter().any(|taken| port.collides(taken)) {
                let end = format!("{}:{number}/{}", port.address, port.protocol.as_str());
                notes.push(format!("the VM {} has the port {end}, too", other.name));
            }
        }
    }
    notes
}

fn ports(definition: &Definition) -> Vec<Port> {
    definition.network.iter().flatten().flat_map(|card| card.ports.clone()).collect()
}
