//! Files and what they lie on: holes, shared blocks, names, file systems; and the few files of the kernel
//! that are asked for by their path.

use std::fs::File;
use std::io;
use std::path::Path;

/// O_NOFOLLOW as std's `custom_flags` takes it.
pub(crate) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// O_NONBLOCK as std's `custom_flags` takes it.
pub(crate) const NON_BLOCKING: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Whether executing this file would grant privileges: set-user-id, set-group-id or file
/// capabilities. Such a program sheds its parent-death signal (prctl(2)).
pub(crate) fn grants_privileges(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o6000 != 0 {
        return Ok(true);
    }
    let mut value = [0_u8; 64];
    match rustix::fs::getxattr(path, "security.capability", &mut value[..]) {
        Ok(length) => Ok(length > 0),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Renames a file, unless one of the new name is there already (renameat2 RENAME_NOREPLACE).
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Makes `to` share all blocks of `from` (ioctl FICLONE); false where the file system cannot.
pub(crate) fn share_blocks(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Copies within the kernel (copy_file_range(2)), at the same offset in both files: how many bytes
/// were copied, `None` where these two files do not allow it.
pub(crate) fn copy_range(
    from: &File,
    to: &File,
    at: u64,
    bytes: usize,
) -> io::Result<Option<usize>> {
    use rustix::io::Errno;
    let (mut read_at, mut write_at) = (at, at);
    let copied =
        rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), bytes);
    match copied {
        Ok(count) => Ok(Some(count)),
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::TXTBSY) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The next bytes of a file from `at` on that are no hole, as begin and end (SEEK_DATA, SEEK_HOLE);
/// `None` behind the last of them. Where the file system knows no holes all is data.
pub(crate) fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let end = seek(file, SeekFrom::End(0))?;
    if at >= end {
        return Ok(None);
    }
    match seek(file, SeekFrom::Data(at)) {
        Ok(begin) => Ok(Some((begin, seek(file, SeekFrom::Hole(begin))?))),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some((at, end))),
        Err(error) => Err(error.into()),
    }
}

/// What a path lies on (statfs): the file system's magic number, and whether it is mounted
/// read-only (ST_RDONLY).
pub(crate) fn file_system(path: &Path) -> io::Result<(u32, bool)> {
    let found = rustix::fs::statfs(path)?;
    // Its width differs by architecture; the magic numbers have 32 bits.
    Ok((found.f_type as u32, found.f_flags & 1 != 0))
}

/// How many bytes an unprivileged process may still write to the file system of this path.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether we may use KVM: /dev/kvm opens.
pub(crate) fn kvm_opens() -> bool {
    File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// What tells one boot of this host from another (random(4)).
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}
