//! What a shell completes: the table, as the completion scripts of bash, zsh and fish.
//!
//! Here the table becomes spellings and what their values may be; each shell's file writes them in
//! its language. Pure: a script is a text, and whoever asked for it prints it. A script holds static
//! lists alone; what VMs there are it asks of `maqet ls -q`, and of nothing else.

mod bash;
mod bourne;
mod fish;
mod zsh;

use super::table::{
    Arity, COMMANDS, Command, DefinitionFlag, FAMILIES, Flag, GLOBALS, Takes, definition_flags,
};
use super::topics::TOPICS;
use crate::definition::keys::{self, Kind};
use crate::definition::nearest::nearest;
use crate::error::{Error, Result, quote};

/// A shell that has completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    const ALL: [(&str, Shell); 3] =
        [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

    /// The shell of this name.
    ///
    /// # Errors
    /// `Kind::Usage` where there are no completions for it.
    pub(crate) fn named(word: &str) -> Result<Shell> {
        let names = Shell::ALL.map(|(name, _)| name);
        let found = Shell::ALL.iter().find(|(name, _)| *name == word).map(|(_, shell)| *shell);
        found.ok_or_else(|| {
            let error = Error::usage(format!("there are no completions for {}", quote(word)));
            error.hint(match nearest(word, names) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the shells are {}", names.join(", ")),
            })
        })
    }
}

/// The completion script of a shell.
pub(crate) fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash::script(),
        Shell::Zsh => zsh::script(),
        Shell::Fish => fish::script(),
    }
}

/// The flags that say where maqet's folders lie: `maqet ls -q` is given those of the line.
const FOLDERS: [Flag; 3] = [Flag::DataDir, Flag::RuntimeDir, Flag::ConfigDir];

/// What a word may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// A text that only a person knows.
    Text,
    File,
    Folder,
    /// The name of a VM.
    Vm,
    /// The same, or a definition's file.
    VmOrFile,
    /// A command or a topic of the help.
    Subject,
    OneOf(Vec<&'static str>),
}

/// What follows a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Follows {
    Nothing,
    /// A value that must be joined with `=` and may be left out.
    Joined(Wanted),
    Value(Wanted),
}

/// A flag as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spelling {
    /// Without its dashes.
    long: String,
    short: Option<char>,
    follows: Follows,
    help: String,
}

impl Spelling {
    /// The flag as a row of the table has it.
    fn of((flag, help): (Flag, &'static str)) -> Spelling {
        let form = flag.form();
        let follows = match form.takes {
            Takes::Nothing => Follows::Nothing,
            Takes::Choice(_, words) => Follows::Value(Wanted::OneOf(words.to_vec())),
            // A disk or a disc may be a file that is there.
            Takes::Text("FILE" | "DISK" | "CDROM") => Follows::Value(Wanted::File),
            // A share begins with its folder.
            Takes::Text("DIR" | "SHARE") => Follows::Value(Wanted::Folder),
            Takes::Text(_)
            | Takes::Word(_)
            | Takes::Count(..)
            | Takes::Duration(_)
            | Takes::List(_) => Follows::Value(Wanted::Text),
        };
        Spelling { long: form.long.to_owned(), short: form.short, follows, help: help.to_owned() }
    }

    /// The flag of a definition's key.
    fn of_key(key: &DefinitionFlag) -> Spelling {
        let kind = keys::find(keys::DEFINITION, key.key).map(|row| row.kind);
        let follows = match kind {
            Some(Kind::Bool) => Follows::Joined(Wanted::OneOf(vec!["true", "false"])),
            Some(Kind::Choice(choice)) => Follows::Value(Wanted::OneOf(choice.words.to_vec())),
            Some(Kind::Path | Kind::Program) => Follows::Value(Wanted::File),
            _ => Follows::Value(Wanted::Text),
        };
        let long = key.written().trim_start_matches('-').to_owned();
        let help = format!("{} ({})", key.help, key.default);
        Spelling { long, short: None, follows, help }
    }

    /// How it can be written, dashes included.
    fn written(&self) -> impl Iterator<Item = String> + '_ {
        let short = self.short.map(|letter| format!("-{letter}"));
        std::iter::once(format!("--{}", self.long)).chain(short)
    }
}

/// The flags of every command.
fn global_flags() -> Vec<Spelling> {
    GLOBALS.iter().copied().map(Spelling::of).collect()
}

/// The flags of one command, those that describe a VM left out.
fn own_flags(row: &Command) -> Vec<Spelling> {
    row.selection().iter().chain(row.flags).copied().map(Spelling::of).collect()
}

/// The commands that have such flags, each with them.
fn flags_by_command() -> impl Iterator<Item = (String, Vec<Spelling>)> {
    COMMANDS.iter().map(|row| (key(row), own_flags(row))).filter(|(_, flags)| !flags.is_empty())
}

/// The flags that describe a VM.
fn describing_flags() -> Vec<Spelling> {
    let first = COMMANDS.iter().find(|row| row.definition);
    let own = first.into_iter().flat_map(Command::definition_flags);
    own.map(Spelling::of).chain(definition_flags().map(|key| Spelling::of_key(&key))).collect()
}

/// The words of the commands that take a definition.
fn describing_commands() -> Vec<String> {
    COMMANDS.iter().filter(|row| row.definition).map(key).collect()
}

/// How the scripts call a command: as it is typed, its two words as one.
fn key(row: &Command) -> String {
    row.word.replace(' ', "_")
}

/// The first words of commands that have two, and what may follow each.
fn families() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    FAMILIES.iter().map(|one| (one.word, one.members().map(|(second, _)| second).collect()))
}

/// The first words of commands that have two, divided by blanks.
fn heads() -> String {
    families().map(|(head, _)| head).collect::<Vec<_>>().join(" ")
}

/// What each operand of a command may be; true for one that may be repeated.
fn operands(row: &Command) -> Vec<(Wanted, bool)> {
    let wanted = |name: &'static str| match name {
        "VM" => Wanted::Vm,
        "VM|FILE" => Wanted::VmOrFile,
        "FILE|-" => Wanted::File,
        "COMMAND|TOPIC" => Wanted::Subject,
        // Names of operands are in capitals; what is not is the very word to type.
        words if words.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'|') => {
            Wanted::OneOf(words.split('|').collect())
        }
        _ => Wanted::Text,
    };
    let repeats = |arity| matches!(arity, Arity::Some | Arity::Any);
    row.operands.iter().map(|operand| (wanted(operand.name), repeats(operand.arity))).collect()
}

/// The commands, each with what it does.
fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    let single = COMMANDS.iter().filter(|row| !row.word.contains(' '));
    let single = single.map(|row| (row.word, row.summary));
    single.chain(FAMILIES.iter().map(|family| (family.word, family.summary)))
}

/// What `maqet help` explains, each with what it is.
fn subjects() -> impl Iterator<Item = (&'static str, &'static str)> {
    commands().chain(TOPICS.iter().map(|topic| (topic.word, topic.summary)))
}

#[cfg(test)]
mod tests;
