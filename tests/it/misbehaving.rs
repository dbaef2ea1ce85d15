//! A QEMU that misbehaves: every way that `tests/fake-qemu` knows, at the start, while it runs, and
//! when it is to stop.

use std::time::Duration;

use rustix::process::Signal;

use crate::agent::peak;
use crate::client::resident;
use crate::crash::assert_nothing_left;
use crate::harness::{Host, eventually, send};

fn with_fake(modes: &[&str]) -> Host {
    let host = Host::new();
    host.add_fake("web", modes);
    host
}

#[test]
fn a_qemu_that_behaves_is_started_asked_and_stopped() {
    let host = with_fake(&[]);
    host.maqet(["start", "web"]).exits(0);
    assert_eq!(host.state("web"), "running");
    let unknown = host.maqet(["qmp", "web", "nonsense"]).exits(1);
    assert!(unknown.stderr.contains("QEMU refused"), "{}", unknown.stderr);
    host.maqet(["stop", "web"]).exits(0);
    assert_eq!(host.status("web")["last_exit"]["by"], "guest");
    assert_nothing_left(&host);
}

#[test]
fn a_qemu_that_dies_in_its_start_is_quoted_wherever_it_dies() {
    for mode in ["die-before-greeting", "die-after-greeting", "die-after-capabilities"] {
        let host = with_fake(&[mode]);
        let ran = host.maqet(["start", "web"]).exits(1);
        let words = "'fake' is not a valid device model name";
        assert!(ran.stderr.contains(words), "{mode}: {}", ran.stderr);
        assert!(ran.took < Duration::from_secs(2), "{mode}: {:?}", ran.took);
        assert_eq!(host.state("web"), "failed", "{mode}");
        assert!(host.maqet(["why", "web"]).stdout.contains(words), "{mode}");
        assert_nothing_left(&host);
    }
}

#[test]
fn nonsense_in_the_place_of_qmp_fails_the_start_within_seconds() {
    for mode in ["garbage", "wrong-id", "endless-line"] {
        let host = with_fake(&[mode]);
        let ran = host.maqet(["start", "web"]).exits(1);
        // 2 s for QEMU to end by itself, then SIGTERM.
        assert!(ran.took < Duration::from_secs(10), "{mode}: {:?}", ran.took);
        assert_eq!(host.state("web"), "failed", "{mode}: {}", ran.stderr);
        assert_nothing_left(&host);
    }
}

#[test]
fn a_qemu_without_a_greeting_fails_the_start_after_30_seconds() {
    let host = with_fake(&["half-greeting"]);
    let ran = host.maqet(["start", "web"]).exits(1);
    assert!(ran.stderr.contains("not ready within 30 s"), "{}", ran.stderr);
    let limits = Duration::from_secs(30)..Duration::from_secs(36);
    assert!(limits.contains(&ran.took), "{:?}", ran.took);
    assert_nothing_left(&host);
}

#[test]
fn the_escalation_goes_as_far_as_it_must_and_says_how_far() {
    for (modes, by, least, most) in [
        (&["ignore-powerdown"][..], "quit", 0, 4),
        (&["ignore-powerdown", "ignore-quit"], "term", 5, 9),
        (&["ignore-powerdown", "ignore-quit", "ignore-term"], "kill", 10, 15),
    ] {
        let host = with_fake(modes);
        host.maqet(["start", "web"]).exits(0);
        let ran = host.maqet(["stop", "web", "--timeout", "200ms"]).exits(0);
        assert_eq!(host.status("web")["last_exit"]["by"], by, "{modes:?}");
        let limits = Duration::from_secs(least)..Duration::from_secs(most);
        assert!(limits.contains(&ran.took), "{modes:?}: {:?}", ran.took);
        assert!(!ran.stderr.is_empty(), "{modes:?}: a hard end is told");
        let why = host.maqet(["why", "web", "--json"]).exits(0).json();
        assert!(why.to_string().contains(&format!("\"by\":\"{by}\"")), "{modes:?}: {why}");
        assert_nothing_left(&host);
    }
}

#[test]
fn no_kill_leaves_a_stubborn_guest_running_and_no_wait_only_asks() {
    let host = with_fake(&["ignore-powerdown"]);
    host.maqet(["start", "web"]).exits(0);
    let ran = host.maqet(["stop", "web", "--no-kill", "--timeout", "200ms"]).exits(5);
    assert!(ran.stderr.contains("runs on"), "{}", ran.stderr);
    assert_eq!(host.state("web"), "running");
    let asked = host.maqet(["stop", "web", "--no-wait", "--json"]).exits(0);
    assert_eq!(asked.json()["state"], "stopping");
    assert_eq!(host.state("web"), "stopping");
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_eq!(host.state("web"), "stopped");
}

#[test]
fn a_stop_in_the_middle_of_a_start_ends_both() {
    let host = with_fake(&["silent"]);
    let mut start = host.command(Host::binary());
    let mut start =
        start.args(["start", "web"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually(Duration::from_secs(5), "its QEMU is there", || {
        host.status("web")["qemu_pid"].is_number().then_some(())
    });
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_eq!(start.wait().unwrap().code(), Some(1), "the start tells that it did not come up");
    assert_nothing_left(&host);
}

#[test]
fn a_storm_of_events_does_not_keep_the_runner_from_its_clients() {
    let host = with_fake(&["events"]);
    host.maqet(["start", "web"]).exits(0);
    for _ in 0..5 {
        let ran = host.maqet(["status", "web"]).exits(0);
        assert!(ran.took < Duration::from_secs(1), "{:?}", ran.took);
    }
    let resident = resident(host.runner_pid("web"));
    assert!(resident < 32 << 10, "{resident} KiB");
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_nothing_left(&host);
}

#[test]
fn a_qemu_that_reads_no_more_is_told_to_time_out_and_can_be_stopped() {
    let host = with_fake(&["no-read"]);
    let ran = host.maqet(["start", "web", "--timeout", "1s"]);
    assert!([1, 5].contains(&ran.code), "{}", ran.stderr);
    assert_nothing_left(&host);
}

#[test]
fn a_flood_on_standard_error_is_kept_in_the_log_and_nowhere_else() {
    let host = with_fake(&["chatter"]);
    host.maqet(["start", "web"]).exits(0);
    let log = host.vm_folder("web").join("qemu.log");
    eventually(Duration::from_secs(20), "the flood has come through", || {
        (std::fs::metadata(&log).is_ok_and(|found| found.len() > 1 << 20)).then_some(())
    });
    let resident = resident(host.runner_pid("web"));
    assert!(resident < 32 << 10, "{resident} KiB");
    host.maqet(["stop", "web", "--force"]).exits(0);
    let last = host.maqet(["why", "web", "--json"]).json();
    assert!(last["stderr"].as_str().unwrap().lines().count() <= 16);
}

#[test]
fn an_end_of_its_own_is_told_by_its_code_or_its_signal() {
    for (mode, state, code, signal) in [
        ("exit-0", "stopped", Some(0), None),
        ("exit-3", "crashed", Some(3), None),
        ("signal-SEGV", "crashed", None, Some(11)),
        ("signal-KILL", "crashed", None, Some(9)),
    ] {
        let host = with_fake(&[mode]);
        // It ends right after it has come up: the start may see either.
        let ran = host.maqet(["start", "web"]);
        assert!([0, 1].contains(&ran.code), "{mode}: {}", ran.stderr);
        let status = eventually(Duration::from_secs(5), "it has ended", || {
            Some(host.status("web")).filter(|status| status["runner_pid"].is_null())
        });
        assert_eq!(status["state"], state, "{mode}: {status}");
        let end = &status["last_exit"];
        assert_eq!((end["exit_code"].as_i64(), end["signal"].as_i64()), (code, signal), "{mode}");
        assert_nothing_left(&host);
    }
}

#[test]
fn a_qemu_that_stands_still_costs_a_question_its_time_and_no_more() {
    let host = with_fake(&[]);
    host.maqet(["start", "web"]).exits(0);
    let qemu = host.qemu_pid("web");
    send(qemu, Signal::STOP);
    let ran = host.maqet(["qmp", "web", "query-status", "--timeout", "300ms"]).exits(5);
    assert!(ran.took < Duration::from_secs(2), "{:?}", ran.took);
    // The runner itself answers, and knows no better than that its guest runs.
    host.maqet(["status", "web"]).exits(0);
    send(qemu, Signal::CONT);
    host.maqet(["qmp", "web", "query-status"]).exits(0);
    host.maqet(["stop", "web"]).exits(0);
    assert_nothing_left(&host);
}

#[test]
fn a_hostile_agent_costs_who_asks_it_an_error_and_nobody_else_anything() {
    let attempt = |mode: &str| {
        let host = with_fake(&[&format!("agent-{mode}")]);
        host.maqet(["start", "web"]).exits(0);
        let pid = host.runner_pid("web");
        for round in 0..2 {
            std::thread::scope(|scope| {
                let exec = scope.spawn(|| host.maqet(["exec", "web", "--", "true"]));
                let ran = host.maqet(["qmp", "web", "query-status"]).exits(0);
                assert!(ran.took < Duration::from_secs(2), "{mode}: {:?}", ran.took);
                let ran = exec.join().unwrap().exits(125);
                assert!(ran.stderr.contains("agent"), "{mode}: {}", ran.stderr);
                let limit = Duration::from_secs(25);
                assert!(ran.took < limit, "{mode}, {round}: {:?}", ran.took);
            });
            let ran = host.maqet(["status", "web"]).exits(0);
            assert!(ran.took < Duration::from_secs(2), "{mode}: {:?}", ran.took);
        }
        let short = ["--for", "agent", "--timeout", "300ms"];
        let waited = host.maqet(["wait", "web"].iter().chain(&short));
        assert!([0, 5].contains(&waited.code), "{mode}: {}", waited.stderr);
        let peak = peak(pid);
        assert!(peak < 16 << 10, "{mode}: {peak} KiB");
        host.maqet(["stop", "web"]).exits(0);
        assert_nothing_left(&host);
    };
    let modes = [
        "silent", "garbage", "endless", "long", "deep", "utf8", "wrong-id", "twice", "flood",
        "closes",
    ];
    std::thread::scope(|scope| {
        for mode in modes {
            scope.spawn(move || attempt(mode));
        }
    });
}
