//! `wait` and `send`: a guest that is driven by a script, without a byte missed between two commands.

use std::time::Duration;

use crate::client::{Client, folder};
use crate::harness::Host;

/// The mark in a line of `wait`.
fn mark(line: &str) -> u64 {
    line.trim_end().rsplit('\t').next().unwrap().parse().unwrap()
}

#[test]
fn a_guest_is_driven_by_what_it_says() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["wait", "web", "--for", "running"]).exits(3);
    assert_eq!(
        host.maqet(["wait", "web", "--for", "stopped"]).exits(0).stdout,
        "web\tstopped\t-\n"
    );
    host.maqet(["start", "web"]).exits(0);
    let ready = host.maqet(["wait", "web", "--for", r"console:maqet-guest: ready\n"]).exits(0);
    assert!(ready.stdout.starts_with("web\tconsole:maqet-guest: ready\\n\t"), "{}", ready.stdout);
    // Once more it is found in the log, at the same place.
    let again = host.maqet(["wait", "web", "--for", r"console:maqet-guest: ready\n"]).exits(0);
    assert_eq!(mark(&ready.stdout), mark(&again.stdout));
    let now = ["wait", "web", "--for", "console:maqet-guest: ready", "--from", "now"];
    let late = host.maqet(now.iter().chain(&["--timeout", "300ms"])).exits(5);
    assert!(late.took < Duration::from_secs(3), "{:?}", late.took);

    // The answer is told apart from the echo of what was typed: in it the word is in two parts.
    let echo = r#"echo one""two"#;
    let sent = ["send", "web", echo, "--line", "--for", "console:one", "--for", "running"];
    let sent = host.maqet(sent).exits(0);
    assert_eq!(sent.stdout.lines().count(), 2);
    // From a mark on, in the order in which it came.
    let first = mark(sent.stdout.lines().next().unwrap()).to_string();
    host.maqet(["send", "web", r"sh echo $((40 + 2))\r", "--for", "console:42"]).exits(0);
    let found = ["wait", "web", "--for", "console:42", "--fail", "console:nonsense"];
    host.maqet(found.iter().chain(&["--from", &first])).exits(0);
    let failed = ["wait", "web", "--for", "console:nonsense", "--fail", "console:42"];
    let failed = host.maqet(failed.iter().chain(&["--from", &first])).exits(1);
    assert!(failed.stderr.contains("\"console:42\" came first"), "{}", failed.stderr);
    // A coloured prompt is found as it looks.
    let colour = r"sh printf '\\033[1;32mgr\\033[0meen\\n'\r";
    host.maqet(["send", "web", colour, "--for", "console:green"]).exits(0);

    host.maqet(["send", "web", r"a\qb"]).exits(2);
    host.maqet(["send", "web", "x", "--fail", "console:y"]).exits(2);
    host.maqet(["wait", "web"]).exits(2);
    host.maqet(["wait", "web", "--for", "tcp:nope"]).exits(2);
    let any = ["wait", "web", "--any", "--for", "paused", "--for", "event:RESUME", "--json"];
    let met = host.maqet(any).exits(0).json();
    assert_eq!(
        (met["name"].as_str(), met["condition"].as_str()),
        (Some("web"), Some("event:RESUME"))
    );

    std::thread::scope(|scope| {
        let wait = || host.maqet(["wait", "web", "--for", "stopped"]);
        let ended = || host.maqet(["wait", "web", "--for", "console:never said"]);
        let (stopped, never) = (scope.spawn(wait), scope.spawn(ended));
        host.maqet(["send", "web", "poweroff", "--line"]).exits(0);
        stopped.join().unwrap().exits(0);
        never.join().unwrap().exits(3);
    });
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn what_a_guest_has_said_long_ago_is_found_over_the_rotation_of_its_log() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let fill = r"sh echo be''gin; i=0; while [ $i -lt 40 ]; do dd if=/dev/zero bs=4096 count=8 2>/dev/null | tr '\\0' .; i=$((i+1)); done; echo e''nd\r";
    host.maqet(["send", "web", fill, "--for", "console:end\\n", "--timeout", "50s"]).exits(0);
    // What is more than the runner keeps in memory is searched on disk.
    let begin = host.maqet(["wait", "web", "--for", r"console:begin\n"]).exits(0);
    let end = host.maqet(["wait", "web", "--for", r"console:end\n"]).exits(0);
    assert!(mark(&end.stdout) > mark(&begin.stdout) + (1 << 20), "{} {}", begin.stdout, end.stdout);
    host.maqet(["stop", "web", "--force"]).exits(0);
}

/// Bytes from a frame of the console, and how many were lost before them.
fn data(frame: &serde_json::Value) -> Option<(String, u64)> {
    let decode = format!("echo {} | base64 -d", frame["data"].as_str()?);
    let bytes = std::process::Command::new("sh").args(["-c", &decode]).output().unwrap().stdout;
    Some((String::from_utf8_lossy(&bytes).into_owned(), frame["lost"].as_u64().unwrap_or(0)))
}

/// Reads frames until one of them has the text.
fn hear(client: &mut Client, text: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(text) {
        let frame = client.reply();
        heard.push_str(&data(&frame).unwrap_or_else(|| panic!("{frame}, after {heard:?}")).0);
    }
    heard
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn the_console_is_a_stream_with_one_who_types_and_any_number_who_look() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let folder = folder(&host);
    let mut first = Client::version_1(&folder);
    let opened = first.ask(r#"{"method":"console","id":1}"#);
    assert_eq!((&opened["id"], &opened["status"]), (&1.into(), &"stream".into()));
    hear(&mut first, "maqet-guest: ready");

    let mut second = Client::version_1(&folder);
    assert_eq!(second.ask(r#"{"method":"console"}"#)["kind"], "usage");
    let refused = second.ask(r#"{"method":"console","id":"b"}"#);
    assert_eq!((refused["kind"].as_str(), &refused["id"]), (Some("conflict"), &"b".into()));
    let mut looker = Client::version_1(&folder);
    looker.ask(r#"{"method":"console","id":3,"kwargs":{"read_only":true}}"#);
    assert_eq!(
        second.ask(r#"{"method":"console","id":"b","kwargs":{"force":true}}"#)["status"],
        "stream"
    );
    let answers = |line: &serde_json::Value| data(line).is_none();
    let taken = std::iter::repeat_with(|| first.reply()).find(answers).unwrap();
    assert_eq!((taken["kind"].as_str(), &taken["id"]), (Some("conflict"), &1.into()));
    // sh echo h"i"
    second.say(r#"{"id":"b","input":"c2ggZWNobyBoImkiDQ=="}"#);
    hear(&mut second, "hi\r\n");
    hear(&mut looker, "hi\r\n");
    // Who only looks types nothing.
    looker.say(r#"{"id":3,"input":"c2ggZWNobyBoImkiDQ=="}"#);
    // Requests go on beside the stream.
    second.say(r#"{"method":"ping","id":"p"}"#);
    let pong = std::iter::repeat_with(|| second.reply()).find(|line| data(line).is_none());
    assert_eq!(pong.unwrap()["result"], "pong");
    second.say(r#"{"id":"b","cancel":true}"#);
    let cancelled = std::iter::repeat_with(|| second.reply()).find(answers).unwrap();
    assert_eq!(cancelled["status"], "success");

    // A slow one loses bytes, and is told how many: the guest does not wait for it.
    let flood = r"sh yes x | dd bs=4096 count=150 2>/dev/null; echo flo''oded\r";
    host.maqet(["send", "web", flood, "--for", r"console:flooded\n"]).exits(0);
    host.maqet(["send", "web", "echo still here", "--line"]).exits(0);
    let mut lost = 0;
    let mut heard = String::new();
    while !heard.ends_with("still here\r\n") {
        let (text, missing) = data(&looker.reply()).unwrap();
        lost += missing;
        heard.push_str(&text);
    }
    assert!(lost > 0, "{lost}");
    host.maqet(["stop", "web", "--force"]).exits(0);
    let end = std::iter::repeat_with(|| looker.reply()).find(answers).unwrap();
    assert_eq!(end["result"]["ended"], true);
}
