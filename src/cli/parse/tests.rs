//! Command lines of every kind, and what is said of those that do not fit.

use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use proptest::strategy::Strategy;

use super::*;

fn read(line: &str) -> Result<Invocation> {
    parse(line.split_whitespace().map(OsString::from))
}

fn good(line: &str) -> Invocation {
    read(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn a_command_of_two_words_is_read_with_flags_before_between_and_behind_them() {
    let plain = read("disk ls web --json").unwrap();
    assert_eq!((plain.verb, plain.operands), (Verb::DiskLs, vec!["web".to_owned()]));
    for line in ["--json disk ls web", "disk --json ls web", "disk ls --json web"] {
        assert_eq!(read(line).unwrap(), read("disk ls web --json").unwrap(), "{line}");
    }
    for (line, subject) in [
        ("disk --help", "disk"),
        ("--help disk", "disk"),
        ("disk ls --help", "disk ls"),
        ("--help disk ls", "disk ls"),
    ] {
        let found = read(line).unwrap();
        assert_eq!((found.verb, found.operands), (Verb::Help, vec![subject.to_owned()]), "{line}");
    }
    for (line, hint) in [
        ("disk", "\"maqet disk\" takes ls, add"),
        ("disk sl", "did you mean \"ls\"?"),
        ("disk frobnicate", "\"maqet disk\" takes ls, add"),
        ("dsik ls", "did you mean \"disk\"?"),
    ] {
        let error = read(line).unwrap_err();
        assert!(error.hint.as_deref().unwrap().starts_with(hint), "{line}: {error}");
    }
}

#[test]
fn global_flags_stand_before_and_after_the_command() {
    for line in ["--json -vv status web", "status web --json -vv", "-v status -v --json web"] {
        let found = good(line);
        assert_eq!((found.verb, found.operands.as_slice()), (Verb::Status, &["web".into()][..]));
        assert!(found.has(Flag::Json) && found.quiet(), "{line}");
        assert_eq!(found.times(Flag::Verbose), 2, "{line}");
    }
}

#[test]
fn values_come_joined_or_as_the_next_word() {
    for line in ["logs web -n 5", "logs -n5 web", "logs web -n=5", "logs web --lines=5"] {
        assert_eq!(good(line).count(Flag::Lines), Some(5), "{line}");
    }
    let found = good("ls -o name,last_exit.signal --timeout 2m --data-dir /a --data-dir /b");
    assert_eq!(found.list(Flag::Columns).unwrap(), ["name", "last_exit.signal"]);
    assert_eq!(found.limit(Flag::Timeout), Some(Limit::After(Duration::from_secs(120))));
    assert_eq!(good("ls --timeout=0").limit(Flag::Timeout), Some(Limit::Never));
    assert_eq!(found.value(Flag::DataDir), Some("/b"), "a wrapper's global gives way");
}

#[test]
fn the_sources_of_a_definition_keep_their_order() {
    let found = good(
        "add web --cpu-model max -f a.json --disk 20G --arg --no-reboot -f - --rng \
         --agent=false --net user --arg -f --append=-x --start --cdrom x.iso --port auto:22 \
         --label a=b --set cpu.cores=2",
    );
    let key = |key, value: &str| Source::Key { key, value: value.into() };
    assert_eq!(
        found.sources,
        [
            key("cpu_model", "max"),
            Source::File("a.json".into()),
            Source::Disk("20G".into()),
            Source::Arg("--no-reboot".into()),
            Source::File("-".into()),
            key("rng", "true"),
            key("agent", "false"),
            Source::Net("user".into()),
            Source::Arg("-f".into()),
            key("append", "-x"),
            Source::Cdrom("x.iso".into()),
            Source::Port("auto:22".into()),
            Source::Label("a=b".into()),
            Source::Set("cpu.cores=2".into()),
        ]
    );
    assert_eq!(found.operands, ["web"]);
    assert!(found.has(Flag::Start));
}

#[test]
fn help_and_version_win_over_what_follows_and_what_is_missing() {
    for (line, verb, operands) in [
        ("--help", Verb::Help, &[][..]),
        ("-h --json", Verb::Help, &[]),
        ("help", Verb::Help, &[]),
        ("start --help --bogus", Verb::Help, &["start"]),
        ("--help start --bogus", Verb::Help, &["start"]),
        ("rename -h", Verb::Help, &["rename"]),
        ("help exit-codes", Verb::Help, &["exit-codes"]),
        ("-V", Verb::Version, &[]),
        ("ls --version --bogus", Verb::Version, &[]),
        ("", Verb::Words, &[]),
        ("--json", Verb::Words, &[]),
    ] {
        let found = good(line);
        assert_eq!(
            (found.verb, found.operands.as_slice()),
            (verb, &operands.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]),
            "{line}"
        );
    }
    let word = good("add web --arg --help");
    assert_eq!(word.sources, [Source::Arg("--help".into())]);
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    for (line, message, hint) in [
        ("strat web", "no command \"strat\"", "did you mean \"start\"?"),
        ("xyzzy", "no command \"xyzzy\"", "see \"maqet --help\""),
        ("create web", "no command \"create\"", "\"maqet add\" defines a VM"),
        (
            "destroy web",
            "no command \"destroy\"",
            "\"maqet stop --force\" ends a VM without asking its guest, \"maqet rm\" removes it",
        ),
        ("stop web --forse", "\"stop\" has no flag \"--forse\"", "did you mean \"--force\"?"),
        ("stop web --xyzzy", "\"stop\" has no flag \"--xyzzy\"", "see \"maqet help stop\""),
        ("stop web -f", "\"stop\" has no flag \"-f\"", "see \"maqet help stop\""),
        (
            "add --cpu_model max",
            "\"add\" has no flag \"--cpu_model\"",
            "did you mean \"--cpu-model\"?",
        ),
        ("start --memory 2G", "\"start\" has no flag \"--memory\"", "see \"maqet help start\""),
        (
            "--force rm web",
            "no flag \"--force\" before the command",
            "a command's flag stands behind it: \"maqet rm --force\"",
        ),
        ("--jsom ls", "no flag \"--jsom\" before the command", "did you mean \"--json\"?"),
        (
            "start",
            "\"start\" needs VM",
            "maqet start VM... [--all|-l KEY=VALUE] [--autostart] [--paused] [--console|-n]",
        ),
        ("rename web", "\"rename\" needs NEW", "maqet rename VM NEW [-n]"),
        (
            "qmp web",
            "\"qmp\" needs COMMAND|JSON|-",
            "maqet qmp VM COMMAND|JSON|- [KEY=VALUE|KEY:=JSON]... [--unsafe]",
        ),
        ("rename a b c", "\"rename\" has no use for \"c\"", "maqet rename VM NEW [-n]"),
        ("add a b", "\"add\" has no use for \"b\"", "maqet add [NAME] [DEF]... [--start] [-n]"),
        (
            "stop --all web",
            "\"web\" and \"--all\" exclude one another",
            "name the VMs, or select them",
        ),
        (
            "stop web --no-kill --force",
            "\"--force\" and \"--no-kill\" exclude one another",
            "see \"maqet help stop\"",
        ),
        (
            "logs web --qemu --runner",
            "\"--qemu\" and \"--runner\" exclude one another",
            "see \"maqet help logs\"",
        ),
        (
            "status web --json -o state",
            "\"--json\" and \"--columns\" exclude one another",
            "see \"maqet help status\"",
        ),
        (
            "stop --all -l a=b",
            "\"--all\" and \"-l\" exclude one another",
            "maqet stop VM... [--all|-l KEY=VALUE] [--force|--no-kill|--no-wait] [-n]",
        ),
        (
            "stop web -l a=b",
            "\"web\" and \"-l\" exclude one another",
            "name the VMs, or select them",
        ),
        ("stop -l a", "\"a\" is not a label", "write KEY=VALUE: env=prod"),
        ("ls -q --json", "\"--quiet\" and \"--json\" exclude one another", "see \"maqet help ls\""),
        ("logs web -o x", "\"logs\" has no columns for \"-o\"", "see \"maqet help logs\""),
        ("logs web -n", "flag \"-n\" needs a value", "see \"maqet help logs\""),
        ("logs web -n x", "flag \"-n\" cannot be \"x\"", "give a whole number from 0 up"),
        ("logs web -n 1 -n 2", "flag \"--lines\" is given twice", "see \"maqet help logs\""),
        ("why web --runs 0", "flag \"--runs\" cannot be \"0\"", "give a whole number from 1 up"),
        (
            "ls -j 99999999999",
            "flag \"-j\" cannot be \"99999999999\"",
            "give a whole number from 1 up",
        ),
        ("ls -o a,,b", "flag \"-o\" cannot be \"a,,b\"", "give COL,..., with nothing left out"),
        (
            "ls --state up",
            "flag \"--state\" cannot be \"up\"",
            "one of stopped, starting, running, paused, stopping, crashed, failed",
        ),
        (
            "ls --timeout soon",
            "flag \"--timeout\": \"soon\" is not a time: it does not begin with a digit",
            "a time is a whole number and ms, s, m, h or d, such as 500ms, 30s or 2m",
        ),
        ("ls --json=1", "flag \"--json\" takes no value", "see \"maqet help ls\""),
        (
            "add --memory --cpu 2",
            "flag \"--memory\" needs a value",
            "join it where it is meant: \"--memory=--cpu\"",
        ),
        ("add --rng false", "flag \"--rng\" takes its value joined", "write --rng=false"),
        (
            "ls --data-dir=",
            "flag \"--data-dir\" cannot be \"\"",
            "DIR is empty: is a variable unset?",
        ),
    ] {
        let error = read(line).expect_err(line);
        assert_eq!(error.message, message);
        assert_eq!(error.hint.as_deref(), Some(hint), "{line}");
        assert_eq!(error.kind.exit_code(), 2, "{line}");
    }
}

#[test]
fn json_is_heard_on_a_command_line_that_is_wrong() {
    for (line, expected) in [
        ("--json strat", true),
        ("strat web --json", true),
        ("strat", false),
        ("x -- --json", false),
    ] {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        assert_eq!(wants_json(&args), expected, "{line}");
    }
}

#[test]
fn behind_two_dashes_nothing_is_a_flag() {
    let found = good("status -- --json -x");
    assert_eq!(found.operands, ["--json", "-x"]);
    assert!(!found.has(Flag::Json));
}

#[test]
fn all_stands_for_every_vm_and_may_be_left_out_of_ls() {
    assert!(good("stop --all").operands.is_empty());
    assert!(good("stop -l env=test -l tier=web").operands.is_empty());
    assert!(good("ls").operands.is_empty());
    assert_eq!(good("ls a b c").operands.len(), 3);
}

#[test]
fn a_word_that_is_not_utf8_is_named_wherever_it_stands() {
    for place in 0..3 {
        let mut words: Vec<OsString> = ["add", "--arg", "x"].map(OsString::from).to_vec();
        words.insert(place, OsString::from_vec(b"ab\xff".to_vec()));
        let error = parse(words).unwrap_err();
        assert_eq!(error.message, "argument \"ab\u{fffd}\" is not UTF-8");
    }
}

proptest::proptest! {
    #[test]
    fn no_command_line_panics(words in proptest::collection::vec(
        proptest::prop_oneof![
            proptest::sample::select(vec![
                "add", "ls", "rm", "qmp", "--arg", "-o", "--help", "--", "-", "-n", "--json=", "-vqy",
                "--rng=", "-f", "--all", "", "--", "-=", "--=", "true",
            ]).prop_map(str::to_owned),
            "\\PC{0,6}",
        ], 0..8)) {
        let _ = parse(words.into_iter().map(OsString::from));
    }
}
