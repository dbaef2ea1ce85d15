//! The key of one run of one VM: 64 hex characters in a file that only we may read.
//!
//! It is made new at every runner start. It is never logged, never in the database, argv or the
//! environment; `Debug` does not show it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::hex::{hex, is_hex64};
use crate::error::{Error, Result};
use crate::private::open_private;

/// The shared secret, as the text that both sides feed to HMAC.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    pub(crate) fn random() -> Result<Key> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::failed(format!("cannot get random bytes: {error}")))?;
        Ok(Key(hex(&bytes)))
    }

    /// 64 lower-case hex characters, else `None`.
    pub(super) fn parse(text: &str) -> Option<Key> {
        is_hex64(text).then(|| Key(text.to_owned()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Writes the key to a new file, 0600. A file that is there already is an error.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let cannot = |error| Error::io(format_args!("make {}", path.display()), &error);
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).map_err(cannot)?;
        file.write_all(self.0.as_bytes()).map_err(cannot)
    }

    /// Reads the key, having checked on the open descriptor that the file is a regular one, ours,
    /// and closed to others.
    ///
    /// # Errors
    /// [`Kind::Permission`] for a file that must not be trusted; [`Kind::Failed`] for one that is
    /// missing, which during a start only means "not yet".
    ///
    /// [`Kind::Permission`]: crate::error::Kind::Permission
    /// [`Kind::Failed`]: crate::error::Kind::Failed
    pub(crate) fn read(path: &Path) -> Result<Key> {
        let file = open_private(path)?;
        let cannot = |error| Error::io(format_args!("read {}", path.display()), &error);
        read_key(file).map_err(cannot)?.ok_or_else(|| {
            let shown = path.display();
            Error::permission(format!(
                "refusing to use {shown}: it does not hold 64 hex characters"
            ))
        })
    }
}

fn read_key(file: File) -> std::io::Result<Option<Key>> {
    let mut bytes = Vec::with_capacity(65);
    file.take(65).read_to_end(&mut bytes)?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(Key::parse))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::error::Kind;
    use crate::testing::Folder;

    #[test]
    fn a_key_is_written_once_and_read_back() {
        let folder = Folder::new();
        let path = folder.path().join("secret");
        let key = Key::random().unwrap();
        key.write(&path).unwrap();
        assert_eq!(Key::read(&path).unwrap(), key);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(key.write(&path).is_err());
    }

    #[test]
    fn a_secret_that_others_could_have_made_or_read_is_refused() {
        let folder = Folder::new();
        let good = folder.path().join("good");
        Key::random().unwrap().write(&good).unwrap();
        let open = folder.path().join("open");
        Key::random().unwrap().write(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
        let short = folder.path().join("short");
        std::fs::write(&short, "abc").unwrap();
        std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o600)).unwrap();
        for bad in [open.as_path(), &short, folder.path()] {
            assert_eq!(Key::read(bad).unwrap_err().kind, Kind::Permission, "{}", bad.display());
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&good, &link).unwrap();
        assert_eq!(Key::read(&link).unwrap_err().kind, Kind::Permission);
    }

    #[test]
    fn a_key_does_not_show_itself_in_a_log() {
        let key = Key::random().unwrap();
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}
