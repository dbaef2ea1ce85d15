//! What headers say, and which images are refused.

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

/// A vmdk header with its description in this sector of 512 bytes, where it fits.
fn vmdk(capacity: u64, sector: u64, text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(b"KDMV");
    bytes[12..20].copy_from_slice(&capacity.to_le_bytes());
    bytes[28..36].copy_from_slice(&sector.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn description(extent: Option<&str>) -> Header {
    Header::VmdkDescription { extent: extent.map(str::to_owned) }
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
        let _ = Info::read(&bytes);
        let _ = Header::read(&[b"KDMV", &[0; 12][..], &bytes].concat());
        let _ = Header::read(&[b"# Disk DescriptorFile\nRW ", &bytes[..]].concat());
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
        (b"vhdxfile".to_vec(), Header::Foreign(Format::Vhdx)),
        (b"conectix\0".to_vec(), Header::Foreign(Format::Vpc)),
        (b"COWD".to_vec(), Header::Foreign(Format::Vmdk)),
        ([&[0; 64][..], b"\x7f\x10\xda\xbe"].concat(), Header::Foreign(Format::Vdi)),
        (vmdk(16384, 1, ""), Header::Foreign(Format::Vmdk)),
        (vmdk(0, 1, "x\nRW 4 FLAT \"/etc/passwd\" 0\n"), description(Some("/etc/passwd"))),
        (vmdk(0, u64::MAX, ""), description(None)),
        (vmdk(0, 1, "")[..30].to_vec(), description(None)),
        (
            b"# Disk DescriptorFile\nversion=1\n RDONLY 4 SPARSE \"a b\"".to_vec(),
            description(Some("a b")),
        ),
        (b"# Disk DescriptorFile".to_vec(), description(None)),
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
    let old = disk(serde_json::json!({"file": "/vm/x", "type": "vmdk"}));
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
        (&plain, Header::Foreign(Format::Vpc), Some("say \"type\": \"vpc\"")),
        (&raw, description(Some("/etc/shadow")), None),
        (&old, Header::Foreign(Format::Vmdk), None),
        (&old, Header::Foreign(Format::Vdi), Some("no vmdk image")),
        (&old, Header::Raw, Some("no vmdk image")),
        (&old, description(Some("../b")), Some("keeps its data in \"/vm/../b\"")),
        (&old, description(None), Some("keeps its data in other files")),
        (&plain, qcow2("", 4), Some("data in another file")),
        (&linked, qcow2("", 0), Some("stands on no other")),
        (&linked, qcow2("b/c.raw", 0), Some("\"backing_file\": \"/vm/b/c.raw\"")),
        (&plain, qcow2("/etc/shadow", 0), Some("stands on \"/etc/shadow\", which the definition")),
        (&plain, qcow2("json:{\"driver\":\"nbd\"}", 0), Some("which the definition does not name")),
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
fn what_qemu_img_says_may_name_the_image_and_nothing_else() {
    let path = Path::new("/vm/x.vmdk");
    for (answer, other) in [
        (r#"{"virtual-size": 5, "filename": "/vm/x.vmdk", "format": "vmdk"}"#, None),
        (
            r#"{"virtual-size": 5, "format-specific": {"data": {"extents": [{"filename": "/vm/x.vmdk"}]}}}"#,
            None,
        ),
        (
            r#"{"virtual-size": 5, "format-specific": {"data": {"extents": [
                {"filename": "/vm/x.vmdk"}, {"filename": "/etc/passwd"}]}}}"#,
            Some("/etc/passwd"),
        ),
        (
            r#"{"virtual-size": 5, "format-specific": {"data": {"data-file": "/etc/shadow"}}}"#,
            Some("/etc/shadow"),
        ),
        (r#"{"virtual-size": 5, "backing-filename": "y"}"#, Some("/vm/y")),
        (r#"{"virtual-size": 5, "full-backing-filename": "nbd://h/"}"#, Some("/vm/nbd:/h")),
    ] {
        let info = Info::read(answer.as_bytes()).unwrap();
        assert_eq!(info.virtual_size, 5);
        match (check_info(path, &info), other) {
            (Ok(()), None) => {}
            (Err(error), Some(other)) => assert!(error.message.contains(other), "{error}"),
            (result, other) => panic!("{answer}: {result:?}, expected {other:?}"),
        }
    }
    for answer in ["", "[]", "{}", "{\"virtual-size\": -1}", "null"] {
        assert!(Info::read(answer.as_bytes()).is_err(), "{answer}");
    }
}

#[test]
fn what_is_copied_stands_alone_and_any_format_will_do() {
    let path = Path::new("/a");
    for header in [Header::Raw, qcow2("", 0), Header::Foreign(Format::Vdi)] {
        assert!(check_original(path, &header).is_ok(), "{header:?}");
    }
    for header in [qcow2("c", 0), qcow2("", 4), description(None)] {
        assert!(check_original(path, &header).is_err(), "{header:?}");
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
