//! The codec against itself, against bytes that anybody may send, and against GNU tar.

use std::process::{Command, Stdio};

use super::write::{padded, record};
use super::*;
use crate::testing::Folder;

fn first(bytes: &[u8]) -> [u8; BLOCK] {
    bytes[..BLOCK].try_into().unwrap()
}

fn file(name: &str, size: u64) -> Header {
    Header { name: name.into(), kind: Kind::File, size }
}

#[test]
fn a_header_that_is_written_is_read_again() {
    for size in [0, 1, 512, 0o777_7777_7777] {
        let bytes = plain("disks/a.raw", size, 7);
        assert_eq!(
            (bytes.len(), header(&first(&bytes))),
            (BLOCK, Ok(Some(file("disks/a.raw", size))))
        );
    }
    assert_eq!(header(&first(&END)), Ok(None));
}

#[test]
fn a_size_that_does_not_fit_stands_in_a_pax_record() {
    let bytes = plain("a", 1 << 33, 7);
    let pax = header(&first(&bytes)).unwrap().unwrap();
    assert_eq!(pax.kind, Kind::Pax);
    let records = &bytes[BLOCK..][..pax.size as usize];
    assert_eq!(Pax::read(records).unwrap().size, Some(1 << 33));
    assert_eq!(bytes.len(), 3 * BLOCK);
}

#[test]
fn the_map_of_a_sparse_file_is_read_again() {
    let segments = [(0, 4096), (1 << 34, 512), ((1 << 35) - 3, 3)];
    for (length, segments) in [(1 << 35, &segments[..]), (1 << 35, &segments[..2]), (5, &[])] {
        let bytes = sparse("disks/a.raw", length, segments, 0);
        let pax = header(&first(&bytes)).unwrap().unwrap();
        let records = Pax::read(&bytes[BLOCK..][..pax.size as usize]).unwrap();
        assert_eq!(records.sparse, Some(("disks/a.raw".into(), length)));
        let mut map = MapReader::new(length);
        let at = 2 * BLOCK + padded(vec![0; pax.size as usize]).len();
        assert_eq!(map.block(&first(&bytes[at..])).unwrap().as_deref(), Some(segments));
    }
}

#[test]
fn a_record_counts_its_own_length() {
    for (value, expected) in [("", "5 k=\n"), ("abcd", "9 k=abcd\n"), ("abcde", "11 k=abcde\n")] {
        assert_eq!(record("k", value), expected);
    }
    let long = "x".repeat(2000);
    assert_eq!(Pax::read(record("path", &long).as_bytes()).unwrap().path, Some(long));
}

#[test]
fn what_is_damaged_or_not_understood_is_refused() {
    let good = first(&plain("a", 3, 0));
    let with = |change: fn(&mut [u8; BLOCK])| {
        let mut block = good;
        change(&mut block);
        let sum = checksum(&block);
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header(&block)
    };
    let mut wrong = good;
    wrong[0] = b'b';
    assert!(header(&wrong).unwrap_err().message.contains("checksum"));
    assert!(header(&[b'x'; BLOCK]).unwrap_err().message.contains("no tar archive"));
    assert!(with(|block| block[SIZE.start] = b'9').is_err());
    assert!(with(|block| block[SIZE].fill(0xff)).is_err());
    assert!(with(|block| block[0] = 0xff).is_err());
    assert!(with(|block| block[TYPE] = b'S').unwrap_err().hint.is_some());
    for kind in [b'1', b'2', b'3', b'4', b'6', b'L', b'?'] {
        let mut block = good;
        block[TYPE] = kind;
        let sum = checksum(&block);
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(header(&block).unwrap().unwrap().kind, Kind::Other, "{kind}");
    }
    let bytes = |size: u64| {
        with(match size {
            5 => |block| block[SIZE].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]),
            _ => |block| block[SIZE].copy_from_slice(b"5          \0"),
        })
    };
    assert_eq!((bytes(5).unwrap().unwrap().size, bytes(0).unwrap().unwrap().size), (5, 5));
    for records in
        ["x", "5 k=", "99 k=v\n", "0 k=v\n", "6 k=v", "8 k=v\n\n", "18446744073709551616 k=v\n"]
    {
        assert!(Pax::read(records.as_bytes()).is_err(), "{records:?}");
    }
    assert!(Pax::read(record("GNU.sparse.map", "0,1").as_bytes()).is_err());
    assert!(Pax::read(record("size", "-1").as_bytes()).is_err());
}

#[test]
fn a_map_that_lies_is_refused() {
    for text in [
        "2\n0\n5\n4\n5\n",
        "1\n95\n10\n",
        "1\n18446744073709551615\n1\n",
        "99999999\n",
        "1\n\n",
        "-1\n",
        "18446744073709551616\n",
    ] {
        let block = first(&padded(text.as_bytes().to_vec()));
        assert!(MapReader::new(100).block(&block).is_err(), "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_headers_records_and_maps_or_errors(bytes: Vec<u8>, at in 0..500_usize) {
        let mut block = first(&plain("a", 3, 0));
        let end = BLOCK.min(at + bytes.len());
        block[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = header(&block);
        let sum = checksum(&block);
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let _ = header(&block);
        let _ = Pax::read(&bytes);
        let _ = MapReader::new(1000).block(&block);
    }

    #[test]
    fn whatever_is_sparse_comes_back(lengths in proptest::collection::vec((1..9_u64, 1..9_u64), 0..60)) {
        let (mut at, mut segments) = (0, Vec::new());
        for (hole, data) in lengths {
            segments.push((at + hole * 512, data * 512));
            at += (hole + data) * 512;
        }
        let bytes = sparse("a", at + 100, &segments, 0);
        let pax = header(&first(&bytes)).unwrap().unwrap();
        let mut rest = &bytes[2 * BLOCK + padded(vec![0; pax.size as usize]).len()..];
        let mut map = MapReader::new(at + 100);
        let found = loop {
            let block = first(rest);
            rest = &rest[BLOCK..];
            if let Some(found) = map.block(&block).unwrap() {
                break found;
            }
        };
        proptest::prop_assert_eq!(found, segments);
        proptest::prop_assert!(rest.is_empty());
    }
}

#[test]
fn gnu_tar_unpacks_what_is_written_with_its_holes_and_its_length() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new();
    let mut archive = plain("definition.json", 2, 0);
    archive.extend(padded(b"{}".to_vec()));
    let length = (9 << 30) + 5;
    archive.extend(sparse("disks/a.raw", length, &[(4096, 512), (9 << 30, 5)], 0));
    archive.extend([b'a'; 512]);
    archive.extend(padded(b"bytes".to_vec()));
    archive.extend(END);
    let path = folder.path().join("x.tar");
    std::fs::write(&path, archive).unwrap();
    let mut tar = Command::new("tar");
    let ran = tar.arg("xf").arg(&path).current_dir(folder.path()).stdin(Stdio::null()).output();
    let ran = ran.unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    assert_eq!(std::fs::read(folder.path().join("definition.json")).unwrap(), b"{}");
    let found = std::fs::File::open(folder.path().join("disks/a.raw")).unwrap();
    let metadata = found.metadata().unwrap();
    assert!(metadata.len() == length && metadata.blocks() * 512 < 1 << 20);
    let mut end = [0; 7];
    std::os::unix::fs::FileExt::read_exact_at(&found, &mut end, length - 7).unwrap();
    assert_eq!(&end, b"\0\0bytes");
    std::os::unix::fs::FileExt::read_exact_at(&found, &mut end, 4606).unwrap();
    assert_eq!(&end, b"aa\0\0\0\0\0");
}
