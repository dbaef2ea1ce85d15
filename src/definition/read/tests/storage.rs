//! What is refused of disks and shares.

use serde_json::json;

use super::refuses;

#[test]
fn every_refusal_of_a_disk_names_the_key_and_the_reason() {
    let long = "x".repeat(27);
    for (definition, expected) in [
        (json!({"storage": {}}), "storage: expected a list, found an object"),
        (json!({"storage": ["20G"]}), "storage[0]: expected an object, found \"20G\""),
        (json!({"storage": [{}]}), "storage[0].size: a disk needs"),
        (
            json!({"storage": [{"size": 20}]}),
            "storage[0].size: \"20\" is not a size: it has no unit",
        ),
        (json!({"storage": [{"file": "/x"}]}), "storage[0].type: it is missing"),
        (
            json!({"storage": [{"file": "x", "size": "1G"}]}),
            "storage[0].file: \"x\" is not an absolute",
        ),
        (
            json!({"storage": [{"file": "/x.ISO", "size": "1G"}]}),
            "storage[0].size: a cdrom takes none",
        ),
        (json!({"storage": [{"media": "cdrom"}]}), "storage[0].file: a cdrom needs a file"),
        (
            json!({"storage": [{"file": "/x.iso", "readonly": false}]}),
            "storage[0].readonly: a cdrom cannot be written",
        ),
        (json!({"storage": [{"name": "a,b", "size": "1G"}]}), "storage[0].name: \"a,b\" cannot be"),
        (json!({"storage": [{"name": "", "size": "1G"}]}), "storage[0].name: \"\" cannot be"),
        (json!({"storage": [{"name": long, "size": "1G"}]}), "storage[0].name: "),
        (
            json!({"storage": [{"name": "disk1", "size": "1G"}, {"size": "1G"}]}),
            "storage[1].name: there are two of the name \"disk1\"",
        ),
        (
            json!({"storage": [{"size": "1G", "backing_file": "/b"}]}),
            "storage[0].backing_format: it is missing",
        ),
        (
            json!({"storage": [{"size": "1G", "backing_format": "raw"}]}),
            "storage[0].backing_format: it needs",
        ),
        (
            json!({"storage": [{"type": "raw", "backing_file": "/b", "backing_format": "raw"}]}),
            "storage[0].backing_file: an image of type raw",
        ),
        (
            json!({"storage": [{"size": "1G", "aio": "native"}]}),
            "storage[0].aio: \"native\" needs a cache",
        ),
        (json!({"storage": [{"size": "1G", "serial": "x".repeat(21)}]}), "storage[0].serial: "),
        (
            json!({"storage": [{"size": "1G", "bootindex": -1}]}),
            "storage[0].bootindex: expected a whole number",
        ),
        (
            json!({"storage": [{"from": "/a", "backing_file": "/b", "backing_format": "raw"}]}),
            "storage[0].from: a copy stands on no other image",
        ),
        (
            json!({"storage": [{"file": "/x.iso", "from": "/a"}]}),
            "storage[0].from: a cdrom takes none",
        ),
        (json!({"storage": [{"from": "a"}]}), "storage[0].from: \"a\" is not an absolute path"),
        (
            json!({"storage": [{"size": "1G", "interface": "sata", "readonly": true}]}),
            "storage[0].interface: a disk on sata or ide cannot be read-only\nhint: virtio,",
        ),
        (
            json!({"storage": [{"file": "/x.iso", "interface": "nvme"}]}),
            "storage[0].interface: a cdrom is on sata, ide, scsi or usb",
        ),
        (
            json!({"storage": [{"size": "1G", "interface": "none", "bootindex": 1}]}),
            "storage[0].bootindex: with an interface of none there is no device",
        ),
        (
            json!({"storage": [{"type": "vmdk", "size": "1G"}]}),
            "storage[0].file: an image of type vmdk needs a file",
        ),
        (
            json!({"storage": [{"type": "vdi", "file": "/x", "readonly": false}]}),
            "storage[0].readonly: an image of type vdi is only read\nhint: \"from\" makes a copy",
        ),
        (
            json!({"storage": [{"type": "vhdx", "file": "/x", "discard": "unmap"}]}),
            "storage[0].discard: an image of type vhdx takes none",
        ),
        (
            json!({"storage": [{"size": "1G", "tag": "x"}]}),
            "storage[0].tag: a disk takes none\nhint: a folder of the host has \"type\": \"virtfs\"",
        ),
        (json!({"storage": [{"type": "virtfs"}]}), "storage[0].path: a shared folder needs one"),
        (
            json!({"storage": [{"type": "virtfs", "path": "/x", "size": "1G"}]}),
            "storage[0].size: a shared folder (virtfs) takes none",
        ),
        (
            json!({"storage": [{"type": "virtfs", "path": "/x", "tag": "x".repeat(32)}]}),
            "storage[0].tag: a tag is 1 to 31 bytes",
        ),
        (
            json!({"storage": [{"type": "virtfs", "path": "x"}]}),
            "storage[0].path: \"x\" is not an absolute path",
        ),
        (
            json!({"storage": [
                {"name": "a", "type": "virtfs", "path": "/x"},
                {"type": "virtfs", "path": "/x", "tag": "a"},
            ]}),
            "storage: a and disk1 have one tag",
        ),
        (
            json!({"storage": [{"name": "a", "size": "1G"}, {"name": "a", "type": "virtfs", "path": "/x"}]}),
            "storage[1].name: there are two of the name \"a\"",
        ),
        (
            json!({"storage": [{"name": "firmware-vars", "size": "1G"}]}),
            "storage[0].name: \"firmware-vars\" is the drive of the firmware's variables\n\
             hint: choose another name",
        ),
    ] {
        refuses(definition, expected);
    }
}
