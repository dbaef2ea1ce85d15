//! Everything that knows QEMU.
//!
//! Pure: a definition becomes a command line, bytes become messages, an image's header is read. No
//! process is started and no socket opened here; `look` and `program` alone look at the file system.

pub(crate) mod argv;
pub(crate) mod hint;
pub(crate) mod image;
pub(crate) mod look;
pub(crate) mod machine;
pub(crate) mod program;
pub(crate) mod qmp;
pub(crate) mod usernet;
