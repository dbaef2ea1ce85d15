//! The definition of a copy of a VM: whose disks are whose, and what may not be the same twice.
//!
//! Works on definitions as they are stored; no file is looked at.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::types::{Disk, Media};

/// What becomes of a disk of the VM's own in the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// There is no image yet: the copy makes its own.
    Unmade,
    /// The image is copied; it lies in this file, where nothing else tells where.
    Copied(PathBuf),
    /// As `Copied`, but the copy stands on no other image: what that one held is in it.
    Flattened(PathBuf),
    /// A new image stands on this one, of this format.
    Linked(PathBuf, &'static str),
}

/// Whether the disk is the VM's own, and not one that others may read, too: the guest can write it,
/// or it lies in the VM's folder. A disc is nobody's.
pub(crate) fn is_own(disk: &Disk, vm_folder: &Path) -> bool {
    let is_shared = disk.readonly && !disk.path(vm_folder).starts_with(vm_folder);
    disk.media == Media::Disk && !is_shared
}

/// Takes the hardware addresses out, since two cards of one address on one network reach nobody.
/// The names of the cards that had one.
pub(crate) fn without_addresses(definition: &mut Map<String, Value>) -> Vec<String> {
    let cards = definition.get_mut("network").and_then(Value::as_array_mut);
    let mut names = Vec::new();
    for card in cards.into_iter().flatten().filter_map(Value::as_object_mut) {
        if card.remove("mac").is_some_and(|mac| !mac.is_null()) {
            names.push(card.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
        }
    }
    names
}

/// Rewrites the disk of this name for a VM with another folder.
pub(crate) fn move_disk(definition: &mut Map<String, Value>, name: &str, fate: &Fate) {
    let disks = definition.get_mut("storage").and_then(Value::as_array_mut);
    let mut disks = disks.into_iter().flatten().filter_map(Value::as_object_mut);
    let named = |disk: &Map<String, Value>| disk.get("name").and_then(Value::as_str) == Some(name);
    let Some(disk) = disks.find(|disk| named(disk)) else { return };
    disk.remove("file");
    if let Fate::Copied(_) | Fate::Flattened(_) = fate {
        // It has served.
        disk.remove("from");
    }
    if let Fate::Flattened(_) = fate {
        disk.remove("backing_file");
        disk.remove("backing_format");
    }
    let says = |key: &str| disk.get(key).is_some_and(|value| !value.is_null());
    match fate {
        Fate::Unmade => {}
        Fate::Copied(file) | Fate::Flattened(file) => {
            // With one of these it lies in the VM's folder by itself, wherever that is.
            if !says("size") && !says("backing_file") {
                disk.insert("file".into(), file.to_string_lossy().into());
                // What it is by default where it has no file of its own.
                disk.entry("type").or_insert_with(|| "qcow2".into());
            }
        }
        Fate::Linked(backing, format) => {
            // It is as large as what it stands on.
            disk.remove("size");
            disk.remove("from");
            disk.insert("type".into(), "qcow2".into());
            disk.insert("backing_file".into(), backing.to_string_lossy().into());
            disk.insert("backing_format".into(), (*format).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definition::types::Definition;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_the_guest_writes_and_what_lies_in_the_folder_is_the_vms_own() {
        let definition = map(json!({"storage": [
            {"name": "a", "size": "1G"},
            {"name": "b", "file": "/x/b.raw", "type": "raw"},
            {"name": "c", "file": "/x/c.raw", "type": "raw", "readonly": true},
            {"name": "d", "file": "/x/d.iso"},
            {"name": "f", "file": "/vm/disks/f.iso"},
            {"name": "e", "file": "/vm/disks/e.raw", "type": "raw", "readonly": true},
        ]}));
        let disks = Definition::read(&definition).unwrap().storage;
        let own: Vec<bool> = disks.iter().map(|disk| is_own(disk, Path::new("/vm"))).collect();
        assert_eq!(own, [true, true, false, false, false, true]);
    }

    #[test]
    fn a_disk_is_rewritten_for_its_fate() {
        for (disk, fate, expected) in [
            (
                json!({"name": "a", "file": "/x", "size": "1G"}),
                Fate::Unmade,
                json!({"name": "a", "size": "1G"}),
            ),
            (
                json!({"name": "a", "file": "/x", "size": "1G"}),
                Fate::Copied("/new/a".into()),
                json!({"name": "a", "size": "1G"}),
            ),
            (
                json!({"name": "a", "file": "/x", "type": "raw"}),
                Fate::Copied("/new/a".into()),
                json!({"name": "a", "file": "/new/a", "type": "raw"}),
            ),
            (
                json!({"name": "a", "from": "/x", "backing_file": "/b", "backing_format": "raw"}),
                Fate::Flattened("disks/a".into()),
                json!({"name": "a", "file": "disks/a", "type": "qcow2"}),
            ),
            (
                json!({"name": "a", "size": "1G", "type": "raw", "cache": "none"}),
                Fate::Linked("/old/a".into(), "raw"),
                json!({"name": "a", "type": "qcow2", "cache": "none",
                       "backing_file": "/old/a", "backing_format": "raw"}),
            ),
        ] {
            let mut definition = map(json!({"storage": [{"name": "z"}, disk]}));
            move_disk(&mut definition, "a", &fate);
            assert_eq!(definition["storage"], json!([{"name": "z"}, expected]), "{fate:?}");
            move_disk(&mut definition, "not there", &fate);
        }
    }

    #[test]
    fn addresses_are_taken_out_and_their_cards_named() {
        let mut definition = map(json!({"network": [
            {"name": "net0", "mac": "52:54:00:00:00:01", "model": "e1000"}, {"name": "net1"},
        ]}));
        assert_eq!(without_addresses(&mut definition), ["net0"]);
        let expected = json!([{"name": "net0", "model": "e1000"}, {"name": "net1"}]);
        assert_eq!(definition["network"], expected);
        assert!(without_addresses(&mut Map::new()).is_empty());
    }
}
