//! From argv to plain data, and from results to what a person or a program reads.
//!
//! The table says what can be typed; `parse` turns words into an `Invocation`; `text` renders the
//! help, `completion` what shells complete; `output`, `report` and `progress` write results, errors, notes and how far work is. Nothing here looks up a VM, opens
//! a file or a database, or decides what a command does: only stdout and stderr are touched.

pub(crate) mod completion;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod table;
pub(crate) mod text;

mod invocation;
mod parse;
pub(crate) mod predecessor;
mod topics;
mod words;

pub(crate) use invocation::{Invocation, Source};
pub(crate) use parse::{parse, wants_json};
