//! Clients that are not ours, over the socket of a real runner: both versions of the handshake, the
//! script of the manual, impostors, floods, and clients that stall.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::{Client, REFUSAL, folder, mac, resident};
use crate::harness::{Host, eventually, not_here, run, send};

fn running() -> Host {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    host
}

#[test]
fn version_1_and_version_2_are_spoken_as_the_manual_says() {
    let host = running();
    let folder = folder(&host);
    let mut client = Client::version_1(&folder);
    assert_eq!(client.ask(r#"{"method":"ping"}"#)["result"], "pong");
    let status = &client.ask(r#"{"method":"status"}"#)["result"];
    assert_eq!(
        (status["running"].as_bool(), status["state"].as_str()),
        (Some(true), Some("running"))
    );
    let answer = client.ask(r#"{"method":"qmp","args":["query-status"],"kwargs":{}}"#);
    assert_eq!(answer["result"]["return"]["status"], "running");
    let unknown = client.ask(r#"{"method":"qmp","args":["nonsense"]}"#);
    assert_eq!(unknown["result"]["error"]["class"], "CommandNotFound", "QEMU's own answer");
    assert_eq!(client.ask(r#"{"method":"dance"}"#)["kind"], "usage");

    let mut client = Client::connect(&folder);
    let challenge: Value = serde_json::from_str(&client.hear()).unwrap();
    assert_eq!((challenge["type"].as_str(), challenge["v"].as_u64()), (Some("challenge"), Some(2)));
    let secret = std::fs::read(folder.join("secret")).unwrap();
    let key2 = Sha256::new().chain_update("maqet-ipc/2\0").chain_update(&secret).finalize();
    let nonce = "7".repeat(64);
    let id = challenge["vm"].as_str().unwrap();
    let message = |role: &str| {
        let text = format!("{role}\0{id}\0{}\0{nonce}", challenge["value"].as_str().unwrap());
        mac(&key2, &[text.as_bytes()])
    };
    client.say(&format!(r#"{{"auth":"{}","nonce":"{nonce}","v":2}}"#, message("client")));
    let proof: Value = serde_json::from_str(&client.hear()).unwrap();
    assert_eq!(proof["proof"], message("server"));
    assert_eq!(client.ask(r#"{"method":"ping","id":"x"}"#)["id"], "x");
}

#[test]
fn the_shell_client_of_the_manual_works() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/man/maqet-protocol.7");
    let page = std::fs::read_to_string(page).unwrap();
    let script = page.split("#!/bin/sh\n").nth(1).unwrap().split(".Ed").next().unwrap();
    let host = running();
    let client = host.root().join("client");
    std::fs::write(&client, script.replace("\\e", "\\")).unwrap();
    let folder = folder(&host);
    let ask = |request: &str| {
        let mut command = host.command("sh");
        run(command.arg(&client).arg(&folder).arg(request)).exits(0).json()
    };
    assert_eq!(ask(r#"{"method":"ping"}"#)["result"], "pong");
    assert_eq!(ask(r#"{"method":"status"}"#)["result"]["name"], "web");
    let answer = ask(r#"{"method":"qmp","args":["query-status"],"kwargs":{}}"#);
    assert_eq!(answer["result"]["return"]["running"], true);
    let stopped = ask(r#"{"method":"stop","kwargs":{"force":true}}"#);
    assert_eq!(stopped["result"]["last_exit"]["by"], "quit");
    eventually(Duration::from_secs(5), "it has stopped", || {
        (host.state("web") == "stopped").then_some(())
    });
}

#[test]
fn every_failed_authentication_gets_the_same_line_and_the_end() {
    let host = running();
    let folder = folder(&host);
    for line in ["{}".into(), "x".repeat(600), format!(r#"{{"auth":"{}"}}"#, "0".repeat(64))] {
        let mut client = Client::connect(&folder);
        client.hear();
        client.say(&line);
        assert_eq!((client.hear().as_str(), client.hear().as_str()), (REFUSAL, ""));
    }
    assert_eq!(host.state("web"), "running");
}

#[test]
fn strangers_floods_and_those_who_never_read_delay_nobody() {
    let host = running();
    let folder = folder(&host);
    let strangers: Vec<UnixStream> =
        (0..300).map(|_| UnixStream::connect(folder.join("ipc.sock")).unwrap()).collect();
    let mut deaf = Client::version_1(&folder);
    deaf.reader.get_ref().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // More answers than any buffer holds, none of which is read.
    let request = format!("{}\n", r#"{"method":"qmp","args":["query-qmp-schema"]}"#);
    for _ in 0..2000 {
        if deaf.reader.get_mut().write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    let mut client = Client::version_1(&folder);
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        assert_eq!(client.ask(r#"{"method":"ping"}"#)["result"], "pong");
        slowest = slowest.max(began.elapsed());
    }
    println!("the slowest of 50 pings took {slowest:?}");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let resident = resident(host.runner_pid("web"));
    assert!(resident < 32 << 10, "{resident} KiB");
    drop(strangers);
}

#[test]
fn a_request_over_the_limit_is_refused_and_the_vm_unharmed() {
    let host = running();
    let mut client = Client::version_1(&folder(&host));
    let large = format!(r#"{{"method":"ping","id":"{}"}}"#, "x".repeat(2 << 20));
    let _ = client.reader.get_mut().write_all(large.as_bytes());
    assert!(client.hear().contains("longer than 1 MiB"));
    assert_eq!(host.state("web"), "running");
}

#[test]
fn a_process_of_another_user_is_sent_not_a_byte() {
    if !rustix::process::geteuid().is_root()
        || run(Command::new("setpriv").arg("--version")).code != 0
    {
        not_here("it takes root and setpriv");
        return;
    }
    let host = running();
    let folder = folder(&host);
    // Even with every door opened: the uid itself is refused.
    for (path, mode) in [(host.root(), 0o755), (&host.runtime(), 0o755), (&folder, 0o755)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(folder.join("ipc.sock"), std::fs::Permissions::from_mode(0o777))
        .unwrap();
    let target = format!("UNIX-CONNECT:{}", folder.join("ipc.sock").display());
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--clear-groups", "socat", "-u", &target, "-"]);
    let heard = run(other.stdin(Stdio::null()));
    assert_eq!(heard.stdout, "", "{}", heard.stderr);
    let ours = run(Command::new("timeout").args(["1", "socat", "-u", &target, "-"]));
    assert!(ours.stdout.contains("challenge"), "the same as ourselves: {}", ours.stderr);
}

/// Serves a challenge and notes what it is sent.
fn impostor(path: &Path, first: String) -> std::thread::JoinHandle<String> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut heard = String::new();
        let deadline = Instant::now() + Duration::from_secs(4);
        listener.set_nonblocking(true).unwrap();
        while Instant::now() < deadline {
            let Ok((mut stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let _ = stream.write_all(first.as_bytes());
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            heard.push_str(&String::from_utf8_lossy(&bytes));
        }
        heard
    })
}

#[test]
fn an_impostor_on_the_socket_is_sent_nothing_and_told_as_such() {
    let host = running();
    let folder = folder(&host);
    // The runner stands still, and another process takes its place on the path.
    send(host.runner_pid("web"), Signal::STOP);
    std::fs::remove_file(folder.join("ipc.sock")).unwrap();
    let challenge =
        format!("{{\"type\":\"challenge\",\"value\":\"{}\",\"v\":2}}\n", "0".repeat(64));
    let server = impostor(&folder.join("ipc.sock"), challenge);
    let ran = host.maqet(["qmp", "web", "query-status"]).exits(6);
    assert!(ran.stderr.contains("not to be trusted"), "{}", ran.stderr);
    host.maqet(["status", "web"]).exits(6);
    assert_eq!(server.join().unwrap(), "", "not a byte was sent to it");
}

#[test]
fn a_runner_out_of_descriptors_neither_spins_nor_loses_its_vm() {
    let host = running();
    let folder = folder(&host);
    let pid = rustix::process::Pid::from_raw(host.runner_pid("web")).unwrap();
    let few = rustix::process::Rlimit { current: Some(24), maximum: Some(24) };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, few).unwrap();
    let waiting: Vec<UnixStream> =
        (0..40).map(|_| UnixStream::connect(folder.join("ipc.sock")).unwrap()).collect();
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let log = host.vm_folder("web").join("runner.log");
    eventually(Duration::from_secs(5), "it has run out", || {
        std::fs::read_to_string(&log).unwrap().contains("cannot accept").then_some(())
    });
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks() - before;
    assert!(used <= 10, "{used} ticks of a hundredth of a second in one second");
    drop(waiting);
    host.maqet(["stop", "web", "--force"]).exits(0);
}
