//! Copies a file as it is: its blocks shared where the file system can, its holes kept where not.
//!
//! What is in the file is of no interest here, and neither is what becomes of a copy that failed:
//! its owner removes it.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::os::unix::fs::FileExt;

use crate::error::Result;
use crate::sys;

/// How much is copied between two looks at the world, in bytes.
const PIECE: usize = 1 << 20;
/// Zeros of this length that were read become a hole, in bytes.
const BLOCK: usize = 64 << 10;

/// Why a copy ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(IoError),
    /// What `step` said.
    Ours(crate::error::Error),
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Failure {
        Failure::Io(error)
    }
}

/// How many bytes of a file are no holes: what there is to copy.
pub(crate) fn data_bytes(file: &File) -> IoResult<u64> {
    let (mut at, mut sum) = (0, 0);
    while let Some((begin, end)) = sys::next_data(file, at)? {
        sum += end - begin;
        at = end;
    }
    Ok(sum)
}

/// Makes the empty file `to` what `from` is. `step` hears after each piece how many bytes it was,
/// and its error ends the copy.
pub(crate) fn whole(
    from: &File,
    to: &File,
    step: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(), Failure> {
    if sys::share_blocks(from, to) {
        return step(data_bytes(from)?).map_err(Failure::Ours);
    }
    to.set_len(length(from)?)?;
    let mut in_kernel = true;
    let mut buffer = Vec::new();
    let mut at = 0;
    while let Some((begin, end)) = sys::next_data(from, at)? {
        at = begin;
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let done = match in_kernel {
                true => sys::copy_range(from, to, at, piece)?,
                false => None,
            };
            let done = match done {
                Some(0) => return Err(IoError::from(ErrorKind::UnexpectedEof).into()),
                Some(done) => done,
                None => {
                    in_kernel = false;
                    buffer.resize(piece, 0);
                    from.read_exact_at(&mut buffer, at)?;
                    write_with_holes(to, &buffer, at)?;
                    piece
                }
            };
            at += done as u64;
            step(done as u64).map_err(Failure::Ours)?;
        }
    }
    Ok(())
}

/// How long a file or a block device is, in bytes.
pub(crate) fn length(file: &File) -> IoResult<u64> {
    use std::io::{Seek, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::End(0))
}

/// Writes into a new file, but leaves out blocks of zeros.
pub(crate) fn write_with_holes(to: &File, bytes: &[u8], at: u64) -> IoResult<()> {
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            to.write_all_at(block, at + (number * BLOCK) as u64)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::error::Error;
    use crate::testing::Folder;

    /// A file of 8 MiB with data at its beginning, at 4 MiB and at its end.
    fn sparse(folder: &Folder) -> (File, Vec<u8>) {
        let path = folder.path().join("from");
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        file.set_len(8 << 20).unwrap();
        let mut bytes = vec![0; 8 << 20];
        for at in [0, 4 << 20, (8 << 20) - 3] {
            file.write_all_at(b"abc", at as u64).unwrap();
            bytes[at..at + 3].copy_from_slice(b"abc");
        }
        (file, bytes)
    }

    fn target(folder: &Folder) -> File {
        let path = folder.path().join("to");
        File::options().read(true).write(true).create_new(true).open(path).unwrap()
    }

    #[test]
    fn a_copy_is_equal_and_keeps_its_holes() {
        let folder = Folder::new();
        let (from, bytes) = sparse(&folder);
        let mut told = 0;
        let to = target(&folder);
        whole(&from, &to, &mut |count| {
            told += count;
            Ok(())
        })
        .unwrap();
        assert_eq!(std::fs::read(folder.path().join("to")).unwrap(), bytes);
        assert_eq!(told, data_bytes(&from).unwrap());
        let blocks = |file: &File| file.metadata().unwrap().blocks() * 512;
        assert!(blocks(&to) <= blocks(&from) + (1 << 20), "{}", blocks(&to));
        assert_eq!(length(&to).unwrap(), 8 << 20);
    }

    #[test]
    fn what_is_read_as_zeros_becomes_a_hole() {
        let folder = Folder::new();
        let to = target(&folder);
        to.set_len(1 << 20).unwrap();
        let mut bytes = vec![0; 1 << 20];
        bytes[BLOCK * 3] = 7;
        write_with_holes(&to, &bytes, 0).unwrap();
        assert_eq!(std::fs::read(folder.path().join("to")).unwrap(), bytes);
        assert!(to.metadata().unwrap().blocks() * 512 <= BLOCK as u64);
    }

    #[test]
    fn an_error_of_the_step_ends_it() {
        let folder = Folder::new();
        let (from, _) = sparse(&folder);
        let ended = whole(&from, &target(&folder), &mut |_| Err(Error::failed("enough")));
        assert!(matches!(ended, Err(Failure::Ours(error)) if error.message == "enough"));
    }
}
