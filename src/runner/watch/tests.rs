//! Waits fed with what a guest does, without a guest.

use super::*;

fn call(wanted: &[&str], unwanted: &[&str], any: bool, from: Mark) -> WaitCall {
    let all = |words: &[&str]| words.iter().map(|word| Written::parse(word).unwrap()).collect();
    WaitCall { wanted: all(wanted), any, unwanted: all(unwanted), from }
}

/// One wait that begins before the guest has written anything.
fn watch(wanted: &[&str], unwanted: &[&str], any: bool) -> Watches {
    let mut watches = Watches::default();
    let call = call(wanted, unwanted, any, Mark::Start);
    watches.begin(1, None, call, (State::Running, 0)).unwrap();
    watches
}

fn marks(watches: &mut Watches) -> Option<Vec<u64>> {
    let due = watches.due(|_| true).pop()?;
    let met = due.answer.unwrap()["met"].as_array().unwrap().clone();
    Some(met.iter().map(|one| one["mark"].as_u64().unwrap()).collect())
}

#[test]
fn all_conditions_must_come_or_any() {
    let mut both = watch(&["console:b", "console:a"], &[], false);
    both.console(b"xxa", 0);
    assert_eq!(marks(&mut both), None);
    both.console(b"b", 3);
    assert_eq!(marks(&mut both), Some(vec![4, 3]));
    let mut any = watch(&["console:b", "console:a"], &[], true);
    any.console(b"xxa", 0);
    assert_eq!(marks(&mut any), Some(vec![3]));
}

#[test]
fn a_failure_counts_where_it_comes_first() {
    let mut fails = watch(&["console:ok"], &["console:panic"], false);
    fails.console(b"panic ok", 0);
    let error = fails.due(|_| true).pop().unwrap().answer.unwrap_err();
    assert_eq!(error.message, "\"console:panic\" came first");
    let mut succeeds = watch(&["console:ok"], &["console:panic"], false);
    succeeds.console(b"ok panic", 0);
    assert_eq!(marks(&mut succeeds), Some(vec![2]));
}

#[test]
fn states_and_events_are_conditions_like_text() {
    let mut running = watch(&["running"], &[], false);
    assert_eq!(marks(&mut running), Some(vec![0]));
    let mut paused = watch(&["paused", "event:STOP"], &[], false);
    paused.event("RESUME", 5);
    paused.state(State::Paused, 7);
    assert_eq!(marks(&mut paused), None);
    paused.event("STOP", 9);
    assert_eq!(marks(&mut paused), Some(vec![7, 9]));
    // From the start of the run an event that was counts, from now on it does not.
    for (from, expected) in [(Mark::Start, Some(vec![9])), (Mark::Now, None)] {
        let call = call(&["event:STOP"], &[], false, from);
        paused.begin(1, None, call, (State::Running, 9)).unwrap();
        assert_eq!(marks(&mut paused), expected);
        paused.due(|_| false);
    }
}

#[test]
fn the_end_of_the_vm_ends_every_wait() {
    let mut stopped = watch(&["stopped"], &[], false);
    assert!(stopped.end(3).pop().unwrap().answer.is_ok());
    let mut never = watch(&["console:x"], &[], false);
    let error = never.end(3).pop().unwrap().answer.unwrap_err();
    assert_eq!(error.kind, Kind::NotRunning);
}

#[test]
fn a_wait_from_a_mark_sees_only_what_comes_behind_it() {
    let mut watches = Watches::default();
    let call = call(&["console:a"], &[], false, Mark::At(4));
    watches.begin(1, None, call, (State::Running, 2)).unwrap();
    watches.console(b"a", 2);
    assert_eq!(marks(&mut watches), Some(vec![3]));
    assert!(!watches.has_work(3));
}

#[test]
fn waits_are_bounded_and_those_of_clients_that_left_are_forgotten() {
    let mut watches = Watches::default();
    let one = || call(&["paused"], &[], false, Mark::Now);
    for _ in 0..MOST {
        watches.begin(1, None, one(), (State::Running, 0)).unwrap();
    }
    let error = watches.begin(1, None, one(), (State::Running, 0)).unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    assert!(watches.due(|_| false).is_empty() && watches.all.is_empty());
    assert!(watches.begin(1, None, WaitCall::default(), (State::Running, 0)).is_err());
}
