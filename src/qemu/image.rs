//! What the first bytes of an image say, and whether they name files that the definition does not.
//!
//! Pure and bounded: the caller reads at most `LARGEST_HEADER` bytes. Nothing in them is trusted: an
//! image may come from anywhere, and a guest writes what it likes into a raw one. The layout is that
//! of QEMU's docs/interop/qcow2.txt; numbers are big-endian.

use std::path::{Component, Path, PathBuf};

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
    /// Anything that is no qcow2 image.
    Raw,
}

impl Header {
    /// Reads the beginning of an image; shorter than `LARGEST_HEADER` only where the image is. Fails
    /// on a qcow2 header that is cut off, of an unknown version, or points out of these bytes.
    pub(crate) fn read(start: &[u8]) -> Result<Header> {
        if !start.starts_with(QCOW2_MAGIC) {
            return Ok(Header::Raw);
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
            Header::Raw => Format::Raw,
        }
    }
}

/// Refuses a disk's existing image at `path` where it names another file than the definition does,
/// or where it is not what the definition says. What a raw image holds is the guest's, whatever it
/// looks like.
pub(crate) fn check(disk: &Disk, path: &Path, header: &Header) -> Result<()> {
    let Header::Qcow2 { backing_file: named, .. } = qcow2(disk.format, path, header)? else {
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
    match qcow2(format, path, header)? {
        Header::Qcow2 { backing_file: Some(named), .. } => Err(Error::usage(format!(
            "the backing file {} stands on {}: a chain of more than two is not supported yet",
            shown(path),
            shown(&resolved(path, named))
        ))
        .hint("qemu-img convert makes one image of them")),
        _ => Ok(()),
    }
}

/// The header as that of an image of this format: raw for anything that is to be raw.
fn qcow2<'a>(format: Format, path: &Path, header: &'a Header) -> Result<&'a Header> {
    match (format, header) {
        (Format::Raw, _) => Ok(&Header::Raw),
        (Format::Qcow2, Header::Raw) => {
            Err(Error::usage(format!("the file {} is no qcow2 image", shown(path)))
                .hint("if it is a raw image, say \"type\": \"raw\""))
        }
        (Format::Qcow2, Header::Qcow2 { data_file: true, .. }) => Err(Error::usage(format!(
            "the image {} keeps its data in another file, which is not supported yet",
            shown(path)
        ))
        .hint("qemu-img convert makes one image of them")),
        (Format::Qcow2, header) => Ok(header),
    }
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
mod tests {
    use super::*;
    use crate::definition::types::Definition;

    /// A qcow2 header with what the tests are about.
    fn qcow2_bytes(version: u32, backing: &str, features: u64) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..4].copy_from_slice(QCOW2_MAGIC);
        bytes[4..8].copy_from_slice(&version.to_be_bytes());
        bytes[24..32].copy_from_slice(&(20_u64 << 30).to_be_bytes());
        bytes[72..80].copy_from_slice(&features.to_be_bytes());
        if !backing.is_empty() {
            bytes[8..16].copy_from_slice(&200_u64.to_be_bytes());
            bytes[16..20].copy_from_slice(&(backing.len() as u32).to_be_bytes());
            bytes[200..200 + backing.len()].copy_from_slice(backing.as_bytes());
        }
        bytes
    }

    fn qcow2(backing: &str, features: u64) -> Header {
        Header::read(&qcow2_bytes(3, backing, features)).unwrap()
    }

    fn disk(item: serde_json::Value) -> Disk {
        let definition = serde_json::json!({ "storage": [item] });
        Definition::read(definition.as_object().unwrap()).unwrap().storage.remove(0)
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_behind_the_magic_are_a_header_or_an_error(bytes: Vec<u8>) {
            let _ = Header::read(&[QCOW2_MAGIC, &[0, 0, 0, 3], &bytes].concat());
        }
    }

    #[test]
    fn a_header_says_size_backing_file_and_data_file() {
        let of = |backing: Option<&str>, data_file| Header::Qcow2 {
            virtual_size: 20 << 30,
            backing_file: backing.map(str::to_owned),
            data_file,
        };
        for (bytes, expected) in [
            (qcow2_bytes(3, "", 0), of(None, false)),
            (qcow2_bytes(3, "base.qcow2", 1), of(Some("base.qcow2"), false)),
            (qcow2_bytes(3, "/a,b", 4), of(Some("/a,b"), true)),
            (qcow2_bytes(2, "x", 4), of(Some("x"), false)),
            (b"QFI\xfa".to_vec(), Header::Raw),
            (b"QF".to_vec(), Header::Raw),
            (Vec::new(), Header::Raw),
        ] {
            assert_eq!(Header::read(&bytes).unwrap(), expected);
        }
        assert_eq!((qcow2("", 0).format(), Header::Raw.format()), (Format::Qcow2, Format::Raw));
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let mut far = qcow2_bytes(3, "x", 0);
        far[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
        let mut past_the_end = qcow2_bytes(3, "x", 0);
        past_the_end[8..16].copy_from_slice(&512_u64.to_be_bytes());
        let mut long = qcow2_bytes(3, "x", 0);
        long[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut huge = qcow2_bytes(3, "", 0);
        huge[24] = 0x80;
        for (bytes, why) in [
            (far, "lies outside"),
            (past_the_end, "lies outside"),
            (long, "too long"),
            (huge, "size is impossible"),
            (qcow2_bytes(1, "", 0), "version 1"),
            (qcow2_bytes(4, "", 0), "version 4"),
            (qcow2_bytes(3, "", 0)[..75].to_vec(), "cut off"),
            (QCOW2_MAGIC.to_vec(), "cut off"),
        ] {
            let error = Header::read(&bytes).unwrap_err();
            assert!(error.message.contains(why), "{why}: {error}");
        }
        let whole = qcow2_bytes(3, "base", 0);
        for end in 0..whole.len() {
            // Only that it returns: any part of a header is an answer or an error.
            let _ = Header::read(&whole[..end]);
        }
    }

    #[test]
    fn an_image_may_name_only_what_the_definition_names() {
        let plain = disk(serde_json::json!({"file": "/vm/x", "type": "qcow2"}));
        let raw = disk(serde_json::json!({"file": "/vm/x", "type": "raw"}));
        let linked = disk(serde_json::json!({
            "file": "/vm/x", "type": "qcow2", "backing_file": "/vm/b/a.raw", "backing_format": "raw",
        }));
        for (disk, header, refusal) in [
            (&plain, qcow2("", 0), None),
            (&raw, Header::Raw, None),
            (&raw, qcow2("/etc/shadow", 4), None),
            (&linked, qcow2("/vm/b/a.raw", 0), None),
            (&linked, qcow2("./b/./a.raw", 0), None),
            (&plain, Header::Raw, Some("no qcow2 image")),
            (&plain, qcow2("", 4), Some("data in another file")),
            (&linked, qcow2("", 0), Some("stands on no other")),
            (&linked, qcow2("b/c.raw", 0), Some("\"backing_file\": \"/vm/b/c.raw\"")),
            (
                &plain,
                qcow2("/etc/shadow", 0),
                Some("stands on \"/etc/shadow\", which the definition"),
            ),
            (
                &plain,
                qcow2("json:{\"driver\":\"nbd\"}", 0),
                Some("which the definition does not name"),
            ),
        ] {
            let result = check(disk, Path::new("/vm/x"), &header);
            match (result, refusal) {
                (Ok(()), None) => {}
                (Err(error), Some(why)) => assert!(error.to_string().contains(why), "{error}"),
                (result, refusal) => panic!("{header:?}: {result:?}, expected {refusal:?}"),
            }
        }
    }

    #[test]
    fn a_backing_file_stands_alone() {
        let path = Path::new("/b");
        assert!(check_backing(Format::Raw, path, &qcow2("/etc/shadow", 4)).is_ok());
        assert!(check_backing(Format::Qcow2, path, &qcow2("", 0)).is_ok());
        for header in [qcow2("c", 0), qcow2("", 4), Header::Raw] {
            assert!(check_backing(Format::Qcow2, path, &header).is_err(), "{header:?}");
        }
    }
}
