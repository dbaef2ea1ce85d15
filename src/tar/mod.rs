//! The tar format as far as an archive of one VM needs it: plain files, headers of POSIX (ustar with
//! pax records), and GNU tar's sparse files in their pax form 1.0, which `tar xf` unpacks with holes.
//!
//! Pure: bytes in, headers out and the other way. No file is opened here, nothing is read or written,
//! and what a member is for is not known. Nothing that comes from an archive is trusted: every
//! number is bounded, and what is not understood is an error.

mod read;
mod write;

pub(crate) use read::{Header, Kind, MapReader, Pax, header};
pub(crate) use write::{END, plain, sparse};

/// Everything in an archive is in pieces of as many bytes.
pub(crate) const BLOCK: usize = 512;

/// The longest pax header that is read, in bytes.
pub(crate) const LARGEST_PAX: u64 = 64 << 10;

/// A piece of a sparse file that is no hole: where it begins and how long it is, in bytes.
pub(crate) type Segment = (u64, u64);

/// How many bytes follow a member of this size, up to the next block.
pub(crate) fn padding(size: u64) -> usize {
    // Below one block: it fits.
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

// Where the fields of a header lie, by POSIX.
const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const TIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..263;
const VERSION: std::ops::Range<usize> = 263..265;
const PREFIX: std::ops::Range<usize> = 345..500;

/// The sum that a header must hold: of its bytes, those of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let own = |at: usize| CHECKSUM.contains(&at);
    let byte = |(at, byte): (usize, &u8)| u64::from(if own(at) { b' ' } else { *byte });
    block.iter().enumerate().map(byte).sum()
}

#[cfg(test)]
mod tests;
