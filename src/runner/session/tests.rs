//! Clients of every kind against the sessions alone, without a loop and without QEMU.

use std::io::{BufRead, BufReader, Write};

use super::*;
use crate::testing::Folder;
use crate::wire::auth::Answer;
use crate::wire::message::{self, Call, REQUEST_LIMIT, UNANSWERED};

const ID: &str = "0b1c6c1e-7a55-4f7e-9d57-1f1e6f1c2d3e";

struct Server {
    folder: Folder,
    sessions: Sessions,
    key: Key,
}

impl Server {
    fn new() -> Server {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let key = Key::random().unwrap();
        Server { folder, sessions: Sessions::new(listener, ID.into(), key.clone()), key }
    }

    fn connect(&mut self) -> Client {
        let stream = UnixStream::connect(self.folder.path().join("s")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.sessions.accept();
        Client { reader: BufReader::new(stream) }
    }

    /// One turn over all connections; requests are given back unanswered.
    fn turn(&mut self) -> Vec<(u64, Result<Request, Box<Refused>>)> {
        let mut requests = Vec::new();
        for number in self.sessions.numbers() {
            self.sessions.turn(number);
            for _ in 0..REQUESTS_PER_TURN {
                if let Some(Line::Request(request)) = self.sessions.next_line(number) {
                    requests.push((number, request));
                }
            }
        }
        requests
    }

    fn client(&mut self) -> Client {
        let mut client = self.connect();
        let challenge = client.line();
        let (answer, line) = Answer::to_challenge(&self.key, ID, challenge.as_bytes()).unwrap();
        client.say(&line);
        self.turn();
        answer.verify(&self.key, client.line().as_bytes()).unwrap();
        client
    }
}

struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    fn say(&mut self, line: &str) {
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line, or the empty string at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

const PING: &str = r#"{"method":"ping"}"#;

fn pong() -> Result<Value, Error> {
    Ok("pong".into())
}

#[test]
fn a_client_that_authenticates_is_heard_and_answered() {
    let mut server = Server::new();
    let mut client = server.client();
    client.say(PING);
    let requests = server.turn();
    let (number, Ok(request)) = &requests[0] else { panic!("{requests:?}") };
    assert_eq!(request.call, Call::Ping);
    server.sessions.answer(*number, None, pong());
    assert_eq!(client.line(), r#"{"result":"pong","status":"success"}"#);
}

#[test]
fn a_version_1_client_is_sent_nothing_between_challenge_and_answer() {
    let mut server = Server::new();
    let mut client = server.connect();
    let challenge: Value = serde_json::from_str(&client.line()).unwrap();
    let path = server.folder.path().join("secret");
    server.key.write(&path).unwrap();
    let key = std::fs::read_to_string(path).unwrap();
    let value = challenge["value"].as_str().unwrap();
    let openssl = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", &key])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut openssl = openssl.unwrap();
    openssl.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap();
    let mac = output.trim().rsplit(' ').next().unwrap();
    client.say(&format!(r#"{{"auth":"{mac}"}}"#));
    client.say(PING);
    let requests = server.turn();
    server.sessions.answer(requests[0].0, None, pong());
    assert!(client.line().contains("pong"));
}

#[test]
fn a_wrong_answer_and_a_long_line_get_the_one_refusal_and_the_end() {
    for line in ["{}".to_owned(), "x".repeat(513), format!(r#"{{"auth":"{}"}}"#, "0".repeat(64))] {
        let mut server = Server::new();
        let mut client = server.connect();
        client.line();
        client.say(&line);
        assert!(server.turn().is_empty());
        assert_eq!(client.line(), auth::REFUSAL);
        assert_eq!(client.line(), "");
        assert!(server.sessions.numbers().is_empty());
    }
}

#[test]
fn the_seventeenth_stranger_takes_the_place_of_the_oldest() {
    let mut server = Server::new();
    let mut clients: Vec<Client> = (0..=STRANGERS).map(|_| server.connect()).collect();
    assert_eq!(server.sessions.numbers().len(), STRANGERS);
    clients[0].line();
    assert_eq!(clients[0].line(), "", "the oldest is closed");
    assert!(!clients[1].line().is_empty());
}

#[test]
fn a_stranger_has_ten_seconds_in_all() {
    let mut server = Server::new();
    let mut client = server.connect();
    client.line();
    let deadline = server.sessions.deadline().unwrap();
    assert!(deadline <= Instant::now() + AUTHENTICATION_LIMIT);
    server.sessions.expire(deadline - Duration::from_millis(1));
    assert_eq!(server.sessions.numbers().len(), 1);
    server.sessions.expire(deadline);
    assert!(server.sessions.numbers().is_empty());
    assert_eq!((client.line().as_str(), client.line().as_str()), (auth::REFUSAL, ""));
}

#[test]
fn the_sixty_fifth_client_is_told_that_there_is_no_room() {
    let mut server = Server::new();
    let clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    let mut late = server.connect();
    let challenge = late.line();
    let (answer, line) = Answer::to_challenge(&server.key, ID, challenge.as_bytes()).unwrap();
    late.say(&line);
    server.turn();
    answer.verify(&server.key, late.line().as_bytes()).unwrap();
    assert!(late.line().contains("no room"));
    drop(clients);
}

#[test]
fn what_a_client_has_said_is_taken_before_more_is_read() {
    let mut server = Server::new();
    let mut client = server.client();
    client.say(&[PING; 20].join("\n"));
    let number = server.sessions.numbers()[0];
    server.sessions.turn(number);
    for taken in 0..20 {
        let (_, _, interest) = server.sessions.sources().next().unwrap();
        assert_eq!((server.sessions.has_work(), interest), (true, Interest::Nothing), "{taken}");
        assert!(matches!(server.sessions.next_line(number), Some(Line::Request(Ok(_)))));
        server.sessions.answer(number, None, pong());
    }
    let (_, _, interest) = server.sessions.sources().next().unwrap();
    assert_eq!((server.sessions.has_work(), interest), (false, Interest::Read));
}

#[test]
fn answers_without_ids_keep_their_order_and_those_with_ids_need_not() {
    let mut server = Server::new();
    let mut client = server.client();
    client.say(PING);
    client.say(r#"{"method":"status"}"#);
    assert_eq!(server.turn().len(), 1, "the second waits for the first's answer");
    let number = server.sessions.numbers()[0];
    server.sessions.answer(number, None, pong());
    assert_eq!(server.turn().len(), 1);
    server.sessions.answer(number, None, pong());
    for id in ["1", "2"] {
        client.say(&format!(r#"{{"method":"ping","id":{id}}}"#));
    }
    assert_eq!(server.turn().len(), 2);
    for id in [2, 1] {
        server.sessions.answer(number, Some(&id.into()), pong());
    }
    client.line();
    client.line();
    assert!(client.line().contains(r#""id":2"#));
    assert!(client.line().contains(r#""id":1"#));
}

#[test]
fn at_most_eight_requests_of_one_client_are_taken_in_a_turn() {
    let mut server = Server::new();
    let mut client = server.client();
    for id in 0..20 {
        client.say(&format!(r#"{{"method":"ping","id":{id}}}"#));
    }
    assert_eq!(server.turn().len(), REQUESTS_PER_TURN);
    assert!(server.sessions.has_work(), "the loop must not sleep on the rest");
}

#[test]
fn a_client_with_many_unanswered_requests_waits() {
    let mut server = Server::new();
    let mut client = server.client();
    for id in 0..40 {
        client.say(&format!(r#"{{"method":"ping","id":{id}}}"#));
    }
    let taken: usize = (0..10).map(|_| server.turn().len()).sum();
    assert_eq!(taken, UNANSWERED);
    assert!(!server.sessions.has_work());
}

#[test]
fn a_request_over_a_mebibyte_is_refused() {
    let mut server = Server::new();
    let mut client = server.client();
    let mut writer = client.reader.get_ref().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let _ = writer.write_all(&vec![b'x'; REQUEST_LIMIT + 100_000]);
    });
    while !server.sessions.numbers().is_empty() {
        server.turn();
    }
    sender.join().unwrap();
    assert!(client.line().contains("longer than 1 MiB"));
}

#[test]
fn a_client_that_hangs_up_while_its_request_is_worked_on_is_let_go() {
    let mut server = Server::new();
    let mut client = server.client();
    client.say(PING);
    server.turn();
    drop(client);
    server.turn();
    assert!(server.sessions.numbers().is_empty());
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let mut server = Server::new();
    let mut client = server.client();
    client.say(PING);
    client.reader.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    let requests = server.turn();
    server.sessions.answer(requests[0].0, None, pong());
    assert!(client.line().contains("pong"));
    server.turn();
    assert!(server.sessions.numbers().is_empty());
}

#[test]
fn who_does_not_read_is_closed_before_memory_runs_out() {
    let mut server = Server::new();
    let mut client = server.client();
    let number = server.sessions.numbers()[0];
    let large = || Ok(Value::from("x".repeat(REPLY_LIMIT - 100)));
    client.say(PING);
    server.turn();
    server.sessions.answer(number, None, large());
    assert!(server.sessions.numbers() == [number], "one full answer may wait");
    client.say(PING);
    assert!(server.turn().is_empty(), "nothing more is taken from it");
    server.sessions.answer(number, None, large());
    assert!(server.sessions.numbers().is_empty());
}

#[test]
fn an_answer_beyond_the_limit_becomes_an_error() {
    let mut server = Server::new();
    let mut client = server.client();
    client.say(PING);
    let requests = server.turn();
    server.sessions.answer(requests[0].0, None, Ok("x".repeat(REPLY_LIMIT).into()));
    assert!(client.line().contains("longer than the protocol allows"));
}

#[test]
fn the_manual_tells_every_limit_as_it_is() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/man/maqet-protocol.7");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split(".Ss Limits").nth(1).unwrap().split("\n.El").next().unwrap();
    let told: Vec<(&str, &str)> =
        section.lines().filter_map(|line| line.strip_prefix(".It ")?.split_once(" Ta ")).collect();
    let bytes = |count: usize| match count {
        count if count >= 1 << 20 && count.is_multiple_of(1 << 20) => {
            format!("{} MiB", count >> 20)
        }
        count if count >= 1 << 10 && count.is_multiple_of(1 << 10) => {
            format!("{} KiB", count >> 10)
        }
        count => format!("{count} bytes"),
    };
    let expected = [
        ("clients that have not authenticated", STRANGERS.to_string()),
        ("time to authenticate, in all", format!("{} seconds", AUTHENTICATION_LIMIT.as_secs())),
        ("line before authentication", bytes(auth::LINE_LIMIT)),
        ("clients", CLIENTS.to_string()),
        ("request line", bytes(REQUEST_LIMIT)),
        ("values of a request", bytes(message::WEIGHT_LIMIT)),
        ("answer line", bytes(REPLY_LIMIT)),
        ("values of a line of QEMU's", bytes(crate::qemu::qmp::WEIGHT_LIMIT)),
        ("id of a request", bytes(message::ID_LIMIT)),
        ("unanswered requests with an id, of one client", UNANSWERED.to_string()),
        ("line of the guest's agent", bytes(crate::qemu::agent::LINE_LIMIT)),
        ("commands that wait for the guest's agent", crate::runner::agent::QUEUE.to_string()),
        ("commands that run in the guest", crate::runner::execs::MOST.to_string()),
        (
            "input of one of them before its client waits",
            bytes(crate::qemu::agent::exec::INPUT_WINDOW),
        ),
        ("unread frames of a stream before it waits", bytes(STREAM_WINDOW)),
        ("bytes read from one client in a turn", bytes(READ_PER_TURN)),
        ("requests taken from one client in a turn", REQUESTS_PER_TURN.to_string()),
        ("unread answers before requests wait", bytes(REQUEST_LIMIT)),
        ("unread answers of one client", bytes(WAITING_FOR_ONE)),
        ("unread answers of all clients", bytes(WAITING_FOR_ALL)),
    ];
    let expected: Vec<(&str, &str)> =
        expected.iter().map(|(what, limit)| (*what, limit.as_str())).collect();
    assert_eq!(told, expected);
}
