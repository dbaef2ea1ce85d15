//! `check`: definitions held to what a start would find, all of it at once; nothing is changed.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use super::candidates::candidates;
use super::context::{Context, Vm};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::Definition;
use crate::definition::{faults, formats};
use crate::error::{Error, Result};
use crate::qemu::look::look;
use crate::qemu::{argv, image, program};

const CHECKED: Shape = Shape {
    list: false,
    columns: &[Column { title: "NAME", path: "name", show: plain }],
    fields: &["name", "ok", "problems"],
};

#[derive(Debug, Serialize)]
struct Checked<'a> {
    name: &'a str,
    ok: bool,
    problems: Vec<Problem<'a>>,
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
        let found = match definition {
            Ok(whole) => problems(context, &vm, whole)?,
            Err(error) => vec![error],
        };
        if output.wants_objects() {
            let problems = found.iter().map(Problem::of).collect();
            output.object(&Checked { name: &vm.name, ok: found.is_empty(), problems })?;
        }
        codes.extend(found.is_empty().then_some(0));
        codes
            .extend(found.into_iter().map(|error| context.tell("there is a fault in", &vm, error)));
    }
    context.finish(output, codes)
}

/// Everything that a start of this definition would refuse or miss.
fn problems(context: &Context<'_>, vm: &Vm, mut whole: Map<String, Value>) -> Result<Vec<Error>> {
    whole.remove("name");
    let mut found = Vec::new();
    let filled = formats::fill_in(&mut whole, |path| match look(path) {
        Ok(looked) => Ok(looked.map(|(header, _)| header.format())),
        Err(error) => {
            found.push(error);
            Ok(None)
        }
    });
    found.extend(filled.err());
    let effective = context.effective(&Value::Object(whole).to_string())?;
    let (definition, wrong) = faults::read(&effective);
    found.splice(0..0, wrong);
    let Some(definition) = definition else { return Ok(found) };
    let (id, name) = (VmId::parse(&vm.id)?, VmName::parse(&vm.name)?);
    let folder = context.folders.vm(&vm.id);
    let host = argv::Host::unseen(&definition);
    found.extend(program::find(host.binary.as_os_str()).err());
    let target = argv::Vm { id: &id, name: &name, definition: &definition, folder: folder.path() };
    let refused = argv::build(&target, &host, &argv::Wires::NOMINAL).err();
    found.extend(refused.map(|error| error.or_hint("leave it out, or choose another --machine")));
    for error in files(&definition, folder.path()) {
        // An image that cannot be read was told when its format was looked for.
        if !found.contains(&error) {
            found.push(error);
        }
    }
    Ok(found)
}

/// What is wrong with the files that a definition names.
fn files(definition: &Definition, folder: &std::path::Path) -> Vec<Error> {
    let mut found = Vec::new();
    for disk in &definition.storage {
        let path = disk.path(folder);
        match look(&path) {
            Ok(Some((header, _))) => found.extend(image::check(disk, &path, &header).err()),
            Ok(None) if disk.is_made_when_absent() => {}
            Ok(None) => found.extend(unreadable("storage", path)),
            Err(error) => found.push(error),
        }
        if let Some(backing) = &disk.backing {
            found.extend(unreadable("backing_file", backing.file.clone()));
        }
        found.extend(disk.from.iter().filter_map(|from| unreadable("from", from.clone())));
    }
    if let Some(boot) = &definition.direct_boot {
        found.extend(unreadable("kernel", boot.kernel.clone()));
        found.extend(boot.initrd.iter().filter_map(|path| unreadable("initrd", path.clone())));
    }
    found
}

fn unreadable(key: &str, path: PathBuf) -> Option<Error> {
    let error = std::fs::File::open(&path).err()?;
    Some(Error::io(format_args!("read the {key} {}", path.display()), &error))
}
