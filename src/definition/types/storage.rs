//! An item of `storage`: a disk, or a folder of the host.

use std::path::{Path, PathBuf};

use super::ItemName;

/// The format of an image. It is always known and never probed by QEMU: a guest can write any
/// header into a raw image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Qcow2,
    Raw,
    Vdi,
    Vhdx,
    Vpc,
    Vmdk,
}

impl Format {
    /// As QEMU and definitions write it; also the ending of files that maqet makes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Format::Qcow2 => "qcow2",
            Format::Raw => "raw",
            Format::Vdi => "vdi",
            Format::Vhdx => "vhdx",
            Format::Vpc => "vpc",
            Format::Vmdk => "vmdk",
        }
    }

    /// Whether a guest may write such an image, and maqet makes it. The others come from other
    /// programs, and are only read.
    pub(crate) fn is_written(self) -> bool {
        matches!(self, Format::Qcow2 | Format::Raw)
    }
}

/// A disk, or a CD-ROM drive with its disc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) name: ItemName,
    pub(crate) media: Media,
    pub(crate) format: Format,
    /// `None`: virtio, and for a CD-ROM the kind of drive that the machine has.
    pub(crate) interface: Option<Interface>,
    /// `None`: in the VM's folder, see `path`.
    pub(crate) file: Option<PathBuf>,
    /// In bytes; how large the image is made where it does not exist.
    pub(crate) size: Option<u64>,
    /// The image of which a copy is made where `file` does not exist.
    pub(crate) from: Option<PathBuf>,
    /// Always for a CD-ROM, and for a format that is only read.
    pub(crate) readonly: bool,
    pub(crate) backing: Option<Backing>,
    /// `None`: as QEMU does, which is writeback.
    pub(crate) cache: Option<Cache>,
    pub(crate) aio: Option<Aio>,
    pub(crate) discard: Option<Discard>,
    /// 1 to 20 bytes.
    pub(crate) serial: Option<String>,
    pub(crate) bootindex: Option<u32>,
}

impl Disk {
    /// Where the image lies, for a VM with this folder.
    pub(crate) fn path(&self, vm_folder: &Path) -> PathBuf {
        self.file.clone().unwrap_or_else(|| {
            vm_folder.join("disks").join(format!("{}.{}", self.name, self.format.as_str()))
        })
    }

    /// Whether maqet makes the image where it does not exist. Without a size it gets that of the
    /// image that it stands on, or is a copy of.
    pub(crate) fn is_made_when_absent(&self) -> bool {
        self.size.is_some() || self.backing.is_some() || self.from.is_some()
    }
}

/// What kind of drive the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Disk,
    /// A CD-ROM drive with a disc.
    Cdrom,
}

/// What a disk is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    Virtio,
    Scsi,
    Sata,
    /// Two channels with two drives each, on machines that have them.
    Ide,
    Nvme,
    Usb,
    /// Nothing: QEMU has the image, and the definition's own arguments say what is made of it.
    Absent,
}

/// The image that another one stands on. It is opened read-only, and must not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backing {
    pub(crate) file: PathBuf,
    pub(crate) format: Format,
}

/// How the host caches an image: the words of QEMU's `-drive cache=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    Writeback,
    None,
    Writethrough,
    Directsync,
    Unsafe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aio {
    Threads,
    /// Only with a cache of none or directsync.
    Native,
    IoUring,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discard {
    Ignore,
    Unmap,
}

/// A folder of the host that the guest mounts by 9p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) name: ItemName,
    pub(crate) path: PathBuf,
    /// What the guest mounts it by: 1 to 31 bytes, and no other share's.
    pub(crate) tag: String,
    pub(crate) security: SecurityModel,
    pub(crate) readonly: bool,
}

/// Whose the files are that the guest makes: the words of QEMU's `-fsdev security_model=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecurityModel {
    /// Ours; what the guest believes is kept in extended attributes.
    MappedXattr,
    /// Ours; what the guest believes is kept in files beside.
    MappedFile,
    /// The guest's, which takes root.
    Passthrough,
    /// Ours, and the guest is not told.
    None,
}

impl SecurityModel {
    /// As QEMU and definitions write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SecurityModel::MappedXattr => "mapped-xattr",
            SecurityModel::MappedFile => "mapped-file",
            SecurityModel::Passthrough => "passthrough",
            SecurityModel::None => "none",
        }
    }
}
