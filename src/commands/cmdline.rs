//! `cmdline`: QEMU's command line, the one that runs or the one that would, as a line or a script.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::candidates::candidates;
use super::context::{Context, Vm};
use super::sources;
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::control::life::{self, Life};
use crate::definition::name::{VmId, VmName};
use crate::definition::types::{Definition, Disk};
use crate::error::{Error, Result};
use crate::qemu::argv::{self, Wires};
use crate::qemu::firmware;
use crate::qemu::{program, script};
use crate::sys;

/// A command line, and what a script needs beside it.
#[derive(Debug)]
struct Line {
    words: Vec<String>,
    /// None where QEMU runs: its disks are there.
    definition: Option<Definition>,
}

pub(super) fn cmdline(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = Output::new(invocation, Shape::TEXT)?;
    let mut found = candidates(context, "print the command line of")?.into_iter();
    let (Some((vm, definition)), None) = (found.next(), found.next()) else {
        return Err(Error::usage("these are the definitions of several VMs")
            .hint("a command line is that of one"));
    };
    let would_be = || {
        let definition = definition.and_then(|whole| read(context, &vm, whole));
        let definition = definition.map_err(|error| error.about("no command line of", &vm.name))?;
        let words = would_be(context, &vm, &definition, Wires::NOMINAL)
            .map_err(|error| error.about("no command line of", &vm.name))?;
        Ok::<_, Error>(Line { words, definition: Some(definition) })
    };
    let line = match invocation.sources.is_empty() {
        true => match running(&life::look_at(&context.folders, &vm.id, &vm.name)?)? {
            Some(words) => Line { words, definition: None },
            None => would_be()?,
        },
        false => would_be()?,
    };
    if invocation.has(Flag::Script) {
        output.text(&as_script(context, &vm, &line))?;
    } else if output.is_json() {
        output.object(&line.words)?;
    } else {
        let words: Vec<String> = line.words.iter().map(|word| script::quoted(word)).collect();
        output.text(&format!("{}\n", words.join(" ")))?;
    }
    output.finish()?;
    Ok(0)
}

fn as_script(context: &Context<'_>, vm: &Vm, line: &Line) -> String {
    let folder = context.folders.vm(&vm.id);
    let disks = line.definition.iter().flat_map(|definition| &definition.storage);
    let missing: Vec<_> = disks
        .filter(|disk| disk.is_made_when_absent())
        .map(|disk| (disk, disk.path(folder.path()).to_string_lossy().into_owned()))
        .collect();
    // Where none is found there is no command line either.
    let flash = line.definition.as_ref().and_then(|definition| {
        firmware::find(definition, Path::new(line.words.first()?)).ok().flatten()
    });
    let variables = folder.variables().to_string_lossy().into_owned();
    let variables = flash.as_ref().map(|flash| (&flash.vars, variables.as_str()));
    script::script(&vm.name, &line.words, &folder.path().to_string_lossy(), &missing, variables)
}

/// A merged definition as a start would read it.
fn read(context: &Context<'_>, vm: &Vm, whole: Map<String, Value>) -> Result<Definition> {
    let (id, name) = (VmId::parse(&vm.id)?, VmName::parse(&vm.name)?);
    let stored = sources::checked(context, whole, &id, &name)?;
    Definition::read(&context.effective(&stored)?)
}

/// The command line of the QEMU that runs, word for word.
///
/// # Errors
/// Only where it runs and /proc cannot be read.
pub(super) fn running(life: &Life) -> Result<Option<Vec<String>>> {
    let Some(pid) = life.qemu_pid.filter(|_| life.responding == Some(true)) else {
        return Ok(None);
    };
    let path = format!("/proc/{pid}/cmdline");
    let bytes =
        std::fs::read(&path).map_err(|error| Error::io(format_args!("read {path}"), &error))?;
    let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    let words = text.split(|byte| *byte == 0);
    Ok(Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()))
}

/// What a start would run; only the numbers of the descriptors are the start's to choose.
///
/// # Errors
/// What the machine cannot take, and a QEMU that is not there.
pub(super) fn would_be(
    context: &Context<'_>,
    vm: &Vm,
    definition: &Definition,
    wires: Wires,
) -> Result<Vec<String>> {
    let (id, name) = (VmId::parse(&vm.id)?, VmName::parse(&vm.name)?);
    let folder = context.folders.vm(&vm.id);
    let imagined = argv::Host::unseen(definition);
    let binary = program::find(imagined.binary.as_os_str())?;
    let block_devices = block_devices(definition, folder.path());
    let firmware = firmware::find(definition, &binary)?.map(|flash| flash.code);
    let host = argv::Host { binary, kvm: sys::kvm_opens(), block_devices, firmware };
    let target = argv::Vm { id: &id, name: &name, definition, folder: folder.path() };
    argv::build(&target, &host, &wires)
}

/// Those of its images that are block devices, which QEMU opens in another way.
fn block_devices(definition: &Definition, folder: &Path) -> Vec<PathBuf> {
    let is_device = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device())
    };
    let backing = |disk: &Disk| disk.backing.as_ref().map(|backing| backing.file.clone());
    let paths = definition.storage.iter().flat_map(|disk| [Some(disk.path(folder)), backing(disk)]);
    paths.flatten().filter(is_device).collect()
}
