//! A disk and a network card: one item of `storage`, one of `network`.

use std::path::PathBuf;

use super::fields::Fields;
use super::words;
use crate::definition::types::{
    Aio, Backing, Cache, Card, Disk, Format, ItemName, Link, Mac, Model,
};
use crate::error::{Result, quote};

/// QEMU cuts a virtio disk's serial number after as many bytes (VIRTIO_BLK_ID_BYTES).
const LONGEST_SERIAL: usize = 20;

pub(super) fn disk(item: &Fields<'_>, name: ItemName) -> Result<Disk> {
    item.only_default("interface")?;
    item.only_default("media")?;
    let file = item.file("file")?;
    let size = item.size("size")?;
    let backing = backing(item)?;
    let is_iso =
        |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("iso"));
    if file.as_ref().is_some_and(is_iso) && item.value("media").is_none() {
        return Err(item
            .refuse("file", "a file that ends in .iso is a cdrom, which is not supported yet")
            .hint("with \"media\": \"disk\" it is a disk"));
    }
    let format = match item.choice("type", words::format)? {
        Some(format) => format,
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
        format,
        file,
        size,
        readonly: item.bool("readonly")?.unwrap_or(false),
        backing,
        cache,
        aio,
        discard: item.choice("discard", words::discard)?,
        serial,
        bootindex: item.count("bootindex")?,
    })
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
    Ok(Card {
        name,
        link: item.choice("type", words::link)?.unwrap_or(Link::User),
        model: item.choice("model", words::model)?.unwrap_or(Model::Virtio),
        mac: mac(item)?,
    })
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
