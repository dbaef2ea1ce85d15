//! Rounds of commands whose command, runner or QEMU is killed, stopped or crashed at any moment.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ground::Ground;
use super::strace::Running;
use super::{Random, invariants};
use crate::harness::{Host, send};

/// A command and the VM that it is about; what follows the name in the listing after a repeat.
const COMMANDS: [(&[&str], &str, &[&str]); 7] = [
    (&["start", "web"], "web", &["running"]),
    (&["stop", "web"], "web", &["stopped", "crashed", "failed"]),
    (&["stop", "web", "--force"], "web", &["stopped", "crashed", "failed"]),
    (&["restart", "web", "--force"], "web", &["running"]),
    (&["start", "pc", "--paused"], "pc", &["paused", "running"]),
    (&["snapshot", "create", "pc", "old", "--replace"], "pc", &[]),
    (&["stop", "pc", "--force"], "pc", &["stopped", "crashed", "failed"]),
];
/// All that the ground has, whatever happens.
const ALL: [&str; 7] = ["web", "fresh", "other", "pc", "net", "lan", "brief"];
/// The latest moment of a fault after the command's beginning.
const LATEST: usize = 150;
/// For one command: QEMU's 30 s and all that may follow.
const LIMIT: Duration = Duration::from_secs(60);

/// One command, hit once, then repeated: what is broken.
fn round(ground: &Ground, random: &mut Random) -> Option<String> {
    let (words, name, states) = COMMANDS[random.below(COMMANDS.len())];
    let wait = Duration::from_millis(random.below(LATEST) as u64);
    let signal = [Signal::KILL, Signal::STOP, Signal::SEGV][random.below(3)];
    let victim = ["the command", "the runner", "QEMU"][random.below(3)];
    let pause = Duration::from_millis(random.below(300) as u64);
    let log = ground.host.root().join("round");
    let running = Running::of(ground.host.command(Host::binary()).args(words), &log);
    std::thread::sleep(wait);
    let id = ground.id(name);
    let pid = match victim {
        "the command" => i32::try_from(running.child.id()).ok(),
        "the runner" => ground.runner(id),
        _ => {
            let all = ground.processes();
            all.iter().find(|one| one.is_qemu() && one.words.contains(id)).map(|one| one.pid)
        }
    };
    if let Some(pid) = pid {
        send(pid, signal);
        if signal == Signal::STOP {
            std::thread::sleep(pause);
            send(pid, Signal::CONT);
        }
    }
    let ran = running.wait(LIMIT);
    let mut broken = Vec::new();
    match &ran {
        None => broken.push("I4: it did not end".to_owned()),
        Some(ran) if ran.code > 0 && !ran.stderr.contains("maqet: ") => {
            broken.push(format!("I9: exit {} without a word", ran.code));
        }
        Some(_) => {}
    }
    broken.extend(invariants::check(ground, &ALL));
    match Running::of(ground.host.command(Host::binary()).args(words), &log).wait(LIMIT) {
        Some(again) if again.code == 0 => {}
        again => broken.push(format!("I8: the repeat gave {again:?}")),
    }
    let state = ground.host.maqet(["ls", name, "-o", "state"]).stdout;
    if !states.is_empty() && !states.contains(&state.trim_end()) {
        broken.push(format!("I8: it is {state} after the repeat"));
    }
    broken.extend(invariants::check(ground, &ALL));
    let after = format!("{words:?}, {signal:?} to {victim} ({pid:?}) after {wait:?}: {ran:?}");
    (!broken.is_empty()).then(|| format!("{after}\n  {}", broken.join("\n  ")))
}

/// Goes through rounds; then all is stopped, and nothing is left.
fn rounds(count: usize, until: Instant) -> (usize, Vec<String>) {
    let random = Mutex::new(Random::seeded());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let violations = Mutex::new(Vec::new());
    super::side_by_side(&|ground| {
        let usual = ground.paths();
        let mut random = random.lock().unwrap().another();
        let is_over = || Instant::now() >= until || next.fetch_add(1, Ordering::Relaxed) >= count;
        while !is_over() {
            if let Some(broken) = round(ground, &mut random) {
                println!("{broken}\n");
                violations.lock().unwrap().push(broken);
                ground.put_back();
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        ground.host.maqet(["stop", "--all", "--force"]).exits(0);
        let mut left = invariants::check_paths(ground, &usual);
        left.retain(|one| !one.contains("data/vms/fresh/"));
        violations.lock().unwrap().extend(left);
    });
    (done.into_inner(), violations.into_inner().unwrap())
}

const FAULT: &str = "SIGKILL, SIGSTOP, SIGSEGV of command, runner or QEMU at any moment";

#[test]
fn in_50_rounds_whoever_is_killed_or_stopped_at_whatever_moment_the_next_command_puts_it_right() {
    let (done, violations) = rounds(50, Instant::now() + Duration::from_secs(600));
    super::report(FAULT, done, "rounds", &violations);
}

#[test]
#[ignore = "takes as long as it is given: tests/torture runs it"]
fn whoever_is_killed_or_stopped_at_whatever_moment_the_next_command_puts_it_right() {
    let (done, violations) = rounds(1000, super::until());
    super::report(FAULT, done, "rounds", &violations);
}
