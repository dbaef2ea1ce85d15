//! A disk and a network card: one item of `storage`, one of `network`.

use std::path::PathBuf;

use super::fields::{Fields, at, text};
use super::words;
use crate::definition::port::Port;
use crate::definition::types::{
    Aio, Backing, Cache, Card, Disk, Format, ItemName, Link, Mac, Media, Model,
};
use crate::error::{Result, quote};

/// QEMU cuts a virtio disk's serial number after as many bytes (VIRTIO_BLK_ID_BYTES).
const LONGEST_SERIAL: usize = 20;

pub(super) fn disk(item: &Fields<'_>, name: ItemName) -> Result<Disk> {
    item.only_default("interface")?;
    let file = item.file("file")?;
    let is_iso =
        |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("iso"));
    let media = match item.choice("media", words::media)? {
        Some(media) => media,
        None if file.as_ref().is_some_and(is_iso) => Media::Cdrom,
        None => Media::Disk,
    };
    if media == Media::Cdrom {
        check_cdrom(item)?;
    }
    let size = item.size("size")?;
    let backing = backing(item)?;
    let format = match item.choice("type", words::format)? {
        Some(format) => format,
        None if media == Media::Cdrom => Format::Raw,
        None if file.is_none() || size.is_some() || backing.is_some() => Format::Qcow2,
        None => {
            return Err(item
                .refuse("type", "it is missing, and the file does not exist to be looked at")
                .hint("with \"size\" maqet makes the image"));
        }
    };
    if file.is_none() && size.is_none() && backing.is_none() {
        return Err(item.refuse("size", "a disk needs a size, a file or a backing_file"));
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
    Ok(Disk {
        name,
        media,
        format,
        file,
        size,
        readonly: media == Media::Cdrom || item.bool("readonly")?.unwrap_or(false),
        backing,
        cache,
        aio,
        discard: item.choice("discard", words::discard)?,
        serial,
        bootindex: item.count("bootindex")?,
    })
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
    for key in ["size", "backing_file", "discard", "interface"] {
        if item.value(key).is_some() {
            return Err(item.refuse(key, "a cdrom takes none").hint(is_disk));
        }
    }
    Ok(())
}

fn backing(item: &Fields<'_>) -> Result<Option<Backing>> {
    match (item.file("backing_file")?, item.choice("backing_format", words::format)?) {
        (Some(file), Some(format)) => Ok(Some(Backing { file, format })),
        (Some(_), None) => Err(item
            .refuse(
                "backing_format",
                "it is missing, and the backing file does not exist to be looked at",
            )
            .hint("say \"backing_format\": \"qcow2\" or \"raw\"")),
        (None, Some(_)) => Err(item.refuse("backing_format", "it needs a backing_file")),
        (None, None) => Ok(None),
    }
}

pub(super) fn card(item: &Fields<'_>, name: ItemName) -> Result<Card> {
    let link = item.choice("type", words::link)?.unwrap_or(Link::User);
    let ports = ports(item)?;
    if link != Link::User && !ports.is_empty() {
        return Err(item.refuse("ports", "only a card of type user has ports"));
    }
    Ok(Card {
        name,
        link,
        ports,
        model: item.choice("model", words::model)?.unwrap_or(Model::Virtio),
        mac: mac(item)?,
    })
}

fn ports(item: &Fields<'_>) -> Result<Vec<Port>> {
    let mut all: Vec<Port> = Vec::new();
    for (path, value) in item.list("ports")?.unwrap_or_default() {
        let port = Port::parse(text(&path, value)?).map_err(|error| at(&path, error))?;
        if let Some(other) = all.iter().find(|other| other.collides(&port)) {
            return Err(item.refuse("ports", format!("{port} and {other} are the same port")));
        }
        all.push(port);
    }
    Ok(all)
}

fn mac(item: &Fields<'_>) -> Result<Option<Mac>> {
    let Some(text) = item.text("mac")? else {
        return Ok(None);
    };
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    let mut next = || parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
    let is_read = bytes.iter_mut().all(|byte| {
        next().and_then(|part| u8::from_str_radix(part, 16).ok()).map(|read| *byte = read).is_some()
    });
    if !is_read || parts.next().is_some() {
        let why = format!("expected six pairs of hex digits with colons, found {}", quote(text));
        return Err(item.refuse("mac", why));
    }
    if bytes[0] & 1 == 1 || bytes == [0; 6] {
        return Err(item
            .refuse("mac", format!("{} is not the address of one card", quote(text)))
            .hint("the first byte must be even; 52:54:00:… is QEMU's own"));
    }
    Ok(Some(Mac(bytes)))
}
