//! An archive as it comes in, member by member, from a file or a pipe: nobody is trusted, nothing
//! grows without a bound, and a signal ends it.
//!
//! What a member is for is not known here, nor where it belongs: a name is only what stands there.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};

use crate::cli::progress::Progress;
use crate::copy;
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::sys::{self, Interest};
use crate::tar::{self, BLOCK, Kind, LARGEST_PAX, MapReader, Pax, Segment};

/// How much is read between two looks at the world, in bytes.
const PIECE: usize = 1 << 20;
/// More headers than this no archive of a VM has.
const MOST_HEADERS: usize = 1000;
/// What may follow an archive's end and is read, so that who writes it can finish, in bytes.
const LONGEST_END: u64 = 1 << 20;

/// A file or a folder in an archive.
#[derive(Debug)]
pub(super) struct Member {
    /// Without a leading `./`.
    pub(super) name: String,
    pub(super) is_folder: bool,
    /// How long the file is, in bytes.
    pub(super) length: u64,
    /// How many bytes of it are in the archive.
    stored: u64,
    segments: Vec<Segment>,
}

/// The archive.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    /// `None`: standard input.
    file: Option<File>,
    interrupt: &'a Interrupt,
    progress: Progress,
    headers: usize,
}

impl<'a> Archive<'a> {
    pub(super) fn new(
        file: Option<File>,
        interrupt: &'a Interrupt,
        progress: Progress,
    ) -> Archive<'a> {
        Archive { file, interrupt, progress, headers: 0 }
    }

    /// The next member, whose data must be taken before the one after it; `None` behind the last.
    ///
    /// # Errors
    /// What is no archive, or none of files and folders.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut pax = Pax::default();
        loop {
            let block = self.block()?;
            self.headers += 1;
            if self.headers > MOST_HEADERS {
                return Err(Error::failed("it holds more than any VM has"));
            }
            let Some(header) = tar::header(&block)? else {
                self.read_to_end();
                return Ok(None);
            };
            match header.kind {
                Kind::Pax => pax = Pax::read(&self.records(header.size)?)?,
                Kind::PaxForAll => {
                    if Pax::read(&self.records(header.size)?)? != Pax::default() {
                        return Err(Error::failed("it has records for all of its files"));
                    }
                }
                Kind::File | Kind::Folder => return self.member(header, pax).map(Some),
                Kind::Other => {
                    let name = quote(&header.name);
                    return Err(Error::failed(format!("{name} in it is neither file nor folder")));
                }
            }
        }
    }

    fn member(&mut self, header: tar::Header, pax: Pax) -> Result<Member> {
        let mut stored = pax.size.unwrap_or(header.size);
        let is_folder = header.kind == Kind::Folder;
        let (name, length, segments) = match pax.sparse {
            Some((name, length)) => {
                let mut map = MapReader::new(length);
                let segments = loop {
                    stored = stored.checked_sub(BLOCK as u64).ok_or_else(mismatch)?;
                    if let Some(segments) = map.block(&self.block()?)? {
                        break segments;
                    }
                };
                (name, length, segments)
            }
            None => {
                let segments = if stored > 0 { vec![(0, stored)] } else { Vec::new() };
                (pax.path.unwrap_or(header.name), stored, segments)
            }
        };
        if segments.iter().map(|(_, bytes)| bytes).sum::<u64>() != stored {
            return Err(mismatch());
        }
        if is_folder && length > 0 {
            return Err(mismatch());
        }
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        Ok(Member { name, is_folder, length, stored, segments })
    }

    /// The member's data, for one of at most `most` bytes.
    pub(super) fn bytes(&mut self, member: &Member, most: u64) -> Result<Vec<u8>> {
        if member.length > most {
            let name = quote(&member.name);
            return Err(Error::usage(format!("{name} in it is larger than {most} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(member.length).unwrap_or_default()];
        for (begin, length) in &member.segments {
            let range = usize::try_from(*begin).unwrap_or_default();
            let end = range + usize::try_from(*length).unwrap_or_default();
            self.fill(&mut bytes[range..end])?;
        }
        self.skip_padding(member)?;
        Ok(bytes)
    }

    /// Writes the member's data into a new, empty file. Zeros become holes.
    pub(super) fn unpack(&mut self, member: &Member, to: &File) -> Result<()> {
        let cannot = |error| Error::io(format_args!("unpack {}", quote(&member.name)), &error);
        to.set_len(member.length).map_err(cannot)?;
        let mut buffer = vec![0; PIECE];
        for (begin, length) in &member.segments {
            let mut at = *begin;
            while at < begin + length {
                let piece = usize::try_from(begin + length - at).unwrap_or(PIECE).min(PIECE);
                self.fill(&mut buffer[..piece])?;
                copy::write_with_holes(to, &buffer[..piece], at).map_err(cannot)?;
                at += piece as u64;
            }
        }
        self.skip_padding(member)?;
        to.sync_all().map_err(cannot)
    }

    fn skip_padding(&mut self, member: &Member) -> Result<()> {
        let mut rest = [0; BLOCK];
        self.fill(&mut rest[..tar::padding(member.stored)])
    }

    fn records(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > LARGEST_PAX {
            return Err(Error::failed("it has a header that is too large"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.fill(&mut bytes)?;
        let mut rest = [0; BLOCK];
        self.fill(&mut rest[..tar::padding(size)])?;
        Ok(bytes)
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let count = self.read(buffer)?;
            if count == 0 {
                return Err(Error::failed("it is cut off"));
            }
            self.progress.add(count as u64);
            buffer = &mut buffer[count..];
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let input = self.input();
        let cannot = |error| Error::io("read it", &error);
        loop {
            let sources = [(input, Interest::Read), (self.interrupt.as_fd(), Interest::Read)];
            let ready = sys::poll(&sources, None).map_err(cannot)?;
            self.interrupt.check()?;
            if !ready[0] {
                continue;
            }
            match sys::read(input, buffer) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                other => return other.map_err(cannot),
            }
        }
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.file.as_ref().map_or(sys::standard_input(), AsFd::as_fd)
    }

    /// Tar fills its last record up with zeros. Whatever else follows is nobody's.
    fn read_to_end(&mut self) {
        let mut left = LONGEST_END;
        let mut buffer = vec![0; BLOCK * 20];
        while left > 0 {
            match self.read(&mut buffer) {
                Ok(count) if count > 0 => left = left.saturating_sub(count as u64),
                _ => return,
            }
        }
    }
}

fn mismatch() -> Error {
    Error::failed("it is damaged: the size of a file in it does not fit")
}
