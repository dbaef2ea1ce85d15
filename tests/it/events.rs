//! `events`: what happened with real VMs, while they run, when they have ended, and when their
//! runner was killed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{Client, folder, resident};
use crate::harness::{Host, Ran, eventually, send};

fn running(names: &[&str]) -> Host {
    let host = Host::new();
    names.iter().for_each(|name| host.add_bare(name));
    host.maqet([&["start"], names].concat()).exits(0);
    host
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn states_and_qemus_events_are_told_in_their_order_and_after_the_end_too() {
    let host = running(&["web"]);
    host.maqet(["pause", "web"]).exits(0);
    host.maqet(["resume", "web"]).exits(0);
    let ran = host.maqet(["events", "web"]).exits(0);
    let told = lines(&ran);
    let expected = ["starting", "RESUME", "running", "STOP", "paused", "RESUME", "running"];
    let mut seen = names(&told);
    // The order of QEMU's event and the state that its answer brings is QEMU's.
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    seen.sort_unstable();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(seen, sorted);
    assert_eq!((names(&told)[0], &told[0]["name"]), ("starting", &json!("web")));
    let numbers: Vec<u64> = told.iter().map(|one| one["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=7).collect::<Vec<_>>());
    let clock = |one: &Value| one["monotonic"].as_f64().unwrap();
    assert!(told.windows(2).all(|two| clock(&two[0]) <= clock(&two[1])));

    host.maqet(["stop", "web", "--force"]).exits(0);
    let after = lines(&host.maqet(["events", "web"]).exits(0));
    assert_eq!(after[..7], told[..], "the file has what the runner told");
    let last = after.last().unwrap();
    assert_eq!((&last["event"], &last["data"]["by"]), (&json!("stopped"), &json!("quit")));
    host.maqet(["start", "web"]).exits(0);
    let both = host.maqet(["events", "web", "-o", "run,event"]).exits(0).stdout;
    assert!(both.contains("1\tstopped\n2\tstarting\n"), "{both}");
    // Nothing is older than this test.
    assert_eq!(
        host.maqet(["events", "--since", "1h ago"]).exits(0).stdout.lines().count(),
        lines(&host.maqet(["events", "web"])).len()
    );
    let since = host.maqet(["events", "--since", "2099-01-01T00:00:00Z"]).exits(0);
    assert_eq!(since.stdout, "");
    host.maqet(["events", "--since", "yesterday"]).exits(2);
}

#[test]
fn a_start_that_fails_and_a_killed_runner_leave_what_happened() {
    let host = Host::new();
    host.maqet(["add", "bad", "--accel", "tcg", "--arg=-device", "--arg=nonsense"]).exits(0);
    host.maqet(["start", "bad"]).exits(1);
    let told = lines(&host.maqet(["events", "bad"]).exits(0));
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert_eq!((&first["event"], &last["event"]), (&json!("starting"), &json!("failed")));
    assert_eq!(last["data"]["exit_code"], 1);
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["pause", "web"]).exits(0);
    let before = host.maqet(["events", "web"]).stdout;
    send(host.runner_pid("web"), Signal::KILL);
    eventually(Duration::from_secs(5), "it is gone", || {
        (host.state("web") == "crashed").then_some(())
    });
    assert_eq!(host.maqet(["events", "web"]).exits(0).stdout, before);
    let why = host.maqet(["why", "web"]).exits(0).stdout;
    assert!(why.contains("STOP"), "{why}");
}

#[test]
fn several_are_followed_in_one_process_until_they_have_ended() {
    let host = running(&["web", "db"]);
    let mut command = host.command(Host::binary());
    command.args(["events", "-f", "web", "db", "-o", "name,event"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |wanted: &str| loop {
        let line = output.next().unwrap_or_else(|| panic!("no {wanted}")).unwrap();
        if line == wanted {
            return;
        }
    };
    until("web\trunning");
    host.maqet(["pause", "db"]).exits(0);
    until("db\tpaused");
    host.maqet(["stop", "web", "--force"]).exits(0);
    until("web\tstopped");
    host.maqet(["resume", "db"]).exits(0);
    until("db\trunning");
    host.maqet(["stop", "db", "--force"]).exits(0);
    until("db\tstopped");
    assert!(output.next().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Of those that do not run it tells what there is, and ends.
    let ran = host.maqet(["events", "-f", "web"]).exits(0);
    assert!(ran.stdout.ends_with("\n") && ran.stdout.contains("\"stopped\""));
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["events", "-f", "web", "--timeout", "100ms"]).exits(5);
    let status =
        host.shell("maqet events -f web | head -n 1 >/dev/null; maqet status web -o state");
    assert_eq!(status.exits(0).stdout, "running\n");
}

#[test]
fn a_follower_that_reads_nothing_loses_events_and_is_told_how_many() {
    let host = Host::new();
    host.add_fake("web", &["events"]);
    host.maqet(["start", "web"]).exits(0);
    let folder = folder(&host);
    let mut deaf = Client::version_1(&folder);
    deaf.say(r#"{"method":"events","kwargs":{"follow":true},"id":"e"}"#);
    let mut client = Client::version_1(&folder);
    assert_eq!(client.ask(r#"{"method":"events","kwargs":{}}"#)["kind"], "usage", "it has no id");
    // Until the flood has left the ring far behind what the socket took.
    let mut newest = |least: u64| {
        eventually(Duration::from_secs(30), "events come", || {
            client.say(r#"{"method":"events","id":1}"#);
            let mut last = 0;
            loop {
                let line = client.reply();
                match line["event"]["seq"].as_u64() {
                    Some(seq) => last = seq,
                    None if line["status"] == "stream" => {}
                    None => break,
                }
            }
            (last >= least).then_some(last)
        })
    };
    newest(6000);
    let resident = resident(host.runner_pid("web"));
    assert!(resident < 16 << 10, "{resident} KiB");
    let mut last = 0;
    let mut lost = 0;
    assert_eq!(deaf.reply()["status"], "stream");
    while lost == 0 {
        let line = deaf.reply();
        let seq = line["event"]["seq"].as_u64().unwrap();
        lost = line["lost"].as_u64().unwrap_or(0);
        // The ring did not begin with the first event any more.
        assert!(last == 0 || seq == last + lost + 1, "{last}: {line}");
        last = seq;
    }
    deaf.say(r#"{"id":"e","cancel":true}"#);
    let end = loop {
        let line = deaf.reply();
        if line["event"].is_null() {
            break line;
        }
    };
    assert_eq!(end["status"], "success");
    assert_eq!(deaf.ask(r#"{"method":"ping"}"#)["result"], "pong");
}
