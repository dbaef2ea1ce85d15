//! What a VM is: its names, the keys of a definition, reading and merging definitions.
//!
//! Everything here is pure: text and JSON in, typed values or a sentence out. No file is opened, no
//! process asked, and nothing here knows how QEMU spells an option.

pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod name;
pub(crate) mod nearest;
pub(crate) mod units;
