//! `console`: at a terminal, in pipes, and what becomes of terminal and guest whatever happens.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{Client, folder};
use crate::harness::{Host, Ran, eventually, send};
use crate::pty::AtTerminal;

const LIMIT: Duration = Duration::from_secs(60);
/// What detaches.
const ESCAPE: &[u8] = b"\x1d";

/// A VM whose guest says nothing: it is up in some 30 ms.
fn silent(host: &Host) {
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
}

/// A VM with the real guest, ready.
fn guest(host: &Host) {
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
}

fn attached(host: &Host, words: &[&str], variables: &[(&str, &str)]) -> AtTerminal {
    let mut terminal = AtTerminal::start(host, words, variables);
    terminal.wait_for("detaches");
    eventually(LIMIT, "the terminal is raw", || (!terminal.is_sane()).then_some(()));
    terminal
}

/// In pipes: its child and what it is told.
fn piped(host: &Host, words: &[&str]) -> (Child, ChildStdin) {
    let mut command = host.command(Host::binary());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: Duration::ZERO,
    }
}

#[test]
fn a_terminal_becomes_the_guests_until_the_key_is_pressed() {
    let host = Host::new();
    guest(&host);
    let mut terminal = attached(&host, &["console", "web"], &[]);
    assert!(terminal.drawn().starts_with("maqet: attached to web; ^] detaches"));
    // What it said before is shown first.
    terminal.wait_for("maqet-guest: ready");
    terminal.press(b"echo hel\x1d\x1dlo\r");
    terminal.wait_for("hel\x1dlo\r\n");
    terminal.resize(40, 10);
    terminal.press(b"echo wor\x03ld\r");
    terminal.press(b"echo again\r");
    terminal.wait_for("again\r\n");
    terminal.press(ESCAPE);
    assert_eq!(terminal.code(), 0, "{}", terminal.drawn());
    assert!(terminal.is_sane());
    assert_eq!(host.state("web"), "running");

    // The key and another one detach at once, and neither reaches the guest.
    let mut terminal = attached(&host, &["console", "web", "--escape", "^A"], &[]);
    assert!(terminal.drawn().contains("^A detaches"));
    let began = Instant::now();
    terminal.press(b"echo last\r\x01x");
    assert_eq!(terminal.code(), 0);
    println!("detached after {:?}", began.elapsed());
    assert!(terminal.is_sane());
    host.maqet(["wait", "web", "--for", "console:last"]).exits(0);
}

#[test]
fn a_terminal_is_what_it_was_after_signals_and_a_panic() {
    let host = Host::new();
    silent(&host);
    for (signal, code) in
        [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 143), (Signal::QUIT, 143)]
    {
        let mut terminal = attached(&host, &["console", "web"], &[]);
        send(terminal.pid(), signal);
        assert_eq!(terminal.code(), code, "{signal:?}: {}", terminal.drawn());
        assert!(terminal.is_sane(), "{signal:?}");
    }
    let mut terminal = AtTerminal::start(&host, &["console", "web"], &[("MAQET_TEST_PANIC", "1")]);
    terminal.wait_for("detaches");
    terminal.press(b"x");
    terminal.wait_for("provoked");
    assert_ne!(terminal.code(), 0);
    assert!(terminal.is_sane());
}

#[test]
fn a_terminal_is_given_back_while_the_command_is_stopped() {
    let host = Host::new();
    guest(&host);
    let mut terminal = attached(&host, &["console", "web"], &[]);
    for round in 0..3 {
        send(terminal.pid(), Signal::TSTP);
        eventually(LIMIT, "it is stopped", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", terminal.pid())).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T').then_some(())
        });
        assert!(terminal.is_sane(), "{round}");
        send(terminal.pid(), Signal::CONT);
        eventually(LIMIT, "the terminal is raw again", || (!terminal.is_sane()).then_some(()));
        terminal.press(format!("echo round{round}\r").as_bytes());
        terminal.wait_for(&format!("round{round}\r\n"));
    }
    terminal.press(ESCAPE);
    assert_eq!(terminal.code(), 0);
    assert!(terminal.is_sane());
}

#[test]
fn one_client_types_and_any_number_look_on() {
    let host = Host::new();
    guest(&host);
    let mut first = attached(&host, &["console", "web"], &[]);
    let refused = host.maqet(["console", "web"]).exits(7);
    let who = format!("a client with pid {} types on it already", first.pid());
    assert!(refused.stderr.contains(&who), "{}", refused.stderr);
    assert!(refused.stderr.contains("--read-only") && refused.stderr.contains("--force"));

    let mut viewers: Vec<AtTerminal> =
        (0..3).map(|_| attached(&host, &["console", "web", "--read-only"], &[])).collect();
    for viewer in &mut viewers {
        // It is not heard.
        viewer.press(b"echo viewer\r");
    }
    first.press(b"echo first\r");
    for viewer in &mut viewers {
        viewer.wait_for("first\r\n");
        viewer.press(ESCAPE);
        assert_eq!(viewer.code(), 0);
        assert!(!viewer.drawn().contains("viewer"), "{}", viewer.drawn());
    }

    let mut second = attached(&host, &["console", "web", "--force"], &[]);
    assert_eq!(first.code(), 7);
    assert!(first.is_sane() && first.drawn().contains("took its place"), "{}", first.drawn());
    second.press(b"echo second\r");
    second.wait_for("second\r\n");

    // Killed, it leaves VM and place free.
    send(second.pid(), Signal::KILL);
    second.code();
    eventually(LIMIT, "the place is free", || {
        let (child, stdin) = piped(&host, &["console", "web"]);
        drop(stdin);
        send(i32::try_from(child.id()).unwrap(), Signal::TERM);
        (ended(child).code == 143).then_some(())
    });
    assert_eq!(host.state("web"), "running");
}

#[test]
fn in_pipes_every_byte_is_the_guests_and_the_end_of_the_vm_is_the_end() {
    let host = Host::new();
    guest(&host);
    let (child, mut stdin) = piped(&host, &["console", "web"]);
    stdin.write_all(b"echo a\x1db\recho \xff\r").unwrap();
    host.maqet(["wait", "web", "--for", r"console:\xff"]).exits(0);
    stdin.write_all(b"poweroff\r").unwrap();
    let ran = ended(child).exits(0);
    assert!(ran.stdout.contains("maqet-guest: ready\r\n"), "{:?}", ran.stdout);
    assert!(ran.stdout.contains("a\x1db\r\n"), "{:?}", ran.stdout);
    assert_eq!(ran.stderr, "maqet: web has ended\n");

    // At the end of its input it goes on looking; the place is free then.
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let ran = host.shell(
        "echo echo early | maqet console web -q & maqet wait web --for console:early > waited; \
         echo poweroff | maqet console web -q > other; wait; cat other",
    );
    assert!(ran.stdout.matches("early\r\n").count() == 2 && ran.stderr.is_empty(), "{ran:?}");
    host.maqet(["console", "web"]).exits(3);

    // One that was not the guest's own will is none in order.
    host.maqet(["start", "web"]).exits(0);
    let (child, stdin) = piped(&host, &["console", "web"]);
    host.wait_for_guest("web");
    send(host.qemu_pid("web"), Signal::KILL);
    let ran = ended(child).exits(1);
    drop(stdin);
    assert!(ran.stderr.contains("hint: \"maqet why\""), "{}", ran.stderr);
}

#[test]
fn signals_deadlines_and_a_reader_that_leaves_end_it_in_pipes() {
    let host = Host::new();
    silent(&host);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (child, stdin) = piped(&host, &["console", "web", "--read-only"]);
        // It says where else to look, and is attached by then.
        let mut stderr = String::new();
        let mut child = child;
        let mut bytes = [0; 256];
        while !stderr.contains('\n') {
            let count = child.stderr.as_mut().unwrap().read(&mut bytes).unwrap();
            stderr.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        assert!(stderr.contains("written nothing here"), "{stderr}");
        send(i32::try_from(child.id()).unwrap(), signal);
        ended(child).exits(code);
        drop(stdin);
    }
    let late = host.maqet(["console", "web", "--timeout", "200ms"]).exits(5);
    assert!(late.took < Duration::from_secs(2), "{:?}", late.took);
    host.maqet(["console", "web", "--escape", "x"]).exits(2);
    host.maqet(["console", "nobody"]).exits(4);
    host.maqet(["stop", "web", "--force"]).exits(0);
    host.maqet(["console", "web"]).exits(3);

    let host = Host::new();
    guest(&host);
    let ran = host.shell(
        "maqet console web --read-only | head -n 1 & \
         sleep 0.5; maqet send web 'echo more\\r'; maqet send web 'echo more\\r'; wait; echo done",
    );
    assert!(ran.stdout.ends_with("done\n") && ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn a_start_can_end_in_the_console() {
    let host = Host::new();
    host.add_guest("web", &[]);
    let mut terminal = attached(&host, &["start", "web", "--console"], &[]);
    terminal.wait_for("maqet-guest: ready");
    terminal.press(b"poweroff\r");
    assert_eq!(terminal.code(), 0, "{}", terminal.drawn());
    assert!(terminal.is_sane());
    host.add_bare("other");
    host.maqet(["start", "web", "other", "--console"]).exits(2);
    host.maqet(["start", "other", "--console", "--json"]).exits(2);
    assert_eq!(host.state("web"), "stopped");
}

/// The last number that the guest has counted.
fn counted(host: &Host) -> u64 {
    let mut log = File::open(host.vm_folder("web").join("console.log")).unwrap();
    let length = log.metadata().unwrap().len();
    log.seek(SeekFrom::Start(length.saturating_sub(400))).unwrap();
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    let whole = text.rsplit_once('\n').unwrap().0;
    let number = whole.rsplit_once("number ").unwrap().1;
    number.trim().parse().unwrap()
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn a_client_that_never_reads_does_not_slow_the_guest() {
    let host = Host::new();
    guest(&host);
    let script = "sh i=0; while :; do i=$((i+1)); echo number $i; done";
    host.maqet(["send", "web", script, "--line", "--for", "console:number 100"]).exits(0);
    let rate = || {
        let (before, began) = (counted(&host), Instant::now());
        std::thread::sleep(Duration::from_millis(1500));
        (counted(&host) - before) as f64 / began.elapsed().as_secs_f64()
    };
    // Other tests share the processors: windows with and without take turns, and have three tries.
    let ratio = || {
        let (mut with, mut without) = (0.0, 0.0);
        for _ in 0..3 {
            without += rate();
            // One that speaks the protocol, and the command itself with a pipe that nobody reads.
            let place = folder(&host);
            let mut client = Client::version_1(&place);
            client.say(r#"{"method":"console","kwargs":{"read_only":true},"id":1}"#);
            let (mut child, stdin) = piped(&host, &["console", "web"]);
            // All that is between them is full.
            std::thread::sleep(Duration::from_millis(700));
            with += rate();
            drop(stdin);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        println!(
            "{without:.0} numbers in 3 s without a client, {with:.0} with two that do not read"
        );
        with / without
    };
    let kept = (0..3).any(|_| (0.9..=1.1).contains(&ratio()));
    assert!(kept, "the guest is held up");
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn who_reads_slowly_is_told_what_is_missing() {
    let host = Host::new();
    guest(&host);
    let (mut child, stdin) = piped(&host, &["console", "web", "--read-only"]);
    host.maqet(["send", "web", r"flood\r", "--for", "console:flood"]).exits(0);
    let log = host.vm_folder("web").join("console.log");
    // More than all that lies between the guest and who does not read.
    eventually(LIMIT * 3, "1 MiB was printed", || {
        (std::fs::metadata(&log).unwrap().len() > 1 << 20).then_some(())
    });
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut sink = vec![0; 64 << 10];
        while stdout.read(&mut sink).unwrap_or(0) > 0 {}
    });
    let mut told = String::new();
    let mut bytes = [0; 256];
    while !told.contains('\n') {
        let count = child.stderr.as_mut().unwrap().read(&mut bytes).unwrap();
        told.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    assert!(told.contains("bytes were not taken in time"), "{told}");
    drop(stdin);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}
