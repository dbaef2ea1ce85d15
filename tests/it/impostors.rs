//! Authentication against those who listen, alter, repeat and pass on: none of it serves, and nobody who
//! is served suffers from it.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Client, REFUSAL, folder, resident};
use crate::harness::{Host, send};

const PING: &str = r#"{"method":"ping"}"#;

fn running() -> Host {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    host
}

#[track_caller]
fn refused(folder: &std::path::Path, answer: impl FnOnce(&str) -> Vec<u8>) {
    let mut client = Client::connect(folder);
    let good = client.answer_to_challenge(folder);
    client.reader.get_mut().write_all(&answer(&good)).unwrap();
    assert_eq!((client.hear().as_str(), client.hear().as_str()), (REFUSAL, ""));
}

#[test]
fn an_answer_with_one_bit_of_another_is_refused_whichever_it_is() {
    let host = running();
    let folder = folder(&host);
    for bit in (0..8 * 64).step_by(7) {
        refused(&folder, |good| {
            let mut bytes = good.as_bytes().to_vec();
            let at = good.find(":\"").unwrap() + 2 + bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            // A newline ends the line, and a quote the value: refused all the same.
            bytes.push(b'\n');
            bytes
        });
    }
    let mut friend = Client::version_1(&folder);
    assert_eq!(friend.ask(PING)["result"], "pong");
}

#[test]
fn what_was_an_answer_once_is_none_on_another_connection_and_for_another_vm() {
    let host = running();
    let other = running();
    let (here, there) = (folder(&host), folder(&other));
    let mut first = Client::connect(&here);
    let good = first.answer_to_challenge(&here);
    first.say(&good);
    assert_eq!(first.ask(PING)["result"], "pong");
    refused(&here, |_| format!("{good}\n").into_bytes());
    // The challenge of one VM, answered with the secret of the other.
    let mut client = Client::connect(&here);
    let answer = client.answer_to_challenge(&there);
    client.say(&answer);
    assert_eq!(client.hear(), REFUSAL);
    // The server's own words sent back to it.
    let mut client = Client::connect(&here);
    let challenge = client.hear();
    client.say(&challenge);
    assert_eq!(client.hear(), REFUSAL);
}

#[test]
fn a_relay_to_the_true_runner_and_one_to_another_vm_are_not_served() {
    let host = running();
    let folder = folder(&host);
    let socket = folder.join("ipc.sock");
    let hidden = folder.join("true.sock");
    // It stands still: else it would make itself a socket anew, which every command asks it to.
    let runner = host.runner_pid("web");
    send(runner, Signal::STOP);
    std::fs::rename(&socket, &hidden).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    // It passes on whatever is said: its uid is ours, and its pid is not the runner's.
    let relay = std::thread::spawn(move || {
        let mut heard = 0;
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            let Ok((mut client, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            let mut server = UnixStream::connect(&hidden).unwrap();
            let limit = Some(Duration::from_millis(200));
            client.set_nonblocking(false).unwrap();
            client.set_read_timeout(limit).unwrap();
            server.set_read_timeout(limit).unwrap();
            let mut line = [0; 512];
            let count = std::io::Read::read(&mut server, &mut line).unwrap_or(0);
            let _ = client.write_all(&line[..count]);
            heard += std::io::Read::read(&mut client, &mut line).unwrap_or(0);
        }
        heard
    });
    let ran = host.maqet(["qmp", "web", "query-status"]).exits(6);
    assert!(ran.stderr.contains("is not its runner"), "{}", ran.stderr);
    send(runner, Signal::CONT);
    assert_eq!(relay.join().unwrap(), 0, "not a byte was sent to it");
    host.maqet(["status", "web"]).exits(0);
}

#[test]
fn a_thousand_connections_that_never_authenticate_cost_nobody_his_place() {
    let host = running();
    let folder = folder(&host);
    let runner = host.runner_pid("web");
    let mut friend = Client::version_1(&folder);
    assert_eq!(friend.ask(PING)["result"], "pong");
    let mut strangers = Vec::new();
    let mut slowest = Duration::ZERO;
    for number in 0..1000 {
        let mut stream = UnixStream::connect(folder.join("ipc.sock")).unwrap();
        // Some are silent, some drip, some say too much, and some nonsense.
        let said: &[u8] = match number % 4 {
            0 => b"",
            1 => b"{",
            2 => &[b'x'; 600],
            _ => b"\xff\xfe\n",
        };
        let _ = stream.write_all(said);
        strangers.push(stream);
        if number % 50 == 0 {
            let asked = Instant::now();
            assert_eq!(friend.ask(PING)["result"], "pong");
            slowest = slowest.max(asked.elapsed());
            host.maqet(["qmp", "web", "query-status"]).exits(0);
        }
    }
    let open = std::fs::read_dir(format!("/proc/{runner}/fd")).unwrap().count();
    assert!(open < 64, "{open} descriptors");
    assert!(resident(runner) < 32 << 10, "{} KiB", resident(runner));
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let status: Value = friend.ask(r#"{"method":"status"}"#);
    assert_eq!(status["result"]["state"], "running");
}
