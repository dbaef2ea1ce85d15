//! Each state-changing command with a fault at each of its system calls.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cases::{Before, CASES, Case};
use super::ground::Ground;
use super::strace::{self, CALLS, Fault, Whose};
use super::{Random, invariants};
use crate::harness::{eventually, send};

/// For one command, whatever is done to it: the time of the longest wait, a QEMU that says nothing.
const LIMIT: Duration = Duration::from_secs(60);
/// What no command here names, and what is there whatever happens.
const WITNESS: [&str; 1] = ["other"];

/// One case with one fault.
#[derive(Clone, Copy, Debug)]
struct Point {
    case: &'static Case,
    fault: Fault,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fault { whose, call, how, number } = self.fault;
        write!(f, "{}|{whose:?}|{}|{how}|{number}", self.case.name, CALLS[call].names[0])
    }
}

/// What the sweep knows of each case from a run without a fault.
struct Plan {
    points: Vec<Point>,
    /// The paths that are there in the end, by the case's name.
    usual: BTreeMap<&'static str, BTreeMap<String, PathBuf>>,
}

/// Brings the ground to where the command finds it.
fn prepare(ground: &Ground, before: Before) {
    ground.put_back();
    let start = |name: &str| ground.host.maqet(["start", name]).exits(0);
    match before {
        Before::Stopped => {}
        Before::Running(name) => drop(start(name)),
        Before::Paused(name) => {
            start(name);
            ground.host.maqet(["pause", name]).exits(0);
        }
        Before::Plugged(name, device) => {
            start(name);
            ground.host.maqet(["pause", name]).exits(0);
            ground.host.maqet(["device", "add", name, device, "id=mine"]).exits(0);
        }
        Before::Crashed(name) => {
            start(name);
            send(ground.runner(ground.id(name)).unwrap(), Signal::KILL);
            eventually(Duration::from_secs(5), "it is gone", || {
                ground.processes().is_empty().then_some(())
            });
        }
    }
}

/// The command, the fault in it; what strace says in the end lies at the path.
fn run(
    ground: &Ground,
    case: &Case,
    whose: Whose,
    fault: Option<&Fault>,
) -> (Option<crate::harness::Ran>, PathBuf) {
    let log = ground.host.root().join("strace.log");
    let _ = std::fs::remove_file(&log);
    let runner = case.before.alive().and_then(|name| ground.runner(ground.id(name)));
    let mut tracer = match (whose, runner) {
        (Whose::Runner, Some(runner)) => Some(strace::attach(&ground.host, &log, runner, fault)),
        _ => None,
    };
    let ran = strace::spawn(ground, &log, whose, fault, case.words).wait(LIMIT);
    if let (Some(tracer), None) = (&mut tracer, fault) {
        // It writes no more once it has let go.
        send(i32::try_from(tracer.id()).unwrap(), Signal::TERM);
        tracer.wait().unwrap();
    }
    if let Some(mut tracer) = tracer {
        std::thread::spawn(move || tracer.wait());
    }
    (ran, log)
}

/// Counts the system calls of each case, and with them the points at which it can be hit.
fn plan(ground: &Ground) -> Plan {
    let only = std::env::var("MAQET_TORTURE_CASE").ok();
    let (mut points, mut usual) = (Vec::new(), BTreeMap::new());
    for case in CASES.iter().filter(|case| only.as_deref().is_none_or(|only| case.name == only)) {
        for whose in case.whose {
            prepare(ground, case.before);
            let (ran, log) = run(ground, case, *whose, None);
            let ran = ran.unwrap();
            assert!(case.again.contains(&ran.code), "{}: {ran:?}", case.name);
            (case.leads_to)(ground).unwrap();
            settle(ground);
            usual.entry(case.name).or_insert_with(|| ground.paths());
            ground.clear();
            for (call, count) in strace::counts(&log).into_iter().enumerate() {
                for how in CALLS[call].faults {
                    let fault = |number| Fault { whose: *whose, call, how, number };
                    points.extend((1..=count).map(|number| Point { case, fault: fault(number) }));
                }
            }
        }
    }
    Plan { points, usual }
}

/// Stops every VM: what the next start, stop or rm clears away is cleared away.
fn settle(ground: &Ground) {
    ground.host.maqet(["stop", "--all", "--force"]).exits(0);
}

/// What is broken at one point, and whether the fault came at all.
fn torture(ground: &Ground, plan: &Plan, point: Point) -> (Vec<String>, bool) {
    let Point { case, fault } = point;
    prepare(ground, case.before);
    let life =
        |name| ground.host.maqet(["status", name, "-o", "runner_pid,qemu_pid,responding"]).stdout;
    let alive = case.before.alive().map(|name| (name, life(name)));
    let (ran, log) = run(ground, case, fault.whose, Some(&fault));
    if let Some(ran) = ran
        .as_ref()
        .filter(|ran| ran.code == 127 && ran.stderr.contains("loading shared libraries"))
    {
        // That was the dynamic linker: there was no maqet yet.
        let _ = ran;
        return (Vec::new(), false);
    }
    let mut broken = invariants::check_end(ran.as_ref(), &fault, &log);
    broken.extend(invariants::check(ground, &WITNESS));
    // A runner that is killed, or cannot write down how its run ended, leaves a VM that has crashed.
    let orphaned = fault.whose == Whose::Runner;
    if ran.as_ref().is_some_and(|ran| ran.code == 0)
        && !(orphaned && invariants::is_crashed(ground, case.before))
        && let Err(error) = (case.leads_to)(ground)
        && !(fault.whose == Whose::All && case.name != "add")
    {
        broken.push(format!("I2: it said 0, but {error}"));
    }
    if let Some((name, before)) =
        alive.filter(|_| case.leaves_guest_alone() && fault.whose == Whose::Command)
    {
        let now = life(name);
        if now != before {
            broken.push(format!("I7: {before:?} became {now:?}"));
        }
    }
    let again = strace::Running::of(
        ground.command(crate::harness::Host::binary()).args(case.words),
        &log.with_extension("again"),
    )
    .wait(LIMIT);
    match &again {
        None => broken.push("I8: the repeat did not end".into()),
        Some(again) if !case.again.contains(&again.code) && !orphaned => {
            broken.push(format!("I8: the repeat exits {}: {}", again.code, again.stderr));
        }
        Some(_) => {}
    }
    if orphaned && invariants::is_crashed(ground, case.before) {
        // Its runner is gone, and its QEMU with it: that is what was done.
    } else if let Err(error) = (case.leads_to)(ground) {
        broken.push(format!("I8: after the repeat {error}: {again:?}"));
    }
    broken.extend(
        invariants::check(ground, &WITNESS)
            .into_iter()
            .map(|one| format!("after the repeat {one}")),
    );
    settle(ground);
    let mut paths = invariants::check_paths(ground, &plan.usual[case.name]);
    // The image of a disk whose `add` was killed is made by the next start.
    paths.retain(|one| case.name != "disk add" || !one.ends_with("extra.qcow2 is missing"));
    broken.extend(paths);
    ground.clear();
    let hit = strace::has_hit(&log);
    if !broken.is_empty() {
        let said = ran.map(|ran| (ran.code, ran.stderr));
        broken.insert(0, format!("{point}: {said:?}"));
    }
    (broken, hit)
}

/// Tries points until `enough` of them were hit or the time is over: how many were hit, of how many,
/// and what broke.
fn sweep(enough: usize, until: Instant) -> (usize, usize, Vec<String>) {
    let mut random = Random::seeded();
    let mut plan = plan(&Ground::new());
    random.shuffle(&mut plan.points);
    if let Ok(only) = std::env::var("MAQET_TORTURE_POINT") {
        plan.points.retain(|point| point.to_string().contains(&only));
    }
    let (next, tried) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let violations = Mutex::new(Vec::new());
    super::side_by_side(&|ground| {
        while tried.load(Ordering::Relaxed) < enough && Instant::now() < until {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(point) = plan.points.get(at) else { return };
            let (broken, hit) = torture(ground, &plan, *point);
            tried.fetch_add(usize::from(hit), Ordering::Relaxed);
            if !broken.is_empty() {
                println!("{}\n", broken.join("\n  "));
                violations.lock().unwrap().push(broken.join("\n  "));
            }
        }
    });
    (tried.into_inner(), plan.points.len(), violations.into_inner().unwrap())
}

#[test]
fn at_250_points_chosen_at_random_a_command_that_is_killed_or_fails_keeps_every_promise() {
    let (tried, all, violations) = sweep(250, Instant::now() + Duration::from_secs(600));
    super::report(
        &format!("system calls that fail or kill ({all} points)"),
        tried,
        "points",
        &violations,
    );
}

#[test]
#[ignore = "takes as long as it is given: tests/torture runs it"]
fn at_every_point_a_command_that_is_killed_or_fails_keeps_every_promise() {
    let (tried, all, violations) = sweep(usize::MAX, super::until());
    super::report(
        &format!("system calls that fail or kill ({all} points)"),
        tried,
        "points",
        &violations,
    );
}
