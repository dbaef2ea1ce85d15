//! Snapshots of a running VM: QEMU's own jobs, with memory; of some drives only, one transaction.
//!
//! QEMU pauses the guest while it works, and lets it go on. All that can be known is looked at before
//! that. Where a load breaks half-way the guest stays paused, and QEMU itself knows it.

use serde_json::{Value, json};

use super::{
    Before, LIMIT, Reasons, Task, before, check_whole, confirm_load, made, refuse_unfit, unknown,
};
use crate::commands::monitor::{JobError, Monitor, half_loaded};
use crate::control::life;
use crate::error::{Error, Result, quote};
use crate::qemu::snapshot::{Drive, Drives, Snapshot, SnapshotName, Tag, chosen};

fn monitor<'a>(task: &'a Task<'_>) -> Monitor<'a> {
    Monitor::new(task.context, &task.vm, task.context.deadline(LIMIT))
}

fn look(monitor: &Monitor<'_>) -> Result<Drives<String>> {
    Drives::read(&monitor.look("query-block")?)
}

pub(super) fn drives(task: &Task<'_>) -> Result<Vec<Drive>> {
    Ok(look(&monitor(task))?.drives)
}

pub(super) fn create(task: &Task<'_>, name: &SnapshotName) -> Result<Option<Snapshot>, Reasons> {
    let monitor = monitor(task);
    let name = name.as_str();
    monitor.refuse_half_loaded(&task.vm.name)?;
    let mut note = task.note()?;
    monitor.clear_jobs()?;
    let all = look(&monitor)?;
    let target = all.clone().only(&task.drives)?;
    let with_memory = task.drives.is_empty();
    refuse(&monitor, &target, with_memory)?;
    let before = before(task, &mut note, name, &all.drives, &target.drives)?;
    if task.is_rehearsal() {
        return Ok(None);
    }
    monitor.forget_failed_load();
    note.begin(name)?;
    // QEMU takes no second snapshot of a name.
    if before != Before::Nothing {
        delete(&monitor, &all, |tag| tag.name == name)?;
    }
    let ran = monitor.look("query-status")?["running"] == true;
    let taken = match with_memory {
        true => save(&monitor, &target, name),
        false => save_disks(&monitor, &target, name),
    };
    if let Err(error) = taken {
        keep_going(&monitor, ran)?;
        if look(&monitor).is_ok_and(|now| !now.have(name)) {
            note.forget();
        }
        return Err(error.into());
    }
    note.end()?;
    made(name, &look(&monitor)?.drives)
}

/// All that stands in the way, each by itself.
fn refuse(
    monitor: &Monitor<'_>,
    target: &Drives<String>,
    with_memory: bool,
) -> Result<(), Reasons> {
    let mut reasons = match refuse_unfit(&target.unfit, &target.drives) {
        Err(Reasons(reasons)) => reasons,
        Ok(()) => Vec::new(),
    };
    if with_memory {
        let migration = monitor.look("query-migrate")?;
        let blocked = migration["blocked-reasons"].as_array().into_iter().flatten();
        reasons.extend(blocked.filter_map(Value::as_str).map(|why| {
            Error::failed("its memory cannot be saved")
                .quoting(why)
                .hint("--drive NAME, or a snapshot of the stopped VM, is of disks alone")
        }));
    }
    if reasons.is_empty() { Ok(()) } else { Err(Reasons(reasons)) }
}

fn save(monitor: &Monitor<'_>, target: &Drives<String>, name: &str) -> Result<()> {
    let arguments = json!({
        "tag": name,
        "vmstate": target.handles.first(),
        "devices": target.handles,
    });
    match monitor.job_to_its_end("snapshot-save", arguments, false) {
        Ok(()) => Ok(()),
        Err(JobError::Refused(error)) => Err(error),
        // QEMU says no more of a full disk than that the state could not be written.
        Err(JobError::Broke(error)) => {
            let first = target.drives.first().map_or("", |drive| &drive.name);
            Err(error.or_hint(&format!(
                "look whether there is room for its memory where the image of {} lies",
                quote(first)
            )))
        }
    }
}

fn save_disks(monitor: &Monitor<'_>, target: &Drives<String>, name: &str) -> Result<()> {
    let action = |node: &String| {
        let data = json!({ "device": node, "name": name });
        json!({ "type": "blockdev-snapshot-internal-sync", "data": data })
    };
    let actions: Vec<Value> = target.handles.iter().map(action).collect();
    monitor.ask("transaction", &json!({ "actions": actions })).map(drop)
}

/// A guest that ran goes on where nothing was changed.
fn keep_going(monitor: &Monitor<'_>, ran: bool) -> Result<()> {
    if ran && monitor.look("query-status")?["running"] == false {
        monitor.look("cont")?;
    }
    Ok(())
}

/// Deletes snapshots by their ids, which are exact: the job `snapshot-delete` takes the first of a
/// name.
fn delete(monitor: &Monitor<'_>, all: &Drives<String>, which: impl Fn(&Tag) -> bool) -> Result<()> {
    for (drive, node) in all.drives.iter().zip(&all.handles) {
        for tag in drive.tags.iter().filter(|tag| which(tag)) {
            let arguments = json!({ "device": node, "id": tag.id, "name": tag.name });
            monitor.ask("blockdev-snapshot-delete-internal-sync", &arguments)?;
        }
    }
    Ok(())
}

pub(super) fn load(task: &Task<'_>, name: &str) -> Result<()> {
    let monitor = monitor(task);
    if !task.drives.is_empty() {
        return Err(Error::conflict("it runs, and some drives alone cannot go back under a guest")
            .hint("stop it first, or leave --drive out"));
    }
    monitor.clear_jobs()?;
    let all = look(&monitor)?;
    check_whole(name, &all.drives)?;
    if let Err(Reasons(mut reasons)) = refuse(&monitor, &all, true) {
        return Err(reasons.swap_remove(0));
    }
    let tags = chosen(&all.drives, name);
    let Some((main, tag)) = tags.iter().find(|(_, tag)| tag.vm_state > 0) else {
        let told = format!("the snapshot {} is of disks alone", quote(name));
        return Err(Error::conflict(told).hint("stop the VM, and load it then"));
    };
    refuse_another_machine(task, tag)?;
    // QEMU looks for a name among the ids first.
    let is_id = |drive: &Drive| drive.tags.iter().any(|tag| tag.id == name && tag.name != name);
    if all.drives.iter().any(is_id) {
        let told = format!("QEMU would take {} for the number of another snapshot", quote(name));
        return Err(Error::conflict(told).hint("stop the VM, and load it then"));
    }
    if task.is_rehearsal() {
        return Ok(());
    }
    confirm_load(task, name, "disks and its memory hold")?;
    // QEMU would load the first of a name: what a replacement left that was cut short goes.
    for (number, kept) in &tags {
        let drive = Drives {
            drives: vec![all.drives[*number].clone()],
            handles: vec![all.handles[*number].clone()],
            unfit: Vec::new(),
        };
        delete(&monitor, &drive, |tag| tag.name == name && tag.id != kept.id)?;
    }
    let ran = monitor.look("query-status")?["running"] == true;
    monitor.forget_failed_load();
    let arguments = json!({ "tag": name, "vmstate": all.handles[*main], "devices": all.handles });
    match monitor.job_to_its_end("snapshot-load", arguments, true) {
        Ok(()) => continue_loaded(&monitor),
        Err(JobError::Refused(error)) => {
            keep_going(&monitor, ran)?;
            Err(error)
        }
        Err(JobError::Broke(error)) => Err(after_a_broken_load(task, &monitor, name, ran, error)),
    }
}

/// A guest that was stopped by a broken load before goes on with a good one: QEMU lets go on only
/// what ran.
fn continue_loaded(monitor: &Monitor<'_>) -> Result<()> {
    if monitor.look("query-status")?["status"] == "restore-vm" {
        monitor.look("cont")?;
    }
    Ok(())
}

/// QEMU begins by looking whether all drives have the snapshot. Where they do not, it has loaded
/// nothing, and the guest goes on; anything later is a guest that must not.
fn after_a_broken_load(
    task: &Task<'_>,
    monitor: &Monitor<'_>,
    name: &str,
    ran: bool,
    error: Error,
) -> Error {
    let untouched = look(monitor).is_ok_and(|now| check_whole(name, &now.drives).is_err());
    if untouched {
        monitor.forget_failed_load();
        return match keep_going(monitor, ran) {
            Ok(()) => error,
            Err(further) => further,
        };
    }
    let told = format!("{}; it stays paused, for it was loaded half-way", error.message);
    Error::told(error.kind, told, half_loaded(&task.vm.name).hint.clone())
}

/// The machine that a VM was when a snapshot was taken is told by its runs; of one that is older than
/// those that are kept, QEMU is the judge.
fn refuse_another_machine(task: &Task<'_>, tag: &Tag) -> Result<()> {
    let runs = life::all_runs(&task.context.folders.vm(&task.vm.id));
    let now = runs.last().and_then(|run| run.machine.clone());
    let then = runs.iter().rev().find(|run| run.began_at <= tag.taken_at);
    match (then.and_then(|run| run.machine.clone()), now) {
        (Some(then), Some(now)) if then != now => Err(Error::conflict(format!(
            "the snapshot is of the machine {}, and it is {} now",
            quote(&then),
            quote(&now)
        ))
        .hint(format!(
            "\"maqet apply --machine {then}\" and a restart make it that machine again"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn rm(task: &Task<'_>, names: &[&str]) -> Result<()> {
    let monitor = monitor(task);
    monitor.clear_jobs()?;
    let all = look(&monitor)?;
    for name in names {
        if !all.have(name) {
            return Err(unknown(name));
        }
    }
    if task.is_rehearsal() {
        return Ok(());
    }
    delete(&monitor, &all, |tag| names.contains(&tag.name.as_str()))
}
