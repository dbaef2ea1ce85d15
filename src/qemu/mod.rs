//! Everything that knows QEMU.
//!
//! Pure: a definition becomes a command line, bytes become messages, an image's header is read. No
//! socket is opened here; `look`, `program` and `firmware` alone look at the file system, and `img` alone starts
//! a process, qemu-img, with which `make` makes images.

pub(crate) mod agent;
pub(crate) mod argv;
pub(crate) mod copy;
pub(crate) mod difference;
pub(crate) mod firmware;
pub(crate) mod hint;
pub(crate) mod image;
pub(crate) mod images;
pub(crate) mod img;
pub(crate) mod keys;
pub(crate) mod look;
pub(crate) mod machine;
pub(crate) mod make;
pub(crate) mod pci;
pub(crate) mod program;
pub(crate) mod properties;
pub(crate) mod qmp;
pub(crate) mod reach;
pub(crate) mod schema;
pub(crate) mod screen;
pub(crate) mod script;
pub(crate) mod snapshot;
pub(crate) mod usernet;
