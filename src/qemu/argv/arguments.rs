//! The options that a definition gives as structured values.

use super::words::Words;
use crate::definition::types::{Argument, Part};

/// Adds the options.
pub(super) fn add(words: &mut Words, arguments: &[Argument]) {
    for Argument { option, parts } in arguments {
        let option = format!("-{option}");
        match &parts[..] {
            [] => words.verbatim([&option]),
            [Part::Text(text)] => words.verbatim([&option, text]),
            parts => words.parts(&option, parts),
        }
    }
}
