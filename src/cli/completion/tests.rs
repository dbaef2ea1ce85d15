//! The scripts against the table, and against the shells that are to read them.

use std::process::{Command as Process, Stdio};

use super::*;

fn scripts() -> impl Iterator<Item = (&'static str, String)> {
    Shell::ALL.into_iter().map(|(name, shell)| (name, script(shell)))
}

/// The words of a script, cut where no word of the table has a character.
fn words(script: &str) -> std::collections::HashSet<&str> {
    script.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).collect()
}

#[test]
fn every_command_topic_and_flag_stands_in_every_script() {
    for (shell, script) in scripts() {
        let words = words(&script);
        let fish = shell == "fish";
        let long = |flag: &str| match fish {
            true => script.contains(&format!(" -l {} ", flag.trim_start_matches('-'))),
            false => words.contains(flag),
        };
        let short = |letter: char| match fish {
            true => script.contains(&format!(" -s {letter} -l ")),
            false => words.contains(format!("-{letter}").as_str()),
        };
        for (word, _) in subjects() {
            assert!(words.contains(word), "{shell}: {word}");
        }
        for (flag, _) in COMMANDS.iter().flat_map(Command::all_flags).chain(GLOBALS.iter().copied())
        {
            assert!(long(&flag.written()), "{shell}: {}", flag.written());
            assert!(flag.form().short.is_none_or(short), "{shell}: {flag:?}");
        }
        for key in definition_flags() {
            assert!(long(&key.written()), "{shell}: {}", key.written());
        }
        let upper =
            |rest: &str, at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_uppercase);
        let left = script.split('@').skip(1).find(|rest| upper(rest, 0) && upper(rest, 1));
        assert!(left.is_none() && script.is_ascii() && script.ends_with('\n'), "{shell}: {left:?}");
    }
}

#[test]
fn zsh_and_fish_are_told_what_each_command_and_flag_does() {
    let (zsh, fish) = (script(Shell::Zsh), script(Shell::Fish));
    let flags = COMMANDS.iter().flat_map(own_flags).chain(describing_flags()).chain(global_flags());
    let rows = flags.map(|flag| (format!("--{}", flag.long), flag.help));
    let rows = rows.chain(subjects().map(|(word, help)| (word.to_owned(), help.to_owned())));
    for (word, help) in rows {
        let explained = help.replace('\'', r"\'");
        assert!(zsh.contains(&format!("'{word}:{}'", help.replace('\'', r"'\''"))), "{word}");
        let flag = format!(" -l {} ", word.trim_start_matches('-'));
        let said = |line: &str| match word.starts_with("--") {
            true => line.contains(&flag) && line.ends_with(&format!("-d '{explained}'")),
            false => line.contains(&format!(" {word} '{explained}'")),
        };
        assert!(fish.lines().any(said), "{word}");
    }
}

#[test]
fn each_shell_accepts_its_script() {
    for (shell, script) in scripts() {
        let mut child = Process::new(shell)
            .args(if shell == "zsh" { &["-f", "-n"][..] } else { &["-n"] })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{shell} is needed (tests/needs): {error}"));
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, script.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
    }
}

#[test]
fn values_are_what_the_table_says_they_are() {
    let flags: Vec<Spelling> = describing_flags()
        .into_iter()
        .chain(global_flags())
        .chain(COMMANDS.iter().flat_map(own_flags))
        .collect();
    let one_of = |words: &[&'static str]| Wanted::OneOf(words.to_vec());
    for (long, follows) in [
        ("file", Follows::Value(Wanted::File)),
        ("disk", Follows::Value(Wanted::File)),
        ("kernel", Follows::Value(Wanted::File)),
        ("binary", Follows::Value(Wanted::File)),
        ("data-dir", Follows::Value(Wanted::Folder)),
        ("memory", Follows::Value(Wanted::Text)),
        ("timeout", Follows::Value(Wanted::Text)),
        ("accel", Follows::Value(one_of(&["auto", "kvm", "tcg"]))),
        ("rng", Follows::Joined(one_of(&["true", "false"]))),
        ("force", Follows::Nothing),
    ] {
        let flag = flags.iter().find(|flag| flag.long == long).unwrap();
        assert_eq!(flag.follows, follows, "{long}");
    }
    for (word, expected) in [
        ("start", vec![(Wanted::Vm, true)]),
        ("rename", vec![(Wanted::Vm, false), (Wanted::Text, false)]),
        ("run", vec![(Wanted::VmOrFile, false)]),
        ("help", vec![(Wanted::Subject, true)]),
        ("generate", vec![(one_of(&["bash", "zsh", "fish", "schema"]), false)]),
    ] {
        assert_eq!(operands(crate::cli::table::command(word).unwrap()), expected, "{word}");
    }
}

#[test]
fn a_shell_without_completions_is_answered_with_the_nearest() {
    for (word, hint) in [
        ("fihs", "did you mean \"fish\"?"),
        ("tcsh", "the shells are bash, zsh, fish"),
        ("", "the shells are bash, zsh, fish"),
    ] {
        let error = Shell::named(word).unwrap_err();
        assert_eq!((error.hint.as_deref(), error.kind.exit_code()), (Some(hint), 2), "{word}");
    }
    for (word, shell) in Shell::ALL {
        assert_eq!(Shell::named(word).unwrap(), shell);
    }
}
