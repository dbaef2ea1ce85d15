//! What commands answer: QMP, help, logs, and that a mere look leaves nothing behind.

use std::collections::BTreeSet;

use crate::harness::{Host, run};

#[test]
fn qmp_gives_the_answer_of_qemu_and_its_error_as_ours() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    let answer = host.maqet(["qmp", "web", "query-status", "--json"]).exits(0);
    assert_eq!((answer.stdout.lines().count(), &answer.json()["running"]), (1, &true.into()));
    let whole = r#"{"execute": "query-status", "id": 7}"#;
    assert_eq!(host.maqet(["qmp", "web", whole]).exits(0).json(), answer.json());
    let columns = host.maqet(["qmp", "web", "query-status", "-o", "status,running,nothing"]);
    assert_eq!(columns.exits(0).stdout, "running\ttrue\t-\n");

    let ran = host.maqet(["qmp", "web", "nonsense"]).exits(1);
    let text = "The command nonsense has not been found";
    assert!(ran.stdout.is_empty() && ran.stderr.contains(text), "{}", ran.stderr);
    let ran = host.maqet(["qmp", "web", "nonsense", "--json"]).exits(1);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    let error = &error["error"];
    assert_eq!((error["kind"].as_str(), error["name"].as_str()), (Some("failed"), Some("web")));
    assert!(error["message"].as_str().unwrap().contains(text), "{error}");
    // A wrong argument is QEMU's to refuse, a wrong grammar ours.
    host.maqet(["qmp", "web", "query-status", "what=ever"]).exits(2);
    host.maqet(["qmp", "web", "query-status", "whatever"]).exits(2);

    host.maqet(["stop", "web", "--force"]).exits(0);
    host.maqet(["qmp", "web", "query-status"]).exits(3);
}

#[test]
fn help_explains_each_command_in_the_words_of_the_table() {
    let host = Host::new();
    let all = host.maqet(["help"]).exits(0).stdout;
    for word in [
        "add", "show", "rename", "rm", "start", "stop", "pause", "resume", "ls", "status", "why",
        "logs", "qmp", "cmdline", "help",
    ] {
        assert!(
            all.lines().any(|line| line.trim_start().starts_with(&format!("{word} "))),
            "{word}"
        );
        let text = host.maqet(["help", word]).exits(0).stdout;
        assert!(text.contains(&format!("usage: maqet {word}")), "{text}");
        for flag in ["--help", "-h"] {
            assert_eq!(host.maqet([word, flag]).exits(0).stdout, text, "{word} {flag}");
        }
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
    for topic in ["definition", "grammar", "exit-codes"] {
        assert!(all.contains(topic), "{topic}");
        assert!(!host.maqet(["help", topic]).exits(0).stdout.is_empty());
    }
    let none = host.maqet([""; 0]).exits(2);
    assert!(none.stdout.is_empty());
    assert!(none.stderr.lines().count() <= 24, "{}", none.stderr);
    assert!(none.stderr.lines().all(|line| line.len() <= 40), "{}", none.stderr);
    host.maqet(["help", "nonsense"]).exits(2);
}

#[test]
fn when_one_of_several_is_unknown_nothing_is_done() {
    let host = Host::new();
    host.add_bare("web");
    for words in [&["start", "web", "nobody"][..], &["rm", "web", "nobody"], &["show", "web", "x"]]
    {
        let ran = host.maqet(words).exits(4);
        assert!(ran.stdout.is_empty(), "{words:?}: {}", ran.stdout);
    }
    assert_eq!(host.state("web"), "stopped");
    host.maqet(["start", "web"]).exits(0);
    for word in ["pause", "stop"] {
        host.maqet([word, "web", "nobody", "--json"]).exits(4);
        assert_eq!(host.state("web"), "running", "{word}");
    }
    // Named twice is named once, and failures that share a code keep it.
    let stopped = host.maqet(["stop", "web", "web", "--force", "--json"]).exits(0).stdout;
    assert_eq!(stopped.lines().count(), 1, "{stopped}");
    host.add_bare("db");
    host.maqet(["pause", "web", "db"]).exits(3);
}

#[test]
fn the_last_lines_of_a_log_are_those_that_are_asked_for() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    let all = host.maqet(["logs", "web", "--runner"]).exits(0).stdout;
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines.len() > 2, "{all}");
    for count in [0, 1, 2, lines.len(), 1000] {
        let ran = host.maqet(["logs", "web", "--runner", "-n", &count.to_string()]).exits(0);
        let last = &lines[lines.len().saturating_sub(count)..];
        assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), last, "-n {count}");
    }
    for wrong in [&["-n", "x"][..], &["-n", "-1"], &["-o", "name"], &["--console", "--qemu"]] {
        host.maqet([&["logs", "web"], wrong].concat()).exits(2);
    }
    host.maqet(["logs", "nobody"]).exits(4);
}

#[test]
fn a_look_leaves_an_empty_home_empty() {
    let host = Host::new();
    for (words, code) in [
        (&["ls"][..], 0),
        (&["ls", "--json"], 0),
        (&["status", "web"], 4),
        (&["show", "web"], 4),
        (&["why", "web"], 4),
        (&["logs", "web"], 4),
        (&["qmp", "web", "stop"], 4),
        (&["cmdline", "web"], 4),
        (&["start", "web"], 4),
        (&["stop", "--all"], 0),
        (&["pause", "web"], 4),
        (&["rename", "web", "db"], 4),
        (&["rm", "web"], 4),
        (&["rm", "web", "--if-exists"], 0),
        (&["help"], 0),
        (&["-V"], 0),
        (&["add", "-x"], 2),
        (&["add", "../x"], 2),
    ] {
        let mut command = host.command(Host::binary());
        command.env_remove("MAQET_DATA_DIR").env_remove("MAQET_RUNTIME_DIR");
        let ran = run(command.env("XDG_RUNTIME_DIR", host.root()).args(words));
        assert_eq!(ran.code, code, "{words:?}: {}", ran.stderr);
        let left: Vec<_> = std::fs::read_dir(host.root()).unwrap().flatten().collect();
        assert!(left.is_empty(), "{words:?}: {left:?}");
    }
}

#[test]
fn a_look_changes_no_file_of_a_vm() {
    let host = Host::new();
    host.add_bare("web");
    let files = || -> BTreeSet<_> {
        let vms = host.data().join("vms");
        let inside = std::fs::read_dir(&vms).unwrap().flatten();
        inside
            .flat_map(|vm| std::fs::read_dir(vm.path()).unwrap().flatten())
            .map(|file| (file.path(), file.metadata().unwrap().modified().unwrap()))
            .collect()
    };
    let before = files();
    for words in
        [&["ls"][..], &["status", "web"], &["why", "web"], &["logs", "web"], &["show", "web"]]
    {
        host.maqet(words);
    }
    host.maqet(["cmdline", "web"]).exits(0);
    host.maqet(["stop", "web"]).exits(0);
    assert_eq!(files(), before);
    assert!(!host.runtime().exists());
}
