//! Everything that knows QEMU.

pub(crate) mod hint;
pub(crate) mod program;
pub(crate) mod qmp;
