//! `check`: definitions held to what a start would find; nothing is changed.

use serde::Serialize;
use serde_json::{Map, Value};

use super::candidates::candidates;
use super::context::{Context, Vm};
use super::sources;
use crate::cli::output::{Column, Output, Shape, plain};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::Definition;
use crate::error::{Error, Result};
use crate::qemu::{argv, program};

const CHECKED: Shape = Shape {
    list: false,
    columns: &[Column { title: "NAME", path: "name", show: plain }],
    fields: &["name", "ok"],
};

#[derive(Debug, Serialize)]
struct Checked<'a> {
    name: &'a str,
    ok: bool,
}

pub(super) fn check(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, CHECKED)?;
    let mut codes = Vec::new();
    for (vm, definition) in candidates(context, "check")? {
        let found = definition.and_then(|whole| missing(context, &vm, whole));
        if output.wants_objects() {
            output.object(&Checked { name: &vm.name, ok: found.is_ok() })?;
        }
        codes.push(
            found.map_or_else(|error| context.tell("there is a fault in", &vm, error), |()| 0),
        );
    }
    context.finish(output, codes)
}

/// What a start of this definition would miss.
fn missing(context: &Context<'_>, vm: &Vm, definition: Map<String, Value>) -> Result<()> {
    let stored =
        sources::checked(context, definition, &VmId::parse(&vm.id)?, &VmName::parse(&vm.name)?)?;
    let definition = Definition::read(&context.effective(&stored)?)?;
    program::find(argv::Host::unseen(&definition).binary.as_os_str())?;
    let folder = context.folders.vm(&vm.id);
    let made = |disk: &&crate::definition::types::Disk| !disk.is_made_when_absent();
    let disks = definition.storage.iter().filter(made);
    let images = disks.map(|disk| ("storage", disk.path(folder.path())));
    let backings = definition.storage.iter().filter_map(|disk| disk.backing.as_ref());
    let boot = definition.direct_boot.iter().flat_map(|boot| {
        let initrd = boot.initrd.iter().map(|initrd| ("initrd", initrd.clone()));
        std::iter::once(("kernel", boot.kernel.clone())).chain(initrd)
    });
    let backings = backings.map(|backing| ("backing_file", backing.file.clone()));
    for (key, path) in images.chain(backings).chain(boot) {
        std::fs::File::open(&path).map_err(|error| {
            Error::io(format_args!("read the {key} {}", path.display()), &error)
        })?;
    }
    Ok(())
}
