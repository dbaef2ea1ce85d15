//! maqet: QEMU virtual machines from the command line, without a daemon.

mod backoff;
mod error;
mod lock;
mod paths;
mod sys;
#[cfg(test)]
mod testing;
mod time;

fn main() {}
