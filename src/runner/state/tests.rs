//! Every transition is a line of a table.

use super::*;
use crate::time::Timestamp;
use crate::wire::runs::EndedBy;

const GUEST_TIME: Duration = Duration::from_secs(60);

fn stop(manner: Manner) -> Input {
    Input::Stop(StopRequest { manner, guest_time: None, asked_by: "a test".into() })
}

fn exited(code: i32) -> Input {
    Input::Exited(Exit { code: Some(code), signal: None })
}

fn killed(signal: i32) -> Input {
    Input::Exited(Exit { code: None, signal: Some(signal) })
}

/// What is tried, the inputs, and then the phase, the last input's actions and the time that is left.
type Line = (&'static str, Vec<Input>, Phase, Vec<Action>, Option<Duration>);

/// A machine that has taken these inputs, and what the last one made it do.
fn after(paused: bool, inputs: &[Input]) -> (Machine, Vec<Action>, Instant) {
    let now = Instant::now();
    let terms = Terms { start_paused: paused, start_limit: Duration::ZERO, guest_time: GUEST_TIME };
    let mut machine = Machine::new(terms, now);
    let mut last = vec![];
    for input in inputs {
        last = machine.handle(input.clone(), now);
    }
    (machine, last, now)
}

fn up() -> Vec<Input> {
    vec![
        Input::Greeted,
        Input::Returned(Order::Capabilities),
        Input::Returned(Order::MachineType),
        Input::Returned(Order::Cont),
    ]
}

fn up_and(more: &[Input]) -> Vec<Input> {
    [&up(), more].concat()
}

#[test]
fn every_transition_is_as_the_table_says() {
    use Action::{Execute, GiveUpStopping, Kill, Ready, Terminate};
    use Input::{
        DeadlinePassed, Greeted, GuestPaused, GuestResumed, MonitorLost, Refused, Returned,
        StarterLeft, StopSignal,
    };
    use Phase::{Continuing, Ended, Greeting, Identifying, Negotiating, Paused, Running, Stopping};
    use Step::{Powerdown, Quit, Term};
    let lost = || MonitorLost("closed".into());
    let refused = |order| Refused(order, "no".into());
    let s = Duration::from_secs;
    let table: Vec<Line> = vec![
        // A start.
        ("spawned", vec![], Greeting, vec![], Some(s(30))),
        (
            "greeted",
            up()[..1].to_vec(),
            Negotiating,
            vec![Execute(Order::Capabilities)],
            Some(s(30)),
        ),
        (
            "negotiated",
            up()[..2].to_vec(),
            Identifying,
            vec![Execute(Order::MachineType)],
            Some(s(30)),
        ),
        ("identified", up()[..3].to_vec(), Continuing, vec![Execute(Order::Cont)], Some(s(30))),
        ("runs", up(), Running, vec![Ready], None),
        (
            "a machine without a type runs too",
            vec![Greeted, Returned(Order::Capabilities), refused(Order::MachineType)],
            Continuing,
            vec![Execute(Order::Cont)],
            Some(s(30)),
        ),
        // A start that fails.
        ("no greeting", vec![DeadlinePassed], Stopping(Step::Kill), vec![Kill], None),
        (
            "cont refused",
            [&up()[..3], &[refused(Order::Cont)]].concat(),
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(2)),
        ),
        ("monitor lost in the start", vec![Greeted, lost()], Stopping(Quit), vec![], Some(s(2))),
        (
            "and QEMU lingers",
            vec![Greeted, lost(), DeadlinePassed],
            Stopping(Term),
            vec![Terminate],
            Some(s(5)),
        ),
        ("exit in the start", vec![Greeted, exited(1)], Ended, vec![], None),
        (
            "starter left",
            vec![Greeted, StarterLeft],
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(2)),
        ),
        ("starter left once it runs", up_and(&[StarterLeft]), Running, vec![], None),
        // Pausing.
        ("pause", up_and(&[GuestPaused]), Paused, vec![], None),
        ("resume", up_and(&[GuestPaused, GuestResumed]), Running, vec![], None),
        // The escalation.
        (
            "stop",
            up_and(&[stop(Manner::Orderly)]),
            Stopping(Powerdown),
            vec![Execute(Order::Powerdown)],
            Some(GUEST_TIME),
        ),
        (
            "stop when paused",
            up_and(&[GuestPaused, stop(Manner::Orderly)]),
            Stopping(Powerdown),
            vec![Execute(Order::Cont), Execute(Order::Powerdown)],
            Some(GUEST_TIME),
        ),
        (
            "the guest does not heed",
            up_and(&[stop(Manner::Orderly), DeadlinePassed]),
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(5)),
        ),
        (
            "nor does QEMU heed quit",
            up_and(&[stop(Manner::Orderly), DeadlinePassed, DeadlinePassed]),
            Stopping(Term),
            vec![Terminate],
            Some(s(5)),
        ),
        (
            "nor SIGTERM",
            up_and(&[stop(Manner::Orderly), DeadlinePassed, DeadlinePassed, DeadlinePassed]),
            Stopping(Step::Kill),
            vec![Kill],
            None,
        ),
        (
            "no-kill gives up",
            up_and(&[stop(Manner::NoKill), DeadlinePassed]),
            Running,
            vec![GiveUpStopping],
            None,
        ),
        (
            "no-kill is overruled",
            up_and(&[stop(Manner::NoKill), stop(Manner::Orderly), DeadlinePassed]),
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(5)),
        ),
        (
            "force",
            up_and(&[stop(Manner::Force)]),
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(2)),
        ),
        (
            "force after stop",
            up_and(&[stop(Manner::Orderly), stop(Manner::Force)]),
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(2)),
        ),
        (
            "force while quitting",
            up_and(&[stop(Manner::Orderly), DeadlinePassed, stop(Manner::Force)]),
            Stopping(Quit),
            vec![],
            Some(s(2)),
        ),
        (
            "a second stop changes nothing",
            up_and(&[stop(Manner::Orderly), stop(Manner::Orderly)]),
            Stopping(Powerdown),
            vec![],
            Some(GUEST_TIME),
        ),
        (
            "one signal",
            up_and(&[StopSignal]),
            Stopping(Powerdown),
            vec![Execute(Order::Powerdown)],
            Some(GUEST_TIME),
        ),
        (
            "two signals",
            up_and(&[StopSignal, StopSignal]),
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(2)),
        ),
        (
            "stop in the start",
            vec![stop(Manner::Orderly)],
            Stopping(Quit),
            vec![Execute(Order::Quit)],
            Some(s(5)),
        ),
        // Without a monitor only signals are left.
        ("monitor lost", up_and(&[lost()]), Running, vec![], None),
        (
            "stop without monitor",
            up_and(&[lost(), stop(Manner::Orderly)]),
            Stopping(Term),
            vec![Terminate],
            Some(s(5)),
        ),
        (
            "monitor lost in a stop",
            up_and(&[stop(Manner::Orderly), lost()]),
            Stopping(Powerdown),
            vec![],
            Some(s(2)),
        ),
        (
            "and then no quit",
            up_and(&[stop(Manner::Orderly), lost(), DeadlinePassed]),
            Stopping(Term),
            vec![Terminate],
            Some(s(5)),
        ),
        // The end.
        ("exit", up_and(&[exited(0)]), Ended, vec![], None),
        ("nothing after the end", up_and(&[exited(0), stop(Manner::Force)]), Ended, vec![], None),
        // What means nothing changes nothing.
        ("a late answer", up_and(&[Returned(Order::Cont)]), Running, vec![], None),
        ("a refused powerdown", up_and(&[refused(Order::Powerdown)]), Running, vec![], None),
        ("a second greeting", up_and(&[Greeted]), Running, vec![], None),
        ("an answer too early", vec![Returned(Order::Cont)], Greeting, vec![], Some(s(30))),
    ];
    for (name, inputs, phase, actions, left) in table {
        let (machine, last, now) = after(false, &inputs);
        assert_eq!(machine.phase(), phase, "{name}");
        assert_eq!(last, actions, "{name}");
        assert_eq!(machine.deadline().map(|at| at - now), left, "{name}");
    }
}

#[test]
fn a_guest_that_is_to_start_paused_gets_no_cont() {
    let (machine, last, _) = after(true, &up()[..3]);
    assert_eq!((machine.phase(), last), (Phase::Paused, vec![Action::Ready]));
    assert!(machine.came_up());
}

/// A machine in the pause between two QEMUs, after these inputs.
fn rested(inputs: &[Input]) -> (Machine, Vec<Action>, Instant) {
    let until = Instant::now() + Duration::from_secs(4);
    let terms = Terms { start_paused: false, start_limit: Duration::ZERO, guest_time: GUEST_TIME };
    let mut machine = Machine::resting(terms, until);
    let mut last = vec![];
    for input in inputs {
        last = machine.handle(input.clone(), until);
    }
    (machine, last, until)
}

#[test]
fn in_a_pause_only_its_end_and_a_stop_mean_something() {
    use Input::{DeadlinePassed, Greeted, GuestPaused, GuestResumed, StarterLeft, StopSignal};
    use Phase::{Ended, Resting};
    for (inputs, phase, actions) in [
        (vec![], Resting, vec![]),
        (vec![DeadlinePassed], Resting, vec![Action::Spawn]),
        (vec![Greeted], Resting, vec![]),
        (vec![Input::Returned(Order::Cont)], Resting, vec![]),
        (vec![Input::Refused(Order::Quit, "no".into())], Resting, vec![]),
        (vec![GuestPaused, GuestResumed], Resting, vec![]),
        (vec![Input::ShutDown("guest-shutdown".into())], Resting, vec![]),
        (vec![Input::MonitorLost("closed".into())], Resting, vec![]),
        (vec![stop(Manner::Orderly)], Ended, vec![]),
        (vec![stop(Manner::NoKill)], Ended, vec![]),
        (vec![stop(Manner::Force)], Ended, vec![]),
        (vec![StopSignal], Ended, vec![]),
        (vec![StarterLeft], Ended, vec![]),
        (vec![StopSignal, DeadlinePassed], Ended, vec![]),
    ] {
        let (machine, last, until) = rested(&inputs);
        assert_eq!((machine.phase(), last), (phase, actions), "{inputs:?}");
        assert!(!machine.has_qemu() && !machine.came_up(), "{inputs:?}");
        let waits = phase == Resting && !inputs.contains(&DeadlinePassed);
        assert_eq!(machine.deadline(), waits.then_some(until), "{inputs:?}");
        let state = if phase == Resting { State::Starting } else { State::Stopped };
        assert_eq!(machine.state(), state, "{inputs:?}");
    }
    let end = rested(&[stop(Manner::Orderly)]).0.end(Timestamp::from_unix_millis(0));
    assert_eq!(
        (end.outcome, end.by, end.asked_by.as_deref()),
        (Outcome::Stopped, None, Some("a test"))
    );
}

#[test]
fn a_start_has_30_seconds_or_what_was_asked_for_where_that_is_more() {
    for (asked, given) in [(0, 30), (5, 30), (120, 120)] {
        let now = Instant::now();
        let start_limit = Duration::from_secs(asked);
        let terms = Terms { start_paused: false, start_limit, guest_time: GUEST_TIME };
        let mut machine = Machine::new(terms, now);
        assert_eq!(machine.deadline(), Some(now + Duration::from_secs(given)));
        machine.handle(Input::DeadlinePassed, now);
        machine.handle(killed(9), now);
        let detail = machine.end(Timestamp::from_unix_millis(0)).detail;
        assert_eq!(detail, Some(format!("QEMU was not ready within {given} s")));
    }
}

#[test]
fn a_guest_time_of_zero_is_for_ever() {
    let forever = Input::Stop(StopRequest {
        manner: Manner::Orderly,
        guest_time: Some(Duration::ZERO),
        asked_by: "a test".into(),
    });
    assert_eq!(after(false, &up_and(&[forever])).0.deadline(), None);
}

#[test]
fn every_end_is_told_as_it_was() {
    use Outcome::{Crashed, Failed, Stopped};
    let shut = |reason: &str| Input::ShutDown(reason.into());
    let orderly = || stop(Manner::Orderly);
    let table: Vec<(Vec<Input>, Outcome, Option<EndedBy>, &str)> = vec![
        (up_and(&[shut("guest-shutdown"), exited(0)]), Stopped, Some(EndedBy::Guest), ""),
        (
            up_and(&[orderly(), shut("guest-shutdown"), exited(0)]),
            Stopped,
            Some(EndedBy::Guest),
            "",
        ),
        (up_and(&[orderly(), shut("host-qmp-quit"), exited(0)]), Stopped, Some(EndedBy::Quit), ""),
        (up_and(&[orderly(), shut("host-signal"), exited(0)]), Stopped, Some(EndedBy::Term), ""),
        (up_and(&[orderly(), killed(9)]), Stopped, Some(EndedBy::Kill), ""),
        (up_and(&[shut("host-qmp-quit"), exited(0)]), Stopped, Some(EndedBy::Quit), ""),
        (up_and(&[killed(9)]), Crashed, None, "QEMU was killed by signal 9 (SIGKILL)"),
        (up_and(&[killed(11)]), Crashed, None, "QEMU was killed by signal 11 (SIGSEGV)"),
        (up_and(&[exited(1)]), Crashed, None, "QEMU ended with exit code 1"),
        (vec![exited(1)], Failed, None, "QEMU ended with exit code 1"),
        (vec![Input::Greeted, exited(0)], Failed, None, "QEMU ended with exit code 0"),
        (vec![Input::DeadlinePassed, killed(9)], Failed, None, "QEMU was not ready within 30 s"),
        (vec![Input::StarterLeft, exited(0)], Stopped, None, ""),
        (
            up_and(&[shut("guest-panic"), exited(0)]),
            Stopped,
            Some(EndedBy::Guest),
            "the guest panicked",
        ),
    ];
    for (inputs, outcome, by, detail) in table {
        let (machine, ..) = after(false, &inputs);
        let end = machine.end(Timestamp::from_unix_millis(0));
        assert_eq!((end.outcome, end.by), (outcome, by), "{inputs:?}");
        assert_eq!(end.detail.unwrap_or_default(), detail, "{inputs:?}");
    }
}

#[test]
fn a_guest_that_ends_before_no_kill_gives_up_was_stopped_as_asked() {
    let (machine, ..) = after(false, &up_and(&[stop(Manner::NoKill), exited(0)]));
    assert_eq!(machine.end(Timestamp::from_unix_millis(0)).outcome, Outcome::Stopped);
    let (machine, ..) =
        after(false, &up_and(&[stop(Manner::NoKill), Input::DeadlinePassed, killed(11)]));
    assert_eq!(machine.end(Timestamp::from_unix_millis(0)).outcome, Outcome::Crashed);
}
