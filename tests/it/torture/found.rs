//! What the faults of this folder have found, each kept as a case of its own.

use std::time::Duration;

use rustix::process::Signal;

use super::strace::{self, CALLS, Fault, Whose};
use crate::crash::assert_nothing_left;
use crate::harness::{Host, eventually, run, send};

fn running(name: &str) -> Host {
    let host = Host::new();
    host.add_bare(name);
    host.maqet(["start", name]).exits(0);
    host
}

/// A fault of the runner of a VM that runs, at the N-th of its calls that has this name.
fn in_runner(host: &Host, name: &str, call: &str, how: &'static str, number: usize) {
    let call = CALLS.iter().position(|known| known.names.contains(&call)).unwrap();
    let fault = Fault { whose: Whose::Runner, call, how, number };
    let log = host.root().join("strace.log");
    let mut tracer = strace::attach(host, &log, host.runner_pid(name), Some(&fault));
    std::thread::spawn(move || tracer.wait());
}

#[test]
fn a_request_that_could_not_be_sent_is_sent_again() {
    let host = running("web");
    for number in 1..=3 {
        let how = format!("sendto:error=EIO:when={number}");
        let ran = host.tampered(&[&how], &["status", "web", "-o", "state"]).exits(0);
        assert_eq!(ran.stdout, "running\n", "{number}");
        assert!(ran.took < Duration::from_secs(2), "{number}: {:?}", ran.took);
    }
}

#[test]
fn what_a_runner_killed_in_its_end_has_left_the_next_stop_finds() {
    for number in 1..=6 {
        let host = running("web");
        in_runner(&host, "web", "unlink", "signal=KILL", number);
        host.maqet(["stop", "web", "--force"]);
        host.maqet(["stop", "web"]).exits(0);
        assert_nothing_left(&host);
    }
}

#[test]
fn what_could_not_be_removed_is_removed_by_the_next_stop() {
    for call in ["unlink", "rmdir", "statx", "readlink"] {
        for number in 1.. {
            let host = running("web");
            send(host.runner_pid("web"), Signal::KILL);
            eventually(Duration::from_secs(5), "it is gone", || {
                (host.state("web") == "crashed").then_some(())
            });
            let how = format!("{call}:error=EIO:when={number}");
            let ran = host.tampered(&[&how], &["stop", "web", "--force"]);
            host.maqet(["stop", "web"]).exits(0);
            assert_nothing_left(&host);
            // Past its last call there is nothing to fail.
            if ran.code == 0 && number > 8 {
                break;
            }
            assert!(number < 60, "{call} fails without end");
        }
    }
}

#[test]
fn who_asks_a_vm_that_runs_removes_nothing_of_it() {
    let host = running("web");
    let id = host.status("web")["id"].as_str().unwrap().to_owned();
    let log = host.root().join("removals");
    for words in [
        &["ls"][..],
        &["status", "web"],
        &["info", "web"],
        &["why", "web"],
        &["logs", "web"],
        &["pause", "web"],
        &["resume", "web"],
        &["qmp", "web", "query-status"],
        &["start", "web"],
        &["apply", "web", "--label", "a=b"],
        &["rm", "web"],
        &["doctor"],
        &["stop", "web", "--no-wait"],
    ] {
        let mut strace = host.command("strace");
        strace.args(["-f", "-qq", "-o"]).arg(&log).arg("-e");
        strace.arg("trace=?unlink,?unlinkat,?rmdir,?rename,?renameat,?renameat2");
        run(strace.arg(Host::binary()).args(words));
        let removed = std::fs::read_to_string(&log).unwrap();
        assert!(!removed.contains(&id), "{words:?}: {removed}");
    }
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn a_backup_that_was_killed_is_in_no_later_ones_way() {
    let host = Host::new();
    host.add_bare("web");
    let mut kills = 0;
    for call in ["openat", "pwrite64", "fsync,fdatasync", "renameat2"] {
        for number in 1.. {
            let how = format!("{call}:signal=KILL:when={number}");
            let ran = host.tampered(&[&how], &["db", "backup", "copy.db"]);
            if !host.root().join("copy.db").exists() {
                host.maqet(["db", "backup", "copy.db"]).exits(0);
            }
            host.maqet(["db", "restore", "copy.db", "-y"]).exits(0);
            std::fs::remove_file(host.root().join("copy.db")).unwrap();
            if ran.code == 0 {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 20, "{kills}");
    let left = std::fs::read_dir(host.root()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("copy.db")), "{left:?}");
}

#[test]
fn a_database_that_cannot_be_read_for_once_is_not_set_aside_as_damaged() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["db", "backup", "copy.db"]).exits(0);
    let restore = ["db", "restore", "copy.db", "-y"];
    for call in ["fcntl:error=EMFILE", "openat:error=EMFILE", "pread64:error=EIO"] {
        for number in 1..=40 {
            let how = format!("{call}:when={number}");
            let _ = host.tampered(&[&how], &restore);
            let names = std::fs::read_dir(host.data()).unwrap().flatten();
            let aside = |name: &std::ffi::OsString| name.to_string_lossy().contains(".damaged-");
            let aside = names.map(|entry| entry.file_name()).find(aside);
            assert!(aside.is_none(), "{call} {number}: {aside:?}");
            assert_eq!(host.maqet(["ls", "-q"]).exits(0).stdout, "web\n", "{call} {number}");
        }
    }
    host.maqet(restore).exits(0);
}

#[test]
fn what_a_vm_that_is_stored_nowhere_leaves_as_it_begins_is_removed_or_named() {
    let host = Host::new();
    let words = "run --rm --machine none --accel tcg --memory 16M --net none --arg=-nonsense";
    let words: Vec<&str> = words.split(' ').collect();
    let left = || -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(host.runtime()).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    for (call, how) in [("mkdir", "error=EIO"), ("statx", "error=EIO"), ("mkdir", "signal=KILL")] {
        for number in 1.. {
            let ran = host.tampered(&[&format!("{call}:{how}:when={number}")], &words);
            let named = host.maqet(["doctor", "-o", "found"]).stdout;
            for path in left() {
                assert!(how.contains("KILL"), "{call} {number}: {path:?}");
                assert!(named.contains(path.to_str().unwrap()), "{call} {number}: {named}");
            }
            host.maqet(["doctor", "--fix"]);
            left().iter().for_each(|path| std::fs::remove_dir_all(path).unwrap());
            if ran.stderr.contains("nonsense") && number > 12 {
                break;
            }
        }
    }
}

#[test]
fn what_was_being_edited_when_the_command_was_killed_is_named_by_doctor() {
    let host = Host::new();
    host.add_bare("web");
    let ran = host.shell(
        "export TMPDIR=$PWD EDITOR='kill -9 $PPID; true'; maqet edit web; maqet doctor -o found; ls",
    );
    let draft = ran.stdout.lines().find(|line| line.starts_with("maqet-edit-")).unwrap();
    let named = format!("{}/{draft} was left by an \"edit\"", host.root().display());
    assert!(ran.stdout.contains(&named), "{ran:?}");
}

#[test]
fn what_doctor_cannot_read_it_does_not_take_for_gone() {
    let host = running("web");
    let disks = host.vm_folder("web").join("disks");
    assert!(!disks.exists());
    for (call, step) in [("getdents64", 1), ("openat", 7), ("statx", 7)] {
        for number in (1..=12).map(|number| number * step) {
            let how = format!("{call}:error=EIO:when={number}");
            let ran = host.tampered(&[&how], &["doctor", "--fix"]);
            assert!(!disks.exists(), "{call} {number}: {ran:?}");
        }
    }
    assert_eq!(host.state("web"), "running");
}

#[test]
fn how_a_run_ended_is_written_down_though_a_file_cannot_be_opened_or_written_for_once() {
    for (call, how) in [("openat", "error=EMFILE"), ("write", "error=ENOSPC")] {
        for number in 1..=10 {
            let host = running("web");
            in_runner(&host, "web", call, how, number);
            host.maqet(["stop", "web", "--force"]).exits(0);
            assert_eq!(host.state("web"), "stopped", "{call} {number}");
        }
    }
}

#[test]
fn a_read_or_write_that_fails_for_once_costs_no_vm_its_monitor_and_no_command_its_answer() {
    for (call, number) in (1..=8).flat_map(|number| [("recvfrom", number), ("sendto", number)]) {
        let host = running("web");
        in_runner(&host, "web", call, "error=EIO", number);
        for _ in 0..3 {
            let ran = host.maqet(["qmp", "web", "query-status"]);
            assert!(ran.took < Duration::from_secs(2), "{call} {number}: {ran:?}");
        }
        host.maqet(["qmp", "web", "query-status"]).exits(0);
    }
}
