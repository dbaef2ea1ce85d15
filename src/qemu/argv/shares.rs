//! A folder of the host as QEMU's file system device and the 9p device that the guest mounts.

use serde_json::json;

use super::words::{Words, utf8};
use crate::definition::types::Share;
use crate::error::{Error, Result, quote};

/// Adds the shares; `variant` is how virtio's devices end on this machine.
pub(super) fn add(words: &mut Words, shares: &[Share], variant: Option<&str>) -> Result<()> {
    for share in shares {
        let Some(variant) = variant else {
            let name = quote(share.name.as_str());
            return Err(Error::usage(format!("the machine has no bus for the share {name}")));
        };
        let id = format!("share-{}", share.name);
        let mut pairs = vec![
            ("id", id.as_str()),
            ("path", utf8(&share.path)?),
            ("security_model", share.security.as_str()),
            // Two files on two file systems below the folder may have one number.
            ("multidevs", "remap"),
        ];
        if share.readonly {
            pairs.push(("readonly", "on"));
        }
        words.option("-fsdev", Some("local"), &pairs);
        let driver = format!("virtio-9p-{variant}");
        let tag = &share.tag;
        words
            .json("-device", &json!({ "driver": driver, "id": id, "fsdev": id, "mount_tag": tag }));
    }
    Ok(())
}
