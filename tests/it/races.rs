//! What must never be seen, however commands and deaths fall together: two QEMUs of one VM, a QEMU
//! without a definition, a process or a folder that is left.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::crash::assert_nothing_left;
use crate::harness::{Host, eventually, is_alive, lock_holder, not_here, send};
use crate::together::processes_with;

/// The processes whose program is QEMU and whose command line holds `word`.
fn qemus_with(word: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let program = words.split('\0').next().unwrap_or_default();
        program.contains("qemu-system") && words.contains(word)
    })
    .collect()
}

fn pidfd(pid: i32) -> OwnedFd {
    rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Whether the last thread of a process has ended. The first may be a zombie long before, while
/// another still gives the memory back.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

fn free_memory_gib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 20
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn no_second_qemu_starts_before_the_first_with_8_gib_is_gone() {
    if free_memory_gib() < 10 {
        not_here("fewer than 10 GiB of memory are free");
        return;
    }
    let host = Host::new();
    let words = ["add", "web", "--accel", "tcg", "--memory", "8G", "--arg", "-mem-prealloc"];
    host.maqet(words).exits(0);
    let id = host.status("web")["id"].as_str().unwrap().to_owned();
    host.maqet(["start", "web", "--timeout", "5m"]).exits(0);
    for round in 0..2 {
        let (runner, old) = (host.runner_pid("web"), host.qemu_pid("web"));
        let whole = pidfd(old);
        let outlived = std::thread::scope(|scope| {
            // Would see a new one appear while the old one is there.
            let watcher = scope.spawn(|| {
                send(runner, Signal::KILL);
                let killed = Instant::now();
                let mut longest = Duration::ZERO;
                loop {
                    let new = qemus_with(&id).into_iter().find(|pid| *pid != old);
                    if has_ended(&whole) {
                        return longest;
                    }
                    longest = killed.elapsed();
                    assert!(longest < Duration::from_secs(30), "round {round}: {old} does not end");
                    if let Some(new) = new {
                        panic!("round {round}: {new} is there beside {old}");
                    }
                }
            });
            eventually(Duration::from_secs(5), "the runner is gone", || {
                (!is_alive(runner)).then_some(())
            });
            host.maqet(["start", "web", "--timeout", "5m"]).exits(0);
            watcher.join().unwrap()
        });
        println!("the old QEMU was seen until {outlived:?} after its runner was killed");
        assert!(outlived > Duration::ZERO && has_ended(&whole));
        assert_ne!(host.qemu_pid("web"), old);
    }
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn in_200_rounds_of_start_against_rm_there_is_never_half_a_vm() {
    let host = Host::new();
    let (mut started, mut removed) = (0, 0);
    for round in 0..200_u64 {
        host.add_bare("web");
        let id = host.status("web")["id"].as_str().unwrap().to_owned();
        let lock = host.vm_folder("web").join("lock");
        let done = AtomicBool::new(false);
        let most = AtomicU32::new(0);
        let (start, rm) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let now = u32::try_from(qemus_with(&id).len()).unwrap();
                    most.fetch_max(now, Ordering::Relaxed);
                }
            });
            let start = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(round % 4));
                host.maqet(["start", "web"]).code
            });
            let rm = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(round / 4 % 30));
                host.maqet(["rm", "web"]).code
            });
            let codes = (start.join().unwrap(), rm.join().unwrap());
            done.store(true, Ordering::Relaxed);
            codes
        });
        assert!(most.into_inner() <= 1, "round {round}: two QEMUs");
        let stored = host.maqet(["ls", "-q"]).stdout;
        match (start, rm) {
            (0, 7) => {
                started += 1;
                assert_eq!((stored.as_str(), host.state("web").as_str()), ("web\n", "running"));
                assert_eq!(lock_holder(&lock), Some(host.runner_pid("web")));
                host.maqet(["rm", "web", "--force"]).exits(0);
            }
            (4, 0) => {
                removed += 1;
                assert_eq!(stored, "");
            }
            codes => panic!("round {round}: start and rm gave {codes:?}"),
        }
        eventually(Duration::from_secs(2), "no process is left", || {
            (processes_with(&id) == 0).then_some(())
        });
        assert_eq!(std::fs::read_dir(host.data().join("vms")).unwrap().count(), 0);
    }
    println!("{started} times the start came first, {removed} times the removal");
    assert!(started > 0 && removed > 0, "one of them was never first");
    assert_nothing_left(&host);
}
