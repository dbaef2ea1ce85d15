//! Looks at an image file: its first bytes and its kind, and what qemu-img says of one that is neither
//! raw nor qcow2. What it finds is judged by `image`; nothing is changed here.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::image::{self, Header, Info, LARGEST_HEADER};
use super::img::Img;
use crate::definition::types::{Backing, Disk, Format};
use crate::error::{Error, Result};
use crate::sys;

/// The beginning of an image, and whether it is a block device; `None` where there is nothing.
pub(crate) fn look(path: &Path) -> Result<Option<(Header, bool)>> {
    let cannot = |error| Error::io(format_args!("read the image {}", path.display()), &error);
    // Without O_NONBLOCK the opening of a FIFO would wait for ever.
    let file = match File::options().read(true).custom_flags(sys::NON_BLOCKING).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let kind = file.metadata().map_err(cannot)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        let path = path.display();
        return Err(Error::failed(format!("{path} is neither a file nor a block device")));
    }
    let mut start = Vec::new();
    file.take(LARGEST_HEADER as u64).read_to_end(&mut start).map_err(cannot)?;
    let header = Header::read(&start).map_err(|error| error.said_of(path.display()))?;
    Ok(Some((header, kind.is_block_device())))
}

/// The image of a disk at `path`, held to what the definition says of it: whether it is a block
/// device; `None` where there is nothing.
///
/// # Errors
/// `Kind::Usage` for an image that names a file which the definition does not, or is not of its type.
pub(crate) fn examine(disk: &Disk, path: &Path) -> Result<Option<bool>> {
    let Some((header, is_device)) = look(path)? else { return Ok(None) };
    image::check(disk, path, &header)?;
    info_of_foreign(path, disk.format)?;
    Ok(Some(is_device))
}

/// The same for the image on which a disk stands.
///
/// # Errors
/// As of [`examine`].
pub(crate) fn examine_backing(backing: &Backing) -> Result<Option<bool>> {
    let Some((header, is_device)) = look(&backing.file)? else { return Ok(None) };
    image::check_backing(backing.format, &backing.file, &header)?;
    info_of_foreign(&backing.file, backing.format)?;
    Ok(Some(is_device))
}

/// What qemu-img says of an image of another program, whose header has been judged already: to learn
/// this no other file is opened. `None` for raw and qcow2, whose header tells it all at no cost.
pub(super) fn info_of_foreign(path: &Path, format: Format) -> Result<Option<Info>> {
    if format.is_written() {
        return Ok(None);
    }
    // Without -U an image in use could not be looked at.
    let info = Img::new(["info", "--output=json", "-U", "-f", format.as_str()]).word(path);
    let about =
        |error: Error| error.said_of(format_args!("cannot look at the image {}", path.display()));
    let info = Info::read(&info.output().map_err(about)?).map_err(about)?;
    image::check_info(path, &info)?;
    Ok(Some(info))
}
