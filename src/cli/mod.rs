//! From argv to plain data, and from results to what a person or a program reads.
//!
//! The table says what can be typed. Nothing here looks up a VM, opens a file or a database, or
//! decides what a command does: only stdout and stderr are touched.

pub(crate) mod table;
