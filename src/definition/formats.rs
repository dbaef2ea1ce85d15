//! The formats of images that exist already, written into a definition before it is stored.
//!
//! Looking is the caller's: nothing is opened here.

use std::path::Path;

use serde_json::{Map, Value};

use super::types::Format;
use crate::error::Result;

/// Fills in the `type` of each disk with a `file`, and the `backing_format` of each with a
/// `backing_file`, where they are not given; an image that is to be made is qcow2. `look` tells the format of an existing image and
/// `None` where there is no such file; its errors are handed on.
pub(crate) fn fill_in(
    merged: &mut Map<String, Value>,
    mut look: impl FnMut(&Path) -> Result<Option<Format>>,
) -> Result<()> {
    let Some(Value::Array(storage)) = merged.get_mut("storage") else {
        return Ok(());
    };
    for disk in storage.iter_mut().filter_map(Value::as_object_mut) {
        for (file, format) in [("file", "type"), ("backing_file", "backing_format")] {
            let Some(Value::String(path)) = disk.get(file) else {
                continue;
            };
            if disk.contains_key(format) {
                continue;
            }
            let is_made = file == "file"
                && ["size", "from", "backing_file"]
                    .iter()
                    .any(|key| disk.get(*key).is_some_and(|value| !value.is_null()));
            let found = match look(Path::new(path))? {
                // Of what it is made is told now: once it is there, looking must not find news.
                None if is_made => Some(Format::Qcow2),
                found => found,
            };
            if let Some(found) = found {
                disk.insert(format.to_owned(), found.as_str().into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_exists_and_is_not_told_is_filled_in() {
        let mut merged = json!({"storage": [
            {"file": "/there.raw", "backing_file": "/there.qcow2"},
            {"file": "/there.raw", "type": "qcow2"},
            {"file": "/absent", "size": "1G"},
            {"size": "1G"},
            3,
        ]});
        fill_in(merged.as_object_mut().unwrap(), |path| {
            Ok(match path.to_str() {
                Some("/there.raw") => Some(Format::Raw),
                Some("/there.qcow2") => Some(Format::Qcow2),
                _ => None,
            })
        })
        .unwrap();
        assert_eq!(
            merged["storage"],
            json!([
                {"file": "/there.raw", "type": "raw",
                 "backing_file": "/there.qcow2", "backing_format": "qcow2"},
                {"file": "/there.raw", "type": "qcow2"},
                {"file": "/absent", "size": "1G", "type": "qcow2"},
                {"size": "1G"},
                3,
            ])
        );
    }
}
