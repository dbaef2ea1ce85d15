//! `db`: a copy of the database, and the way back to it.
//!
//! Definitions alone are in it: images, logs and what runs are not touched.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::context::Context;
use crate::cli::output::{Output, Shape};
use crate::error::{Error, Result};
use crate::store::Store;

const SHAPE: Shape = Shape { list: false, columns: &[], fields: &["file", "vms", "kept"] };

#[derive(Debug, Serialize)]
struct Copied {
    file: String,
    /// How many VMs are defined in it.
    vms: usize,
    /// Where the database that was replaced lies.
    kept: Option<String>,
}

/// `db backup`.
pub(super) fn backup(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let file = file(context)?;
    let none = || Error::not_found("there is no database yet").hint("\"maqet add\" makes it");
    let store = context.store_to_read()?.ok_or_else(none)?;
    store.back_up(&file)?;
    let vms = store.all()?.len();
    context.note(&format!("{}: a copy of the database, with {vms} VMs", file.display()));
    say(&mut output, &file, vms, None)?;
    output.finish()?;
    Ok(0)
}

/// `db restore`.
pub(super) fn restore(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let file = file(context)?;
    let path = context.folders.database();
    context.confirm(&format!("put {} in the place of {}", file.display(), path.display()))?;
    context.folders.make_data()?;
    let kept = Store::restore(&path, &file)?;
    // A backup of an older version is brought up to date here.
    let vms = Store::open_to_write(&path)?.all()?.len();
    let before = kept.as_ref().map(|kept| format!("; what was there before is {}", kept.display()));
    context.note(&format!("{vms} VMs are defined now{}", before.unwrap_or_default()));
    say(&mut output, &file, vms, kept)?;
    output.finish()?;
    Ok(0)
}

/// The file of the command line.
fn file(context: &Context<'_>) -> Result<PathBuf> {
    let word = context.invocation.operands.first().map_or("", String::as_str);
    match word {
        "" => Err(Error::usage("the name of the file is empty").hint("is a variable unset?")),
        "-" => Err(Error::usage("a database is a file, not a stream").hint("name a file")),
        word => Ok(word.into()),
    }
}

fn say(output: &mut Output, file: &Path, vms: usize, kept: Option<PathBuf>) -> Result<()> {
    if output.wants_objects() {
        let kept = kept.map(|kept| kept.display().to_string());
        output.object(&Copied { file: file.display().to_string(), vms, kept })?;
    }
    Ok(())
}
