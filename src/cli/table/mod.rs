//! THE table: every command, its operands and flags, and the words that explain them.
//!
//! Static data, read by the parser, the help, the hints and the check of the man pages. A command
//! or flag that is not here does not exist. It must hold no behaviour and no text of more than one
//! command; nothing enters before it works.

mod commands;
mod definition_flags;
mod flags;

pub(crate) use commands::{COMMANDS, FAMILIES, GLOBAL_EXCLUDES, GLOBALS};
pub(crate) use definition_flags::{DefinitionFlag, definition_flags};
pub(crate) use flags::{Flag, Takes};

/// What a command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Apply,
    Show,
    Edit,
    Rename,
    Rm,
    Check,
    Clone,
    Start,
    Stop,
    Restart,
    Reset,
    Pause,
    Resume,
    Run,
    Ls,
    Status,
    Info,
    Why,
    Logs,
    Events,
    Stats,
    Wait,
    Console,
    Send,
    Exec,
    Cp,
    Type,
    Keys,
    Screen,
    Qmp,
    DiskLs,
    DiskAdd,
    DiskRm,
    DiskResize,
    PortLs,
    PortAdd,
    PortRm,
    DeviceLs,
    DeviceAdd,
    DeviceRm,
    SnapshotLs,
    SnapshotCreate,
    SnapshotLoad,
    SnapshotRm,
    Cmdline,
    Export,
    Import,
    Generate,
    Doctor,
    DbBackup,
    DbRestore,
    Batch,
    Help,
    /// A word of the program that maqet succeeds; see `cli::predecessor`.
    Cleanup,
    /// `-V`: no word of its own.
    Version,
    /// No command at all: the words by group, and exit 2.
    Words,
}

/// The part of the work that a command belongs to; the order of the overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Define,
    Run,
    Look,
    Talk,
    Parts,
    Move,
    Host,
}

impl Group {
    pub(crate) const ALL: [Group; 7] = [
        Group::Define,
        Group::Run,
        Group::Look,
        Group::Talk,
        Group::Parts,
        Group::Move,
        Group::Host,
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Group::Define => "DEFINE",
            Group::Run => "RUN",
            Group::Look => "LOOK",
            Group::Talk => "TALK",
            Group::Parts => "PARTS",
            Group::Move => "MOVE",
            Group::Host => "HOST",
        }
    }
}

/// How often an operand may stand. Only the last operand of a command may be other than `One`, and
/// several `Optional` ones may end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    One,
    Optional,
    /// Once or more; of VMs `--all` and `-l` stand for them.
    Some,
    Any,
}

/// A word of a command line that is neither the command nor a flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub(crate) name: &'static str,
    pub(crate) arity: Arity,
}

/// One command. Texts are plain ASCII of at most 78 columns a line.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) verb: Verb,
    /// As it is typed: one word, or the family's and its own: `disk add`.
    pub(crate) word: &'static str,
    pub(crate) group: Group,
    /// What it does, in one line without a full stop.
    pub(crate) summary: &'static str,
    /// A few lines more, wrapped.
    pub(crate) about: &'static str,
    pub(crate) operands: &'static [Operand],
    /// Whether it takes DEF: `-f` and the flags that describe a VM.
    pub(crate) definition: bool,
    /// Its own flags, with what each does here.
    pub(crate) flags: &'static [(Flag, &'static str)],
    /// Flags of which at most one may be given.
    pub(crate) excludes: &'static [&'static [Flag]],
    /// Whether its results are objects, from which `-o` can choose.
    pub(crate) objects: bool,
    /// Command lines without the leading `maqet`, each with what it does.
    pub(crate) examples: &'static [(&'static str, &'static str)],
}

/// Commands of two words that share the first.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) word: &'static str,
    /// What they are about, in one line without a full stop.
    pub(crate) summary: &'static str,
}

impl Family {
    /// The commands of this family, each with its second word.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'static str, &'static Command)> {
        let word = self.word;
        COMMANDS.iter().filter_map(move |row| {
            let (first, second) = row.word.split_once(' ')?;
            (first == word).then_some((second, row))
        })
    }
}

impl Command {
    /// The word with which it begins.
    pub(crate) fn first_word(&self) -> &'static str {
        self.word.split_once(' ').map_or(self.word, |(first, _)| first)
    }

    /// The flags of DEF, where it takes one; the definition's keys are not among them.
    pub(crate) fn definition_flags(&self) -> impl Iterator<Item = (Flag, &'static str)> {
        if self.definition { commands::DEFINITION } else { &[] }.iter().copied()
    }

    /// All its own flags, those of DEF and those that select VMs included; the definition's keys and
    /// the globals are not.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = (Flag, &'static str)> {
        self.definition_flags().chain(self.selection().iter().chain(self.flags).copied())
    }

    /// The flags that select VMs, where it takes several.
    pub(crate) fn selection(&self) -> &'static [(Flag, &'static str)] {
        let several = |operand: &Operand| {
            operand.name == "VM" && matches!(operand.arity, Arity::Some | Arity::Any)
        };
        if self.operands.iter().any(several) { commands::SELECTION } else { &[] }
    }
}

/// The command that is typed as `word`.
pub(crate) fn command(word: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.word == word)
}

/// The family of the commands that begin with `word`.
pub(crate) fn family(word: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.word == word)
}

#[cfg(test)]
mod manual;
#[cfg(test)]
mod tests;
