//! What is told and what is left when a process is killed, stopped in its tracks, or signalled.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Host, eventually, is_alive, send};

/// A host with one VM of 128 MiB on a whole machine, started.
fn with_web() -> Host {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "128M"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host
}

/// Nothing of the VM's runtime is left: no link, no folder.
#[track_caller]
pub(crate) fn assert_nothing_left(host: &Host) {
    let count = |path| std::fs::read_dir(path).map_or(0, Iterator::count);
    assert_eq!(count(host.data().join("live")), 0, "a live link is left");
    assert_eq!(count(host.runtime()), 0, "a runtime folder is left");
}

#[test]
fn qemu_dies_with_its_runner_and_the_next_start_finds_a_clean_place() {
    let host = with_web();
    let (runner, qemu) = (host.runner_pid("web"), host.qemu_pid("web"));
    let began = Instant::now();
    send(runner, Signal::KILL);
    while is_alive(qemu) {
        assert!(began.elapsed() < Duration::from_millis(100), "QEMU lives 100 ms after its runner");
    }
    let listed = host.maqet(["ls", "-o", "name,state"]).exits(0);
    assert_eq!(listed.stdout, "web\tcrashed\n");
    let why = host.maqet(["why", "web"]).exits(0).stdout;
    assert!(why.contains("its runner was killed"), "{why}");
    host.maqet(["start", "web"]).exits(0);
    assert_eq!(host.state("web"), "running");
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_nothing_left(&host);
}

#[test]
fn a_stop_clears_away_what_a_killed_runner_left() {
    let host = with_web();
    send(host.runner_pid("web"), Signal::KILL);
    eventually(Duration::from_secs(2), "the runner is gone", || {
        (host.state("web") == "crashed").then_some(())
    });
    let stopped = host.maqet(["stop", "web"]).exits(0);
    assert!(stopped.stderr.contains("not running"), "{}", stopped.stderr);
    assert_nothing_left(&host);
    assert_eq!(host.state("web"), "crashed");
}

#[test]
fn a_killed_qemu_is_noticed_at_once_and_its_signal_told() {
    let host = with_web();
    for (signal, number) in [(Signal::KILL, 9), (Signal::SEGV, 11)] {
        if host.state("web") != "running" {
            host.maqet(["start", "web"]).exits(0);
        }
        let runs = host.vm_folder("web").join("runs.ndjson");
        let qemu = host.qemu_pid("web");
        let began = Instant::now();
        send(qemu, signal);
        let told = format!("\"signal\":{number}");
        eventually(Duration::from_millis(50), "the end is written down", || {
            std::fs::read_to_string(&runs).unwrap().contains(&told).then_some(())
        });
        println!("signal {number}: written down after {:?}", began.elapsed());
        let status = eventually(Duration::from_secs(2), "the runner has ended", || {
            Some(host.status("web")).filter(|status| status["state"] == "crashed")
        });
        assert_eq!(status["last_exit"]["signal"], number);
        let why = host.maqet(["why", "web"]).exits(0).stdout;
        assert!(why.contains(&format!("signal {number}")), "{why}");
        assert_nothing_left(&host);
    }
}

#[test]
fn a_runner_that_stands_still_is_told_as_such_and_ended_by_force() {
    let host = with_web();
    let (runner, qemu) = (host.runner_pid("web"), host.qemu_pid("web"));
    send(runner, Signal::STOP);
    let status = host.maqet(["status", "web", "--json"]);
    assert!(status.took < Duration::from_secs(3), "{:?}", status.took);
    let told = status.exits(5).json();
    assert_eq!(
        (told["responding"].as_bool(), told["state"].as_str()),
        (Some(false), Some("running"))
    );
    let started = host.maqet(["start", "web"]).exits(5);
    assert!(started.stderr.contains("does not answer"), "{}", started.stderr);
    let stopped = host.maqet(["stop", "web"]).exits(5);
    assert!(stopped.took < Duration::from_secs(9), "{:?}", stopped.took);
    assert!(is_alive(qemu), "a stop without force must not end QEMU behind its runner's back");
    let forced = host.maqet(["stop", "web", "--force"]).exits(0);
    assert!(forced.took < Duration::from_secs(12), "{:?}", forced.took);
    assert!(!is_alive(runner) && !is_alive(qemu));
    let end = &host.status("web")["last_exit"];
    assert_eq!((end["outcome"].as_str(), end["by"].as_str()), (Some("stopped"), Some("kill")));
    assert_nothing_left(&host);
}

#[test]
fn a_qemu_that_stands_still_is_ended_by_the_escalation() {
    let host = with_web();
    let qemu = host.qemu_pid("web");
    send(qemu, Signal::STOP);
    // The guest's second, 5 s for quit, 5 s for SIGTERM.
    let stopped = host.maqet(["stop", "web", "--timeout", "1s"]).exits(0);
    assert!(stopped.took < Duration::from_secs(14), "{:?}", stopped.took);
    assert!(stopped.stderr.contains("SIGKILL"), "{}", stopped.stderr);
    assert!(!is_alive(qemu));
    assert_eq!(host.status("web")["last_exit"]["by"], "kill");
}

#[test]
fn a_signal_to_the_runner_is_a_stop_and_a_second_one_is_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let host = with_web();
        let runner = host.runner_pid("web");
        send(runner, signal);
        eventually(Duration::from_secs(2), "it is stopping", || {
            (host.state("web") == "stopping").then_some(())
        });
        // The firmware does not heed the power button; nobody waits a minute for it.
        send(runner, signal);
        eventually(Duration::from_secs(4), "it has stopped", || {
            (host.state("web") == "stopped").then_some(())
        });
        let end = &host.status("web")["last_exit"];
        assert_eq!(end["asked_by"], "a signal to its runner");
        assert_eq!(end["by"], "quit");
        assert_nothing_left(&host);
    }
}

#[test]
fn a_hang_up_ends_no_runner_and_gives_back_a_lost_socket() {
    let host = with_web();
    let runner = host.runner_pid("web");
    send(runner, Signal::HUP);
    eventually(Duration::from_secs(2), "it answers again", || {
        (host.state("web") == "running").then_some(())
    });
    std::fs::remove_dir_all(host.runtime()).unwrap();
    assert_eq!(host.state("web"), "running", "the next command gets through");
    assert_eq!(host.runner_pid("web"), runner);
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_nothing_left(&host);
}
