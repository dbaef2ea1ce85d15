//! `batch`: many requests of one process, to several real runners.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Host, Ran, send};

/// Runs a batch on these lines to its end.
fn batch(host: &Host, words: &[&str], lines: &str) -> Ran {
    let file = host.root().join("requests");
    std::fs::write(&file, lines).unwrap();
    let mut command = host.command(Host::binary());
    command.arg("batch").args(words).stdin(std::fs::File::open(&file).unwrap());
    crate::harness::run(&mut command)
}

fn replies(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A batch to speak with.
struct Spoken {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Spoken {
    fn new(command: &mut Command) -> Spoken {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Spoken { child, input, output }
    }

    fn say(&mut self, line: &str) {
        self.input.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn end(mut self) -> i32 {
        drop(self.input.take());
        self.child.wait().unwrap().code().unwrap()
    }
}

fn two_running() -> Host {
    let host = Host::new();
    for name in ["web", "db"] {
        host.add_bare(name);
    }
    host.maqet(["start", "web", "db"]).exits(0);
    host
}

#[test]
fn replies_name_the_vm_and_the_request_and_errors_are_replies() {
    let host = two_running();
    host.add_bare("off");
    let lines = r#"
{"vm":"web","method":"ping","id":1}
{"vm":"db","method":"qmp","args":["query-status"],"kwargs":{},"id":"s"}

{"vm":"web","method":"ping"}
"#;
    let ran = batch(&host, &[], lines).exits(0);
    let replies_of = |ran: &Ran, vm: &str| -> Vec<Value> {
        replies(ran).into_iter().filter(|reply| reply["vm"] == vm).collect()
    };
    let db = replies_of(&ran, "db");
    assert_eq!(
        (&db[0]["id"], &db[0]["result"]["return"]["status"]),
        (&json!("s"), &json!("running"))
    );
    let web = replies_of(&ran, "web");
    assert!(web.len() == 2 && web.iter().all(|reply| reply["result"] == "pong"), "{web:?}");

    let lines = r#"{"vm":"web","method":"dance","id":1}
{"vm":"nobody","method":"ping","id":2}
{"vm":"off","method":"ping","id":3}
{"method":"ping","id":4}
nonsense
{"vm":"web","method":"ping","id":5}"#;
    let ran = batch(&host, &[], lines).exits(1);
    let all = replies(&ran);
    let kind = |id: u64| {
        let reply = all.iter().find(|reply| reply["id"] == id);
        reply.unwrap_or_else(|| panic!("{id}: {all:?}"))["kind"].clone()
    };
    assert_eq!(
        (1..=4).map(kind).collect::<Vec<_>>(),
        ["usage", "not-found", "not-running", "usage"]
    );
    assert_eq!(all.iter().filter(|reply| reply["status"] == "success").count(), 1, "{all:?}");
    batch(&host, &[], "{\"vm\":\"off\",\"method\":\"ping\"}\n").exits(3);
    batch(&host, &[], "").exits(0);
}

#[test]
fn any_number_of_requests_at_once_is_answered_while_replies_are_read() {
    let host = two_running();
    let mut command = host.command(Host::binary());
    let mut spoken = Spoken::new(command.arg("batch"));
    let mut input = spoken.input.take().unwrap();
    let writer = std::thread::spawn(move || {
        for number in 0..5_000 {
            let vm = if number % 2 == 0 { "web" } else { "db" };
            let method = match number % 1000 {
                0 => r#""qmp","args":["query-qmp-schema"]"#,
                _ => r#""ping""#,
            };
            let line = format!("{{\"vm\":\"{vm}\",\"method\":{method},\"id\":{number}}}\n");
            input.write_all(line.as_bytes()).unwrap();
        }
    });
    let mut seen = vec![false; 5_000];
    for _ in 0..5_000 {
        let reply = spoken.hear();
        assert_eq!(reply["status"], "success", "{reply}");
        let number = usize::try_from(reply["id"].as_u64().unwrap()).unwrap();
        assert!(!std::mem::replace(&mut seen[number], true), "{number} was answered twice");
    }
    writer.join().unwrap();
    assert_eq!(spoken.end(), 0);
}

#[test]
fn a_runner_that_stands_still_costs_its_own_requests_alone() {
    let host = two_running();
    let stopped = host.runner_pid("db");
    let mut command = host.command(Host::binary());
    let mut spoken = Spoken::new(command.args(["batch", "--timeout", "1s"]));
    spoken.say(r#"{"vm":"db","method":"ping","id":0}"#);
    assert_eq!(spoken.hear()["result"], "pong");
    send(stopped, Signal::STOP);
    let began = Instant::now();
    for id in 1..=40 {
        spoken.say(&format!(r#"{{"vm":"db","method":"ping","id":{id}}}"#));
    }
    for id in 100..110 {
        spoken.say(&format!(r#"{{"vm":"web","method":"ping","id":{id}}}"#));
        assert_eq!(spoken.hear()["id"], id);
    }
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    for _ in 1..=40 {
        let reply = spoken.hear();
        assert_eq!((&reply["vm"], &reply["kind"]), (&json!("db"), &json!("timeout")));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // It is forgotten by then: a new connection serves once it goes on.
    send(stopped, Signal::CONT);
    spoken.say(r#"{"vm":"db","method":"ping","id":"again"}"#);
    assert_eq!(spoken.hear()["id"], "again");
    assert_eq!(spoken.end(), 5);
}

#[test]
fn a_stream_goes_through_it_and_a_vm_that_ends_is_told() {
    let host = Host::new();
    host.add_fake("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    let mut command = host.command(Host::binary());
    let mut spoken = Spoken::new(command.arg("batch"));
    spoken.say(r#"{"vm":"web","method":"console","kwargs":{"read_only":true},"id":"c"}"#);
    let opened = spoken.hear();
    assert_eq!(opened, json!({"vm": "web", "id": "c", "status": "stream"}));
    assert_eq!(spoken.hear()["stream"], "console");
    spoken.say(r#"{"vm":"web","id":"c","cancel":true}"#);
    assert_eq!(spoken.hear()["status"], "success");
    spoken.say(r#"{"vm":"web","method":"stop","kwargs":{"force":true},"id":1}"#);
    assert_eq!(spoken.hear()["result"]["state"], "stopped");
    spoken.say(r#"{"vm":"web","method":"ping","id":2}"#);
    assert_eq!(spoken.hear()["kind"], "not-running");
    host.maqet(["start", "web"]).exits(0);
    spoken.say(r#"{"vm":"web","method":"ping","id":3}"#);
    assert_eq!(spoken.hear()["result"], "pong", "it is connected anew");
    assert_eq!(spoken.end(), 3);
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let host = two_running();
    let mut command = host.command(Host::binary());
    let mut spoken = Spoken::new(command.arg("batch"));
    spoken.say(r#"{"vm":"web","method":"ping"}"#);
    spoken.hear();
    drop(spoken.output);
    let deadline = Instant::now() + Duration::from_secs(5);
    let code = loop {
        if let Some(status) = spoken.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(code, Some(0));
}
