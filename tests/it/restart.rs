//! `restart`, `reset` and dry runs on the real QEMU.

use std::time::Duration;

use crate::harness::{Host, eventually};

#[test]
fn restart_makes_a_new_qemu_of_the_definition_as_it_is_now() {
    let host = Host::new();
    for name in ["web", "db"] {
        host.add_bare(name);
    }
    host.maqet(["start", "web"]).exits(0);
    let first = host.qemu_pid("web");
    host.maqet(["apply", "web", "--memory", "32M"]).exits(0);
    let ran = host.maqet(["restart", "web", "db", "--force", "-o", "name,state,changed"]).exits(0);
    assert_eq!(ran.stdout, "web\trunning\ttrue\ndb\trunning\ttrue\n");
    assert_ne!(host.qemu_pid("web"), first);
    let line = host.maqet(["cmdline", "web"]).exits(0).stdout;
    assert!(line.contains("-m 32M"), "{line}");
    host.maqet(["restart", "nobody"]).exits(4);
}

#[test]
fn an_orderly_restart_asks_the_guest_first() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    host.maqet(["restart", "web"]).exits(0);
    let last = host.maqet(["status", "web", "-o", "last_exit.by,state"]).stdout;
    assert_eq!(last, "guest\trunning\n");
}

#[test]
fn reset_starts_the_guest_anew_in_the_same_qemu() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["reset", "web"]).exits(3);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let qemu = host.qemu_pid("web");
    host.maqet(["reset", "web"]).exits(0);
    eventually(Duration::from_secs(60), "the guest has started twice", || {
        let console = host.maqet(["logs", "web"]).stdout;
        (console.matches("maqet-guest: ready").count() >= 2).then_some(())
    });
    assert_eq!(host.qemu_pid("web"), qemu);
    host.maqet(["pause", "web"]).exits(0);
    let ran = host.maqet(["reset", "web", "-o", "state"]).exits(0);
    assert_eq!(ran.stdout, "paused\n");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let host = Host::new();
    host.add_bare("web");
    for (words, code, says) in [
        (&["start", "web", "-n"][..], 0, "would start web"),
        (&["stop", "web", "-n"], 0, "web is stopped: nothing to do"),
        (&["restart", "web", "-n"], 0, "would restart web"),
        (&["reset", "web", "-n"], 3, "it is stopped"),
        (&["pause", "web", "-n"], 3, "it is stopped"),
        (&["rm", "web", "-n"], 0, "would remove web"),
        (&["rename", "web", "www", "-n"], 0, "would rename web to www"),
        (&["add", "web", "-n"], 7, "of that name already"),
        (&["add", "db", "--cpu", "2", "--dry-run"], 0, "would add db"),
    ] {
        let ran = host.maqet(words).exits(code);
        assert!(ran.stderr.contains(says) && ran.stdout.is_empty(), "{words:?}: {}", ran.stderr);
        assert_eq!(host.maqet(["ls", "-o", "name,state"]).stdout, "web\tstopped\n");
    }
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--dry-run"]).exits(0);
    host.maqet(["rm", "web", "-n"]).exits(7);
    assert_eq!(host.state("web"), "running");
}
