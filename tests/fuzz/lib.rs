//! The rooms of maqet that the fuzz targets stand on, and the targets. Nothing here runs a VM.
#![allow(dead_code, reason = "what the targets do not reach is used elsewhere")]
#![allow(unused_imports, reason = "the same")]

#[path = "../../src/backoff.rs"]
mod backoff;
#[path = "../../src/base64.rs"]
mod base64;
#[path = "../../src/copy.rs"]
mod copy;
#[path = "../../src/definition/mod.rs"]
mod definition;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/interrupt.rs"]
mod interrupt;
#[path = "../../src/lock.rs"]
mod lock;
#[path = "../../src/paths/mod.rs"]
mod paths;
#[path = "../../src/private.rs"]
mod private;
#[path = "../../src/qemu/mod.rs"]
mod qemu;
#[path = "../../src/sys/mod.rs"]
mod sys;
#[path = "../../src/tar/mod.rs"]
mod tar;
#[path = "../../src/time.rs"]
mod time;
#[path = "../../src/weight.rs"]
mod weight;
#[path = "../../src/wire/mod.rs"]
mod wire;

/// Of these rooms one file each, which stands on no other of its room.
#[path = "../../src/commands"]
mod commands {
    #[path = "settings.rs"]
    pub(crate) mod settings;
}
#[path = "../../src/control"]
mod control {
    #[path = "usage.rs"]
    pub(crate) mod usage;
}
#[path = "../../src/testing/fuzz.rs"]
mod fuzz;

/// Gives bytes to the target of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = fuzz::TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    target(bytes);
}
