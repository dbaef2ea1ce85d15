//! Snapshots of a stopped VM: qemu-img at each of its images, under both locks, all drives or none.
//!
//! Nothing is remembered beside the images: what a killed command left is told by which of them have
//! the name, see `qemu::snapshot`.

use std::time::Instant;

use super::{
    Before, LIMIT, Reasons, Task, before, check_whole, confirm_load, made, refuse_unfit, unknown,
};
use crate::commands::context::Vm;
use crate::commands::stopped::Stopped;
use crate::definition::types::{Definition, Format, VARIABLES};
use crate::error::{Error, Result, quote};
use crate::paths::VmFolder;
use crate::qemu::firmware;
use crate::qemu::image;
use crate::qemu::look::look;
use crate::qemu::snapshot::{Drive, Drives, Image, Snapshot, SnapshotName, chosen};

/// The drives of a stopped VM, in their order, each with its image.
fn look_at(definition: &Definition, folder: &VmFolder) -> Result<Drives<Image>> {
    let mut found = Drives { drives: Vec::new(), handles: Vec::new(), unfit: Vec::new() };
    for disk in definition.storage.iter().filter(|disk| !disk.readonly) {
        let name = disk.name.as_str();
        let path = disk.path(folder.path());
        if disk.format != Format::Qcow2 {
            let why = format!("its format is {}", disk.format.as_str());
            found.unfit.push((name.to_owned(), why));
            continue;
        }
        match look(&path)? {
            None => found.unfit.push((name.to_owned(), "its image is not there".to_owned())),
            Some((header, is_device)) => {
                image::check(disk, &path, &header)?;
                let image = Image { path, is_device };
                found.drives.push(Drive { name: name.to_owned(), tags: image.tags()? });
                found.handles.push(image);
            }
        }
    }
    if definition.firmware.has_variables() {
        let name = VARIABLES.to_owned();
        match firmware::variables(definition, folder)? {
            None => found.unfit.push((name, "its image is not there".to_owned())),
            Some(path) => {
                let image = Image { path, is_device: false };
                found.drives.push(Drive { name, tags: image.tags()? });
                found.handles.push(image);
            }
        }
    }
    Ok(found)
}

impl Drives<Image> {
    /// The same with what the images hold now.
    fn again(self) -> Result<Drives<Image>> {
        let mut again = self;
        for (drive, image) in again.drives.iter_mut().zip(&again.handles) {
            drive.tags = image.tags()?;
        }
        Ok(again)
    }

    /// Takes a snapshot of every drive, or of none.
    fn create(&self, name: &str, until: Instant) -> Result<()> {
        for (number, (drive, image)) in self.drives.iter().zip(&self.handles).enumerate() {
            if let Err(error) = image.create(name, until) {
                let error = of_drive(error, drive);
                let took_it = || -> Result<bool> {
                    let now = image.tags()?;
                    let now = now.iter().filter(|tag| tag.name == name).count();
                    Ok(now > drive.named(name).count())
                };
                let undo = || -> Result<()> {
                    // qemu-img may have come to its end all the same.
                    if took_it()? {
                        image.delete(name, until)?;
                    }
                    self.handles[..number].iter().try_for_each(|image| image.delete(name, until))
                };
                return Err(match undo() {
                    Ok(()) => error,
                    Err(_) => error.hint("a part of it is left: \"maqet snapshot rm\" removes it"),
                });
            }
        }
        Ok(())
    }

    /// Deletes all snapshots of this name but the newest `keep` in each image. As many as the drives
    /// had when they were looked at.
    fn delete(&self, name: &str, keep: usize, until: Instant) -> Result<()> {
        for (drive, image) in self.drives.iter().zip(&self.handles) {
            for _ in keep..drive.named(name).count() {
                image.delete(name, until).map_err(|error| of_drive(error, drive))?;
            }
        }
        Ok(())
    }
}

fn of_drive(error: Error, drive: &Drive) -> Error {
    let error = error.said_of(format_args!("its drive {}", quote(&drive.name)));
    match error.message.contains("No space left on device") {
        true => error.or_hint("make room there, and try again"),
        false => error,
    }
}

pub(super) fn drives(task: &Task<'_>) -> Result<Vec<Drive>> {
    let folder = task.context.folders.vm(&task.vm.id);
    Ok(look_at(&task.definition, &folder)?.drives)
}

/// Both locks, and the drives as they are under them: the row is read then, and never before.
fn begin(task: &Task<'_>) -> Result<(Stopped, Drives<Image>)> {
    let stopped = Stopped::take(task.context, &task.vm)?;
    let store = task.context.store_to_read()?;
    let row = store.map(|store| store.by_id(&task.vm.id)).transpose()?.flatten();
    let vm = row.map(Vm::from).ok_or_else(|| Error::not_found("it has just been removed"))?;
    let definition = task.context.definition(&vm)?;
    let drives = look_at(&definition, &task.context.folders.vm(&vm.id))?;
    Ok((stopped, drives))
}

pub(super) fn create(task: &Task<'_>, name: &SnapshotName) -> Result<Option<Snapshot>, Reasons> {
    let until = task.context.deadline(LIMIT);
    let name = name.as_str();
    let (_stopped, all) = begin(task)?;
    let every = all.drives.clone();
    let target = all.only(&task.drives)?;
    refuse_unfit(&target.unfit, &target.drives)?;
    let mut note = task.note()?;
    let before = before(task, &mut note, name, &every, &target.drives)?;
    if task.is_rehearsal() {
        return Ok(None);
    }
    if before == Before::Whole {
        replace(&target, name, until)?;
        return made(name, &target.again()?.drives);
    }
    note.begin(name)?;
    target.delete(name, 0, until)?;
    let taken = target.create(name, until);
    let now = target.again();
    if let Err(error) = taken {
        if now.is_ok_and(|now| !now.have(name)) {
            note.forget();
        }
        return Err(error.into());
    }
    note.end()?;
    made(name, &now?.drives)
}

/// The new one beside the old in each image, in the order of the drives; then the old ones go, in the
/// same order: so it can be told at any time which of them counts.
fn replace(target: &Drives<Image>, name: &str, until: Instant) -> Result<()> {
    for (number, (drive, image)) in target.drives.iter().zip(&target.handles).enumerate() {
        image.create(name, until).map_err(|error| {
            let error = of_drive(error, drive);
            match number {
                0 => error,
                _ => error.hint("the old one still counts; --replace may be tried again"),
            }
        })?;
    }
    for (drive, image) in target.drives.iter().zip(&target.handles) {
        for _ in drive.named(name) {
            image.delete(name, until).map_err(|error| of_drive(error, drive))?;
        }
    }
    Ok(())
}

pub(super) fn load(task: &Task<'_>, name: &str) -> Result<()> {
    let until = task.context.deadline(LIMIT);
    let (_stopped, all) = begin(task)?;
    let target = all.only(&task.drives)?;
    if let Err(Reasons(mut reasons)) = refuse_unfit(&target.unfit, &target.drives) {
        return Err(reasons.swap_remove(0));
    }
    check_whole(name, &target.drives)?;
    let tags = chosen(&target.drives, name);
    let ids: Vec<String> = tags.iter().map(|(_, tag)| tag.id.clone()).collect();
    let has_memory = tags.iter().any(|(_, tag)| tag.vm_state > 0);
    if task.is_rehearsal() {
        return Ok(());
    }
    confirm_load(task, name, "disks hold")?;
    match target.handles.as_slice() {
        [image] => {
            image.apply(&ids[0], until).map_err(|error| of_drive(error, &target.drives[0]))?
        }
        _ => load_all(target, name, &ids, until)?,
    }
    if has_memory {
        let told = "its disks are as they were, but it starts anew, without the snapshot's memory";
        let how = "start it, and load the snapshot then, to go on from that";
        task.context.note(&format!("{}: {told}; {how}", task.vm.name));
    }
    Ok(())
}

/// Loads the snapshots with these ids into all drives, or into none: what was there before is kept
/// beside it until all have been loaded.
fn load_all(target: Drives<Image>, name: &str, ids: &[String], until: Instant) -> Result<()> {
    let way_back = SnapshotName::before_loading(name);
    let way_back = way_back.as_str();
    // One that is whole was left by a load that was cut short: it knows better than we do what was
    // there before.
    let target = if target.drives.iter().all(|drive| drive.has(way_back)) {
        target
    } else {
        target.delete(way_back, 0, until)?;
        target.create(way_back, until)?;
        target.again()?
    };
    for (number, (image, id)) in target.handles.iter().zip(ids).enumerate() {
        if let Err(error) = image.apply(id, until) {
            let error = of_drive(error, &target.drives[number]);
            let went_back = || -> Result<()> {
                let old = chosen(&target.drives, way_back);
                for (image, (_, tag)) in target.handles.iter().zip(old).take(number + 1) {
                    image.apply(&tag.id, until)?;
                }
                target.delete(way_back, 0, until)
            };
            return Err(match went_back() {
                Ok(()) => error,
                Err(_) => error.hint(format!(
                    "what its disks held is in the snapshot {}: load that",
                    quote(way_back)
                )),
            });
        }
    }
    target.delete(way_back, 0, until)
}

pub(super) fn rm(task: &Task<'_>, names: &[&str]) -> Result<()> {
    let until = task.context.deadline(LIMIT);
    let (_stopped, all) = begin(task)?;
    for name in names {
        if !all.have(name) {
            return Err(unknown(name));
        }
    }
    if task.is_rehearsal() {
        return Ok(());
    }
    names.iter().try_for_each(|name| all.delete(name, 0, until))
}
