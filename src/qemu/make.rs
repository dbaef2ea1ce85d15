//! Makes the image of a disk: under another name first, so that a kill leaves no half-made one, and
//! never over an existing file.
//!
//! Which images are to be made is the caller's to know.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::copy::{Original, Runs};
use super::img::Img;
use crate::definition::types::{Disk, Format};
use crate::error::{Error, Result};
use crate::sys;

/// What the name of an image begins with while it is being made.
pub(crate) const UNFINISHED: &str = ".maqet-";
/// Variables are some hundred kilobytes.
const VARIABLES_LIMIT: Duration = Duration::from_secs(20);

/// Where the image of the disk `name` of the VM `id` lies while it is being made: one name a VM and
/// disk, so that what a kill left is found again by the next who makes it.
fn unfinished(path: &Path, id: &str, name: &str) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new("/"));
    folder.join(format!("{UNFINISHED}{id}-{name}.new"))
}

/// Makes the image of a disk of the VM `id` at `path`, 0600. Only a holder of the VM's lock, or its
/// runner's client while it runs, makes one of a name. `run` runs the qemu-img that copies its `from`.
///
/// # Errors
/// In qemu-img's words, or the system's; nothing is left then.
pub(crate) fn make(disk: &Disk, id: &str, path: &Path, run: &mut Runs<'_>) -> Result<()> {
    let cannot = |error| Error::io(format_args!("make the image {}", path.display()), &error);
    whole(path, &unfinished(path, id, disk.name.as_str()), |unfinished| {
        match (&disk.from, disk.format) {
            (Some(from), format) => copy(disk, from, format, unfinished, run),
            (None, Format::Raw) => make_raw(disk, unfinished).map_err(cannot),
            (None, format) => make_formatted(disk, format, unfinished),
        }
    })
}

/// Makes the image of the firmware's variables of the VM `id` at `path`, 0600, of a template. Only a
/// holder of the VM's lock does.
///
/// # Errors
/// In qemu-img's words, or the system's; nothing is left then.
pub(crate) fn variables(template: &Path, format: Format, id: &str, path: &Path) -> Result<()> {
    whole(path, &unfinished(path, id, "firmware"), |unfinished| {
        let convert = Img::new(["convert", "-f", format.as_str(), "-O", "qcow2"]);
        convert.word(template).word(unfinished).copying(VARIABLES_LIMIT, None).run()
    })
}

/// Makes a file at `unfinished` and gives it its name when it is whole.
fn whole(path: &Path, unfinished: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let cannot = |error| Error::io(format_args!("make the image {}", path.display()), &error);
    match std::fs::remove_file(unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    let finished = make(unfinished).and_then(|()| {
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(unfinished, private)
            .and_then(|()| sys::rename_new(unfinished, path))
            .map_err(cannot)
    });
    if finished.is_err() {
        let _ = std::fs::remove_file(unfinished);
    }
    finished
}

fn copy(disk: &Disk, from: &Path, format: Format, path: &Path, run: &mut Runs<'_>) -> Result<()> {
    let original = Original::look(from)?;
    original.check_size(disk)?;
    original.copy(path, format, disk.size, run)
}

fn make_raw(disk: &Disk, path: &Path) -> std::io::Result<()> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_len(disk.size.unwrap_or(0))
}

fn make_formatted(disk: &Disk, format: Format, path: &Path) -> Result<()> {
    let mut words: Vec<OsString> =
        ["create", "-q", "-f", format.as_str()].map(OsString::from).into();
    if let Some(backing) = &disk.backing {
        words.extend(["-b".into(), backing.file.clone().into()]);
        words.extend(["-F".into(), backing.format.as_str().into()]);
    }
    words.push(path.into());
    words.extend(disk.size.map(|size| size.to_string().into()));
    Img::new(words).run()
}
