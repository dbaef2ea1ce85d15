//! What the first bytes of an image say, and whether they name files that the definition does not.
//!
//! Pure and bounded: the caller reads at most `LARGEST_HEADER` bytes. Nothing in them is trusted: an
//! image may come from anywhere, and a guest writes what it likes into a raw one. The layout is that
//! of QEMU's docs/interop/qcow2.txt; numbers are big-endian.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::definition::types::{Disk, Format};
use crate::error::{Error, Result, quote};

/// As much of an image's beginning as is ever looked at, in bytes.
pub(crate) const LARGEST_HEADER: usize = 64 << 10;

const QCOW2_MAGIC: &[u8] = b"QFI\xfb";
/// The length of the header of version 2, in bytes.
const SHORTEST_HEADER: usize = 72;
/// Bit 2 of the incompatible features (version 3): the guest's data lie in another file.
const DATA_FILE_BIT: u64 = 1 << 2;
/// The longest name of a backing file, in bytes, as QEMU has it.
const LONGEST_NAME: u32 = 1023;

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Qcow2 {
        /// What the guest sees, in bytes.
        virtual_size: u64,
        /// As it stands in the image: absolute, relative to the image, or a URL.
        backing_file: Option<String>,
        /// Whether the data lie in a file of their own, which QEMU would open.
        data_file: bool,
    },
    /// An image of another program: vdi, vhdx, vpc, or vmdk with its data in it.
    Foreign(Format),
    /// A vmdk image that only describes other files, in which the data lie: QEMU would open them.
    VmdkDescription {
        /// The first of them, where it is found.
        extent: Option<String>,
    },
    /// Anything else.
    Raw,
}

impl Header {
    /// Reads the beginning of an image; shorter than `LARGEST_HEADER` only where the image is. Fails
    /// on a qcow2 header that is cut off, of an unknown version, or points out of these bytes.
    pub(crate) fn read(start: &[u8]) -> Result<Header> {
        if !start.starts_with(QCOW2_MAGIC) {
            return Ok(foreign(start));
        }
        let damaged = |why: &str| Error::failed(format!("its qcow2 header is damaged: {why}"));
        if start.len() < SHORTEST_HEADER {
            return Err(damaged("it is cut off"));
        }
        let cut_off = || damaged("it is cut off");
        let version = u32_at(start, 4).ok_or_else(cut_off)?;
        let features = match version {
            2 => 0,
            3 => u64_at(start, 72).ok_or_else(cut_off)?,
            _ => return Err(damaged(&format!("version {version} is not known"))),
        };
        let virtual_size = u64_at(start, 24).ok_or_else(cut_off)?;
        if i64::try_from(virtual_size).is_err() {
            return Err(damaged("the image's size is impossible"));
        }
        let offset = u64_at(start, 8).ok_or_else(cut_off)?;
        let length = u32_at(start, 16).ok_or_else(cut_off)?;
        let backing_file = match (offset, length) {
            (0, _) | (_, 0) => None,
            (_, length) if length > LONGEST_NAME => {
                return Err(damaged("the backing file's name is too long"));
            }
            _ => {
                let name = usize::try_from(offset)
                    .ok()
                    .and_then(|begin| start.get(begin..begin.checked_add(length as usize)?))
                    .ok_or_else(|| damaged("the backing file's name lies outside of it"))?;
                Some(String::from_utf8_lossy(name).into_owned())
            }
        };
        Ok(Header::Qcow2 { virtual_size, backing_file, data_file: features & DATA_FILE_BIT != 0 })
    }

    pub(crate) fn format(&self) -> Format {
        match self {
            Header::Qcow2 { .. } => Format::Qcow2,
            Header::Foreign(format) => *format,
            Header::VmdkDescription { .. } => Format::Vmdk,
            Header::Raw => Format::Raw,
        }
    }
}

/// Refuses a disk's existing image at `path` where it names another file than the definition does,
/// or where it is not what the definition says. What a raw image holds is the guest's, whatever it
/// looks like.
pub(crate) fn check(disk: &Disk, path: &Path, header: &Header) -> Result<()> {
    let Header::Qcow2 { backing_file: named, .. } = held_to(disk.format, path, header)? else {
        return Ok(());
    };
    let disk_name = quote(disk.name.as_str());
    let image = shown(path);
    match (named, &disk.backing) {
        (None, None) => Ok(()),
        (Some(named), Some(backing)) if resolved(path, named) == resolved(path, &backing.file) => {
            Ok(())
        }
        (Some(named), _) => {
            let file = resolved(path, named);
            Err(Error::usage(format!(
                "the image {image} stands on {}, which the definition does not name",
                shown(&file)
            ))
            .hint(format!(
                "if it may be read, add to the disk {disk_name}: \"backing_file\": {}",
                serde_json::json!(file.to_string_lossy())
            )))
        }
        (None, Some(_)) => Err(Error::usage(format!(
            "the image {image} stands on no other, but the definition names a backing_file"
        ))
        .hint(format!("take backing_file from the disk {disk_name}"))),
    }
}

/// Refuses a backing file that names further files, or is not of the format that was said.
pub(crate) fn check_backing(format: Format, path: &Path, header: &Header) -> Result<()> {
    match held_to(format, path, header)? {
        Header::Qcow2 { backing_file: Some(named), .. } => Err(Error::usage(format!(
            "the backing file {} stands on {}: a chain of more than two has no place in a definition",
            shown(path),
            shown(&resolved(path, named))
        ))
        .hint("qemu-img convert makes one image of them")),
        _ => Ok(()),
    }
}

/// Refuses an image to be copied that names another file.
pub(crate) fn check_original(path: &Path, header: &Header) -> Result<()> {
    match held_to(header.format(), path, header)? {
        Header::Qcow2 { backing_file: Some(named), .. } => Err(Error::usage(format!(
            "the image {} stands on {}: it cannot be copied by itself",
            shown(path),
            shown(&resolved(path, named))
        ))
        .hint("qemu-img convert makes one image of them")),
        _ => Ok(()),
    }
}

/// What `qemu-img info --output=json` says of an image that it was given by its path and its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// What the guest sees, in bytes.
    pub(crate) virtual_size: u64,
    /// Every file that it names, the image itself too where it does.
    pub(crate) names: Vec<String>,
}

impl Info {
    /// Reads qemu-img's answer.
    ///
    /// # Errors
    /// `Kind::Failed` for what is no such answer.
    pub(crate) fn read(answer: &[u8]) -> Result<Info> {
        let unread = |why: &str| Error::failed(format!("cannot read what qemu-img says: {why}"));
        let info: Value =
            serde_json::from_slice(answer).map_err(|error| unread(&error.to_string()))?;
        let virtual_size =
            info["virtual-size"].as_u64().ok_or_else(|| unread("there is no virtual-size"))?;
        let data = &info["format-specific"]["data"];
        let extents = data["extents"].as_array().into_iter().flatten();
        let named = [&info["backing-filename"], &info["full-backing-filename"], &data["data-file"]];
        let named = named.into_iter().chain(extents.map(|extent| &extent["filename"]));
        let names = named.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Info { virtual_size, names })
    }
}

/// Refuses an image of another program that names any file but itself. Its header has been looked at
/// before: what would make qemu-img open another file to tell this is refused there.
pub(crate) fn check_info(path: &Path, info: &Info) -> Result<()> {
    match info.names.iter().map(|named| resolved(path, named)).find(|named| named != path) {
        None => Ok(()),
        Some(other) => Err(Error::usage(format!(
            "the image {} names {}, which is not supported",
            shown(path),
            shown(&other)
        ))
        .hint("qemu-img convert makes one image of them")),
    }
}

/// The header as that of an image of this format: raw for anything that is to be raw.
fn held_to<'a>(format: Format, path: &Path, header: &'a Header) -> Result<&'a Header> {
    match (format, header) {
        (Format::Raw, _) => Ok(&Header::Raw),
        (Format::Vmdk, Header::VmdkDescription { extent }) => {
            let where_to = match extent {
                Some(extent) => shown(&resolved(path, extent)),
                None => "other files".to_owned(),
            };
            Err(Error::usage(format!(
                "the image {} keeps its data in {where_to}, which is not supported",
                shown(path)
            ))
            .hint("qemu-img convert makes one image of them"))
        }
        (format, header) if format != header.format() => {
            let (path, word, other) = (shown(path), format.as_str(), header.format().as_str());
            Err(Error::usage(format!("the file {path} is no {word} image"))
                .hint(format!("if it is a {other} image, say \"type\": \"{other}\"")))
        }
        (Format::Qcow2, Header::Qcow2 { data_file: true, .. }) => Err(Error::usage(format!(
            "the image {} keeps its data in another file, which is not supported yet",
            shown(path)
        ))
        .hint("qemu-img convert makes one image of them")),
        (_, header) => Ok(header),
    }
}

/// The header of an image that is not qcow2, by what QEMU's block/vdi.c, vhdx.c, vpc.c and vmdk.c look
/// for. A fixed-size vpc image has its mark at its end, and passes for raw, as it does in QEMU.
fn foreign(start: &[u8]) -> Header {
    const DESCRIPTION: &[u8] = b"# Disk DescriptorFile";
    let is = |at: usize, magic: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let number = |at: usize| start.get(at..)?.first_chunk().map(|all| u64::from_le_bytes(*all));
    if is(64, &[0x7f, 0x10, 0xda, 0xbe]) {
        Header::Foreign(Format::Vdi)
    } else if is(0, b"vhdxfile") {
        Header::Foreign(Format::Vhdx)
    } else if is(0, b"conectix") {
        Header::Foreign(Format::Vpc)
    } else if is(0, b"COWD") {
        Header::Foreign(Format::Vmdk)
    } else if is(0, b"KDMV") {
        // vmdk_open_vmdk4: without a capacity of its own the image is the description inside of it.
        match (number(12), number(28)) {
            (Some(1..), _) => Header::Foreign(Format::Vmdk),
            (_, sector) => {
                let text = sector.and_then(|sector| usize::try_from(sector).ok()?.checked_mul(512));
                let text = text.and_then(|begin| start.get(begin..)).unwrap_or_default();
                Header::VmdkDescription { extent: first_extent(text) }
            }
        }
    } else if is(0, DESCRIPTION) {
        Header::VmdkDescription { extent: first_extent(start) }
    } else {
        Header::Raw
    }
}

/// The first file that a vmdk description names: `RW 4192256 FLAT "disk-flat.vmdk" 0`.
fn first_extent(description: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(description);
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| {
        ["RW ", "RDONLY ", "NOACCESS "].iter().any(|access| line.starts_with(access))
    })?;
    line.split('"').nth(1).map(str::to_owned)
}

/// The file that an image at `path` means by `named`, without `.` steps. A URL becomes a path that
/// exists nowhere, which is all that is needed to refuse it.
fn resolved(path: &Path, named: impl AsRef<Path>) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new("/"));
    folder.join(named).components().filter(|part| *part != Component::CurDir).collect()
}

fn shown(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))
}

#[cfg(test)]
mod tests;
