//! The channel against agents of every kind, without a loop and without QEMU.

use std::io::{BufRead, BufReader, Write};

use super::*;

struct Guest {
    agent: Agent,
    reader: BufReader<UnixStream>,
    now: Instant,
}

fn guest() -> Guest {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut agent = Agent::new(Some(ours)).unwrap();
    assert_eq!(agent.opened(true, Instant::now()), []);
    theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    Guest { agent, reader: BufReader::new(theirs), now: Instant::now() }
}

fn ping() -> Command {
    Command { name: "guest-ping".into(), arguments: serde_json::Map::new() }
}

impl Guest {
    fn ask(&mut self, number: u64) -> Vec<Told> {
        self.agent.ask(self.now, Asker::Exec(number), &ping(), ANSWER_LIMIT)
    }

    /// The next command that the agent was given: its name, and the number of a sync.
    fn given(&mut self) -> (String, Option<u64>) {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).unwrap();
        let delimited = line.first() == Some(&0xff);
        let command: Value = serde_json::from_slice(&line[usize::from(delimited)..]).unwrap();
        let number = command["arguments"]["id"].as_u64();
        assert_eq!(delimited, number.is_some());
        (command["execute"].as_str().unwrap().to_owned(), number)
    }

    fn say(&mut self, bytes: &[u8]) -> Vec<Told> {
        self.reader.get_mut().write_all(bytes).unwrap();
        let mut told = self.agent.turn(self.now);
        told.extend(self.agent.turn(self.now));
        told
    }

    fn sync(&mut self) -> Vec<Told> {
        let (name, number) = self.given();
        assert_eq!(name, "guest-sync-delimited");
        self.say(b"\x01\n{\"error\":{\"desc\":\"?\"}}\n");
        let mut line = vec![0xff];
        line.extend(format!("{{\"return\": {}}}\n", number.unwrap()).into_bytes());
        self.say(&line)
    }

    /// How long it is until something is given up, and what that is.
    fn wait(&mut self) -> Vec<Told> {
        self.now = self.agent.deadline().unwrap();
        self.agent.expire(self.now)
    }
}

fn number(told: &Told) -> (&Asker, Result<&str, &str>) {
    let answer = match &told.answer {
        Ok(said) => Ok(std::str::from_utf8(&said.line).unwrap()),
        Err(lost) => Err(lost.error.message.as_str()),
    };
    (&told.asker, answer)
}

#[test]
fn commands_are_given_one_at_a_time_once_the_agent_has_said_its_number() {
    let mut guest = guest();
    assert_eq!((guest.ask(1), guest.ask(2)), (vec![], vec![]));
    assert_eq!(guest.sync(), []);
    assert_eq!(guest.given(), ("guest-ping".into(), None));
    let told = guest.say(b"{\"return\": {}}\r\n");
    assert_eq!(number(&told[0]), (&Asker::Exec(1), Ok("{\"return\": {}}\r")));
    assert_eq!(guest.given().0, "guest-ping");
    let told = guest.say(b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n");
    assert!(told.len() == 1 && told[0].answer.is_ok() && told[0].asker == Asker::Exec(2));
    // And the next without another number.
    guest.ask(3);
    assert_eq!(guest.given().0, "guest-ping");
    guest.say(b"{\"return\": {}}\n");
    // Who asks whether it is there gets an answer of this moment.
    assert_eq!(guest.agent.greet(guest.now), []);
    let told = guest.sync();
    assert_eq!(number(&told[0]), (&Asker::Watches, Ok("")));
}

#[test]
fn an_agent_that_is_not_there_is_told_at_once() {
    let mut guest = guest();
    guest.ask(1);
    guest.ask(2);
    let told = guest.agent.opened(false, guest.now);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|one| one.answer.is_err()) && guest.agent.deadline().is_none());
    // It may be the first half of the news.
    guest.given();
    assert_eq!(guest.ask(3), []);
    assert_eq!(guest.agent.opened(true, guest.now), []);
    guest.sync();
    assert_eq!(guest.given().0, "guest-ping");
    assert_eq!(guest.agent.opened(false, guest.now).len(), 1);
    assert_eq!(guest.ask(4), []);
    let told = guest.wait();
    assert!(number(&told[0]).1.unwrap_err().contains("no guest agent runs"));
    let told = guest.ask(5);
    assert!(number(&told[0]).1.unwrap_err().contains("no guest agent runs"));
    assert_eq!(guest.agent.deadline(), None);
    let mut none = Agent::new(None).unwrap();
    let told = none.ask(guest.now, Asker::Exec(1), &ping(), ANSWER_LIMIT);
    assert!(number(&told[0]).1.unwrap_err().contains("no channel"));
}

#[test]
fn a_silent_agent_costs_all_who_wait_one_time_and_nothing_is_known_of_it_then() {
    let mut guest = guest();
    guest.ask(1);
    guest.ask(2);
    let began = guest.now;
    let told = guest.wait();
    assert_eq!((told.len(), guest.now - began), (2, SYNC_LIMIT));
    assert!(told.iter().all(|one| matches!(&one.answer, Err(lost) if !lost.given)));
    guest.given();
    // One that falls silent behind its number owes one answer, and then another number.
    guest.ask(3);
    guest.sync();
    guest.ask(4);
    let told = guest.wait();
    assert_eq!((told.len(), &told[0].asker), (1, &Asker::Exec(3)));
    assert!(matches!(&told[0].answer, Err(lost) if lost.given));
    guest.given();
    // What it says too late is not the answer to the next.
    assert_eq!(guest.say(b"{\"return\": {\"late\": 1}}\n"), []);
    guest.sync();
    assert_eq!(guest.given().0, "guest-ping");
    let told = guest.say(b"{\"return\": {}}\n");
    assert_eq!(number(&told[0]), (&Asker::Exec(4), Ok("{\"return\": {}}")));
}

#[test]
fn nonsense_is_an_error_and_the_next_command_waits_for_a_number() {
    let deep = format!("{{\"return\":{}", "[".repeat(100_000));
    let long = format!("{{\"return\":\"{}\"}}", "x".repeat(2 << 20));
    for nonsense in
        ["hello", "{}", "{\"return\":{},\"id\":9}", deep.as_str(), "\"\u{fffd}\"", "[1,2]", &long]
    {
        let mut guest = guest();
        guest.ask(1);
        guest.sync();
        guest.given();
        let mut told = Vec::new();
        for piece in [nonsense.as_bytes(), b"\n"].concat().chunks(READ_PER_TURN) {
            told.extend(guest.say(piece));
        }
        let why = number(&told[0]).1.unwrap_err();
        assert!(why.contains("nonsense") || why.contains("1 MiB"), "{nonsense:.40}: {why}");
        guest.ask(2);
        guest.sync();
        assert_eq!(guest.given().0, "guest-ping");
        assert!(guest.say(b"{\"return\": {}}\n")[0].answer.is_ok());
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_never_the_next_one() {
    let mut guest = guest();
    assert_eq!(guest.say(b"{\"return\": \"before\"}\n"), []);
    guest.ask(1);
    guest.sync();
    guest.given();
    let told = guest.say(b"{\"return\": {}}\n{\"return\": \"twice\"}\n");
    assert_eq!(told.len(), 1);
    guest.ask(2);
    guest.sync();
    guest.given();
    let told = guest.say(b"{\"return\": 2}\n");
    assert_eq!(number(&told[0]), (&Asker::Exec(2), Ok("{\"return\": 2}")));
    // A wrong number is none.
    guest.say(b"x\n");
    guest.ask(3);
    guest.given();
    assert_eq!(guest.say(b"\xff{\"return\": 99999}\n{\"return\": 1}\n"), []);
    assert_eq!(guest.wait().len(), 1);
}

#[test]
fn an_agent_that_talks_without_end_keeps_nobody_and_takes_no_memory() {
    let mut guest = guest();
    let flood = b"{\"return\": {}}\n".repeat(4000);
    for _ in 0..200 {
        assert_eq!(guest.say(&flood), []);
    }
    guest.ask(1);
    guest.given();
    for _ in 0..200 {
        assert_eq!(guest.say(&flood), []);
    }
    assert_eq!(guest.wait().len(), 1);
}

#[test]
fn an_agent_that_does_not_read_costs_no_more_than_one_command() {
    let mut guest = guest();
    let mut arguments = serde_json::Map::new();
    arguments.insert("x".into(), "y".repeat(1 << 20).into());
    let command = Command { name: "guest-x".into(), arguments };
    guest.ask(0);
    guest.sync();
    guest.given();
    guest.say(b"{\"return\": {}}\n");
    for round in 0..20 {
        guest.agent.ask(guest.now, Asker::Exec(round), &command, ANSWER_LIMIT);
        assert_eq!(guest.wait().len(), 1, "{round}");
        assert!(guest.agent.unsent.capacity() < 3 << 20);
    }
}

#[test]
fn no_time_passes_for_the_agent_of_a_guest_that_stands_still() {
    let mut guest = guest();
    guest.ask(1);
    guest.agent.paused(true, guest.now);
    assert_eq!(guest.agent.deadline(), None);
    let later = guest.now + Duration::from_secs(3600);
    assert_eq!(guest.agent.expire(later), []);
    assert!(number(&guest.ask(2)[0]).1.unwrap_err().contains("paused"));
    guest.agent.paused(false, later);
    assert_eq!(guest.agent.deadline(), Some(later + SYNC_LIMIT));
}

#[test]
fn the_end_of_qemu_is_the_end_of_the_channel() {
    let Guest { mut agent, reader, now } = guest();
    agent.ask(now, Asker::Exec(1), &ping(), ANSWER_LIMIT);
    drop(reader);
    let told = agent.turn(now);
    assert_eq!(told.len(), 1);
    assert!(agent.source().is_none());
}

#[test]
fn an_answer_with_output_may_be_long_and_has_time_as_long_as_it_comes() {
    let mut guest = guest();
    guest.agent.ask(guest.now, Asker::Simple(1), &ping(), ANSWER_LIMIT);
    guest.sync();
    guest.given();
    assert_eq!(guest.say(b"{\"return\": {\"exited\": true, \"out-data\": \""), []);
    let piece = "QUJD".repeat(8 << 10);
    for _ in 0..100 {
        assert_eq!(guest.say(piece.as_bytes()), []);
    }
    guest.now += Duration::from_secs(9);
    assert_eq!(guest.say(piece.as_bytes()), []);
    assert_eq!(guest.agent.deadline(), Some(guest.now + ANSWER_LIMIT));
    let told = guest.say(b"\"}}\n").pop().unwrap();
    let said = told.answer.unwrap();
    assert_eq!(said.line, b"{\"return\": {\"exited\": true, \"out-data\": \"\"}}");
    let mut output = said.output;
    let lengths = std::iter::from_fn(|| output.pop()).map(|(_, bytes)| bytes.len());
    assert_eq!(lengths.sum::<usize>(), 101 * piece.len() / 4 * 3);

    // One that never ends is given up, and what comes of it then is nothing.
    guest.agent.ask(guest.now, Asker::Simple(2), &ping(), ANSWER_LIMIT);
    guest.given();
    let began = guest.now;
    guest.say(b"{\"out-data\": \"");
    while guest.agent.deadline().is_some_and(|until| until > guest.now) {
        guest.now += Duration::from_secs(5);
        assert_eq!(guest.say(piece.as_bytes()), []);
    }
    assert_eq!(guest.now - began, OUTPUT_LIMIT);
    assert!(matches!(&guest.wait()[0].answer, Err(lost) if lost.given));
    guest.ask(3);
    assert_eq!(guest.say(b"QUJD\"}\n"), []);
    guest.sync();
    guest.given();
    assert_eq!(number(&guest.say(b"{\"return\": 3}\n")[0]).1, Ok("{\"return\": 3}"));
}
