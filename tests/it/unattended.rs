//! VMs that nobody starts by hand: those that start with the host, and those that are started again
//! when they have ended.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::crash::assert_nothing_left;
use crate::harness::{Host, eventually, is_alive, send};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn start_autostart_starts_the_vms_that_say_so_and_no_other() {
    let host = Host::new();
    let started = || host.maqet(["start", "--autostart", "-o", "name,state,changed"]);
    assert_eq!(started().exits(0).stdout, "", "without a database");
    host.add_bare("other");
    assert_eq!(started().exits(0).stdout, "", "without any that says so");
    for name in ["web", "db"] {
        let words = ["add", name, "--machine", "none", "--accel", "tcg", "--autostart"];
        host.maqet(words).exits(0);
    }
    assert_eq!(host.maqet(["show", "web", "-o", "autostart"]).stdout, "true\n");
    let ran = host.maqet(["start", "--autostart", "-n"]).exits(0);
    assert_eq!(ran.stderr, "maqet: would start db\nmaqet: would start web\n");
    assert_eq!(started().exits(0).stdout, "db\trunning\ttrue\nweb\trunning\ttrue\n");
    assert_eq!(host.state("other"), "stopped");
    let again = started().exits(0);
    assert_eq!(again.stdout, "db\trunning\tfalse\nweb\trunning\tfalse\n");
    assert!(again.stderr.contains("db is running already"), "{}", again.stderr);
    // One that cannot start keeps no other from it.
    host.maqet(["stop", "--all", "--force"]).exits(0);
    host.maqet(["apply", "db", "--arg", "-nonsense"]).exits(0);
    assert_eq!(started().exits(1).stdout, "web\trunning\ttrue\n");
    host.maqet(["apply", "--all", "--autostart=false"]).exits(0);
    assert_eq!(started().exits(0).stdout, "");
    // The VMs are named, or they are selected.
    for words in [&["web", "--autostart"][..], &["--all", "--autostart"]] {
        let ran = host.maqet([&["start"], words].concat()).exits(2);
        assert!(ran.stderr.contains("exclude one another"), "{}", ran.stderr);
    }
    host.maqet(["stop", "--autostart"]).exits(2);
}

#[test]
fn the_settings_can_say_autostart_of_every_vm_that_does_not_say_no() {
    let host = Host::new();
    let config = host.root().join(".config/maqet");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("maqet.json"), r#"{"defaults": {"autostart": true}}"#).unwrap();
    host.add_bare("web");
    host.add_bare("db");
    host.maqet(["apply", "db", "--autostart=false"]).exits(0);
    let ran = host.maqet(["start", "--autostart", "-o", "name,changed"]).exits(0);
    assert_eq!(ran.stdout, "web\ttrue\n");
}

/// Defines a VM without a guest that is started again in these cases.
fn add_keeping(host: &Host, name: &str, restart: &str) {
    host.add_bare(name);
    host.maqet(["apply", name, "--restart", restart]).exits(0);
}

/// Kills QEMU, and waits until its runner has noticed.
fn crash(host: &Host, name: &str) {
    send(host.qemu_pid(name), Signal::KILL);
    eventually(SOON, "a pause", || (host.state(name) == "starting").then_some(()));
}

fn wait_until_it_runs(host: &Host, name: &str) {
    eventually(SOON, "it runs again", || (host.state(name) == "running").then_some(()));
}

/// How the runs ended that are remembered, oldest first; a run that goes on has none.
fn outcomes(host: &Host, name: &str) -> Vec<String> {
    let ran = host.maqet(["why", name, "--runs", "64", "-o", "end.outcome"]).exits(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn after_a_crash_there_is_a_new_qemu_under_the_same_runner() {
    let host = Host::new();
    add_keeping(&host, "web", "on-failure");
    host.maqet(["start", "web"]).exits(0);
    let (runner, first) = (host.runner_pid("web"), host.qemu_pid("web"));
    let crashed = Instant::now();
    crash(&host, "web");
    // In the pause everything tells the truth.
    let status = host.status("web");
    assert_eq!(status["runner_pid"].as_i64(), Some(i64::from(runner)));
    assert_eq!((&status["qemu_pid"], &status["uptime"]), (&().into(), &0.into()));
    assert_eq!((&status["responding"], &status["last_exit"]["signal"]), (&true.into(), &9.into()));
    let why = host.maqet(["why", "web"]).exits(0).stdout;
    assert!(why.contains("run 1") && why.contains("crashed") && why.contains("SIGKILL"), "{why}");
    assert!(why.contains("about to be started again"), "{why}");
    assert_eq!(
        host.maqet(["info", "web", "-o", "state,machine"]).exits(0).stdout,
        "starting\tnone\n"
    );
    let refused = host.maqet(["qmp", "web", "query-status"]).exits(7).stderr;
    assert!(refused.contains("still starting"), "{refused}");
    // Whoever starts it waits for that start.
    host.maqet(["start", "web"]).exits(0);
    let took = crashed.elapsed();
    assert!(took >= Duration::from_secs(1) && took < SOON, "{took:?}");
    assert_eq!(host.runner_pid("web"), runner);
    assert_ne!(host.qemu_pid("web"), first);
    assert_eq!(outcomes(&host, "web"), ["crashed", "-"]);
    // The second pause is longer, and a stop ends it at once.
    crash(&host, "web");
    let crashed = Instant::now();
    wait_until_it_runs(&host, "web");
    assert!(crashed.elapsed() > Duration::from_millis(1500), "{:?}", crashed.elapsed());
    crash(&host, "web");
    let stopped = host.maqet(["stop", "web"]).exits(0);
    assert!(stopped.took < Duration::from_secs(1), "{:?}", stopped.took);
    assert_eq!(host.state("web"), "stopped");
    assert_eq!(outcomes(&host, "web"), ["crashed", "crashed", "crashed", "stopped"]);
    assert!(!is_alive(runner));
    assert_nothing_left(&host);
}

#[test]
fn a_new_qemu_has_the_machine_of_the_first() {
    let host = Host::new();
    let words = ["add", "web", "--accel", "tcg", "--memory", "16M", "--restart", "always"];
    host.maqet(words).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let machine = || {
        let argv = std::fs::read(format!("/proc/{}/cmdline", host.qemu_pid("web"))).unwrap();
        let argv = String::from_utf8(argv).unwrap();
        argv.split('\0').find(|word| word.starts_with("type=")).unwrap().to_owned()
    };
    let first = machine();
    crash(&host, "web");
    wait_until_it_runs(&host, "web");
    let pinned = host.maqet(["show", "web", "-o", "machine"]).exits(0).stdout;
    assert_eq!(machine(), format!("type={}", pinned.trim()));
    assert_ne!(machine(), first, "a version in place of its alias");
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn in_a_pause_a_signal_ends_the_runner_and_a_killed_one_leaves_nothing() {
    let host = Host::new();
    add_keeping(&host, "web", "always");
    for (signal, state) in [(Signal::TERM, "stopped"), (Signal::KILL, "crashed")] {
        host.maqet(["start", "web"]).exits(0);
        let runner = host.runner_pid("web");
        crash(&host, "web");
        send(runner, signal);
        eventually(SOON, "the runner's end", || (!is_alive(runner)).then_some(()));
        assert_eq!(host.state("web"), state);
    }
    // Its folder and its link are the next holder's to clear away.
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_nothing_left(&host);
}

#[test]
fn what_was_asked_to_end_stays_ended() {
    let host = Host::new();
    add_keeping(&host, "web", "always");
    for end in [&["stop", "web", "--force"][..], &["qmp", "web", "quit"]] {
        host.maqet(["start", "web"]).exits(0);
        let runner = host.runner_pid("web");
        host.maqet(end).exits(0);
        eventually(SOON, "the runner's end", || (!is_alive(runner)).then_some(()));
        assert_eq!(host.state("web"), "stopped");
    }
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["restart", "web", "--force"]).exits(0);
    assert_eq!(outcomes(&host, "web").len(), 4);
    host.maqet(["rm", "web", "--force"]).exits(0);
}

#[test]
fn what_never_came_up_is_told_and_not_tried_again() {
    let host = Host::new();
    add_keeping(&host, "web", "always");
    host.maqet(["apply", "web", "--arg", "-nonsense"]).exits(0);
    let ran = host.maqet(["start", "web"]).exits(1);
    assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
    assert_eq!((host.state("web").as_str(), outcomes(&host, "web").len()), ("failed", 1));
    assert_nothing_left(&host);
}

#[test]
fn a_new_try_that_fails_is_followed_by_another() {
    let host = Host::new();
    add_keeping(&host, "web", "on-failure");
    let qemu = host.root().join("qemu-system-x86_64");
    let real = host.shell("command -v qemu-system-x86_64").stdout;
    std::os::unix::fs::symlink(real.trim(), &qemu).unwrap();
    host.maqet(["apply", "web", "--binary", qemu.to_str().unwrap()]).exits(0);
    host.maqet(["start", "web", "--paused"]).exits(0);
    std::fs::remove_file(&qemu).unwrap();
    crash(&host, "web");
    eventually(SOON, "a failure", || {
        (outcomes(&host, "web") == ["crashed", "failed"]).then_some(())
    });
    assert_eq!(host.state("web"), "starting");
    assert!(host.maqet(["why", "web"]).stdout.contains(qemu.to_str().unwrap()));
    std::os::unix::fs::symlink(real.trim(), &qemu).unwrap();
    wait_until_it_runs(&host, "web");
    assert_eq!(outcomes(&host, "web"), ["crashed", "failed", "-"]);
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_nothing_left(&host);
}

#[test]
fn a_guest_that_shuts_down_is_started_again_always_and_not_on_failure() {
    let host = Host::new();
    for (name, restart) in [("web", "always"), ("db", "on-failure")] {
        let append = "console=ttyS0 quiet maqet.do=poweroff";
        host.add_guest(name, &["--restart", restart, "--append", append]);
        host.maqet(["start", name]).exits(0);
    }
    let limit = Duration::from_secs(60);
    eventually(limit, "two runs", || (outcomes(&host, "web").len() > 1).then_some(()));
    assert_eq!(outcomes(&host, "web")[0], "stopped");
    eventually(limit, "its end", || (host.state("db") == "stopped").then_some(()));
    assert_eq!(outcomes(&host, "db"), ["stopped"]);
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn in_the_foreground_the_service_manager_starts_it_again() {
    let host = Host::new();
    add_keeping(&host, "web", "always");
    let ran = host.shell(
        "maqet run web & \
         timeout 30 sh -c 'until [ \"$(maqet status web -o state)\" = running ]; do :; done'; \
         kill -9 $(maqet status web -o qemu_pid); wait $!; echo $?",
    );
    assert_eq!(ran.stdout, "1\n", "{}", ran.stderr);
    assert_eq!(outcomes(&host, "web"), ["crashed"]);
}
