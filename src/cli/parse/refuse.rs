//! What a command or a flag that does not exist is answered with: what was meant, or where to look.

use crate::cli::table::{COMMANDS, Command, FAMILIES, Family, GLOBALS, definition_flags};
use crate::cli::words;
use crate::definition::nearest::nearest;
use crate::error::{Error, quote};

/// The refusal of a first word that is no command.
pub(super) fn no_command(word: &str) -> Error {
    let words = COMMANDS.iter().map(|row| row.word).chain(FAMILIES.iter().map(|one| one.word));
    let known: Vec<String> = words.map(str::to_owned).collect();
    let hint = match words::instead_of(word) {
        Some(instead) => instead.to_owned(),
        None => did_you_mean(word, &known).unwrap_or_else(|| see_help(None)),
    };
    Error::usage(format!("no command {}", quote(word))).hint(hint)
}

/// The refusal of a second word that the family does not have, or of none.
pub(super) fn no_member(family: &Family, word: Option<&str>) -> Error {
    let known: Vec<String> = family.members().map(|(second, _)| second.to_owned()).collect();
    let all = || format!("\"maqet {}\" takes {}", family.word, known.join(", "));
    match word {
        None => Error::usage(format!("\"{}\" needs a second word", family.word)).hint(all()),
        Some(word) => {
            Error::usage(format!("no command {}", quote(&format!("{} {word}", family.word))))
                .hint(did_you_mean(word, &known).unwrap_or_else(all))
        }
    }
}

/// The refusal of a flag that the command, or a command line before its command, does not take.
pub(super) fn no_flag(command: Option<&Command>, typed: &str) -> Error {
    let near = did_you_mean(typed, &flags_of(command)).unwrap_or_else(|| see_help(command));
    if let Some(row) = command {
        return Error::usage(format!("\"{}\" has no flag {}", row.word, quote(typed))).hint(near);
    }
    let takes = |row: &&Command| row.all_flags().any(|(flag, _)| flag.is_written(typed));
    let error = Error::usage(format!("no flag {} before the command", quote(typed)));
    match COMMANDS.iter().find(takes) {
        Some(row) => {
            error.hint(format!("a command's flag stands behind it: \"maqet {} {typed}\"", row.word))
        }
        None => error.hint(near),
    }
}

/// Where to read on.
pub(super) fn see_help(command: Option<&Command>) -> String {
    match command {
        Some(row) => format!("see \"maqet help {}\"", row.word),
        None => "see \"maqet --help\"".to_owned(),
    }
}

/// Every long flag that may be typed at this place.
fn flags_of(command: Option<&Command>) -> Vec<String> {
    let own = command.into_iter().flat_map(Command::all_flags);
    let keys = definition_flags().filter(|_| command.is_some_and(|row| row.definition));
    own.chain(GLOBALS.iter().copied())
        .map(|(flag, _)| flag.written())
        .chain(keys.map(|key| key.written()))
        .collect()
}

fn did_you_mean(word: &str, known: &[String]) -> Option<String> {
    nearest(word, known.iter().map(String::as_str)).map(|near| format!("did you mean \"{near}\"?"))
}
