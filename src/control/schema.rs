//! What the QEMU of a running VM says of its commands, kept in a file for each QEMU there is.
//!
//! To ask takes some 10 ms, and the answer is the same as long as the program is. Where the file
//! cannot be read or written, QEMU is asked each time: nobody misses it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::qmp::Qmp;
use crate::error::Result;
use crate::paths::Folders;
use crate::private::{check_private, make_private};
use crate::qemu::schema::Schema;
use crate::sys;

/// How many are kept: those of the QEMUs that were asked last.
const KEPT: usize = 8;
/// The longest that is read, in bytes: QEMU 7.2's has 207 KB.
const LONGEST: u64 = 8 << 20;

/// The schema of the QEMU with this pid, which `qmp` speaks with.
///
/// # Errors
/// As of [`Qmp::execute`], and for an answer that is no schema.
pub(crate) fn of(folders: &Folders, qemu_pid: Option<u32>, qmp: &Qmp<'_>) -> Result<Schema> {
    let file = qemu_pid.and_then(|pid| Some(folders.cache().join(file_name(pid)?)));
    let kept = file.as_deref().and_then(read).and_then(|text| Schema::parse(&text).ok());
    if let Some(schema) = kept {
        return Ok(schema);
    }
    let text = qmp.execute("query-qmp-schema", &json!({}))?.to_string();
    let schema = Schema::parse(&text)?;
    if let Some(file) = file {
        keep(folders, &file, &text).unwrap_or_else(|error| log::debug!("not kept: {error}"));
    }
    Ok(schema)
}

/// By the program that runs, whatever lies in its place now, and by the first words of its command
/// line, which tell one script from another.
fn file_name(qemu_pid: u32) -> Option<String> {
    let process = PathBuf::from(format!("/proc/{qemu_pid}"));
    let program = process.join("exe");
    let found = std::fs::metadata(&program).ok()?;
    let path = std::fs::read_link(&program).ok()?;
    let words = std::fs::read(process.join("cmdline")).ok()?;
    let words: Vec<&[u8]> = words.split(|byte| *byte == 0).take(2).collect();
    let (device, inode, size) = (found.dev(), found.ino(), found.size());
    let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
    let what = format!("{path:?} {words:?} {device} {inode} {size} {seconds}.{nanoseconds}");
    let digest = Sha256::digest(what.as_bytes());
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Some(format!("qmp-{digits}.json"))
}

fn read(path: &Path) -> Option<String> {
    check_private(path.parent()?).ok()?;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(sys::NO_FOLLOW).open(path).ok()?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Makes the file, whole or not at all, and lets go of the oldest.
fn keep(folders: &Folders, path: &Path, text: &str) -> std::io::Result<()> {
    let folder = folders.cache();
    // A folder that cannot be made is a data folder that is only read.
    make_private(&folder).map_err(|error| std::io::Error::other(error.message.as_str()))?;
    let unfinished = path.with_extension(format!("new-{}", std::process::id()));
    let write = |mut file: File| file.write_all(text.as_bytes());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(sys::NO_FOLLOW);
    let made = options.open(&unfinished).and_then(write);
    made.and_then(|()| std::fs::rename(&unfinished, path))
        .inspect_err(|_| drop(std::fs::remove_file(&unfinished)))?;
    let entries = std::fs::read_dir(&folder)?.flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    for (_, surplus) in files.iter().rev().skip(KEPT) {
        let _ = std::fs::remove_file(surplus);
    }
    Ok(())
}
