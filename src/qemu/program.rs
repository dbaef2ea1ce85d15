//! Which program a VM's QEMU is. It looks into PATH and at one file; it runs nothing.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::sys;

/// Finds the program that a VM's QEMU is, and refuses one that cannot be tied to its runner.
pub(crate) fn find(name: &OsStr) -> Result<PathBuf> {
    let path = if name.as_encoded_bytes().contains(&b'/') {
        PathBuf::from(name)
    } else {
        search(name).ok_or_else(|| {
            Error::failed(format!("there is no {} in PATH", name.display()))
                .hint("install QEMU for this architecture, or name the program with --binary")
        })?
    };
    let grants = sys::grants_privileges(&path)
        .map_err(|error| Error::io(format_args!("use {}", path.display()), &error))?;
    if grants {
        return Err(Error::new(
            Kind::Permission,
            format!("refusing to use {}: it is set-id or has file capabilities", path.display()),
        )
        .hint("such a QEMU would outlive its runner; use a plain copy of it"));
    }
    Ok(path)
}

fn search(name: &OsStr) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(is_program)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_program_is_found_in_path_and_a_missing_one_is_named() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        let error = find(OsStr::new("no-such-qemu")).unwrap_err();
        assert!(error.message.contains("no-such-qemu") && error.hint.is_some());
    }

    #[test]
    fn a_set_id_program_is_refused() {
        let folder = Folder::new();
        let path = folder.path().join("qemu");
        std::fs::copy("/bin/true", &path).unwrap();
        assert_eq!(find(path.as_os_str()).unwrap(), path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4755)).unwrap();
        assert_eq!(find(path.as_os_str()).unwrap_err().kind, Kind::Permission);
    }
}
