//! A copy of an image, in the format in which maqet has it.
//!
//! It is made by `qemu-img convert`, which takes long: how long it may take is told here, and who waits
//! for it is the caller. Under which name a copy is made is `make`'s.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::image::{self, Header};
use super::img::Img;
use super::look::{info_of_foreign, look};
use crate::definition::types::{Disk, Format};
use crate::definition::units;
use crate::error::{Error, Result, quote};

/// What any copy may take, and in which time a mebibyte of the original's file is surely copied.
const LIMIT: Duration = Duration::from_secs(600);
const PER_MEBIBYTE: Duration = Duration::from_secs(1);

/// Runs a long qemu-img for who copies; it may be ended before its end, which is an error.
pub(crate) type Runs<'a> = dyn FnMut(Conversion<'_>) -> Result<()> + 'a;

/// A qemu-img that copies, not yet begun.
#[derive(Debug)]
pub(crate) struct Conversion<'a> {
    pub(crate) img: Img<'a>,
    pub(crate) scale: Scale,
}

/// What the percentages that qemu-img prints are of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// The length of the original's file, in bytes.
    pub(crate) total: u64,
}

impl Scale {
    /// How many bytes are done after the last of what `qemu-img convert -p` has printed,
    /// `    (12.34/100%)\r`; `None` where no percentage is in it.
    pub(crate) fn done(self, printed: &[u8]) -> Option<u64> {
        let text = String::from_utf8_lossy(printed);
        let (before, _) = text.rsplit_once("/100%)")?;
        let (_, number) = before.rsplit_once('(')?;
        let (percent, rest) = number.split_once('.')?;
        let hundredths = percent.parse::<u64>().ok()?.checked_mul(100)?;
        let hundredths = hundredths.checked_add(rest.get(..2)?.parse().ok()?)?;
        // Rounded up: the percentage that is made of it again is the one that was printed.
        let done = (u128::from(self.total) * u128::from(hundredths)).div_ceil(10_000);
        u64::try_from(done).ok().filter(|_| hundredths <= 10_000)
    }
}

/// An image to be copied, looked at.
#[derive(Debug)]
pub(crate) struct Original {
    path: PathBuf,
    format: Format,
    /// What the guest sees, in bytes.
    virtual_size: u64,
    /// What there is to be read, in bytes.
    length: u64,
}

impl Original {
    /// Looks at the image at `path`, of whichever format it is.
    ///
    /// # Errors
    /// `Kind::Usage` for one that names another file, before anything opens that; one that is missing
    /// or cannot be read.
    pub(crate) fn look(path: &Path) -> Result<Original> {
        let cannot = |error| Error::io(format_args!("read the image {}", path.display()), &error);
        let Some((header, _)) = look(path)? else {
            let path = path.display();
            return Err(Error::failed(format!("the image to be copied is not there: {path}"))
                .hint("correct \"from\""));
        };
        image::check_original(path, &header)?;
        // The length of a block device is told by its end alone.
        let length = File::open(path).and_then(|mut file| file.seek(SeekFrom::End(0)));
        let length = length.map_err(cannot)?;
        let virtual_size = match &header {
            Header::Qcow2 { virtual_size, .. } => *virtual_size,
            Header::Raw => length,
            other => match info_of_foreign(path, other.format())? {
                Some(info) => info.virtual_size,
                None => length,
            },
        };
        Ok(Original { path: path.to_owned(), format: header.format(), virtual_size, length })
    }

    /// Refuses a disk that is smaller than what it is to be a copy of: its end would be lost.
    ///
    /// # Errors
    /// `Kind::Usage`, with both sizes.
    pub(crate) fn check_size(&self, disk: &Disk) -> Result<()> {
        match disk.size {
            Some(size) if size < self.virtual_size => Err(Error::usage(format!(
                "the disk {} is to have {}, but the image {} has {}",
                quote(disk.name.as_str()),
                units::bytes(size),
                quote(&self.path.to_string_lossy()),
                units::bytes(self.virtual_size)
            ))
            .hint("give it no size, or a larger one")),
            _ => Ok(()),
        }
    }

    /// Copies it to `to`, where nothing is yet, and makes the copy as large as `size`.
    ///
    /// # Errors
    /// In qemu-img's words, or as of `run`. What has been written then is the caller's to remove.
    pub(crate) fn copy(
        &self,
        to: &Path,
        format: Format,
        size: Option<u64>,
        run: &mut Runs<'_>,
    ) -> Result<()> {
        let cannot = |error| Error::io(format_args!("make the image {}", to.display()), &error);
        // qemu-img writes into a file that is there, and would make one that others may read.
        File::options().write(true).create_new(true).mode(0o600).open(to).map_err(cannot)?;
        let (from, into) = (self.format.as_str(), format.as_str());
        // Without -t the end of a copy would be no more than the host's promise to write it.
        let words = ["convert", "-p", "-t", "writeback", "-f", from, "-O", into];
        let mebibytes = u32::try_from(self.length >> 20).unwrap_or(u32::MAX);
        let limit = LIMIT + PER_MEBIBYTE * mebibytes;
        let img = Img::new(words).word(&self.path).word(to).copying(limit, None);
        run(Conversion { img, scale: Scale { total: self.length } })?;
        match size {
            Some(size) if size > self.virtual_size => {
                let words = ["resize", "-q", "-f", into];
                Img::new(words).word(to).word(size.to_string()).run()
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_is_told_by_the_last_that_was_printed_in_full() {
        for (text, expected) in [
            ("    (0.00/100%)\r", Some(0)),
            ("    (1.01/100%)\r    (37.50/100%)\r    (38.", Some(3750)),
            ("    (100.00/100%)\r", Some(10_000)),
            ("", None),
            ("(x/100%)", None),
            ("(5.x/100%)", None),
            ("(5.é/100%)", None),
            ("(999.00/100%)", None),
            ("(99999999999999999999.00/100%)", None),
            ("/100%)", None),
        ] {
            assert_eq!(Scale { total: 10_000 }.done(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(
            Scale { total: 196_616 }.done(b"(42.00/100%)").map(|n| n * 100 / 196_616),
            Some(42)
        );
        assert_eq!(Scale { total: u64::MAX }.done(b"(100.00/100%)"), Some(u64::MAX));
    }
}
