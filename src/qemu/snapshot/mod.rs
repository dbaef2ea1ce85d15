//! The snapshots inside qcow2 images: what qemu-img and QMP tell of them becomes one type, and the
//! snapshots of a VM are read out of those of its drives.
//!
//! Pure: who asks qemu-img or QEMU, and when, is not decided here. A snapshot of a VM is nothing but
//! snapshots of the same name in its images: no record is kept beside them that could lie.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result, quote};
use crate::time::Timestamp;

mod image;
mod live;

pub(crate) use image::Image;
pub(crate) use live::{failed_load, is_half_loaded};

/// The longest name that QEMU keeps whole, in bytes (`QEMUSnapshotInfo.name` with its zero byte).
const LONGEST_NAME: usize = 255;

/// The name of a snapshot that is to be made: 1 to 255 bytes, no control characters, not digits
/// alone, which QEMU would take for the number of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotName(String);

impl SnapshotName {
    /// Reads a name that a person has given.
    ///
    /// # Errors
    /// `Kind::Usage` for a name that QEMU would cut, or take for something else.
    pub(crate) fn parse(text: &str) -> Result<SnapshotName> {
        let refuse = |why: &str| {
            Err(Error::usage(format!("a snapshot cannot have the name {}: {why}", quote(text))))
        };
        match text {
            "" => refuse("it is empty"),
            _ if text.len() > LONGEST_NAME => refuse("QEMU keeps 255 bytes of a name"),
            _ if text.contains(char::is_control) => refuse("it has control characters"),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                refuse("QEMU takes digits alone for the number of another snapshot")
            }
            _ => Ok(SnapshotName(text.to_owned())),
        }
    }

    /// The name of one that is made at this time, of which a person has not said how to call it:
    /// `2026-11-25T05:52:00Z`.
    pub(crate) fn at(time: Timestamp) -> SnapshotName {
        SnapshotName(time.to_seconds())
    }

    /// What the images keep while a snapshot of this name is being loaded into several: what was
    /// there before.
    pub(crate) fn before_loading(name: &str) -> SnapshotName {
        let mut text = format!("before loading {name}");
        while text.len() > LONGEST_NAME {
            text.pop();
        }
        SnapshotName(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One snapshot in one image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tag {
    /// Once in its image; digits.
    pub(crate) id: String,
    /// Other programs than maqet may give a name twice.
    pub(crate) name: String,
    pub(crate) taken_at: Timestamp,
    /// How long the guest had run, in seconds.
    pub(crate) vm_clock: f64,
    /// Bytes of the guest's memory and devices in this image; 0 where the snapshot is of a disk
    /// alone, or the memory lies in another image.
    pub(crate) vm_state: u64,
}

/// QEMU's `SnapshotInfo`, as qemu-img and QMP write it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawTag {
    id: String,
    name: String,
    vm_state_size: u64,
    date_sec: i64,
    date_nsec: i64,
    vm_clock_sec: i64,
    vm_clock_nsec: i64,
}

/// The snapshots in the object with which `qemu-img info --output=json` and QMP describe an image.
///
/// # Errors
/// Where it is not of QEMU's form.
pub(crate) fn tags(image: &Value) -> Result<Vec<Tag>> {
    let list = match &image["snapshots"] {
        Value::Null => return Ok(Vec::new()),
        list => list.clone(),
    };
    let raw: Vec<RawTag> = serde_json::from_value(list)
        .map_err(|error| Error::failed(format!("cannot read an image's snapshots: {error}")))?;
    let tag = |raw: RawTag| Tag {
        id: raw.id,
        name: raw.name,
        taken_at: Timestamp::from_unix_millis(
            raw.date_sec.saturating_mul(1000).saturating_add(raw.date_nsec / 1_000_000),
        ),
        vm_clock: raw.vm_clock_sec as f64 + raw.vm_clock_nsec as f64 / 1e9,
        vm_state: raw.vm_state_size,
    };
    Ok(raw.into_iter().map(tag).collect())
}

/// A drive that can hold snapshots, with those that it holds, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drive {
    pub(crate) name: String,
    pub(crate) tags: Vec<Tag>,
}

impl Drive {
    /// Those of this name: two where a replacement was cut short.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tag> {
        self.tags.iter().filter(move |tag| tag.name == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }
}

/// The drives of a VM, each with that by which it is worked on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drives<H> {
    /// Those that can hold a snapshot.
    pub(crate) drives: Vec<Drive>,
    /// As many as `drives`.
    pub(crate) handles: Vec<H>,
    /// Those that are written to and can hold none: the name, and why.
    pub(crate) unfit: Vec<(String, String)>,
}

impl<H> Drives<H> {
    /// Whether any of them has a snapshot of this name.
    pub(crate) fn have(&self, name: &str) -> bool {
        self.drives.iter().any(|drive| drive.has(name))
    }

    /// Those of these names alone; all where none is named.
    ///
    /// # Errors
    /// `Kind::NotFound` for a name that no drive has.
    pub(crate) fn only(mut self, names: &[&str]) -> Result<Drives<H>> {
        if names.is_empty() {
            return Ok(self);
        }
        let fit = self.drives.iter().map(|drive| drive.name.as_str());
        let known: Vec<&str> =
            fit.chain(self.unfit.iter().map(|(name, _)| name.as_str())).collect();
        if let Some(name) = names.iter().find(|name| !known.contains(name)) {
            let told = format!("it has no drive {} that is written to", quote(name));
            return Err(Error::not_found(told));
        }
        self.unfit.retain(|(name, _)| names.contains(&name.as_str()));
        let both = self.drives.into_iter().zip(self.handles);
        let (drives, handles) = both.filter(|(it, _)| names.contains(&it.name.as_str())).unzip();
        Ok(Drives { drives, handles, unfit: self.unfit })
    }
}

/// A snapshot of a VM, as `snapshot ls` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    pub(crate) date: Timestamp,
    /// Bytes of memory and devices; 0 where only disks were kept.
    pub(crate) vm_state_size: u64,
    /// How long the guest had run, in seconds.
    pub(crate) vm_clock: f64,
    /// The drives that have it.
    pub(crate) drives: Vec<String>,
    /// Those that could have it, and do not: it is of some drives only, or was never finished.
    pub(crate) missing: Vec<String>,
}

/// The snapshots of a VM with these drives, oldest first.
pub(crate) fn gather(drives: &[Drive]) -> Vec<Snapshot> {
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    for tag in drives.iter().flat_map(|drive| &drive.tags) {
        names.insert(&tag.name, ());
    }
    let mut all: Vec<Snapshot> = names.into_keys().filter_map(|name| one(drives, name)).collect();
    all.sort_by(|a, b| a.date.cmp(&b.date).then_with(|| a.name.cmp(&b.name)));
    all
}

fn one(drives: &[Drive], name: &str) -> Option<Snapshot> {
    let found = chosen(drives, name);
    // The one with the memory knows best how long the guest had run.
    let main = found.iter().map(|(_, tag)| *tag).max_by_key(|tag| tag.vm_state)?;
    let (has, lacks): (Vec<&Drive>, Vec<&Drive>) = drives.iter().partition(|it| it.has(name));
    let names = |drives: Vec<&Drive>| drives.into_iter().map(|it| it.name.clone()).collect();
    Some(Snapshot {
        name: name.to_owned(),
        date: main.taken_at,
        vm_state_size: main.vm_state,
        vm_clock: main.vm_clock,
        drives: names(has),
        missing: names(lacks),
    })
}

/// The tags that a name means, each with the number of its drive.
///
/// A replacement gives the name a second time in each image, in the order of the drives, and takes
/// the first away only when all have two, in the same order. So the new ones count from the moment
/// when the last drive has its second; until then, the old ones.
pub(crate) fn chosen<'a>(drives: &'a [Drive], name: &'a str) -> Vec<(usize, &'a Tag)> {
    let having = || drives.iter().enumerate().filter(|(_, drive)| drive.has(name));
    let newest = having().next_back().is_some_and(|(_, drive)| drive.named(name).count() > 1);
    having()
        .filter_map(|(number, drive)| {
            let tag = if newest { drive.named(name).last() } else { drive.named(name).next() };
            tag.map(|tag| (number, tag))
        })
        .collect()
}

#[cfg(test)]
mod tests;
