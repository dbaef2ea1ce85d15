//! Folders that only we may enter: made so, or refused; and the files in them, read or refused.
//!
//! No folder that exists already is ever chmod-ed or chown-ed into shape: who could enter it may have
//! left something in it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys;

/// Makes a folder that only we may enter, with its parents; one that exists already must be so.
pub(crate) fn make_private(folder: &Path) -> Result<()> {
    let builder = || {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        builder
    };
    match builder().create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return check_private(folder),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(format_args!("make {}", folder.display()), &error)),
    }
    // A parent is missing. /run/user/UID is made by the login system or not at all.
    let parent = folder.parent().unwrap_or(Path::new("/"));
    if parent.starts_with("/run/user") {
        return Err(Error::failed(format!("there is no {}", parent.display())));
    }
    builder()
        .recursive(true)
        .create(folder)
        .map_err(|error| Error::io(format_args!("make {}", folder.display()), &error))?;
    check_private(folder)
}

/// Refuses a folder that is not a real directory, not ours, or open to others.
///
/// # Errors
/// [`Kind::Permission`], naming what is wrong; a missing folder too.
///
/// [`Kind::Permission`]: crate::error::Kind::Permission
pub(crate) fn check_private(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let found = std::fs::symlink_metadata(folder)
        .map_err(|error| Error::io(format_args!("use {shown}"), &error))?;
    let refuse = |why: String| Error::permission(format!("refusing to use {shown}: {why}"));
    if !found.is_dir() {
        return Err(
            refuse("it is not a directory".into()).hint("remove it, or name another folder")
        );
    }
    let uid = sys::effective_uid();
    if found.uid() != uid {
        return Err(refuse(format!("it belongs to uid {}, not to uid {uid}", found.uid()))
            .hint("name another folder with --data-dir or --runtime-dir"));
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(format!("its mode {mode:04o} lets others in"))
            .hint(format!("if nothing in it is foreign: chmod 700 {shown}")));
    }
    Ok(())
}

/// Opens a file to read it that only we may have made, and that only we can read: what it is, is
/// looked at on the open descriptor. A symbolic link is not followed, and a FIFO not waited for.
///
/// # Errors
/// [`Kind::Permission`] for a file that must not be trusted; [`Kind::Failed`] for a missing one.
///
/// [`Kind::Permission`]: crate::error::Kind::Permission
/// [`Kind::Failed`]: crate::error::Kind::Failed
pub(crate) fn open_private(path: &Path) -> Result<File> {
    let cannot = |error| Error::io(format_args!("read {}", path.display()), &error);
    let refuse =
        |why: &str| Error::permission(format!("refusing to use {}: {why}", path.display()));
    let flags = sys::NO_FOLLOW | sys::NON_BLOCKING;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| {
        if path.is_symlink() { refuse("it is a symbolic link") } else { cannot(error) }
    })?;
    let found = file.metadata().map_err(cannot)?;
    if !found.is_file() {
        return Err(refuse("it is not a regular file"));
    }
    if found.uid() != sys::effective_uid() {
        return Err(refuse("it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(refuse("it is open to others"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::Kind;
    use crate::testing::Folder;

    #[test]
    fn a_folder_open_to_others_a_link_and_a_file_are_refused_and_left_as_they_are() {
        let root = Folder::new();
        let open = root.path().join("open");
        make_private(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).unwrap();
        for bad in [&open, &file, &link] {
            let error = make_private(bad).unwrap_err();
            assert!(error.kind == Kind::Permission && error.hint.is_some(), "{error}");
        }
        assert_eq!(std::fs::metadata(&open).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_made_folder_is_closed_to_others_with_its_parents() {
        let root = Folder::new();
        let deep = root.path().join("a/b/c");
        make_private(&deep).unwrap();
        for folder in ["a", "a/b", "a/b/c"] {
            let mode = std::fs::metadata(root.path().join(folder)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o700, "{folder}");
        }
    }
}
