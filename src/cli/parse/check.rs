//! The whole command line held against its command's row, once every word has been read.

use super::refuse::see_help;
use crate::cli::invocation::Invocation;
use crate::cli::table::{Arity, Command, Flag, GLOBAL_EXCLUDES, Operand};
use crate::cli::text;
use crate::definition::set::label_pair;
use crate::error::{Error, Result, quote};

/// What stands for the VMs of a command beside their names, as it is written most often.
const SELECTING: &[(Flag, &str)] =
    &[(Flag::All, "--all"), (Flag::Selector, "-l"), (Flag::Autostart, "--autostart")];

/// Holds the whole command line against the command's row.
pub(super) fn whole(command: &Command, found: &Invocation) -> Result<()> {
    let mut groups = command.excludes.iter().chain(GLOBAL_EXCLUDES);
    if let Some((one, other)) = groups.find_map(|group| {
        let mut given = group.iter().filter(|flag| found.has(**flag));
        given.next().zip(given.next())
    }) {
        return Err(Error::usage(format!(
            "{} and {} exclude one another",
            quote(&one.written()),
            quote(&other.written())
        ))
        .hint(see_help(Some(command))));
    }
    if found.has(Flag::Columns) && !command.objects {
        return Err(Error::usage(format!("\"{}\" has no columns for \"-o\"", command.word))
            .hint(see_help(Some(command))));
    }
    check_operands(command, found)
}

fn check_operands(command: &Command, found: &Invocation) -> Result<()> {
    let usage = || text::usage(command).split_whitespace().collect::<Vec<_>>().join(" ");
    let given = found.operands.len();
    let selecting: Vec<&str> = SELECTING
        .iter()
        .filter(|(flag, _)| found.has(*flag))
        .map(|(_, written)| *written)
        .collect();
    let selected = !selecting.is_empty();
    for (place, operand) in command.operands.iter().enumerate() {
        let needed = match operand.arity {
            Arity::One => true,
            Arity::Some => !selected,
            Arity::Optional | Arity::Any => false,
        };
        if needed && place >= given {
            let error = Error::usage(format!("\"{}\" needs {}", command.word, operand.name));
            return Err(error.hint(usage()));
        }
    }
    if let [one, other, ..] = selecting[..] {
        let error = format!("{} and {} exclude one another", quote(one), quote(other));
        return Err(Error::usage(error).hint(usage()));
    }
    if let Some((first, how)) = found.operands.first().zip(selecting.first()) {
        let error = format!("{} and {} exclude one another", quote(first), quote(how));
        return Err(Error::usage(error).hint("name the VMs, or select them"));
    }
    for label in found.values(Flag::Selector) {
        label_pair(label)?;
    }
    let endless = |operand: &Operand| matches!(operand.arity, Arity::Some | Arity::Any);
    match found.operands.get(command.operands.len()) {
        Some(extra) if !command.operands.last().is_some_and(endless) => {
            Err(Error::usage(format!("\"{}\" has no use for {}", command.word, quote(extra)))
                .hint(usage()))
        }
        _ => Ok(()),
    }
}
