//! qemu-img at the snapshots of one image that no QEMU uses.
//!
//! The image is told by its format and without what it stands on: qemu-img opens no other file. That
//! the image names none by itself (`image::check`) is the caller's to have seen.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Tag, tags};
use crate::error::{Error, Result, quote};
use crate::qemu::img::Img;

/// A qcow2 image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    /// It is no file but a block device.
    pub(crate) is_device: bool,
}

impl Image {
    /// What it holds, oldest first. The image may be in use.
    ///
    /// # Errors
    /// Those of qemu-img, and a path that is no text.
    pub(crate) fn tags(&self) -> Result<Vec<Tag>> {
        let info = Img::new(["info", "-U", "--output=json"]).word(self.node()?).output()?;
        let info: Value = serde_json::from_slice(&info)
            .map_err(|error| Error::failed(format!("cannot read qemu-img's answer: {error}")))?;
        tags(&info)
    }

    /// Takes a snapshot, also where one of that name is there.
    pub(crate) fn create(&self, name: &str, until: Instant) -> Result<()> {
        self.work("-c", name, until)
    }

    /// Brings the image to where the snapshot with this id left it. An id comes before any name.
    pub(crate) fn apply(&self, id: &str, until: Instant) -> Result<()> {
        self.work("-a", id, until)
    }

    /// Deletes the oldest snapshot of this name.
    pub(crate) fn delete(&self, name: &str, until: Instant) -> Result<()> {
        self.work("-d", name, until)
    }

    fn work(&self, what: &str, snapshot: &str, until: Instant) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let words = ["snapshot", "-q", what, snapshot];
        Img::new(words).word(self.node()?).copying(left, None).run()
    }

    fn node(&self) -> Result<String> {
        let path = self.path.to_str().ok_or_else(|| {
            let path = quote(&self.path.to_string_lossy());
            Error::usage(format!("the path {path} is not UTF-8"))
        })?;
        let driver = if self.is_device { "host_device" } else { "file" };
        let file = json!({ "driver": driver, "filename": path });
        let node = json!({ "driver": "qcow2", "backing": null, "file": file });
        Ok(format!("json:{node}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn snapshots_come_and_go_by_name_and_are_loaded_by_number() {
        let folder = Folder::new();
        let path = folder.path().join("a, \"b\".qcow2");
        // Of what it stands on nothing is there: it is not opened.
        let made =
            Img::new(["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/nonexistent"]);
        made.word(&path).word("1M").run().unwrap();
        let image = Image { path, is_device: false };
        let until = Instant::now() + Duration::from_secs(60);
        for name in ["two words", "ü,=", "-d", "two words"] {
            image.create(name, until).unwrap();
        }
        let names = || -> Vec<(String, String)> {
            image.tags().unwrap().into_iter().map(|tag| (tag.id, tag.name)).collect()
        };
        assert_eq!(names().len(), 4);
        image.delete("two words", until).unwrap();
        assert_eq!(names().last().unwrap(), &("4".to_owned(), "two words".to_owned()));
        image.delete("-d", until).unwrap();
        image.apply("4", until).unwrap();
        assert_eq!(names().len(), 2);
        let error = image.delete("gone", until).unwrap_err();
        assert!(error.message.contains("gone"), "{error}");
    }
}
