//! The words of a choice as types. Which words there are is told by the table of keys; a test holds
//! the two together.

use crate::definition::types::{
    Accel, Aio, Cache, Discard, Format, Interface, Media, Model, Restart, SecurityModel, Vga,
};

pub(super) fn accel(word: &str) -> Option<Accel> {
    Some(match word {
        "auto" => Accel::Auto,
        "kvm" => Accel::Kvm,
        "tcg" => Accel::Tcg,
        _ => return None,
    })
}

pub(super) fn vga(word: &str) -> Option<Vga> {
    Some(match word {
        "std" => Vga::Std,
        "none" => Vga::None,
        "virtio" => Vga::Virtio,
        "cirrus" => Vga::Cirrus,
        "qxl" => Vga::Qxl,
        "vmware" => Vga::Vmware,
        _ => return None,
    })
}

pub(super) fn restart(word: &str) -> Option<Restart> {
    Some(match word {
        "never" => Restart::Never,
        "on-failure" => Restart::OnFailure,
        "always" => Restart::Always,
        _ => return None,
    })
}

pub(super) fn format(word: &str) -> Option<Format> {
    Some(match word {
        "qcow2" => Format::Qcow2,
        "raw" => Format::Raw,
        "vdi" => Format::Vdi,
        "vhdx" => Format::Vhdx,
        "vpc" => Format::Vpc,
        "vmdk" => Format::Vmdk,
        _ => return None,
    })
}

pub(super) fn interface(word: &str) -> Option<Interface> {
    Some(match word {
        "virtio" => Interface::Virtio,
        "scsi" => Interface::Scsi,
        "sata" => Interface::Sata,
        "ide" => Interface::Ide,
        "nvme" => Interface::Nvme,
        "usb" => Interface::Usb,
        "none" => Interface::Absent,
        _ => return None,
    })
}

pub(super) fn security_model(word: &str) -> Option<SecurityModel> {
    Some(match word {
        "mapped-xattr" => SecurityModel::MappedXattr,
        "mapped-file" => SecurityModel::MappedFile,
        "passthrough" => SecurityModel::Passthrough,
        "none" => SecurityModel::None,
        _ => return None,
    })
}

pub(super) fn media(word: &str) -> Option<Media> {
    Some(match word {
        "disk" => Media::Disk,
        "cdrom" => Media::Cdrom,
        _ => return None,
    })
}

pub(super) fn cache(word: &str) -> Option<Cache> {
    Some(match word {
        "writeback" => Cache::Writeback,
        "none" => Cache::None,
        "writethrough" => Cache::Writethrough,
        "directsync" => Cache::Directsync,
        "unsafe" => Cache::Unsafe,
        _ => return None,
    })
}

pub(super) fn aio(word: &str) -> Option<Aio> {
    Some(match word {
        "threads" => Aio::Threads,
        "native" => Aio::Native,
        "io_uring" => Aio::IoUring,
        _ => return None,
    })
}

pub(super) fn discard(word: &str) -> Option<Discard> {
    Some(match word {
        "ignore" => Discard::Ignore,
        "unmap" => Discard::Unmap,
        _ => return None,
    })
}

pub(super) fn model(word: &str) -> Option<Model> {
    Some(match word {
        "virtio" => Model::Virtio,
        "e1000" => Model::E1000,
        "e1000e" => Model::E1000e,
        "rtl8139" => Model::Rtl8139,
        "vmxnet3" => Model::Vmxnet3,
        "pcnet" => Model::Pcnet,
        "ne2k_pci" => Model::Ne2kPci,
        _ => return None,
    })
}
