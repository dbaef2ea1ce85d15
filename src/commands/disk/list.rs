//! `disk ls`: the disks of VMs as their definitions have them and as they lie on the host.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::cli::output::{Column, Output, Shape, plain};
use crate::commands::context::{Context, Vm};
use crate::control::life;
use crate::definition::types::{Disk, Media};
use crate::definition::units;
use crate::error::Result;
use crate::qemu::image::Header;
use crate::qemu::look::look;

const SHAPE: Shape = Shape {
    list: true,
    columns: &[
        Column { title: "VM", path: "vm", show: plain },
        Column { title: "DISK", path: "name", show: plain },
        Column { title: "TYPE", path: "type", show: plain },
        Column { title: "SIZE", path: "size", show: size },
        Column { title: "TAKEN", path: "allocated", show: size },
        Column { title: "FILE", path: "file", show: plain },
    ],
    fields: &[
        "vm",
        "name",
        "media",
        "type",
        "file",
        "exists",
        "size",
        "allocated",
        "readonly",
        "made",
        "backing_file",
    ],
};

/// One disk; sizes are bytes.
#[derive(Debug, Serialize)]
struct Listed {
    vm: String,
    name: String,
    media: &'static str,
    r#type: &'static str,
    file: String,
    exists: bool,
    /// What the guest sees; as the definition has it where the image does not exist yet.
    size: Option<u64>,
    /// What the image takes on the host; none where it does not exist yet.
    allocated: Option<u64>,
    readonly: bool,
    /// Whether maqet made the image, and may delete it.
    made: bool,
    backing_file: Option<String>,
}

pub(in crate::commands) fn ls(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let mut vms = if context.selects_vms() { context.vms()? } else { context.every_vm()? };
    vms.sort_by(|a, b| a.name.cmp(&b.name));
    let mut codes = Vec::new();
    for vm in &vms {
        let found = context.definition(vm).and_then(|definition| {
            let made = made(context, vm)?;
            Ok(definition.storage.iter().map(|disk| listed(context, vm, disk, &made)).collect())
        });
        codes.push(match found {
            Ok(disks) => {
                let disks: Vec<Listed> = disks;
                disks.iter().try_for_each(|disk| output.object(disk))?;
                0
            }
            Err(error) => context.tell("cannot list the disks of", vm, error),
        });
    }
    context.finish(output, codes)
}

fn listed(context: &Context<'_>, vm: &Vm, disk: &Disk, made: &BTreeSet<PathBuf>) -> Listed {
    let path = disk.path(context.folders.vm(&vm.id).path());
    let found = std::fs::metadata(&path).ok();
    // An image that cannot be read is listed all the same: a start says what is wrong with it.
    let header = look(&path).ok().flatten().map(|(header, _)| header);
    let size = match header {
        Some(Header::Qcow2 { virtual_size, .. }) => Some(virtual_size),
        _ => found.as_ref().map(|found| found.len()).or(disk.size),
    };
    Listed {
        vm: vm.name.clone(),
        name: disk.name.to_string(),
        media: match disk.media {
            Media::Disk => "disk",
            Media::Cdrom => "cdrom",
        },
        r#type: disk.format.as_str(),
        exists: found.is_some(),
        size,
        // stat(2) counts blocks of 512 bytes, whatever the file system's are.
        allocated: found.map(|found| found.blocks() * 512),
        readonly: disk.readonly,
        made: made.contains(&path),
        backing_file: disk.backing.as_ref().map(|backing| backing.file.display().to_string()),
        file: path.display().to_string(),
    }
}

/// The files that maqet made for a VM, those of a start that was cut short before it could note them
/// among them.
fn made(context: &Context<'_>, vm: &Vm) -> Result<BTreeSet<PathBuf>> {
    let noted = context.store_to_read()?.map(|store| store.files(&vm.id)).transpose()?;
    let noted = noted.unwrap_or_default().into_iter().map(|file| PathBuf::from(file.path));
    let runs = life::all_runs(&context.folders.vm(&vm.id));
    Ok(noted.chain(runs.into_iter().flat_map(|run| run.created).map(PathBuf::from)).collect())
}

fn size(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), units::bytes)
}
