//! The images of disks that are about to be used: looked at where they exist, made where the
//! definition asks for it.
//!
//! What an image says is judged by `qemu::image`, and how one is made is `qemu::make`'s.

use std::path::{Path, PathBuf};

use crate::definition::types::Disk;
use crate::error::{Error, Result, quote};
use crate::paths::VmFolder;
use crate::private::make_private;
use crate::qemu::copy::Runs;
use crate::qemu::look::{examine, examine_backing};
use crate::qemu::make::make;

/// What the images of a VM turned out to be.
#[derive(Debug, Default)]
pub(crate) struct Images {
    /// Made just now.
    pub(crate) created: Vec<PathBuf>,
    /// Not files but block devices, which QEMU opens in another way.
    pub(crate) block_devices: Vec<PathBuf>,
}

/// Looks at every image of these disks and makes those that are to be made. Only a holder of the VM's
/// lock, or who works for the one that runs it, calls this. `copies` runs what copies images.
///
/// # Errors
/// For an image that names a file that its disk does not name, before anything opens that file; for
/// one that is missing; in qemu-img's words where it cannot be made.
pub(crate) fn prepare(
    storage: &[Disk],
    id: &str,
    folder: &VmFolder,
    copies: &mut Runs<'_>,
) -> Result<Images> {
    let mut images = Images::default();
    for disk in storage {
        let path = disk.path(folder.path());
        if let Some(backing) = &disk.backing {
            let is_device =
                examine_backing(backing)?.ok_or_else(|| missing(disk, &backing.file))?;
            images.block_devices.extend(is_device.then(|| backing.file.clone()));
        }
        match examine(disk, &path)? {
            Some(is_device) => {
                images.block_devices.extend(is_device.then_some(path));
            }
            None if disk.is_made_when_absent() => {
                if disk.file.is_none() {
                    make_private(&folder.disks())?;
                }
                make(disk, id, &path, copies)?;
                images.created.push(path);
            }
            None => return Err(missing(disk, &path)),
        }
    }
    Ok(images)
}

fn missing(disk: &Disk, path: &Path) -> Error {
    let (name, path) = (quote(disk.name.as_str()), path.display());
    Error::failed(format!("the image of its disk {name} is not there: {path}"))
        .hint("correct its file, or give the disk a size to have it made")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use serde_json::json;

    use super::*;
    use crate::definition::types::Definition;
    use crate::paths::Folders;
    use crate::testing::Folder;

    fn disks(storage: serde_json::Value) -> Vec<Disk> {
        let map = json!({ "storage": storage });
        Definition::read(map.as_object().unwrap()).unwrap().storage
    }

    fn folder(root: &Folder) -> VmFolder {
        let words = [root.path().as_os_str().to_owned(), "/r".into()];
        let folder = Folders::from_arguments(words.into_iter()).unwrap().vm("id");
        std::fs::create_dir_all(folder.path()).unwrap();
        folder
    }

    #[test]
    fn disks_are_made_once_and_closed_to_others() {
        let root = Folder::new();
        let folder = folder(&root);
        let storage = disks(json!([
            {"name": "a", "size": "1G"},
            {"name": "b, c=d".replace([',', ' ', '='], "."), "type": "raw", "size": "64M"},
        ]));
        let made = prepare(&storage, "id", &folder, &mut |copy| copy.img.run()).unwrap().created;
        assert_eq!(made, [folder.disks().join("a.qcow2"), folder.disks().join("b..c.d.raw")]);
        for path in &made {
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777 & 0o077, 0);
        }
        assert_eq!(std::fs::metadata(&made[1]).unwrap().len(), 64 << 20);
        assert!(
            prepare(&storage, "id", &folder, &mut |copy| copy.img.run())
                .unwrap()
                .created
                .is_empty()
        );
        assert_eq!(std::fs::read_dir(folder.disks()).unwrap().count(), 2);
    }

    #[test]
    fn an_image_that_is_neither_there_nor_to_be_made_is_named() {
        let root = Folder::new();
        let error = prepare(
            &disks(json!([{"file": "/nonexistent/a.img", "type": "raw"}])),
            "id",
            &folder(&root),
            &mut |copy| copy.img.run(),
        )
        .unwrap_err();
        assert!(error.message.contains("/nonexistent/a.img") && error.hint.is_some(), "{error}");
    }

    #[test]
    fn a_fifo_in_place_of_an_image_is_refused_at_once() {
        let root = Folder::new();
        let fifo = root.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let storage = json!([{"file": fifo, "type": "raw"}]);
        let error =
            prepare(&disks(storage), "id", &folder(&root), &mut |copy| copy.img.run()).unwrap_err();
        assert!(error.message.contains("neither a file nor a block device"), "{error}");
    }

    #[test]
    fn what_could_not_be_made_leaves_nothing() {
        let root = Folder::new();
        let target = root.path().join("x.qcow2");
        let storage = json!([{"file": target, "type": "qcow2", "size": "8E"}]);
        // A size that qemu-img refuses, or none at all where the reader refuses it first.
        let map = json!({ "storage": storage });
        if let Ok(definition) = Definition::read(map.as_object().unwrap()) {
            assert!(
                prepare(&definition.storage, "id", &folder(&root), &mut |copy| copy.img.run())
                    .is_err()
            );
        }
        let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name() == "vms"), "{left:?}");
    }
}
