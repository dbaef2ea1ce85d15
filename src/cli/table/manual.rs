//! Holds man/maqet.1 and the README to the table, both ways: what is in one is in the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Arity, COMMANDS, Command, Flag, GLOBALS, Operand, commands, definition_flags};
use crate::cli::topics::TOPICS;
use crate::definition::keys;
use crate::error::Kind;

type Lines = BTreeSet<String>;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What a place of the page holds: the flags that it lists, each with its value as mdoc has it.
#[derive(Debug, Default, PartialEq)]
struct Place {
    /// The heading above it.
    heading: String,
    /// How the command is typed.
    typed: String,
    flags: Lines,
}

/// The page by command, and by section where no command is spoken of.
fn page() -> BTreeMap<String, Place> {
    let mut page: BTreeMap<String, Place> = BTreeMap::new();
    let (mut place, mut heading) = (String::new(), String::new());
    for line in read("man/maqet.1").lines() {
        if let Some(title) = line.strip_prefix(".Sh ").or_else(|| line.strip_prefix(".Ss ")) {
            title.clone_into(&mut place);
            title.clone_into(&mut heading);
        } else if let Some(typed) = line.strip_prefix(".It Cm ") {
            let mut known = COMMANDS.iter().map(|row| row.word);
            let is_it = |word: &&str| typed == *word || typed.starts_with(&format!("{word} "));
            known.find(is_it).unwrap_or(typed).clone_into(&mut place);
            let entry = page.entry(place.clone()).or_default();
            (entry.heading, entry.typed) = (heading.clone(), typed.to_owned());
        } else if let Some(flag) = line.strip_prefix(".It Fl ") {
            assert!(page.entry(place.clone()).or_default().flags.insert(flag.to_owned()), "{line}");
        }
    }
    page
}

fn value(name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!(" Ar {}", name.replace('|', " | ")))
}

/// Flags as the page must list them.
fn listed<'a>(flags: impl IntoIterator<Item = &'a (Flag, &'static str)>) -> Lines {
    let row = |(flag, _): &(Flag, &str)| {
        let form = flag.form();
        let short = form.short.map_or(String::new(), |letter| format!("{letter} , "));
        format!("{short}-{}{}", form.long, value(form.takes.value_name()))
    };
    flags.into_iter().map(row).collect()
}

/// A command as the page must show it: operands first, flags below it.
fn typed(row: &Command) -> String {
    let operand = |Operand { name, arity }: &Operand| {
        let name = name.replace('|', " | ");
        match arity {
            Arity::One => format!(" Ar {name}"),
            Arity::Some => format!(" Ar {name} ..."),
            Arity::Optional => format!(" Oo Ar {name} Oc"),
            Arity::Any => format!(" Oo Ar {name} Oc ..."),
        }
    };
    let operands: String = row.operands.iter().map(operand).collect();
    let definition = if row.definition { " Oo Ar DEF Oc ..." } else { "" };
    format!("{}{operands}{definition}", row.word)
}

#[test]
fn the_manual_has_every_command_operand_and_flag_in_its_place_and_no_other() {
    let mut page = page();
    for row in COMMANDS {
        let place = page.remove(row.word).unwrap_or_else(|| panic!("no {}", row.word));
        let heading = place.heading.to_uppercase();
        assert_eq!((heading.as_str(), place.typed), (row.group.title(), typed(row)));
        assert_eq!(place.flags, listed(row.flags), "flags of {}", row.word);
    }
    assert_eq!(page.remove("SELECTING VMS").unwrap().flags, listed(commands::SELECTION));
    assert_eq!(page.remove("GLOBAL FLAGS").unwrap().flags, listed(GLOBALS));
    let keys = definition_flags()
        .map(|key| format!("{}{}", &key.written()[1..], value(key.value.as_deref())));
    let expected: Lines = listed(commands::DEFINITION).into_iter().chain(keys).collect();
    assert_eq!(page.remove("DEFINING A VM").unwrap().flags, expected);
    assert!(page.is_empty(), "what is not in the table: {page:?}");
}

/// The words of the page that stand under a macro: `.Fl f Ar -` has `f` under `Fl`.
fn under(name: &str) -> Lines {
    let mut found = Lines::new();
    for line in read("man/maqet.1").lines().filter_map(|line| line.strip_prefix('.')) {
        let mut current = "";
        for word in line.split(' ') {
            let is_macro = word.len() == 2 && word.starts_with(|c: char| c.is_ascii_uppercase());
            if is_macro {
                current = word;
            } else if current == name && word.contains(|c: char| c.is_ascii_alphanumeric()) {
                found.insert(word.to_owned());
            }
        }
    }
    found
}

#[test]
fn every_flag_and_key_that_the_manual_speaks_of_exists_and_no_key_is_missing() {
    let rows = COMMANDS.iter().flat_map(Command::all_flags).chain(GLOBALS.iter().copied());
    let mut flags: Lines = rows
        .flat_map(|(flag, _)| {
            let form = flag.form();
            form.short.map(String::from).into_iter().chain([format!("-{}", form.long)])
        })
        .collect();
    flags.extend(definition_flags().map(|key| key.written()[1..].to_owned()));
    for flag in under("Fl") {
        assert!(flags.contains(flag.split('=').next().unwrap()), "flag {flag}");
    }
    let tables = [
        keys::DEFINITION,
        keys::CPU,
        keys::BOOT,
        keys::FIRMWARE,
        keys::DISPLAY,
        keys::SPICE,
        keys::STORAGE,
        keys::NETWORK,
    ];
    let keys = || tables.iter().copied().flatten();
    let spoken_of = under("Cm");
    for word in &spoken_of {
        let known = keys().any(|key| key.name == word);
        let is_part = |row: &Command| row.word.split(' ').any(|part| part == word);
        let known = known || COMMANDS.iter().any(is_part);
        assert!(known, "{word} is no command and no key");
    }
    for key in keys() {
        let flag = format!("-{}", key.name.replace('_', "-"));
        let there = spoken_of.contains(key.name) || flags.contains(&flag);
        assert!(there, "the key {} is missing", key.name);
    }
}

/// The keys of maqet-definition(5), by the heading above them: each with its entry.
fn key_entries() -> BTreeMap<String, Vec<(String, String)>> {
    let mut all: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut heading = String::new();
    for line in read("man/maqet-definition.5").lines() {
        if let Some(title) = line.strip_prefix(".Sh ").or_else(|| line.strip_prefix(".Ss ")) {
            title.clone_into(&mut heading);
        } else if let Some(key) = line.strip_prefix(".It Cm ") {
            all.entry(heading.clone()).or_default().push((key.to_owned(), String::new()));
        } else if let Some((_, entry)) = all.get_mut(&heading).and_then(|keys| keys.last_mut()) {
            entry.push_str(line);
            entry.push(' ');
        }
    }
    all
}

#[test]
fn the_manual_of_definitions_has_every_key_and_every_word_in_its_place_and_no_other() {
    let mut page = key_entries();
    // The keys of `boot` stand inside its entry.
    let boot = keys::DEFINITION.iter().position(|key| key.name == "boot").unwrap() + 1;
    let (before, after) = keys::DEFINITION.split_at(boot);
    let vm: Vec<_> = before.iter().chain(keys::BOOT).chain(after).collect();
    for (heading, keys) in [
        ("The VM", vm),
        ("The CPU", keys::CPU.iter().collect()),
        ("The firmware", keys::FIRMWARE.iter().collect()),
        ("The screen", keys::DISPLAY.iter().chain(keys::SPICE).collect()),
        ("A disk", keys::STORAGE.iter().collect()),
        ("A network card", keys::NETWORK.iter().collect()),
    ] {
        let entries = page.remove(heading).unwrap();
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        assert_eq!(entries.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), names);
        for (key, (_, entry)) in keys.iter().zip(&entries) {
            if let keys::Kind::Choice(choice) = key.kind {
                for word in choice.words {
                    let there = entry.split([' ', ',']).any(|found| found == *word);
                    assert!(there, "{heading}: {}: {word}", key.name);
                }
            }
        }
    }
    assert!(page.is_empty(), "what is not in the table: {page:?}");
}

#[test]
fn the_manual_and_the_help_have_the_same_exit_statuses() {
    let page = read("man/maqet.1");
    let section = page.split(".Sh EXIT STATUS\n").nth(1).unwrap().split("\n.El").next().unwrap();
    let rows: BTreeMap<&str, String> = section
        .split(".It ")
        .skip(1)
        .map(|row| row.split_once('\n').unwrap())
        .map(|(code, words)| (code, words.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let kinds = [
        Kind::Failed,
        Kind::Usage,
        Kind::NotRunning,
        Kind::NotFound,
        Kind::Timeout,
        Kind::Permission,
        Kind::Conflict,
        Kind::Interrupted,
        Kind::Terminated,
    ];
    let codes: Vec<String> = kinds.map(|kind| kind.exit_code().to_string()).into();
    let expected: BTreeSet<&str> = codes.iter().map(String::as_str).chain(["0"]).collect();
    assert_eq!(rows.keys().copied().collect::<BTreeSet<&str>>(), expected);
    let topic = TOPICS.iter().find(|topic| topic.word == "exit-codes").unwrap().text;
    let topic = topic.split_whitespace().collect::<Vec<_>>().join(" ");
    for (code, words) in rows {
        let words = words.replace(".Dv ", "");
        assert!(topic.contains(&format!(" {code} {words}")), "{code} {words}");
    }
}

#[test]
fn every_command_line_of_the_manual_and_the_readme_parses() {
    let page = read("man/maqet.1");
    let examples = page.split(".Sh EXAMPLES").nth(1).unwrap().split(".Sh ").next().unwrap();
    let readme = read("README.md");
    let shown = readme.lines().filter_map(|line| line.strip_prefix("    $ maqet "));
    let shown =
        shown.chain(examples.lines().filter_map(|line| {
            line.strip_prefix("$ maqet ").or_else(|| line.strip_prefix("maqet "))
        }));
    let mut seen = 0;
    for line in shown {
        let words = line.split(" || ").next().unwrap().split(' ').map(Into::into);
        let parsed = crate::cli::parse(words);
        assert!(parsed.is_ok(), "{line}: {parsed:?}");
        seen += 1;
    }
    assert!(seen > 12, "only {seen} were found");
}
