//! The help: pages of plain text, rendered from the table.
//!
//! Pure: each function returns a page, and whoever calls it prints it. Pages are at most 80
//! columns wide and ASCII, so that they read alike on a serial line and in a pager.

use super::table::{
    Arity, COMMANDS, Command, DefinitionFlag, FAMILIES, Family, Flag, GLOBALS, Group, command,
    definition_flags, family,
};
use super::topics::{TOPICS, Topic};
use crate::definition::nearest::nearest;
use crate::error::{Error, Result, quote};

/// The width of a page, in columns.
const WIDTH: usize = 80;
/// The width of what `maqet` alone prints: a small serial terminal.
const SMALL: usize = 40;
/// Where the explanation of a command or a topic begins.
const BEHIND_WORD: usize = 19;
/// Where that of a flag begins: behind all but the longest.
const BEHIND_FLAG: usize = 28;

/// What `maqet -V` prints.
pub(crate) const VERSION: &str = concat!("maqet ", env!("CARGO_PKG_VERSION"), "\n");

/// The page of a command or a topic; the overview where none is named.
///
/// # Errors
/// `Kind::Usage` where there is no such command or topic.
pub(crate) fn help(subject: Option<&str>) -> Result<String> {
    let Some(word) = subject else { return Ok(overview()) };
    if let Some(row) = command(word) {
        return Ok(command_page(row));
    }
    if let Some(family) = family(word) {
        return Ok(family_page(family));
    }
    if let Some(topic) = TOPICS.iter().find(|topic| topic.word == word) {
        return Ok(topic_page(topic));
    }
    let known = COMMANDS.iter().map(|row| row.word).chain(TOPICS.iter().map(|topic| topic.word));
    let known = known.chain(FAMILIES.iter().map(|family| family.word));
    let error = Error::usage(format!("no command and no topic {}", quote(word)));
    Err(match (super::words::instead_of(word), nearest(word, known)) {
        (Some(instead), _) => error.hint(instead),
        (None, Some(near)) => error.hint(format!("did you mean \"{near}\"?")),
        (None, None) => error.hint("\"maqet help\" names all there are"),
    })
}

/// The words by group, for `maqet` alone: at most 24 lines of 40 columns.
pub(crate) fn words() -> String {
    let mut page = String::from("usage: maqet COMMAND [VM]... [FLAG]...\n\n");
    for group in Group::ALL {
        let mut words: Vec<&str> = of_group(group).map(Command::first_word).collect();
        words.dedup();
        page.push_str(&hang(&format!("{:<8}", group.title()), words.into_iter(), SMALL));
    }
    page.push_str("\n\"maqet --help\" says what they do.\n");
    page
}

/// How a command is typed; lines after the first are indented.
pub(crate) fn usage(command: &Command) -> String {
    let mut parts: Vec<String> = command.operands.iter().map(operand).collect();
    if !command.selection().is_empty() {
        let any: Vec<String> = command.selection().iter().map(|row| with_value(row.0)).collect();
        parts.push(format!("[{}]", any.join("|")));
    }
    if command.definition {
        parts.push("[DEF]...".to_owned());
    }
    for (flag, _) in command.flags {
        match command.excludes.iter().find(|group| group.contains(flag)) {
            None => parts.push(format!("[{}]", with_value(*flag))),
            // The whole group stands where its first flag does; globals in it go unsaid.
            Some(group) if group.first() == Some(flag) => {
                let any: Vec<String> = group.iter().map(|flag| with_value(*flag)).collect();
                parts.push(format!("[{}]", any.join("|")));
            }
            Some(_) => {}
        }
    }
    hang(&format!("maqet {} ", command.word), parts.iter().map(String::as_str), WIDTH - 7)
}

fn overview() -> String {
    let mut page = String::from(
        "maqet runs QEMU virtual machines, without a daemon.\n\n\
         usage: maqet COMMAND [VM]... [FLAG]...\n",
    );
    for group in Group::ALL {
        page.push_str(&format!("\n{}\n", group.title()));
        for row in of_group(group) {
            page.push_str(&entry(&format!("  {}", row.word), row.summary, BEHIND_WORD));
        }
    }
    page.push_str("\nFlags of every command\n");
    page.push_str(&flag_rows(GLOBALS.iter().copied()));
    page.push_str("\n\"maqet help COMMAND\" explains a command, \"maqet help TOPIC\" one of\n");
    for topic in TOPICS {
        page.push_str(&entry(&format!("  {}", topic.word), topic.summary, BEHIND_WORD));
    }
    page
}

fn command_page(row: &Command) -> String {
    let mut page = format!("maqet {}: {}\n\n", row.word, row.summary);
    page.push_str(&format!("usage: {}", usage(row).replace('\n', "\n       ").trim_end()));
    page.push_str(&format!("\n\n{}\n", row.about));
    if row.flags.len() + row.selection().len() > 0 {
        page.push_str("\nFlags\n");
        page.push_str(&flag_rows(row.selection().iter().chain(row.flags).copied()));
    }
    if row.definition {
        page.push_str("\nDEF: the VM (see \"maqet help definition\")\n");
        page.push_str(&flag_rows(row.definition_flags()));
        for key in definition_flags() {
            page.push_str(&entry(
                &key_form(&key),
                &format!("{} ({})", key.help, key.default),
                BEHIND_FLAG,
            ));
        }
    }
    page.push_str("\nExamples\n");
    for (line, help) in row.examples {
        page.push_str(&format!("  maqet {line}\n      {help}\n"));
    }
    page.push_str("\nFlags of every command: \"maqet --help\".\n");
    page
}

fn family_page(family: &Family) -> String {
    let mut page = format!("maqet {}: {}\n\n", family.word, family.summary);
    for (_, row) in family.members() {
        page.push_str(&entry(&format!("  {}", row.word), row.summary, BEHIND_WORD));
    }
    page.push_str(&format!("\n\"maqet help {} WORD\" explains one.\n", family.word));
    page
}

fn topic_page(topic: &Topic) -> String {
    format!("{}: {}\n\n{}\n", topic.word, topic.summary, topic.text)
}

fn of_group(group: Group) -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(move |row| row.group == group)
}

fn operand(operand: &super::table::Operand) -> String {
    match operand.arity {
        Arity::One => operand.name.to_owned(),
        Arity::Optional => format!("[{}]", operand.name),
        Arity::Some => format!("{}...", operand.name),
        Arity::Any => format!("[{}]...", operand.name),
    }
}

/// A flag in a usage line, short where it has a letter.
fn with_value(flag: Flag) -> String {
    let form = flag.form();
    let name = form.short.map_or_else(|| format!("--{}", form.long), |letter| format!("-{letter}"));
    form.takes.value_name().map_or(name.clone(), |value| format!("{name} {value}"))
}

fn flag_rows(flags: impl Iterator<Item = (Flag, &'static str)>) -> String {
    flags
        .map(|(flag, help)| {
            let form = flag.form();
            let short = form.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
            let value = form.takes.value_name().map_or(String::new(), |name| format!(" {name}"));
            let again = if form.repeats { " (repeatable)" } else { "" };
            entry(
                &format!("  {short}--{}{value}", form.long),
                &format!("{help}{again}"),
                BEHIND_FLAG,
            )
        })
        .collect()
}

fn key_form(key: &DefinitionFlag) -> String {
    let value = key.value.as_deref().map_or("[=false]".to_owned(), |value| format!(" {value}"));
    format!("      {}{value}", key.written())
}

/// A row of two columns: `right` begins at `column` and is wrapped there, on a line of its own
/// where `left` is too long.
fn entry(left: &str, right: &str, column: usize) -> String {
    let words = right.split(' ');
    if left.len() + 1 < column {
        return hang(&format!("{left:<column$}"), words, WIDTH);
    }
    format!("{left}\n{}", hang(&" ".repeat(column), words, WIDTH))
}

/// `head` and then `words`, wrapped at `width` and indented as far as `head` is long.
fn hang<'a>(head: &str, words: impl Iterator<Item = &'a str>, width: usize) -> String {
    let indent = " ".repeat(head.len());
    let mut page = String::new();
    let mut line = head.to_owned();
    let mut empty = true;
    for word in words {
        if !empty && line.len() + 1 + word.len() > width {
            page.push_str(line.trim_end());
            page.push('\n');
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    page.push_str(line.trim_end());
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> impl Iterator<Item = (&'static str, String)> {
        let words = COMMANDS.iter().map(|row| row.word).chain(TOPICS.iter().map(|t| t.word));
        let words = words.chain(FAMILIES.iter().map(|family| family.word));
        let named = words.map(|word| (word, help(Some(word)).unwrap()));
        named.chain([("", help(None).unwrap())])
    }

    #[test]
    fn every_page_is_ascii_of_at_most_80_columns_without_trailing_blanks() {
        for (word, page) in pages() {
            assert!(page.is_ascii() && page.ends_with('\n') && !page.ends_with("\n\n"), "{word}");
            for line in page.lines() {
                assert!(line.len() <= WIDTH, "{word}: {line}");
                assert_eq!(line, line.trim_end(), "{word}");
            }
        }
    }

    #[test]
    fn the_words_fit_a_small_terminal_and_none_is_missing() {
        let page = words();
        assert!(page.lines().count() <= 24);
        assert!(page.lines().all(|line| line.len() <= SMALL), "{page}");
        for row in COMMANDS {
            let first = row.first_word();
            assert!(page.split_whitespace().any(|word| word == first), "{}", row.word);
        }
    }

    #[test]
    fn the_overview_names_every_command_topic_and_global_flag() {
        let page = overview();
        for row in COMMANDS {
            assert!(page.contains(&format!("\n  {} ", row.word)), "{}", row.word);
        }
        for topic in TOPICS {
            assert!(page.contains(&format!("\n  {} ", topic.word)), "{}", topic.word);
        }
        for (flag, _) in GLOBALS {
            assert!(page.contains(&flag.written()), "{}", flag.written());
        }
    }

    #[test]
    fn a_commands_page_has_every_flag_and_every_example_of_it() {
        for row in COMMANDS {
            let page = command_page(row);
            for (flag, _) in row.all_flags() {
                assert!(page.contains(&flag.written()), "{} {}", row.word, flag.written());
            }
            for (line, _) in row.examples {
                assert!(page.contains(line), "{line}");
            }
            let keys = definition_flags().filter(|_| row.definition);
            assert!(keys.into_iter().all(|key| page.contains(&key.written())), "{}", row.word);
        }
    }

    #[test]
    fn every_example_is_a_command_line_that_parses() {
        for (line, _) in COMMANDS.iter().flat_map(|row| row.examples) {
            // Examples hold no quotes but single ones round whole words, and end at a redirection.
            let words = line.split(" > ").next().unwrap().split(' ').map(|w| w.trim_matches('\''));
            let parsed = crate::cli::parse(words.map(Into::into));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn usage_lines_show_what_excludes_one_another() {
        for (word, expected) in [
            ("stop", "maqet stop VM... [--all|-l KEY=VALUE] [--force|--no-kill|--no-wait] [-n]\n"),
            ("add", "maqet add [NAME] [DEF]... [--start] [-n]\n"),
            ("ls", "maqet ls [VM]... [--all|-l KEY=VALUE] [--state STATE] [--sort COL]\n"),
            ("logs", "maqet logs VM [-f] [-n LINES] [--console|--qemu|--runner] [--raw]\n"),
            ("qmp", "maqet qmp VM COMMAND|JSON|- [KEY=VALUE|KEY:=JSON]... [--unsafe]\n"),
        ] {
            assert_eq!(usage(command(word).unwrap()), expected);
        }
    }

    #[test]
    fn help_on_nothing_known_says_what_was_meant() {
        for (word, hint) in [
            ("strat", "did you mean \"start\"?"),
            ("exit-code", "did you mean \"exit-codes\"?"),
            ("create", "\"maqet add\" defines a VM"),
            ("xyzzy", "\"maqet help\" names all there are"),
        ] {
            let error = help(Some(word)).unwrap_err();
            assert_eq!(error.hint.as_deref(), Some(hint), "{word}");
            assert_eq!(error.kind.exit_code(), 2);
        }
    }

    #[test]
    fn a_long_text_is_wrapped_below_itself() {
        let page = hang("  --x  ", "aa bb cc".split(' '), 12);
        assert_eq!(page, "  --x  aa bb\n       cc\n");
    }
}
