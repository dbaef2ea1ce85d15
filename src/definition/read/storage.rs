//! One item of `storage`: a disk, or a folder of the host.

use std::path::Path;

use super::fields::Fields;
use super::words;
use crate::definition::keys;
use crate::definition::types::{
    Aio, Backing, Cache, Disk, Format, Interface, ItemName, Media, SecurityModel, Share, VARIABLES,
};
use crate::error::{Result, quote};

/// QEMU cuts a virtio disk's serial number after as many bytes (VIRTIO_BLK_ID_BYTES).
const LONGEST_SERIAL: usize = 20;
/// QEMU refuses a longer tag (MAX_TAG_LEN in its hw/9pfs/9p.h, with the zero byte).
const LONGEST_TAG: usize = 31;
/// The keys of a folder of the host.
const OF_SHARES: [&str; 6] = ["name", "type", "path", "tag", "security_model", "readonly"];

/// What an item is.
#[derive(Debug)]
pub(super) enum Item {
    Disk(Disk),
    Share(Share),
}

impl Item {
    pub(super) fn name(&self) -> &ItemName {
        match self {
            Item::Disk(disk) => &disk.name,
            Item::Share(share) => &share.name,
        }
    }

    pub(super) fn read(item: &Fields<'_>, name: ItemName) -> Result<Item> {
        let is_share = item.value("type").is_some_and(|word| word == "virtfs");
        if is_share { share(item, name).map(Item::Share) } else { disk(item, name).map(Item::Disk) }
    }

    /// The disks and the shares of a list. No two shares may have one tag: the guest could not tell
    /// them apart.
    pub(super) fn sorted(
        storage: &Fields<'_>,
        items: Vec<Item>,
    ) -> Result<(Vec<Disk>, Vec<Share>)> {
        let (mut disks, mut shares) = (Vec::new(), Vec::<Share>::new());
        for item in items {
            match item {
                Item::Disk(disk) => disks.push(disk),
                Item::Share(share) => {
                    if let Some(other) = shares.iter().find(|other| other.tag == share.tag) {
                        let why = format!("{} and {} have one tag", other.name, share.name);
                        return Err(storage.refuse("storage", why));
                    }
                    shares.push(share);
                }
            }
        }
        Ok((disks, shares))
    }
}

fn share(item: &Fields<'_>, name: ItemName) -> Result<Share> {
    for key in keys::STORAGE.iter().map(|key| key.name).filter(|key| !OF_SHARES.contains(key)) {
        if item.value(key).is_some() {
            return Err(item.refuse(key, "a shared folder (virtfs) takes none"));
        }
    }
    let Some(path) = item.file("path")? else {
        return Err(item.refuse("path", "a shared folder needs one"));
    };
    let tag = item.text("tag")?.unwrap_or(name.as_str()).to_owned();
    if !(1..=LONGEST_TAG).contains(&tag.len()) {
        return Err(item.refuse("tag", "a tag is 1 to 31 bytes"));
    }
    let security = item.choice("security_model", words::security_model)?;
    let readonly = item.bool("readonly")?.unwrap_or(false);
    let security = security.unwrap_or(SecurityModel::MappedXattr);
    Ok(Share { name, path, tag, security, readonly })
}

fn disk(item: &Fields<'_>, name: ItemName) -> Result<Disk> {
    if name.as_str() == VARIABLES {
        let why = format!("{} is the drive of the firmware's variables", quote(VARIABLES));
        return Err(item.refuse("name", why).hint("choose another name"));
    }
    for key in ["path", "tag", "security_model"] {
        if item.value(key).is_some() {
            let hint = "a folder of the host has \"type\": \"virtfs\"";
            return Err(item.refuse(key, "a disk takes none").hint(hint));
        }
    }
    let file = item.file("file")?;
    let is_iso =
        |path: &Path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("iso"));
    let media = match item.choice("media", words::media)? {
        Some(media) => media,
        None if file.as_deref().is_some_and(is_iso) => Media::Cdrom,
        None => Media::Disk,
    };
    if media == Media::Cdrom {
        check_cdrom(item)?;
    }
    let size = item.size("size")?;
    let from = item.file("from")?;
    let backing = backing(item)?;
    if from.is_some() && backing.is_some() {
        return Err(item
            .refuse("from", "a copy stands on no other image")
            .hint("take \"from\" or \"backing_file\""));
    }
    let is_made = size.is_some() || from.is_some() || backing.is_some();
    let format = match item.choice("type", words::format)? {
        Some(format) => format,
        None if media == Media::Cdrom => Format::Raw,
        None if file.is_none() || is_made => Format::Qcow2,
        None => {
            return Err(item
                .refuse("type", "it is missing, and the file does not exist to be looked at")
                .hint("with \"size\" maqet makes the image"));
        }
    };
    if file.is_none() && !is_made {
        return Err(item
            .refuse("size", "a disk needs a size, a file, a from or a backing_file")
            .hint("say how large it is made: \"size\": \"10G\""));
    }
    if !format.is_written() {
        check_foreign(item, format)?;
    }
    if backing.is_some() && format == Format::Raw {
        return Err(item.refuse("backing_file", "an image of type raw cannot stand on another"));
    }
    let cache = item.choice("cache", words::cache)?;
    let aio = item.choice("aio", words::aio)?;
    if aio == Some(Aio::Native) && !matches!(cache, Some(Cache::None | Cache::Directsync)) {
        return Err(item.refuse("aio", "\"native\" needs a cache of \"none\" or \"directsync\""));
    }
    let serial = item.text("serial")?.map(str::to_owned);
    if serial.as_ref().is_some_and(|serial| !(1..=LONGEST_SERIAL).contains(&serial.len())) {
        return Err(item.refuse("serial", "a serial number is 1 to 20 bytes"));
    }
    let disk = Disk {
        name,
        media,
        format,
        interface: item.choice("interface", words::interface)?,
        file,
        size,
        from,
        readonly: media == Media::Cdrom
            || !format.is_written()
            || item.bool("readonly")?.unwrap_or(false),
        backing,
        cache,
        aio,
        discard: item.choice("discard", words::discard)?,
        serial,
        bootindex: item.count("bootindex")?,
    };
    check_interface(item, &disk)?;
    Ok(disk)
}

/// A disc is there already, and is only read.
fn check_cdrom(item: &Fields<'_>) -> Result<()> {
    let is_disk = "with \"media\": \"disk\" it is a disk";
    if item.value("file").is_none() {
        return Err(item.refuse("file", "a cdrom needs a file"));
    }
    if item.bool("readonly")? == Some(false) {
        return Err(item.refuse("readonly", "a cdrom cannot be written").hint(is_disk));
    }
    for key in ["size", "from", "backing_file", "discard"] {
        if item.value(key).is_some() {
            return Err(item.refuse(key, "a cdrom takes none").hint(is_disk));
        }
    }
    Ok(())
}

/// An image of another program is there already, and is only read.
fn check_foreign(item: &Fields<'_>, format: Format) -> Result<()> {
    let format = format.as_str();
    if item.value("file").is_none() {
        return Err(item
            .refuse("file", format!("an image of type {format} needs a file"))
            .hint("maqet makes qcow2 and raw images; \"from\" copies one of another type"));
    }
    if item.bool("readonly")? == Some(false) {
        let hint = "\"from\" makes a copy that can be written";
        let why = format!("an image of type {format} is only read");
        return Err(item.refuse("readonly", why).hint(hint));
    }
    for key in ["size", "from", "backing_file", "discard"] {
        if item.value(key).is_some() {
            return Err(item.refuse(key, format!("an image of type {format} takes none")));
        }
    }
    Ok(())
}

/// What the guest sees must be able to be what is asked for.
fn check_interface(item: &Fields<'_>, disk: &Disk) -> Result<()> {
    match (disk.interface, disk.media) {
        (Some(Interface::Virtio | Interface::Nvme), Media::Cdrom) => Err(item
            .refuse("interface", "a cdrom is on sata, ide, scsi or usb")
            .hint("with \"media\": \"disk\" it is a disk")),
        (Some(Interface::Sata | Interface::Ide), Media::Disk) if disk.readonly => Err(item
            .refuse("interface", "a disk on sata or ide cannot be read-only")
            .hint("virtio, scsi, nvme and usb can")),
        (Some(Interface::Absent), _) if disk.serial.is_some() || disk.bootindex.is_some() => {
            let key = if disk.serial.is_some() { "serial" } else { "bootindex" };
            Err(item.refuse(key, "with an interface of none there is no device to have it"))
        }
        _ => Ok(()),
    }
}

fn backing(item: &Fields<'_>) -> Result<Option<Backing>> {
    match (item.file("backing_file")?, item.choice("backing_format", words::format)?) {
        (Some(file), Some(format)) => Ok(Some(Backing { file, format })),
        (Some(file), None) => Err(item
            .refuse(
                "backing_format",
                format!(
                    "it is missing, and {} does not exist to be looked at",
                    quote(&file.to_string_lossy())
                ),
            )
            .hint("say \"backing_format\": \"qcow2\" or \"raw\"")),
        (None, Some(_)) => Err(item.refuse("backing_format", "it needs a backing_file")),
        (None, None) => Ok(None),
    }
}
