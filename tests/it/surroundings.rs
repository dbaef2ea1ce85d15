//! The places from which scripts call: shells, closed descriptors, odd environments, terminals.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::crash::assert_nothing_left;
use crate::harness::{Host, eventually, is_alive, lock_holder, not_here, run, send};

fn with_web() -> Host {
    let host = Host::new();
    host.add_bare("web");
    host
}

#[test]
fn a_substitution_that_takes_both_streams_returns() {
    let host = with_web();
    let ran = host.shell("x=$(maqet start web 2>&1); echo \"[$x]\"").exits(0);
    assert_eq!(ran.stdout, "[]\n");
    assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
    assert_eq!(host.state("web"), "running");
}

#[test]
fn a_lock_of_the_callers_shell_is_not_held_by_the_vm() {
    let host = with_web();
    let script = "( flock 9; maqet start web ) 9>lock; flock -n lock echo free";
    assert_eq!(host.shell(script).exits(0).stdout, "free\n");
    assert_eq!(host.state("web"), "running");
}

#[test]
fn streams_that_are_closed_or_null_are_no_hindrance() {
    let host = with_web();
    for script in [
        "maqet start web <&-",
        "maqet stop web --force <&-",
        "maqet start web </dev/null >&- 2>&-",
        "maqet stop web --force <&- >&- 2>&-",
        "maqet ls <&-",
    ] {
        host.shell(script).exits(0);
    }
    assert_eq!(host.state("web"), "stopped");
}

#[test]
fn a_reader_that_went_away_is_no_error_and_a_full_disk_is_one() {
    let host = with_web();
    let script = "{ maqet ls; echo $? >&2; } | true";
    assert_eq!(host.shell(script).stderr, "0\n");
    let full = host.shell("maqet ls > /dev/full").exits(1);
    assert!(full.stderr.contains("No space left on device"), "{}", full.stderr);
    let full = host.shell("maqet start web --json > /dev/full").exits(1);
    assert!(full.stderr.contains("standard output"), "{}", full.stderr);
    assert_eq!(host.state("web"), "running", "the VM was started all the same");
}

#[test]
fn an_empty_environment_will_do() {
    let host = Host::new();
    let bare = |words: &[&str]| {
        let mut command = std::process::Command::new(Host::binary());
        command.env_clear().args(["--data-dir", host.data().to_str().unwrap()]);
        command.args(["--runtime-dir", host.runtime().to_str().unwrap()]).args(words);
        run(&mut command)
    };
    bare(&["add", "web", "--accel", "tcg", "--machine", "none"]).exits(0);
    bare(&["start", "web"]).exits(0);
    assert_eq!(bare(&["status", "web", "-o", "state"]).exits(0).stdout, "running\n");
    bare(&["stop", "web", "--force"]).exits(0);
}

#[test]
fn without_a_home_root_is_served_and_asks_for_nothing() {
    if !rustix::process::geteuid().is_root() {
        not_here("only root has a place without a HOME");
        return;
    }
    // What changes nothing creates nothing, in the folder that root has without a HOME.
    let there = std::path::Path::new("/var/lib/maqet").exists();
    let mut command = std::process::Command::new(Host::binary());
    run(command.env_clear().arg("ls")).exits(0);
    assert_eq!(std::path::Path::new("/var/lib/maqet").exists(), there);
}

#[test]
fn a_socket_path_longer_than_an_address_holds_works() {
    let host = with_web();
    let long = host.root().join("x".repeat(150));
    let start = ["--runtime-dir", long.to_str().unwrap(), "start", "web"];
    host.maqet(start).exits(0);
    let status = host.status("web");
    assert!(status["socket_path"].as_str().unwrap().len() > 107);
    assert_eq!(status["responding"], true);
    host.maqet(["qmp", "web", "query-status"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn a_vm_started_under_one_runtime_folder_is_found_under_any_other() {
    let host = with_web();
    let xdg = host.root().join("xdg");
    std::fs::create_dir(&xdg).unwrap();
    let with = |words: &[&str], xdg: Option<&std::path::Path>| {
        let mut command = host.command(Host::binary());
        command.env_remove("MAQET_RUNTIME_DIR").args(words);
        command.envs(xdg.map(|path| ("XDG_RUNTIME_DIR", path)));
        run(&mut command)
    };
    for (at_start, later) in [(Some(xdg.as_path()), None), (None, Some(xdg.as_path()))] {
        with(&["start", "web"], at_start).exits(0);
        let seen = with(&["status", "web", "-o", "state"], later).exits(0);
        assert_eq!(seen.stdout, "running\n");
        with(&["start", "web"], later).exits(0);
        with(&["stop", "web", "--force"], later).exits(0);
        assert_nothing_left(&host);
    }
}

#[test]
fn a_terminal_that_closes_does_not_end_the_vm() {
    let host = with_web();
    // script(1) gives the command a terminal of its own, which closes with it.
    let words = format!("{} start web", Host::binary().display());
    let mut command = host.command("script");
    run(command.args(["-qec", &words, "/dev/null"])).exits(0);
    assert_eq!(host.state("web"), "running");
}

#[test]
fn an_interrupt_at_a_terminal_ends_the_command_and_not_the_vm() {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    let host = with_web();
    host.maqet(["start", "web"]).exits(0);
    // A process group of its own, as a shell makes for a job.
    let mut stop = host.command(Host::binary());
    let mut stop =
        stop.args(["stop", "web"]).process_group(0).stderr(Stdio::null()).spawn().unwrap();
    eventually(Duration::from_secs(2), "the stop is under way", || {
        (host.state("web") == "stopping").then_some(())
    });
    let pid = rustix::process::Pid::from_child(&stop);
    rustix::process::kill_process_group(pid, Signal::INT).unwrap();
    assert_eq!(stop.wait().unwrap().signal(), Some(2));
    assert_eq!(host.state("web"), "stopping", "the runner goes on with what it was asked");
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn a_start_that_is_killed_takes_its_runner_and_qemu_with_it() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let host = Host::new();
        host.add_fake("web", &["silent"]);
        let lock = host.vm_folder("web").join("lock");
        let mut start = host.command(Host::binary());
        let mut start = start.args(["start", "web"]).stderr(Stdio::null()).spawn().unwrap();
        let runner = eventually(Duration::from_secs(5), "its QEMU is there", || {
            lock_holder(&lock).filter(|_| {
                host.state("web") == "starting" && host.status("web")["qemu_pid"].is_number()
            })
        });
        let qemu = host.qemu_pid("web");
        send(i32::try_from(start.id()).unwrap(), signal);
        start.wait().unwrap();
        let began = Instant::now();
        eventually(Duration::from_secs(10), "runner and QEMU are gone", || {
            (!is_alive(runner) && !is_alive(qemu)).then_some(())
        });
        println!("{signal:?}: gone after {:?}", began.elapsed());
        assert_nothing_left(&host);
        assert_ne!(host.state("web"), "running");
    }
}

#[test]
fn a_start_that_runs_out_of_time_says_so_and_leaves_nothing() {
    let host = Host::new();
    host.add_fake("web", &["silent"]);
    let ran = host.maqet(["start", "web", "--timeout", "500ms"]).exits(5);
    assert!(ran.stderr.contains("not up in time"), "{}", ran.stderr);
    assert_nothing_left(&host);
    let status = host.status("web");
    assert!(status["qemu_pid"].is_null(), "{status}");
}
