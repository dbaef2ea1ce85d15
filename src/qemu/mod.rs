//! Everything that knows QEMU.

pub(crate) mod program;
pub(crate) mod qmp;
