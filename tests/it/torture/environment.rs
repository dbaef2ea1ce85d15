//! A host that goes down, clocks that jump, pids that come again, databases that are not what they
//! were: what surrounds maqet turns against it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Random;
use crate::harness::{Host, Ran, eventually, not_here, run, send};
use rustix::process::Signal;

/// Runs a script as root of namespaces of its own, as unshare(1) makes them with these flags; `maqet`
/// is the binary. Nothing, and a word about it, where that is not allowed.
fn unshared(host: &Host, flags: &str, script: &str) -> Option<Ran> {
    let tried = run(host.command("unshare").args(flags.split(' ')).arg("true"));
    if tried.code != 0 {
        not_here(&format!("there are no namespaces: {}", tried.stderr.trim()));
        return None;
    }
    let inner = script.replace('\'', "'\\''");
    Some(host.shell(&format!("exec unshare {flags} sh -euc '{inner}'")))
}

#[test]
fn after_a_reboot_100_vms_that_ran_are_shown_within_a_second_as_what_they_are() {
    let host = Host::new();
    host.add_bare("vm0");
    host.maqet(["start", "vm0"]).exits(0);
    send(host.runner_pid("vm0"), Signal::KILL);
    eventually(Duration::from_secs(5), "it is gone", || {
        (host.state("vm0") == "crashed").then_some(())
    });
    let runs = host.vm_folder("vm0").join("runs.ndjson");
    let run_folder = std::fs::read_dir(host.runtime()).unwrap().next().unwrap().unwrap().path();
    let definitions: Vec<String> = (1..100).map(|n| format!("vm{n}")).collect();
    for name in &definitions {
        host.add_bare(name);
    }
    for vm in std::fs::read_dir(host.data().join("vms")).unwrap().flatten() {
        let id = vm.file_name();
        std::fs::copy(&runs, vm.path().join("runs.ndjson.copy")).unwrap();
        std::fs::rename(vm.path().join("runs.ndjson.copy"), vm.path().join("runs.ndjson")).unwrap();
        let link = host.data().join("live").join(&id);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(host.runtime().join(&id), link).unwrap();
    }
    // A reboot empties the runtime folder, and nothing else.
    std::fs::remove_dir_all(run_folder).unwrap();
    let boot = host.root().join("boot_id");
    std::fs::write(&boot, "00000000-0000-4000-8000-000000000000\n").unwrap();
    let script = format!(
        "mount --bind {} /proc/sys/kernel/random/boot_id; date +%s%N; maqet ls -o state,last_exit.outcome; \
         date +%s%N; maqet start vm7; maqet ls vm7 -o state; maqet stop vm7 --force",
        boot.display()
    );
    let Some(ran) = unshared(&host, "-m", &script) else { return };
    let ran = ran.exits(0);
    let mut lines = ran.stdout.lines();
    let time = |line: Option<&str>| line.unwrap().parse::<u64>().unwrap();
    let began = time(lines.next());
    let listed: Vec<&str> = lines.by_ref().take(100).collect();
    assert!(listed.iter().all(|line| *line == "stopped\thost-down"), "{listed:?}");
    let took = Duration::from_nanos(time(lines.next()) - began);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(lines.next(), Some("running"));
}

#[test]
fn whoever_has_the_pids_of_a_dead_runner_and_its_qemu_lives_on() {
    let host = Host::new();
    host.add_bare("web");
    // Pids are given in their order: the next two processes get the two pids.
    let script = r#"
        maqet start web
        runner=$(maqet status web -o runner_pid); qemu=$(maqet status web -o qemu_pid)
        kill -9 "$runner"
        while [ -e "/proc/$runner/exe" ] || [ -e "/proc/$qemu/exe" ]; do :; done
        for pid in "$runner" "$qemu"; do
            tries=0
            while ! grep -q sleep "/proc/$pid/comm" 2> /dev/null; do
                [ "$((tries = tries + 1))" -lt 50 ]
                echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
                sleep 1000 &
            done
        done
        maqet ls web -o state
        maqet stop web; maqet stop web --force
        maqet start web; maqet ls web -o state; maqet stop web --force
        maqet start web; maqet rm web --force
        cat "/proc/$runner/comm" "/proc/$qemu/comm"
        kill -9 -1
    "#;
    // A process below the first ends them all, the first apart, which then ends by itself.
    let script = format!("sh -euc '{}' || true", script.replace('\'', "'\\''"));
    let Some(ran) = unshared(&host, "-mpf --mount-proc", &script) else { return };
    let said = ran.stdout;
    assert_eq!(said, "crashed\nrunning\nsleep\nsleep\n", "{}", ran.stderr);
}

#[test]
fn a_first_process_that_never_reaps_costs_no_command_its_end() {
    let host = Host::new();
    host.add_bare("web");
    let done = host.root().join("done");
    let body = format!(
        r#"{{ maqet start web; runner=$(maqet status web -o runner_pid)
        maqet stop web --force; maqet ls web -o state
        maqet start web; maqet restart web --force
        kill -9 "$(maqet status web -o runner_pid)"; maqet stop web; maqet ls web -o state
        grep -c zombie "/proc/$runner/status"
        maqet start web; maqet rm web --force; maqet ls; }} > {0}.new 2>&1; mv {0}.new {0}"#,
        done.display()
    );
    // The first process becomes one that waits for nobody.
    let script = format!("({body}) & exec sleep 60");
    let tried = run(host.command("unshare").args(["-mpf", "--mount-proc", "true"]));
    if tried.code != 0 {
        not_here(&format!("there are no namespaces: {}", tried.stderr.trim()));
        return;
    }
    let inner = script.replace('\'', "'\\''");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = Host::binary().parent().unwrap().to_owned();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    let mut first = host
        .command("sh")
        .env("PATH", std::env::join_paths(folders).unwrap())
        .args(["-c", &format!("exec unshare -mpf --mount-proc --kill-child sh -euc '{inner}'")])
        .spawn()
        .unwrap();
    let said = eventually(Duration::from_secs(50), "the commands have ended", || {
        std::fs::read_to_string(&done).ok()
    });
    first.kill().unwrap();
    first.wait().unwrap();
    let told: Vec<&str> = said.lines().filter(|line| !line.starts_with("maqet: web ")).collect();
    assert_eq!(told[..3], ["stopped", "crashed", "1"], "{said}");
}

#[test]
fn with_16_descriptors_a_command_does_what_it_says_or_says_why_not() {
    let host = Host::new();
    host.add_bare("web");
    let limited = |words: &[&str]| {
        let mut command = host.command("prlimit");
        run(command.arg("--nofile=16").arg(Host::binary()).args(words))
    };
    for limit in 4..=20 {
        for words in
            [&["ls"][..], &["start", "web"], &["status", "web"], &["stop", "web", "--force"]]
        {
            let mut command = host.command("prlimit");
            let ran = run(command.arg(format!("--nofile={limit}")).arg(Host::binary()).args(words));
            let linker = ran.code == 127 && ran.stderr.contains("shared libraries");
            assert!(linker || (0..=7).contains(&ran.code), "{limit} {words:?}: {ran:?}");
            let says = ran.code == 3 || !ran.stderr.is_empty();
            assert!(ran.code == 0 || says, "{limit} {words:?}: {ran:?}");
            let state = host.state("web");
            if ran.code == 0 && words[0] == "start" {
                assert_eq!(state, "running", "{limit}");
            }
            assert!(
                ["running", "stopped", "failed", "crashed"].contains(&state.as_str()),
                "{state}"
            );
        }
        host.maqet(["stop", "web", "--force"]).exits(0);
    }
    limited(&["start", "web"]);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    crate::crash::assert_nothing_left(&host);
}

/// Gives CLOCK_REALTIME an offset in seconds, which the file named by SHIFT holds.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int code = syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("SHIFT");
    long shift = 0;
    FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "re") : NULL;
    if (file) { if (fscanf(file, "%ld", &shift) != 1) shift = 0; fclose(file); }
    now->tv_sec += shift;
    return code;
}
"#;

fn shifted_clock(folder: &Path) -> std::path::PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, CLOCK).unwrap();
    let mut gcc = std::process::Command::new("gcc");
    run(gcc.args(["-shared", "-fPIC", "-o"]).args([&library, &source])).exits(0);
    library
}

#[test]
fn a_clock_that_jumps_ten_years_changes_no_wait_and_no_state() {
    let host = Host::new();
    let library = shifted_clock(host.root());
    let shift = host.root().join("shift");
    let jump = |years: i64| std::fs::write(&shift, (years * 31_557_600).to_string()).unwrap();
    let maqet = |words: &[&str]| {
        let mut command = host.command(Host::binary());
        run(command.env("LD_PRELOAD", &library).env("SHIFT", &shift).args(words))
    };
    jump(0);
    maqet(&["add", "web", "--machine", "none", "--accel", "tcg", "--stop-timeout", "2s"]).exits(0);
    for years in [10, -10, 10, -20] {
        jump(0);
        maqet(&["start", "web"]).exits(0);
        jump(years);
        let status = maqet(&["status", "web", "--json"]).exits(0).json();
        assert_eq!(status["state"], "running");
        assert!(status["uptime"].as_u64().unwrap() < 100, "{years}: {status}");
        maqet(&["pause", "web"]).exits(0);
        maqet(&["resume", "web"]).exits(0);
        let began = Instant::now();
        maqet(&["stop", "web"]).exits(0);
        let took = began.elapsed();
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(10), "{took:?}");
        assert_eq!(maqet(&["ls", "-o", "state"]).exits(0).stdout, "stopped\n");
        maqet(&["why", "web"]).exits(0);
        maqet(&["apply", "web", "--label", &format!("years={years}")]).exits(0);
    }
    // In the middle of a wait, too.
    maqet(&["start", "web"]).exits(0);
    let mut stop = host.command(Host::binary());
    stop.env("LD_PRELOAD", &library).env("SHIFT", &shift).args(["stop", "web"]);
    let mut stop = stop.stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually(Duration::from_secs(2), "it is stopping", || {
        (host.state("web") == "stopping").then_some(())
    });
    let began = Instant::now();
    jump(30);
    assert!(stop.wait().unwrap().success());
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

/// A bit of each page, chosen at random, is the other one: `per_page` times.
fn flip_bits(per_page: usize) -> (usize, Vec<String>) {
    let mut random = Random::seeded();
    let host = Host::new();
    for name in ["web", "db"] {
        host.add_bare(name);
    }
    host.maqet(["start", "web"]).exits(0);
    let (runner, qemu) = (host.runner_pid("web"), host.qemu_pid("web"));
    let path = host.data().join("maqet.db");
    let whole = std::fs::read(&path).unwrap();
    let (mut tried, mut violations) = (0, Vec::new());
    for page in 0..whole.len() / 4096 {
        for _ in 0..per_page {
            let (byte, bit) = (page * 4096 + random.below(4096), random.below(8));
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            for beside in ["maqet.db-wal", "maqet.db-shm", "maqet.db-journal"] {
                let _ = std::fs::remove_file(host.data().join(beside));
            }
            std::fs::write(&path, &bytes).unwrap();
            for words in [&["ls"][..], &["start", "web"], &["apply", "db", "--label", "a=b"]] {
                let ran = host.maqet(words);
                let told = ran.code == 0 || ran.stderr.starts_with("maqet: ");
                if !(0..=7).contains(&ran.code) || !told {
                    violations.push(format!("byte {byte} bit {bit}: {words:?} gave {ran:?}"));
                }
            }
            tried += 1;
        }
    }
    std::fs::write(&path, &whole).unwrap();
    for beside in ["maqet.db-wal", "maqet.db-shm", "maqet.db-journal"] {
        let _ = std::fs::remove_file(host.data().join(beside));
    }
    if (host.runner_pid("web"), host.qemu_pid("web")) != (runner, qemu) {
        violations.push("I7: the VM that ran is not the one that runs".into());
    }
    (tried, violations)
}

#[test]
fn whichever_bit_of_the_database_is_flipped_commands_end_with_a_word_and_the_vm_runs() {
    let (tried, violations) = flip_bits(1);
    super::report("a bit of the database flipped, in each page", tried, "bits", &violations);
}

#[test]
#[ignore = "takes minutes: tests/torture runs it"]
fn whichever_bit_of_the_database_is_flipped_commands_end_with_a_word_and_the_vm_runs_in_full() {
    let (tried, violations) = flip_bits(40);
    super::report("a bit of the database flipped, in each page", tried, "bits", &violations);
}

#[test]
fn a_vm_whose_database_is_deleted_is_still_seen_and_stopped() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    let qemu = host.qemu_pid("web");
    for beside in ["maqet.db", "maqet.db-wal", "maqet.db-shm"] {
        let _ = std::fs::remove_file(host.data().join(beside));
    }
    assert_eq!(host.maqet(["ls", "-o", "name,state"]).exits(0).stdout, "web\trunning\n");
    let stopped = host.maqet(["stop", "web", "--force"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(!crate::harness::is_alive(qemu));
}

/// Changes one database from `processes` at once, each `times` times: how many were lost or refused.
fn write_at_once(processes: usize, times: usize) -> (usize, Vec<String>) {
    let host = Host::new();
    for n in 0..processes {
        host.add_bare(&format!("vm{n}"));
    }
    let violations = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in 0..processes {
            let (host, violations) = (&host, &violations);
            scope.spawn(move || {
                for time in 0..times {
                    let label = format!("t{time}=x");
                    let ran = host.maqet(["apply", &format!("vm{n}"), "--label", &label]);
                    if ran.code != 0 {
                        violations.lock().unwrap().push(format!("I2: vm{n} {time}: {ran:?}"));
                    }
                }
            });
        }
    });
    let mut violations = violations.into_inner().unwrap();
    for n in 0..processes {
        let shown = host.maqet(["show", &format!("vm{n}"), "--json"]).exits(0).json();
        let labels = shown["labels"].as_object().map_or(0, serde_json::Map::len);
        if labels != times {
            violations.push(format!("I2: vm{n} has {labels} labels of {times}"));
        }
    }
    (processes * times, violations)
}

#[test]
fn of_16_processes_that_write_at_once_nothing_is_lost_and_none_is_refused() {
    let (tried, violations) = write_at_once(16, 8);
    super::report("16 processes writing to one database", tried, "transactions", &violations);
}

#[test]
#[ignore = "takes minutes: tests/torture runs it"]
fn of_16_processes_that_write_500_times_at_once_nothing_is_lost_and_none_is_refused() {
    let (tried, violations) = write_at_once(16, 500);
    super::report("16 processes writing to one database", tried, "transactions", &violations);
}
