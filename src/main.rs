//! maqet: QEMU virtual machines from the command line, without a daemon.

mod backoff;
mod cli;
mod definition;
mod error;
mod lock;
mod paths;
mod qemu;
mod runner;
mod store;
mod sys;
#[cfg(test)]
mod testing;
mod time;
mod wire;

fn main() {}
