//! What must hold after every fault. Everything else in this folder makes faults; this judges.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cases::Before;
use super::ground::Ground;
use super::strace::{self, Fault};
use crate::harness::Ran;

/// What a command may exit with, whatever happens.
const CODES: [i32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 130, 143];
/// For what a killed command leaves behind to end by itself.
const SETTLED: Duration = Duration::from_secs(8);

/// What is wrong: the promise and what was seen instead.
pub(crate) type Violations = Vec<String>;

/// Holds a ground to its promises: at most one QEMU for each VM (I1), a sound database in which
/// every VM of `rows` is (I2), a listing that says what is (I3), no process but a runner with the
/// lock and its QEMU (I5), and the image that was given as it was (I10).
pub(crate) fn check(ground: &Ground, rows: &[&str]) -> Violations {
    let mut violations = Vec::new();
    let deadline = Instant::now() + SETTLED;
    // What has lost its command ends by itself, and a stop goes on without it.
    let unsettled = loop {
        match facts(ground) {
            Ok(()) => break None,
            Err(error) if Instant::now() >= deadline => break Some(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    violations.extend(unsettled);
    let listed = ground.host.maqet(["ls", "-q"]);
    for name in rows.iter().filter(|name| !listed.stdout.lines().any(|line| line == **name)) {
        violations.push(format!("I2: {name} is not listed: {} {}", listed.stdout, listed.stderr));
    }
    if listed.took > Duration::from_secs(10) {
        violations.push(format!("I4: ls took {:?}", listed.took));
    }
    if let Some(error) = damage(ground) {
        violations.push(format!("I2: {error}"));
    }
    if !ground.given_is_whole() {
        violations.push("I10: the image that was given is not what it was".into());
    }
    violations
}

/// What the kernel says against what is listed.
fn facts(ground: &Ground) -> Result<(), String> {
    let listed = ground.host.maqet(["ls", "-o", "id,state"]);
    if listed.code != 0 {
        return Err(format!("I3: ls exits {}: {}", listed.code, listed.stderr));
    }
    let states: BTreeMap<&str, &str> =
        listed.stdout.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut processes = ground.processes();
    for (id, state) in &states {
        let runner = ground.runner(id);
        let qemus: Vec<i32> = processes
            .iter()
            .filter(|one| one.is_qemu() && one.words.contains(id))
            .map(|one| one.pid)
            .collect();
        if qemus.len() > 1 {
            return Err(format!("I1: {qemus:?} are QEMUs of {id}"));
        }
        match *state {
            "running" | "paused" if runner.is_none() || qemus.is_empty() => {
                return Err(format!("I3: {id} is {state}: runner {runner:?}, QEMU {qemus:?}"));
            }
            "running" | "paused" => {}
            "stopped" | "crashed" | "failed" if runner.is_some() || !qemus.is_empty() => {
                return Err(format!("I3: {id} is {state}: runner {runner:?}, QEMU {qemus:?}"));
            }
            "stopped" | "crashed" | "failed" => {}
            _ => return Err(format!("I3: {id} stays {state}")),
        }
        processes.retain(|one| Some(one.pid) != runner && !qemus.contains(&one.pid));
    }
    match processes.is_empty() {
        true => Ok(()),
        false => Err(format!("I5: left behind: {processes:?}")),
    }
}

/// What SQLite finds wrong with the database.
fn damage(ground: &Ground) -> Option<String> {
    let path = ground.host.data().join("maqet.db");
    if !path.exists() {
        return None;
    }
    let found = rusqlite::Connection::open(path).and_then(|database| {
        database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    });
    match found {
        Ok(said) if said == "ok" => None,
        Ok(said) => Some(said),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether the VM that ran is told to have lost its runner.
pub(crate) fn is_crashed(ground: &Ground, before: Before) -> bool {
    let state = |name| ground.host.maqet(["ls", name, "-o", "state"]).stdout;
    before.alive().is_some_and(|name| state(name) == "crashed\n")
}

/// Whether a command that met a fault ended as it may (I4), and told why where it failed (I9).
pub(crate) fn check_end(ran: Option<&Ran>, fault: &Fault, log: &Path) -> Violations {
    let Some(ran) = ran else { return vec!["I4: it did not end".into()] };
    let mut violations = Vec::new();
    let signalled = ran.code == -1;
    if !(CODES.contains(&ran.code) || (signalled && fault.is_kill())) {
        violations.push(format!("I4: exit {}: {}", ran.code, ran.stderr));
    }
    // What doctor finds wrong is what it was asked for.
    let told =
        ran.stderr.lines().any(|line| line.starts_with("maqet: ")) || ran.stdout.contains("wrong");
    if ran.code > 0 && !told && !strace::is_mute(log) {
        violations.push(format!("I9: exit {} without a word: {:?}", ran.code, ran.stderr));
    }
    violations
}

fn doctor_finds(ground: &Ground) -> String {
    let mut doctor = ground.command(crate::harness::Host::binary());
    crate::harness::run(doctor.args(["doctor", "-o", "found"])).stdout
}

/// What is there that is not there without a fault (I5), or the other way round. What no VM owns,
/// and a half-made image, may lie there where `doctor` names it.
pub(crate) fn check_paths(ground: &Ground, usual: &BTreeMap<String, PathBuf>) -> Violations {
    let mut violations = Vec::new();
    let there = ground.paths();
    let mut doctor = None;
    for (name, path) in there.iter().filter(|(name, _)| !usual.contains_key(*name)) {
        let found = doctor.get_or_insert_with(|| doctor_finds(ground));
        let kind = std::fs::symlink_metadata(path).map(|found| found.file_type());
        let passing = kind.is_ok_and(|kind| kind.is_symlink() || kind.is_socket());
        let vms = ground.host.data().join("vms");
        let named = path.ancestors().any(|path| {
            path.starts_with(&vms) && path != vms && found.contains(path.to_str().unwrap())
        });
        let beside = found.contains(path.to_str().unwrap());
        if passing || !(named || beside) {
            violations.push(format!("I5: {name} is left, and doctor does not name it"));
        }
    }
    for name in usual.keys().filter(|name| !there.contains_key(*name)) {
        violations.push(format!("I5, I10: {name} is missing"));
    }
    violations
}
