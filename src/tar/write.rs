//! Headers to be written.

use super::{
    BLOCK, CHECKSUM, GID, MAGIC, MODE, NAME, SIZE, Segment, TIME, TYPE, UID, VERSION, checksum,
    padding,
};

/// What stands behind the last member.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The largest size that a header itself can hold: 11 octal digits.
const LARGEST: u64 = 0o777_7777_7777;

/// What precedes the `size` bytes of a plain file. `name` is at most 100 bytes; `modified` is Unix
/// time in seconds.
pub(crate) fn plain(name: &str, size: u64, modified: u64) -> Vec<u8> {
    let records = if size > LARGEST { record("size", &size.to_string()) } else { String::new() };
    with_pax(&records, &block(name, size, b'0', modified), modified)
}

/// What precedes the data of a sparse file of `length` bytes: only its segments follow, one behind
/// the other. They are ascending, do not meet, and begin and end at multiples of [`BLOCK`], but for
/// the end of the file.
pub(crate) fn sparse(name: &str, length: u64, segments: &[Segment], modified: u64) -> Vec<u8> {
    let map = map(length, segments);
    let data: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
    let size = map.len() as u64 + data;
    let mut records = [
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.minor", "0"),
        record("GNU.sparse.name", name),
        record("GNU.sparse.realsize", &length.to_string()),
    ]
    .concat();
    if size > LARGEST {
        records.push_str(&record("size", &size.to_string()));
    }
    let (folder, file) = name.rsplit_once('/').unwrap_or((".", name));
    // What a tar that knows no sparse files makes of it: not the file itself.
    let stand_in = format!("{folder}/GNUSparseFile.0/{file}");
    let mut bytes = with_pax(&records, &block(&stand_in, size, b'0', modified), modified);
    bytes.extend(map);
    bytes
}

/// The segments in decimal, a line for each number, filled up to a whole block.
fn map(length: u64, segments: &[Segment]) -> Vec<u8> {
    let reaches_end = segments.last().is_some_and(|(begin, bytes)| begin + bytes == length);
    let end = (!reaches_end).then_some((length, 0));
    let count = segments.len() + usize::from(end.is_some());
    let mut text = format!("{count}\n");
    for (begin, bytes) in segments.iter().copied().chain(end) {
        text.push_str(&format!("{begin}\n{bytes}\n"));
    }
    padded(text.into_bytes())
}

/// A header with its pax records before it, where it has any.
fn with_pax(records: &str, own: &[u8; BLOCK], modified: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !records.is_empty() {
        bytes.extend(block("PaxHeaders/member", records.len() as u64, b'x', modified));
        bytes.extend(padded(records.as_bytes().to_vec()));
    }
    bytes.extend(own);
    bytes
}

/// `LENGTH KEY=VALUE` and a newline, where LENGTH counts itself, too.
pub(super) fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

fn block(name: &str, size: u64, kind: u8, modified: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let name = &name.as_bytes()[..name.len().min(NAME.len())];
    block[..name.len()].copy_from_slice(name);
    block[MODE].copy_from_slice(b"0000600\0");
    block[UID].copy_from_slice(b"0000000\0");
    block[GID].copy_from_slice(b"0000000\0");
    // A size that does not fit is in the records before.
    let size = if size > LARGEST { 0 } else { size };
    block[SIZE].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[TIME].copy_from_slice(format!("{:011o}\0", modified.min(LARGEST)).as_bytes());
    block[TYPE] = kind;
    block[MAGIC].copy_from_slice(b"ustar\0");
    block[VERSION].copy_from_slice(b"00");
    let sum = checksum(&block);
    block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

pub(super) fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len() + padding(bytes.len() as u64), 0);
    bytes
}
