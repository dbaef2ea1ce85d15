//! `device rm`: a device less for a VM that runs, when its guest has let it go.

use serde::Serialize;
use serde_json::json;

use super::LIMIT;
use crate::cli::output::{Output, Shape};
use crate::commands::context::{Context, Vm};
use crate::commands::hotplug;
use crate::control::qmp::Qmp;
use crate::error::{Error, Result, quote};
use crate::qemu::argv;

const SHAPE: Shape = Shape { list: false, columns: &[], fields: &["name", "id", "changed"] };

#[derive(Debug, Serialize)]
struct Removed<'a> {
    name: &'a str,
    id: &'a str,
    changed: bool,
}

pub(in crate::commands) fn rm(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let id = context.invocation.operands.get(1).map_or("", String::as_str);
    let vm = context.vm()?;
    unplug(context, &vm, id).map_err(|error| error.about("cannot remove a device of", &vm.name))?;
    if output.wants_objects() {
        output.object(&Removed { name: &vm.name, id, changed: true })?;
    }
    output.finish()?;
    Ok(0)
}

fn unplug(context: &Context<'_>, vm: &Vm, id: &str) -> Result<()> {
    let qmp = Qmp::of(&context.folders, &vm.id, context.deadline(LIMIT));
    if !hotplug::ids(&qmp)?.iter().any(|known| known == id) {
        return Err(Error::not_found(format!("it has no device {}", quote(id)))
            .hint("\"maqet device ls\" shows those that it has"));
    }
    if let Some(disk) = argv::disk_of(id) {
        return Err(Error::conflict("it is a disk")
            .hint(format!("\"maqet disk rm {} {disk}\" takes its image along", vm.name)));
    }
    hotplug::remove(&qmp, id, id)?;
    // What a card was connected to goes with it.
    if argv::card_of(id) != id
        && let Err(error) = qmp.execute("netdev_del", &json!({ "id": id }))
    {
        log::debug!("{}: {error}", vm.name);
    }
    Ok(())
}
