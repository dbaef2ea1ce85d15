//! Many commands at once: they agree.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::crash::assert_nothing_left;
use crate::harness::{Host, eventually, run, send};

/// Runs all commands at once and gives their exit codes.
fn at_once(commands: Vec<Command>) -> Vec<i32> {
    let children: Vec<_> = commands
        .into_iter()
        .map(|mut command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    children.into_iter().map(|mut child| child.wait().unwrap().code().unwrap()).collect()
}

fn times(host: &Host, count: usize, words: &[&str]) -> Vec<Command> {
    (0..count)
        .map(|_| {
            let mut command = host.command(Host::binary());
            command.args(words);
            command
        })
        .collect()
}

/// The processes whose command line has this word.
pub(crate) fn processes_with(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let of = |path: &Path| std::fs::read(path.join("cmdline")).unwrap_or_default();
    let has = |line: Vec<u8>| line.split(|byte| *byte == 0).any(|one| one == word.as_bytes());
    entries.filter(|entry| has(of(&entry.path()))).count()
}

#[test]
fn twenty_starts_at_once_make_one_vm() {
    let host = Host::new();
    host.add_bare("web");
    let id = host.status("web")["id"].as_str().unwrap().to_owned();
    let codes = at_once(times(&host, 20, &["start", "web"]));
    assert_eq!(codes, [0; 20]);
    assert_eq!(host.state("web"), "running");
    // Runners that found the lock taken have ended by themselves: one is left, and one QEMU.
    eventually(Duration::from_secs(2), "one runner and one QEMU", || {
        (processes_with(&id) == 2).then_some(())
    });
}

#[test]
fn of_twenty_adds_of_one_name_one_succeeds() {
    let host = Host::new();
    let codes = at_once(times(&host, 20, &["add", "web", "--accel", "tcg"]));
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 7).count(), 19, "{codes:?}");
    let folders = std::fs::read_dir(host.data().join("vms")).unwrap().count();
    assert_eq!(folders, 1, "those that lost left nothing");
}

#[test]
fn twenty_first_uses_of_an_empty_folder_all_succeed() {
    let host = Host::new();
    let commands = (0..20).map(|number| {
        let mut command = host.command(Host::binary());
        command.args(["add", &format!("vm{number}"), "--accel", "tcg"]);
        command
    });
    assert_eq!(at_once(commands.collect()), [0; 20]);
    assert_eq!(host.maqet(["ls", "-q"]).stdout.lines().count(), 20);
}

#[test]
fn one_that_fails_does_not_keep_the_others_from_starting() {
    let host = Host::new();
    for name in ["a", "b", "c"] {
        host.add_bare(name);
    }
    host.maqet(["add", "bad", "--accel", "tcg", "--arg", "-nonsense"]).exits(0);
    let ran = host.maqet(["start", "a", "bad", "b", "c", "--json"]).exits(1);
    let states: Vec<String> = ["a", "b", "c", "bad"].map(|name| host.state(name)).into();
    assert_eq!(states, ["running", "running", "running", "failed"]);
    assert_eq!(ran.stdout.lines().count(), 3, "an object for each that started: {}", ran.stdout);
    assert!(ran.stderr.contains("\"name\":\"bad\""), "{}", ran.stderr);
    host.maqet(["start", "a", "nobody"]).exits(4);
}

#[test]
fn several_are_stopped_side_by_side() {
    let host = Host::new();
    for name in ["a", "b", "c", "d"] {
        // Without a guest nothing heeds the power button: each takes its whole second.
        host.add_bare(name);
    }
    host.maqet(["start", "--all"]).exits(0);
    let ran = host.maqet(["stop", "--all", "--timeout", "1s"]).exits(0);
    assert!(ran.took < Duration::from_millis(2500), "{:?}", ran.took);
    let listed = host.maqet(["ls", "--state", "stopped", "-q"]).stdout;
    assert_eq!(listed, "a\nb\nc\nd\n");
    assert_nothing_left(&host);
}

#[test]
fn a_name_is_looked_up_by_name_id_and_beginning_of_the_id() {
    let host = Host::new();
    host.add_bare("web");
    let id = host.status("web")["id"].as_str().unwrap().to_owned();
    let mut command = host.command(Host::binary());
    run(command.args(["start", &id])).exits(0);
    host.maqet(["stop", &id[..8], "--force"]).exits(0);
    assert_eq!(host.state(&id[..13]), "stopped");
}

#[test]
fn runners_that_stand_still_are_waited_for_side_by_side_and_the_others_are_told_of() {
    let host = Host::new();
    let names = ["a", "b", "c", "good"];
    names.iter().for_each(|name| host.add_bare(name));
    host.maqet([&["start"], &names[..]].concat()).exits(0);
    let pids: Vec<i32> = names[..3].iter().map(|name| host.runner_pid(name)).collect();
    pids.iter().for_each(|pid| send(*pid, Signal::STOP));
    // Each runner has 2 s to tell its status, and 3 to prove itself.
    for (words, code) in [
        (&["status", "--all"][..], 5),
        (&["ls"], 0),
        (&["info", "--all"], 0),
        (&["why", "--all"], 0),
        (&["show", "--diff", "--all"], 5),
        (&["stats", "--every", "100ms", "--all"], 0),
        (&["events", "--all"], 5),
        (&["pause", "--all"], 5),
        (&["resume", "--all"], 5),
        (&["reset", "--all"], 5),
        (&["wait", "--all", "--for", "running"], 5),
    ] {
        let ran = host.maqet([words, &["--json"]].concat()).exits(code);
        let told = ran.stdout.contains("\"good\"");
        assert!(told || words[0] == "show", "{words:?}: {}", ran.stdout);
        assert!(ran.took < Duration::from_millis(5500), "{words:?}: {:?}", ran.took);
    }
    pids.iter().for_each(|pid| send(*pid, Signal::CONT));
}
