//! A VM's UEFI: found on the host by QEMU's descriptors or named by the definition, and the image of
//! its variables, which every VM has for itself.
//!
//! Which descriptor fits is `descriptor`'s to say, what QEMU is told `argv`'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use self::descriptor::Descriptor;
use crate::definition::types::{Definition, Firmware, Format};
use crate::error::{Error, Result};
use crate::paths::VmFolder;
use crate::qemu::image::Header;
use crate::qemu::look::look;
use crate::qemu::machine::{self, Machine};
use crate::qemu::make;

mod descriptor;

/// Where descriptors lie; one of a later folder stands in for one of the same name.
const FOLDERS: [&str; 2] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];
/// No descriptor is larger, in bytes.
const LARGEST: u64 = 64 << 10;

/// An image in flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

/// What a firmware is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flash {
    pub(crate) code: Image,
    /// What the variables of a VM are at first.
    pub(crate) vars: Image,
}

/// The firmware that a definition means on this binary; `None` where QEMU takes its own, and where
/// the machine has no flash, which is refused elsewhere.
///
/// # Errors
/// Where no descriptor of the host fits.
pub(crate) fn find(definition: &Definition, binary: &Path) -> Result<Option<Flash>> {
    let machine_type = machine::type_of(definition, binary);
    let raw = |path: &PathBuf| Image { path: path.clone(), format: Format::Raw };
    match &definition.firmware {
        Firmware::Bios => Ok(None),
        Firmware::Files { code, vars } => Ok(Some(Flash { code: raw(code), vars: raw(vars) })),
        Firmware::Uefi if !Machine::of(machine_type).flash => Ok(None),
        Firmware::Uefi => {
            let architecture = machine::architecture(binary);
            let is_there = |flash: &Flash| flash.code.path.exists() && flash.vars.path.exists();
            let mut all = descriptors(&FOLDERS.map(Path::new)).into_iter();
            let found = all
                .find_map(|one| one.fits(&architecture, machine_type).filter(is_there))
                .ok_or_else(|| {
                    Error::failed(format!(
                        "there is no UEFI firmware for the machine {machine_type} of \
                         {architecture} on this host"
                    ))
                    .hint(
                        "install it, in a package such as ovmf or edk2-ovmf, or name its files: \
                         \"firmware\": {\"code\": FILE, \"vars\": FILE}",
                    )
                })?;
            Ok(Some(found))
        }
    }
}

/// The code of a firmware as a definition alone lets it be imagined.
pub(crate) fn unseen(definition: &Definition) -> Option<Image> {
    let path = match &definition.firmware {
        Firmware::Bios => return None,
        Firmware::Uefi => "firmware".into(),
        Firmware::Files { code, .. } => code.clone(),
    };
    Some(Image { path, format: Format::Raw })
}

/// The code of the VM's firmware, with the VM's variables there: made of the template where they are
/// not, and then in `created`. Only a holder of the VM's lock calls this.
///
/// # Errors
/// As of `find` and `variables`; in qemu-img's words where the variables cannot be made.
pub(crate) fn prepare(
    definition: &Definition,
    binary: &Path,
    id: &str,
    folder: &VmFolder,
    created: &mut Vec<PathBuf>,
) -> Result<Option<Image>> {
    let Some(flash) = find(definition, binary)? else { return Ok(None) };
    if variables(definition, folder)?.is_none() {
        let path = folder.variables();
        make::variables(&flash.vars.path, flash.vars.format, id, &path)?;
        created.push(path);
    }
    Ok(Some(flash.code))
}

/// The image of the variables of a VM that has them, where it is there.
///
/// # Errors
/// Where it is not what maqet has made: QEMU would open other files for it.
pub(crate) fn variables(definition: &Definition, folder: &VmFolder) -> Result<Option<PathBuf>> {
    if !definition.firmware.has_variables() {
        return Ok(None);
    }
    let path = folder.variables();
    match look(&path)? {
        None => Ok(None),
        Some((Header::Qcow2 { backing_file: None, data_file: false, .. }, false)) => Ok(Some(path)),
        Some(_) => Err(Error::failed(format!(
            "the firmware's variables are not a qcow2 image by itself: {}",
            path.display()
        ))
        .hint("move it away: the next start makes new ones")),
    }
}

/// The descriptors in these folders, in the order of their files' names.
fn descriptors(folders: &[&Path]) -> Vec<Descriptor> {
    let mut files = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                files.insert(entry.file_name(), entry.path());
            }
        }
    }
    // One that is empty, or a link to nowhere, takes another of its name away.
    files.into_values().filter_map(|path| read(&path)).collect()
}

fn read(path: &Path) -> Option<Descriptor> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok().filter(|file| {
        file.metadata().is_ok_and(|found| found.is_file() && found.len() <= LARGEST)
    })?;
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Descriptor::read(&bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn the_first_by_name_is_taken_and_a_later_folder_stands_in() {
        let (vendor, own) = (Folder::new(), Folder::new());
        let write = |folder: &Folder, name: &str, code: &str| {
            let file = json!({"filename": code, "format": "raw"});
            let text = json!({
                "interface-types": ["uefi"],
                "mapping": {"device": "flash", "executable": file, "nvram-template": file},
                "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
            });
            std::fs::write(folder.path().join(name), text.to_string()).unwrap();
        };
        let codes = || -> Vec<PathBuf> {
            let all = descriptors(&[vendor.path(), own.path(), Path::new("/nonexistent")]);
            all.iter().map(|one| one.fits("x86_64", "q35").unwrap().code.path).collect()
        };
        write(&vendor, "60-b.json", "/b");
        write(&vendor, "50-a.json", "/a");
        write(&vendor, "10-no.txt", "/no");
        std::fs::write(vendor.path().join("00-broken.json"), "{").unwrap();
        assert_eq!(codes(), [Path::new("/a"), Path::new("/b")]);
        write(&own, "60-b.json", "/own");
        std::fs::write(own.path().join("50-a.json"), "").unwrap();
        assert_eq!(codes(), [Path::new("/own")]);
    }
}
