//! Every limit of maqet-protocol(7), from both sides, and that whoever reaches one harms only
//! himself.

use std::io::{BufRead, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{Client, REFUSAL, folder, resident};
use crate::harness::{Host, send};

const PING: &str = r#"{"method":"ping"}"#;

fn running() -> Host {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    host
}

/// The slowest of 50 pings.
fn slowest_ping(client: &mut Client) -> Duration {
    let ping = |_| {
        let began = Instant::now();
        assert_eq!(client.ask(PING)["result"], "pong");
        began.elapsed()
    };
    (0..50).map(ping).max().unwrap()
}

#[test]
fn the_line_before_authentication_has_512_bytes_and_no_more() {
    let host = running();
    let folder = folder(&host);
    for (length, welcome) in [(512, true), (513, false)] {
        let mut client = Client::connect(&folder);
        let answer = client.answer_to_challenge(&folder);
        client.say(&format!("{answer:length$}"));
        if welcome {
            assert_eq!(client.ask(PING)["result"], "pong");
        } else {
            assert_eq!((client.hear().as_str(), client.hear().as_str()), (REFUSAL, ""));
        }
    }
    // Nobody waits for the newline of a line that is too long already.
    let mut client = Client::connect(&folder);
    client.hear();
    client.reader.get_mut().write_all(&[b' '; 513]).unwrap();
    assert_eq!((client.hear().as_str(), client.hear().as_str()), (REFUSAL, ""));
}

#[test]
fn a_request_has_a_mebibyte_and_no_more() {
    let host = running();
    let folder = folder(&host);
    let mut client = Client::version_1(&folder);
    let padded = |length: usize| PING.to_owned() + &" ".repeat(length - PING.len());
    assert_eq!(client.ask(&padded(1 << 20))["result"], "pong");
    let refused = client.ask(&padded((1 << 20) + 1));
    assert_eq!(refused["kind"], "usage", "{refused}");
    assert_eq!(client.hear(), "", "and it is closed");
}

#[test]
fn a_seventeenth_stranger_takes_the_place_of_the_oldest() {
    let host = running();
    let folder = folder(&host);
    let mut friend = Client::version_1(&folder);
    assert_eq!(friend.ask(PING)["result"], "pong");
    let mut strangers: Vec<Client> = (0..17).map(|_| Client::connect(&folder)).collect();
    for stranger in &mut strangers {
        assert!(stranger.hear().contains("challenge"));
    }
    assert_eq!(strangers[0].hear(), "", "the oldest is closed");
    for stranger in &mut strangers[1..] {
        stranger.say("{}");
        assert_eq!(stranger.hear(), REFUSAL, "the others are not");
    }
    assert_eq!(friend.ask(PING)["result"], "pong", "who has authenticated is no stranger");
}

#[test]
fn a_stranger_has_10_seconds_in_all_however_it_drips() {
    let host = running();
    let folder = folder(&host);
    let began = Instant::now();
    let mut client = Client::connect(&folder);
    client.hear();
    client.stream().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut line = String::new();
    loop {
        match client.reader.read_line(&mut line) {
            Ok(_) => break,
            Err(_) => drop(client.reader.get_mut().write_all(b" ")),
        }
        assert!(began.elapsed() < Duration::from_secs(15), "it was never closed");
    }
    assert_eq!(line.trim_end(), REFUSAL, "a late answer gets the line of every failure");
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&took), "{took:?}");
}

#[test]
fn a_sixty_fifth_client_is_told_that_there_is_no_room() {
    let host = running();
    let folder = folder(&host);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..64 {
        let mut client = Client::version_1(&folder);
        assert_eq!(client.ask(PING)["result"], "pong");
        clients.push(client);
    }
    let mut late = Client::version_1(&folder);
    let refused = late.reply();
    assert_eq!(refused["kind"], "conflict", "{refused}");
    let ran = host.maqet(["qmp", "web", "query-status"]).exits(7);
    assert!(ran.stderr.contains("no room"), "{}", ran.stderr);
    clients.pop();
    assert_eq!(clients[0].ask(PING)["result"], "pong");
    host.maqet(["status", "web"]).exits(0);
}

#[test]
fn answers_without_an_id_keep_their_order_and_those_with_one_need_not() {
    let host = running();
    let qemu = host.qemu_pid("web");
    let folder = folder(&host);
    let query = |id: &str| format!(r#"{{"method":"qmp","args":["query-status"]{id}}}"#);
    let mut ordered = Client::version_1(&folder);
    let mut free = Client::version_1(&folder);
    send(qemu, Signal::STOP);
    // More than the 32 that may wait: the rest are held back, and none is lost.
    for number in 0..40 {
        free.say(&query(&format!(r#","id":{number}"#)));
        if number == 0 {
            assert_eq!(free.ask(r#"{"method":"ping","id":"between"}"#)["id"], "between");
        }
    }
    ordered.say(&format!("{}\n{PING}", query("")));
    send(qemu, Signal::CONT);
    assert_eq!(ordered.reply()["result"]["return"]["running"], true);
    assert_eq!(ordered.reply()["result"], "pong");
    let mut ids: Vec<i64> = (0..40).map(|_| free.reply()["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..40).collect::<Vec<i64>>());
}

#[test]
fn a_client_that_has_said_all_it_will_say_still_hears_every_answer() {
    let host = running();
    let folder = folder(&host);
    let mut client = Client::version_1(&folder);
    let query = r#"{"method":"qmp","args":["query-status"]}"#;
    let requests = format!("{query}\n{PING}\n").repeat(20);
    client.reader.get_mut().write_all(requests.as_bytes()).unwrap();
    client.stream().shutdown(Shutdown::Write).unwrap();
    for _ in 0..20 {
        assert!(client.reply()["result"]["return"].is_object());
        assert_eq!(client.reply()["result"], "pong");
    }
    assert_eq!(client.hear(), "");
}

#[test]
fn a_request_that_makes_no_sense_is_answered_and_the_next_is_served() {
    let host = running();
    let mut client = Client::version_1(&folder(&host));
    let deep = "[".repeat(5000);
    let long = format!(r#"{{"method":"ping","id":"{}"}}"#, "x".repeat(100));
    for line in ["", "[]", "null", "{}", "\u{1}", &deep, &long, r#"{"method":"ping","more":1}"#] {
        let answer = client.ask(line);
        assert_eq!((&answer["status"], &answer["kind"]), (&"error".into(), &"usage".into()));
    }
    client.reader.get_mut().write_all(b"{\"method\":\"\xff\xfe\"}\n").unwrap();
    assert_eq!(client.reply()["kind"], "usage");
    assert_eq!(client.ask(PING)["result"], "pong");
}

#[test]
fn who_asks_without_end_neither_delays_another_nor_grows_the_runner() {
    let host = running();
    let folder = folder(&host);
    let runner = host.runner_pid("web");
    let mut other = Client::version_1(&folder);
    let greedy = Client::version_1(&folder);
    let (mut writer, mut reader) =
        (greedy.stream().try_clone().unwrap(), greedy.stream().try_clone().unwrap());
    std::thread::scope(|scope| {
        let block = format!("{PING}\n").repeat(3000);
        scope.spawn(move || while writer.write_all(block.as_bytes()).is_ok() {});
        scope.spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
        // Ends both threads, also when a check fails: the scope waits for them.
        let _end = End(greedy.stream());
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut largest = 0;
        while began.elapsed() < Duration::from_secs(3) {
            slowest = slowest.max(slowest_ping(&mut other));
            largest = largest.max(resident(runner));
        }
        println!("the slowest ping took {slowest:?}, the runner held {largest} KiB at most");
        assert!(slowest < Duration::from_millis(200), "{slowest:?}");
        assert!(largest < 16 << 10, "{largest} KiB");
    });
}

#[test]
fn a_runner_that_stands_still_with_a_full_queue_costs_a_command_its_2_seconds_only() {
    let host = running();
    let folder = folder(&host);
    let runner = host.runner_pid("web");
    send(runner, Signal::STOP);
    let mut queue: Vec<UnixStream> = Vec::new();
    let path = folder.join("ipc.sock");
    while let Some(stream) = connect_at_once(&path) {
        queue.push(stream);
        assert!(queue.len() < 10_000, "the queue has no end");
    }
    let ran = host.maqet(["status", "web", "--json"]).exits(5);
    assert_eq!(ran.json()["responding"], false);
    assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
    drop(queue);
    send(runner, Signal::CONT);
    host.maqet(["status", "web"]).exits(0);
}

/// Ends a connection when it goes out of scope.
struct End<'a>(&'a UnixStream);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Connects without waiting for room in the queue.
fn connect_at_once(path: &std::path::Path) -> Option<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).ok()?;
    Some(UnixStream::from(socket))
}
