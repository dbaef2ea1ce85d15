//! A QEMU that its guest has taken over attacks its runner: whatever it says, the runner stays small,
//! answers its clients, writes no nonsense where others read, and ends it by signals when it is asked to.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::{Client, folder};
use crate::crash::assert_nothing_left;
use crate::harness::{Host, Ran};

/// The most that a runner may ever have held in memory, in KiB.
const MOST: u64 = 32 << 10;

fn hostile(mode: &str) -> Host {
    let host = Host::new();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile-qemu");
    let program = program.to_str().unwrap();
    let words =
        ["add", "web", "--accel", "tcg", "--binary", program, "--arg", "-fake", "--arg", mode];
    host.maqet(words).exits(0);
    host
}

/// The most that a process has ever held in memory, in KiB.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Ends the VM and looks at all that it has left.
#[track_caller]
fn ends_by_signals(host: &Host, mode: &str) {
    let ran = host.maqet(["stop", "web", "--force"]).exits(0);
    assert!(ran.took < Duration::from_secs(9), "{mode}: {:?}", ran.took);
    let status = host.status("web");
    assert_eq!((&status["state"], &status["last_exit"]["by"]), (&"stopped".into(), &"term".into()));
    let runs = host.vm_folder("web").join("runs.ndjson");
    let length = std::fs::metadata(&runs).unwrap().len();
    assert!(length < 32 << 10, "{mode}: {length} bytes of runs");
    host.maqet(["why", "web", "--json"]).exits(0).json();
    assert_nothing_left(host);
}

#[test]
fn whatever_it_says_unasked_the_runner_stays_small_and_serves_its_clients() {
    for mode in [
        "silent",
        "endless",
        "line-64m",
        "deep",
        "utf8",
        "before",
        "events",
        "states",
        "names",
        "data",
        "deaf",
        "greeting",
        "half-greeting",
    ] {
        let host = hostile(mode);
        host.maqet(["start", "web"]).exits(0);
        let runner = host.runner_pid("web");
        let mut client = Client::version_1(&folder(&host));
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(1) {
            let asked = Instant::now();
            assert_eq!(client.ask(r#"{"method":"ping"}"#)["result"], "pong", "{mode}");
            slowest = slowest.max(asked.elapsed());
        }
        println!("{mode}: {} KiB at most, the slowest ping took {slowest:?}", peak(runner));
        assert!(slowest < Duration::from_millis(500), "{mode}: {slowest:?}");
        assert!(peak(runner) < MOST, "{mode}: {} KiB", peak(runner));
        ends_by_signals(&host, mode);
    }
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn whatever_it_answers_the_runner_stays_small_and_tells_who_asked() {
    let told = |ran: &Ran| ran.stderr.lines().any(|line| line.starts_with("maqet: "));
    for (mode, code) in [
        ("wrong-id", 1),
        ("double", 0),
        ("close", 1),
        ("lists", 1),
        ("maps", 1),
        ("text", 0),
        ("error", 1),
        ("class", 1),
        ("null", 0),
    ] {
        let host = hostile(mode);
        host.maqet(["start", "web"]).exits(0);
        let runner = host.runner_pid("web");
        for round in 0..3 {
            let ran = host.maqet(["qmp", "web", "query-version", "--timeout", "5s"]);
            assert!(ran.code == code || round > 0, "{mode}: {} {:.300}", ran.code, ran.stderr);
            assert!(ran.code == 0 || told(&ran), "{mode}: {:.300}", ran.stderr);
        }
        println!("{mode}: {} KiB at most", peak(runner));
        assert!(peak(runner) < MOST, "{mode}: {} KiB", peak(runner));
        ends_by_signals(&host, mode);
    }
}

#[test]
fn a_start_that_is_answered_with_nonsense_fails_or_goes_on_without_it() {
    let host = hostile("start-error");
    let ran = host.maqet(["start", "web"]).exits(1);
    assert!(ran.stderr.len() < 4 << 10, "{} bytes", ran.stderr.len());
    assert_eq!(host.state("web"), "failed");
    assert!(host.maqet(["why", "web"]).exits(0).stdout.contains("y\n"));

    let host = hostile("start-type");
    host.maqet(["start", "web"]).exits(0);
    let machine = host.maqet(["show", "web", "--json"]).json()["machine"].clone();
    assert!(machine.is_null(), "{machine} was pinned");
    host.maqet(["stop", "web", "--force"]).exits(0);

    let host = hostile("start-lists");
    host.maqet(["start", "web"]).exits(1);
    assert_eq!(host.state("web"), "failed");
}
