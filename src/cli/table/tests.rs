//! The table against itself: no word twice, no flag with two meanings.

use std::collections::HashSet;

use super::*;

#[test]
fn no_command_line_can_mean_two_flags() {
    for command in COMMANDS {
        let mut written = HashSet::new();
        let own = command.all_flags().chain(GLOBALS.iter().copied()).map(|(flag, _)| flag.form());
        for form in own {
            assert!(written.insert(format!("--{}", form.long)), "{}: {}", command.word, form.long);
            if let Some(short) = form.short {
                assert!(written.insert(format!("-{short}")), "{}: -{short}", command.word);
            }
        }
        if command.definition {
            for key in definition_flags() {
                assert!(written.insert(key.written()), "{}: {}", command.word, key.written());
            }
        }
    }
}

#[test]
fn a_long_spelling_is_one_flag_everywhere() {
    let mut meaning: Vec<(&str, Flag)> = Vec::new();
    for (flag, _) in COMMANDS.iter().flat_map(Command::all_flags).chain(GLOBALS.iter().copied()) {
        let long = flag.form().long;
        match meaning.iter().find(|(known, _)| *known == long) {
            Some((_, first)) => assert_eq!(*first, flag, "--{long}"),
            None => meaning.push((long, flag)),
        }
    }
}

#[test]
fn every_flag_that_excludes_another_is_taken_by_the_command() {
    for command in COMMANDS {
        let own: Vec<Flag> =
            command.all_flags().chain(GLOBALS.iter().copied()).map(|(flag, _)| flag).collect();
        for flag in command.excludes.iter().flat_map(|group| group.iter()) {
            assert!(own.contains(flag), "{}: {flag:?}", command.word);
        }
    }
}

#[test]
fn words_and_verbs_stand_once_and_by_group() {
    let mut seen = HashSet::new();
    for command in COMMANDS {
        assert!(seen.insert(command.word), "{}", command.word);
        assert!(!matches!(command.verb, Verb::Version | Verb::Words));
    }
    let groups: Vec<Group> = COMMANDS.iter().map(|command| command.group).collect();
    let mut runs = groups.clone();
    runs.dedup();
    assert_eq!(runs, Group::ALL, "commands of one group stand together, in the groups' order");
}

#[test]
fn two_words_belong_to_a_family_and_a_family_has_members() {
    for row in COMMANDS {
        let words = row.word.split(' ').count();
        assert!(words == 1 || (words == 2 && family(row.first_word()).is_some()), "{}", row.word);
        // The completion scripts join them.
        assert!(!row.word.contains('_'), "{}", row.word);
    }
    for family in FAMILIES {
        assert!(family.members().next().is_some() && command(family.word).is_none());
        assert!(family.summary.is_ascii() && !family.summary.ends_with('.'));
    }
}

#[test]
fn only_the_last_operands_may_be_left_out_and_the_last_one_repeated() {
    for command in COMMANDS {
        let mut rest = command.operands.iter().skip_while(|operand| operand.arity == Arity::One);
        let last = rest.next().map(|operand| operand.arity);
        let ends =
            |operand: &Operand| last == Some(Arity::Optional) && operand.arity == Arity::Optional;
        assert!(rest.all(ends), "{}", command.word);
    }
}

#[test]
fn texts_are_plain_ascii_without_a_full_stop_in_summaries() {
    for command in COMMANDS {
        let flags = command.all_flags().map(|(_, help)| help);
        let examples = command.examples.iter().flat_map(|(line, help)| [*line, *help]);
        for text in flags.chain(examples).chain([command.summary, command.about]) {
            assert!(text.is_ascii() && !text.is_empty(), "{}: {text}", command.word);
        }
        assert!(!command.summary.ends_with('.'), "{}", command.word);
    }
}
