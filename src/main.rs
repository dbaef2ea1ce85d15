//! maqet: QEMU virtual machines from the command line, without a daemon.

mod error;

fn main() {}
