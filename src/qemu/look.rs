//! Looks at an image file: its first bytes and its kind, never more, and never for long.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::image::{Header, LARGEST_HEADER};
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
    let header = Header::read(&start).map_err(|error| Error {
        message: format!("{}: {}", path.display(), error.message),
        ..error
    })?;
    Ok(Some((header, kind.is_block_device())))
}
