//! A clone on a file system that can share blocks: it takes no room of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Host, not_here, run};

/// A small xfs, unmounted when it is dropped.
struct Xfs(PathBuf);

impl Xfs {
    /// Mounts one at a folder that is not there yet; none, with the reason printed, where nobody may
    /// mount.
    fn new(image: &Path, at: &Path) -> Option<Xfs> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        if !rustix::process::geteuid().is_root() {
            not_here("only root mounts");
            return None;
        }
        // The smallest that mkfs.xfs makes is 300 MiB; it is sparse.
        std::fs::File::create(image).unwrap().set_len(320 << 20).unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(at).unwrap();
        run(Command::new("mkfs.xfs").arg("-q").arg(image)).exits(0);
        let ran = run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at));
        if ran.code != 0 {
            not_here(&format!("nothing can be mounted: {}", ran.stderr.trim()));
            return None;
        }
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o700)).unwrap();
        Some(Xfs(at.to_owned()))
    }

    /// The bytes that are taken.
    fn used(&self) -> u64 {
        run(Command::new("sync").arg("-f").arg(&self.0)).exits(0);
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

#[test]
fn a_clone_shares_its_blocks_where_the_file_system_can_until_one_is_written() {
    let host = Host::new();
    let Some(disk) = Xfs::new(&host.root().join("xfs"), &host.data()) else { return };
    let words = ["add", "web", "--machine", "q35", "--accel", "tcg", "--memory", "64M"];
    let disks = ["--disk", "name=a,size=64M", "--disk", "name=b,type=raw,size=64M"];
    host.maqet(words.into_iter().chain(disks)).exits(0);
    host.maqet(["start", "web", "--paused"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    let folder = host.vm_folder("web").join("disks");
    let raw = folder.join("b.raw");
    let noise: Vec<u8> =
        (0_u32..8 << 20).flat_map(|n| n.wrapping_mul(0x9e37).to_le_bytes()).collect();
    std::fs::OpenOptions::new().write(true).open(&raw).unwrap().write_all(&noise).unwrap();
    host.shell(&format!("qemu-io -f qcow2 -c 'write -P 7 0 32M' '{}/a.qcow2'", folder.display()))
        .exits(0);

    let before = disk.used();
    assert!(before > 60 << 20, "{before}");
    host.maqet(["clone", "web", "copy"]).exits(0);
    let copies = host.vm_folder("copy").join("disks");
    let grown = disk.used() - before;
    assert!(grown < 2 << 20, "{grown} bytes more for 64 MiB of data");
    for name in ["a.qcow2", "b.raw"] {
        let copy = std::fs::read(copies.join(name)).unwrap();
        assert!(copy == std::fs::read(folder.join(name)).unwrap(), "{name}");
        let map = run(Command::new("filefrag").arg("-v").arg(copies.join(name))).exits(0).stdout;
        assert!(map.contains("shared"), "{map}");
    }
    // What is written to one is not the other's.
    std::fs::OpenOptions::new().write(true).open(&raw).unwrap().write_all(&[0; 4096]).unwrap();
    assert!(std::fs::read(copies.join("b.raw")).unwrap().starts_with(&noise[..4096]));
}
