//! Everything that knows QEMU.

pub(crate) mod qmp;
