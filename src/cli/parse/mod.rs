//! argv → `Invocation`, by the table alone.
//!
//! Reads words and nothing else: no file, no environment, no VM. Each error is a sentence with a
//! hint. Global flags may stand before and after the command, and the last of them wins, so that a
//! wrapper can set its own; a command's own flag with a value may be given once.

use std::ffi::OsString;

use super::invocation::{Invocation, Source, Value};
use super::predecessor::{old_command, old_flag, rewritten};
use super::table::{
    Command, DefinitionFlag, Family, Flag, GLOBALS, Takes, Verb, command, definition_flags, family,
};
use crate::definition::units::Limit;
use crate::error::{Error, Result, quote};

mod check;
mod refuse;

/// Reads the words after the program's name.
///
/// `--help` and `-V` end the reading: what stands behind them is not looked at, but for the
/// command that `maqet --help COMMAND` asks about.
///
/// # Errors
/// `Kind::Usage`, with a hint, for the first word that does not fit.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation> {
    let args = rewritten(args.into_iter().map(utf8).collect::<Result<Vec<String>>>()?);
    let mut reader = Reader {
        words: lexopt::Parser::from_args(args),
        command: None,
        family: None,
        help: false,
        found: Invocation::new(Verb::Words),
    };
    while let Some(word) = reader.next()? {
        let done = match word {
            Word::Operand(operand) => reader.operand(operand)?,
            Word::Flag(typed) => reader.flag(&typed)?,
        };
        if done {
            return Ok(reader.found);
        }
    }
    if let Some(family) = reader.family.filter(|_| reader.help) {
        return Ok(help_on(family.word));
    }
    if reader.help {
        return Ok(Invocation { verb: Verb::Help, ..reader.found });
    }
    match (reader.command, reader.family) {
        (Some(command), _) => check::whole(command, &reader.found)?,
        (None, Some(family)) => return Err(refuse::no_member(family, None)),
        (None, None) => {}
    }
    Ok(reader.found)
}

/// Whether errors are wanted as JSON, for a command line that may not even be readable.
pub(crate) fn wants_json(args: &[OsString]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

/// A word of argv, apart from the values that belong to flags.
enum Word {
    Operand(String),
    /// With its dashes; letters joined as in `-vq` come one by one.
    Flag(String),
}

/// What a flag that was typed means to the command.
enum Meaning {
    Flag(Flag),
    Key(DefinitionFlag),
}

struct Reader {
    words: lexopt::Parser,
    command: Option<&'static Command>,
    /// The first word of a command that has two.
    family: Option<&'static Family>,
    /// `--help` came before any command.
    help: bool,
    found: Invocation,
}

impl Reader {
    fn next(&mut self) -> Result<Option<Word>> {
        match self.words.next() {
            Ok(None) => Ok(None),
            Ok(Some(lexopt::Arg::Short(letter))) => Ok(Some(Word::Flag(format!("-{letter}")))),
            Ok(Some(lexopt::Arg::Long(long))) => Ok(Some(Word::Flag(format!("--{long}")))),
            Ok(Some(lexopt::Arg::Value(value))) => utf8(value).map(|v| Some(Word::Operand(v))),
            Err(lexopt::Error::UnexpectedValue { option, .. }) => {
                Err(Error::usage(format!("flag {} takes no value", quote(&option)))
                    .hint(self.see_help()))
            }
            Err(other) => Err(Error::usage(other.to_string()).hint(self.see_help())),
        }
    }

    /// Takes the command, or an operand of it. True when nothing more is to be read.
    fn operand(&mut self, word: String) -> Result<bool> {
        if self.command.is_some() {
            self.found.operands.push(word);
            return Ok(false);
        }
        let row = match self.family {
            None => {
                self.family = family(&word);
                if self.family.is_some() {
                    return Ok(false);
                }
                let row = command(&word).or_else(|| old_command(&word));
                row.ok_or_else(|| refuse::no_command(&word))?
            }
            Some(family) => {
                let row = family.members().find(|(second, _)| *second == word);
                row.ok_or_else(|| refuse::no_member(family, Some(&word)))?.1
            }
        };
        if self.help {
            self.found = help_on(row.word);
            return Ok(true);
        }
        self.command = Some(row);
        self.found.verb = row.verb;
        Ok(false)
    }

    /// Takes a flag and its value. True when nothing more is to be read.
    fn flag(&mut self, typed: &str) -> Result<bool> {
        match self.meaning(typed) {
            None => return Err(refuse::no_flag(self.command, typed)),
            Some(Meaning::Flag(Flag::Version)) => {
                self.found = Invocation::new(Verb::Version);
                return Ok(true);
            }
            Some(Meaning::Flag(Flag::Help)) => {
                let command = self.command.map(|row| row.word);
                match command.or(self.family.map(|family| family.word)) {
                    Some(word) => {
                        self.found = help_on(word);
                        return Ok(true);
                    }
                    None => self.help = true,
                }
            }
            Some(Meaning::Flag(flag)) => {
                let value = self.typed_value(flag, typed)?;
                self.store(flag, value)?;
            }
            Some(Meaning::Key(key)) => {
                let value = match key.value {
                    Some(_) => self.value(typed, false)?,
                    None => self.truth(typed)?,
                };
                self.found.sources.push(Source::Key { key: key.key, value });
            }
        }
        Ok(false)
    }

    fn meaning(&self, typed: &str) -> Option<Meaning> {
        let own = self.command.into_iter().flat_map(Command::all_flags);
        let old = old_flag(typed);
        let means = |flag: &Flag| flag.is_written(typed) || Some(*flag) == old;
        let flag = own.chain(GLOBALS.iter().copied()).find(|(flag, _)| means(flag));
        if let Some((flag, _)) = flag {
            return Some(Meaning::Flag(flag));
        }
        let takes_keys = self.command.is_some_and(|row| row.definition);
        let key = takes_keys.then(|| definition_flags().find(|key| key.written() == typed));
        key.flatten().map(Meaning::Key)
    }

    fn store(&mut self, flag: Flag, value: Value) -> Result<()> {
        let source = match (flag, value) {
            (Flag::File, Value::Text(file)) => Source::File(file),
            (Flag::Disk, Value::Text(disk)) => Source::Disk(disk),
            (Flag::Cdrom, Value::Text(cdrom)) => Source::Cdrom(cdrom),
            (Flag::Share, Value::Text(share)) => Source::Share(share),
            (Flag::Net, Value::Text(net)) => Source::Net(net),
            (Flag::Port, Value::Text(port)) => Source::Port(port),
            (Flag::Label, Value::Text(label)) => Source::Label(label),
            (Flag::Set, Value::Text(set)) => Source::Set(set),
            (Flag::Arg, Value::Text(word)) => Source::Arg(word),
            (flag, value) => {
                let global = GLOBALS.iter().any(|(known, _)| *known == flag);
                let once = !flag.form().repeats && value != Value::Nothing && !global;
                if once && self.found.has(flag) {
                    return Err(Error::usage(format!(
                        "flag {} is given twice",
                        quote(&flag.written())
                    ))
                    .hint(self.see_help()));
                }
                self.found.given.push((flag, value));
                return Ok(());
            }
        };
        self.found.sources.push(source);
        Ok(())
    }

    /// The value that belongs to a flag, read as the table says.
    fn typed_value(&mut self, flag: Flag, typed: &str) -> Result<Value> {
        let wrong = |said: &str, wanted: String| {
            Error::usage(format!("flag {} cannot be {}", quote(typed), quote(said))).hint(wanted)
        };
        match flag.form().takes {
            Takes::Nothing => Ok(Value::Nothing),
            Takes::Word(_) => self.value(typed, true).map(Value::Text),
            Takes::Text(name) => match self.value(typed, false)? {
                empty if empty.is_empty() => {
                    Err(wrong(&empty, format!("{name} is empty: is a variable unset?")))
                }
                text => Ok(Value::Text(text)),
            },
            Takes::Count(_, least) => {
                let said = self.value(typed, false)?;
                match said.parse::<u32>() {
                    Ok(number) if number >= least && !said.starts_with('+') => {
                        Ok(Value::Count(number))
                    }
                    _ => Err(wrong(&said, format!("give a whole number from {least} up"))),
                }
            }
            Takes::Duration(_) => {
                let said = self.value(typed, false)?;
                let limit = Limit::parse(&said);
                let of_flag = |why: Error| why.said_of(format_args!("flag {}", quote(typed)));
                limit.map(Value::Limit).map_err(of_flag)
            }
            Takes::List(name) => {
                let said = self.value(typed, false)?;
                let items: Vec<String> = said.split(',').map(str::to_owned).collect();
                match items.iter().any(String::is_empty) {
                    true => Err(wrong(&said, format!("give {name}, with nothing left out"))),
                    false => Ok(Value::List(items)),
                }
            }
            Takes::Choice(_, known) => {
                let said = self.value(typed, false)?;
                match known.contains(&said.as_str()) {
                    true => Ok(Value::Text(said)),
                    false => Err(wrong(&said, format!("one of {}", known.join(", ")))),
                }
            }
        }
    }

    /// The word that belongs to a flag. A word of its own that begins with a dash is taken only
    /// where `any` word will do: else a forgotten value would swallow the next flag.
    fn value(&mut self, typed: &str, any: bool) -> Result<String> {
        if let Some(joined) = self.words.optional_value() {
            return utf8(joined);
        }
        match self.peek() {
            Some(next) if !any && next.starts_with('-') && next != "-" => Err(Error::usage(
                format!("flag {} needs a value", quote(typed)),
            )
            .hint(format!("join it where it is meant: {}", quote(&format!("{typed}={next}"))))),
            Some(_) => match self.words.value() {
                Ok(value) => utf8(value),
                Err(other) => Err(Error::usage(other.to_string())),
            },
            None => {
                Err(Error::usage(format!("flag {} needs a value", quote(typed)))
                    .hint(self.see_help()))
            }
        }
    }

    /// The value of a key that is true or false: joined with `=`, or `true`.
    fn truth(&mut self, typed: &str) -> Result<String> {
        if let Some(joined) = self.words.optional_value() {
            return utf8(joined);
        }
        match self.peek() {
            // Else it would be taken for the name of a VM.
            Some(next) if ["true", "false", "on", "off", "yes", "no"].contains(&next.as_str()) => {
                Err(Error::usage(format!("flag {} takes its value joined", quote(typed)))
                    .hint(format!("write {typed}={next}")))
            }
            _ => Ok("true".to_owned()),
        }
    }

    fn peek(&mut self) -> Option<String> {
        let rest = self.words.try_raw_args()?;
        rest.peek().map(|next| next.to_string_lossy().into_owned())
    }

    fn see_help(&self) -> String {
        refuse::see_help(self.command)
    }
}

fn help_on(word: &str) -> Invocation {
    Invocation { operands: vec![word.to_owned()], ..Invocation::new(Verb::Help) }
}

fn utf8(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| {
        Error::usage(format!("argument {} is not UTF-8", quote(&word.to_string_lossy())))
            .hint("names, paths and texts are given in UTF-8")
    })
}

#[cfg(test)]
mod tests;
