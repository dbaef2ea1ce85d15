//! What a VM is: its names, the keys of a definition, reading and merging definitions.
//!
//! Everything here is pure: text and JSON in, typed values or a sentence out. No file is opened, no
//! process asked, and nothing here knows how QEMU spells an option.
//!
//! A definition's way: `json` (bytes to objects), `spec`, `set` and `port` (a word of the command
//! line), then `merge` (paths made absolute, sources merged), `formats`, and at last `Definition::read`.

pub(crate) mod copied;
pub(crate) mod difference;
pub(crate) mod faults;
pub(crate) mod formats;
pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod merge;
pub(crate) mod name;
pub(crate) mod nearest;
mod options;
pub(crate) mod port;
pub(crate) mod predecessor;
mod read;
pub(crate) mod schema;
pub(crate) mod set;
pub(crate) mod spec;
pub(crate) mod trust;
pub(crate) mod types;
pub(crate) mod units;
