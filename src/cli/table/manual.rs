//! Holds man/maqet.1 to the table, both ways: what is in one is in the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{COMMANDS, Flag, GLOBALS, commands, definition_flags};
use crate::error::Kind;

type Flags = BTreeSet<String>;

/// The flags that the page lists: by command, and by section where no command is spoken of.
fn page() -> BTreeMap<String, Flags> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/maqet.1");
    let mut page: BTreeMap<String, Flags> = BTreeMap::new();
    let mut place = String::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if let Some(title) = line.strip_prefix(".Sh ") {
            place = title.to_owned();
        } else if let Some(command) = line.strip_prefix(".It Cm ") {
            place = command.split(' ').next().unwrap().to_owned();
            page.entry(place.clone()).or_default();
        } else if let Some(flags) = line.strip_prefix(".It Fl ") {
            let written = flags.split(" Ar ").next().unwrap().split(" , ");
            page.entry(place.clone()).or_default().extend(written.map(|flag| format!("-{flag}")));
        }
    }
    page
}

/// Both spellings of flags of the table.
fn spelled<'a>(flags: impl IntoIterator<Item = &'a (Flag, &'static str)>) -> Flags {
    let both = |(flag, _): &(Flag, &str)| {
        let form = flag.form();
        let short = form.short.map(|letter| format!("-{letter}"));
        short.into_iter().chain([format!("--{}", form.long)])
    };
    flags.into_iter().flat_map(both).collect()
}

#[test]
fn the_manual_has_every_command_and_flag_and_no_other() {
    let mut page = page();
    for command in COMMANDS {
        let listed = page.remove(command.word).unwrap_or_else(|| panic!("no {}", command.word));
        assert_eq!(listed, spelled(command.flags), "flags of {}", command.word);
    }
    assert_eq!(page.remove("GLOBAL FLAGS").unwrap(), spelled(GLOBALS));
    let keys = definition_flags().map(|key| key.written());
    let expected: Flags = spelled(commands::DEFINITION).into_iter().chain(keys).collect();
    assert_eq!(page.remove("DEFINING A VM").unwrap(), expected);
    assert!(page.is_empty(), "what is not in the table: {page:?}");
}

#[test]
fn the_manual_has_every_exit_status() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/maqet.1")).unwrap();
    let section = text.split(".Sh EXIT STATUS").nth(1).unwrap();
    let section = section.split(".Sh ").next().unwrap();
    let listed: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix(".It ")).collect();
    let kinds = [
        Kind::Failed,
        Kind::Usage,
        Kind::NotRunning,
        Kind::NotFound,
        Kind::Timeout,
        Kind::Permission,
        Kind::Conflict,
    ];
    let codes: Vec<String> = kinds.map(|kind| kind.exit_code().to_string()).into();
    let expected: BTreeSet<&str> =
        codes.iter().map(String::as_str).chain(["0", "130 , 143"]).collect();
    assert_eq!(listed, expected);
}
