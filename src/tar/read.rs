//! Headers that were read.

use super::{BLOCK, CHECKSUM, MAGIC, NAME, PREFIX, SIZE, Segment, TYPE, checksum};
use crate::error::{Error, Result, quote};

/// As many segments of a sparse file are read; ours have a tenth of it at most.
const MOST_SEGMENTS: u64 = 1 << 20;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// Records for the next member.
    Pax,
    /// Records for all that follow.
    PaxForAll,
    /// Whatever an archive of a VM has no use for: a link, a device, a FIFO.
    Other,
}

/// One header of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// As it stands there: it may be absolute, and may lead anywhere.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// How many bytes follow it, without the padding.
    pub(crate) size: u64,
}

/// Reads a header; `None` is the block of zeros that ends an archive.
///
/// # Errors
/// What is no tar header, a wrong checksum, a number that is none.
pub(crate) fn header(block: &[u8; BLOCK]) -> Result<Option<Header>> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if !block[MAGIC].starts_with(b"ustar") {
        return Err(Error::failed("it is no tar archive"));
    }
    if number(&block[CHECKSUM])? != checksum(block) {
        return Err(Error::failed("it is damaged: the checksum of a header is wrong"));
    }
    let mut name = text(&block[NAME])?;
    // GNU's own format has other things where POSIX has the name's beginning.
    if block[MAGIC].ends_with(b"\0") {
        let prefix = text(&block[PREFIX])?;
        if !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
    }
    let kind = match block[TYPE] {
        b'0' | 0 | b'7' => Kind::File,
        b'5' => Kind::Folder,
        b'x' => Kind::Pax,
        b'g' => Kind::PaxForAll,
        b'S' => {
            return Err(Error::failed(format!("{} is sparse in GNU tar's old way", quote(&name)))
                .hint("make the archive with tar --format=posix"));
        }
        _ => Kind::Other,
    };
    let size = number(&block[SIZE])?;
    if i64::try_from(size).is_err() {
        return Err(impossible());
    }
    Ok(Some(Header { name, kind, size }))
}

/// The pax records of one member that are obeyed; all others change nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<String>,
    pub(crate) size: Option<u64>,
    /// Of a sparse file of form 1.0: its name and its length.
    pub(crate) sparse: Option<(String, u64)>,
}

impl Pax {
    /// Reads records.
    ///
    /// # Errors
    /// What is no record; a sparse file of another form.
    pub(crate) fn read(mut bytes: &[u8]) -> Result<Pax> {
        let damaged = || Error::failed("it is damaged: a pax header is not understood");
        let mut pax = Pax::default();
        let (mut is_sparse, mut form) = (false, [None, None]);
        let (mut sparse_name, mut real) = (None, None);
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length = decimal(&bytes[..space]).ok_or_else(damaged)?;
            let length = usize::try_from(length).map_err(|_| damaged())?;
            let record = bytes.get(space + 1..length).ok_or_else(damaged)?;
            let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let number = || decimal(value).filter(|it| i64::try_from(*it).is_ok());
            is_sparse |= key.starts_with(b"GNU.sparse.");
            match key {
                b"path" => pax.path = Some(text(value)?),
                b"size" => pax.size = Some(number().ok_or_else(damaged)?),
                b"GNU.sparse.major" => form[0] = decimal(value),
                b"GNU.sparse.minor" => form[1] = decimal(value),
                b"GNU.sparse.name" => sparse_name = Some(text(value)?),
                b"GNU.sparse.realsize" => real = Some(number().ok_or_else(damaged)?),
                _ => {}
            }
            bytes = &bytes[length..];
        }
        if is_sparse {
            let (Some(name), Some(real), [Some(1), Some(0)]) = (sparse_name, real, form) else {
                return Err(Error::failed("it holds a sparse file of an old form")
                    .hint("make the archive with tar --format=posix --sparse-version=1.0"));
            };
            pax.sparse = Some((name, real));
        }
        Ok(pax)
    }
}

/// Reads the map of a sparse file, block by block.
#[derive(Debug)]
pub(crate) struct MapReader {
    length: u64,
    /// The number that is being read, of which a digit has come.
    open: Option<u64>,
    count: Option<u64>,
    numbers: Vec<u64>,
}

impl MapReader {
    /// For a file of this length, in bytes.
    pub(crate) fn new(length: u64) -> MapReader {
        MapReader { length, open: None, count: None, numbers: Vec::new() }
    }

    /// Takes the next block; gives the segments when that was the last one.
    ///
    /// # Errors
    /// What is no map of a file of that length.
    pub(crate) fn block(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<Segment>>> {
        for byte in block {
            match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let before = self.open.unwrap_or(0);
                    let number = before.checked_mul(10).and_then(|tens| tens.checked_add(digit));
                    self.open = Some(number.ok_or_else(bad_map)?);
                }
                b'\n' => {
                    let number = self.open.take().ok_or_else(bad_map)?;
                    match self.count {
                        None if number <= MOST_SEGMENTS => self.count = Some(number),
                        None => return Err(bad_map()),
                        Some(_) => self.numbers.push(number),
                    }
                    if self.count.is_some_and(|count| self.numbers.len() as u64 == 2 * count) {
                        return self.segments().map(Some);
                    }
                }
                _ => return Err(bad_map()),
            }
        }
        Ok(None)
    }

    fn segments(&self) -> Result<Vec<Segment>> {
        let mut at = 0;
        let mut all = Vec::new();
        for pair in self.numbers.chunks_exact(2) {
            let (begin, bytes) = (pair[0], pair[1]);
            let end = begin.checked_add(bytes).filter(|end| *end <= self.length);
            let (Some(end), true) = (end, begin >= at) else { return Err(bad_map()) };
            at = end;
            if bytes > 0 {
                all.push((begin, bytes));
            }
        }
        Ok(all)
    }
}

fn bad_map() -> Error {
    Error::failed("it is damaged: the map of a sparse file is not understood")
}

fn impossible() -> Error {
    Error::failed("it is damaged: a number in a header is impossible")
}

/// Octal digits, or with the highest bit set a number in bytes (GNU's base-256).
fn number(field: &[u8]) -> Result<u64> {
    if let Some((first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        let mut value = u64::from(first & 0x7f);
        for byte in rest {
            value = value.checked_mul(256).ok_or_else(impossible)? | u64::from(*byte);
        }
        return Ok(value);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let begin = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let digits = &field[begin..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    let (digits, after) = digits.split_at(end);
    if !after.iter().all(is_blank) || !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err(impossible());
    }
    // Twelve digits at most: 36 bits.
    Ok(digits.iter().fold(0, |value, digit| value * 8 + u64::from(digit - b'0')))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// A text that ends at its first zero byte.
fn text(field: &[u8]) -> Result<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).map_err(|_| Error::failed("a name in it is not UTF-8"))
}
