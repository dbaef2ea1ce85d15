//! The runner's end of QMP: bytes in and out of one socket, and who asked what.
//!
//! It decides nothing. Where QEMU stops speaking QMP, or stops reading it, the monitor is closed for
//! good and says so once: the VM is then controlled by signals.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use serde_json::{Map, Value, json};

use super::state::Order;
use crate::qemu::qmp::{self, Answer, Message, Version};
use crate::sys::Interest;
use crate::wire::line::Lines;

/// Bytes read in one turn of the loop.
const READ_PER_TURN: usize = 64 << 10;
/// Lines taken in one turn of the loop: what one event costs may be a file that is written.
const LINES_PER_TURN: usize = 64;
/// Bytes that may wait for a QEMU that does not read.
const UNREAD_LIMIT: usize = 8 << 20;
/// Reads and writes that may fail in a row, for want of memory say, before QEMU counts as lost.
const FAILURES: u32 = 8;
/// Commands that may wait for QEMU's answer.
const UNANSWERED_LIMIT: usize = 256;

/// Who gave a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asker {
    Machine(Order),
    /// For those who wait for the guest.
    Watches,
    /// For those who press keys.
    Keyboard,
    /// For a file of what is on the screen, by its number.
    Pictures(usize),
    /// Whatever it says.
    Nobody,
    Client {
        session: u64,
        request: Option<Value>,
    },
}

/// What came from QEMU.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    Greeting(Option<Version>),
    Answer(Asker, Answer),
    Event {
        name: String,
        data: Map<String, Value>,
    },
    /// The monitor is closed, and why. What was asked and not answered will not be.
    Lost(String),
}

#[derive(Debug)]
pub(super) struct Monitor {
    stream: Option<UnixStream>,
    lines: Lines,
    unsent: Vec<u8>,
    next_id: u64,
    asked: HashMap<u64, Asker>,
    /// Reads and writes that failed in a row, QEMU being there still.
    failures: u32,
}

impl Monitor {
    /// Takes our end of the pair, which is made non-blocking.
    pub(super) fn new(stream: UnixStream) -> std::io::Result<Monitor> {
        stream.set_nonblocking(true)?;
        Ok(Monitor {
            stream: Some(stream),
            lines: Lines::new(qmp::LINE_LIMIT),
            unsent: Vec::new(),
            next_id: 1,
            asked: HashMap::new(),
            failures: 0,
        })
    }

    /// What to poll for; `None` once the monitor is closed.
    pub(super) fn source(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        let interest = if self.unsent.is_empty() { Interest::Read } else { Interest::ReadWrite };
        self.stream.as_ref().map(|stream| (stream.as_fd(), interest))
    }

    /// Whether one more command may be given.
    pub(super) fn has_room(&self) -> bool {
        self.stream.is_some() && self.asked.len() < UNANSWERED_LIMIT
    }

    /// Gives a command of the machine's own.
    pub(super) fn order(&mut self, order: Order) -> Option<News> {
        let (name, arguments) = match order {
            Order::Capabilities => ("qmp_capabilities", json!({})),
            Order::MachineType => ("qom-get", json!({"path": "/machine", "property": "type"})),
            Order::Cont => ("cont", json!({})),
            Order::Powerdown => ("system_powerdown", json!({})),
            Order::Quit => ("quit", json!({})),
        };
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        self.execute(Asker::Machine(order), name, arguments)
    }

    /// Gives a command; the answer comes as [`News::Answer`] with the same asker.
    pub(super) fn execute(
        &mut self,
        asker: Asker,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Option<News> {
        self.stream.as_ref()?;
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, asker);
        self.unsent.extend(qmp::command(id, name, arguments));
        self.flush()
    }

    /// Whether a line waits that no byte will announce.
    pub(super) fn has_line(&self) -> bool {
        self.stream.is_some() && self.lines.has_line()
    }

    /// Reads once, at most 64 KiB, where no line waits from the turn before, writes what waits, and
    /// gives the news in order.
    pub(super) fn turn(&mut self) -> Vec<News> {
        let mut news: Vec<News> = self.flush().into_iter().collect();
        let closed = if self.has_line() { None } else { self.read() };
        for _ in 0..LINES_PER_TURN {
            if self.stream.is_none() {
                // Nothing is heard any more once it is lost, whatever has come behind.
                break;
            }
            match self.lines.next_line() {
                Ok(Some(line)) => match Message::parse(&line) {
                    Ok(message) => news.extend(self.sort(message)),
                    Err(nonsense) => {
                        news.extend(self.lose(format!("QEMU spoke no QMP: {}", nonsense.0)));
                    }
                },
                Ok(None) => break,
                Err(_) => news.extend(self.lose("QEMU sent a line without an end".into())),
            }
        }
        if let Some(why) = closed {
            news.extend(self.lose(why));
        }
        news
    }

    /// The askers that will get no answer any more.
    pub(super) fn unanswered(&mut self) -> Vec<Asker> {
        if self.stream.is_some() {
            return vec![];
        }
        self.asked.drain().map(|(_, asker)| asker).collect()
    }

    fn sort(&mut self, message: Message) -> Option<News> {
        match message {
            Message::Greeting { version } => Some(News::Greeting(version)),
            Message::Event { name, data } => Some(News::Event { name, data }),
            Message::Answer { id, answer } => match self.asked.remove(&id) {
                Some(asker) => Some(News::Answer(asker, answer)),
                None => self.lose(format!("QEMU answered a command {id} that was not given")),
            },
        }
    }

    fn read(&mut self) -> Option<String> {
        let stream = self.stream.as_mut()?;
        let mut buffer = vec![0; READ_PER_TURN];
        match stream.read(&mut buffer) {
            Ok(0) => Some("QEMU closed it".into()),
            Ok(count) => {
                self.lines.push(&buffer[..count]);
                self.failures = 0;
                None
            }
            Err(error) if self.bears(&error) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    fn flush(&mut self) -> Option<News> {
        let stream = self.stream.as_mut()?;
        match stream.write(&self.unsent) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(error) if self.bears(&error) => {}
            // QEMU may have said its last words before it closed: reading tells the end.
            Err(error) if is_end(&error) => self.unsent.clear(),
            Err(error) => return self.lose(error.to_string()),
        }
        if self.unsent.len() > UNREAD_LIMIT {
            return self.lose("QEMU does not read it".into());
        }
        None
    }

    /// Whether what failed may be tried again: there was nothing to do, or QEMU is there still.
    fn bears(&mut self, error: &std::io::Error) -> bool {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => true,
            _ if is_end(error) || self.failures == FAILURES => false,
            _ => {
                self.failures += 1;
                true
            }
        }
    }

    fn lose(&mut self, why: String) -> Option<News> {
        self.unsent = Vec::new();
        self.lines = Lines::new(qmp::LINE_LIMIT);
        self.stream.take().map(|_| News::Lost(why))
    }
}

/// Whether QEMU has closed its end.
fn is_end(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Monitor, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Monitor::new(ours).unwrap(), theirs)
    }

    #[test]
    fn an_answer_goes_to_who_asked() {
        let (mut monitor, mut qemu) = pair();
        let client = Asker::Client { session: 3, request: Some(json!("a")) };
        assert_eq!(monitor.order(Order::Cont), None);
        assert_eq!(monitor.execute(client.clone(), "query-status", Map::new()), None);
        qemu.write_all(
            b"{\"return\":{\"x\":1},\"id\":2}\n{\"event\":\"RESUME\"}\n{\"return\":{},\"id\":1}\n",
        )
        .unwrap();
        assert_eq!(
            monitor.turn(),
            [
                News::Answer(client, Answer::Return(json!({"x": 1}))),
                News::Event { name: "RESUME".into(), data: Map::new() },
                News::Answer(Asker::Machine(Order::Cont), Answer::Return(json!({}))),
            ]
        );
    }

    #[test]
    fn nonsense_closes_the_monitor_once_and_for_all() {
        for nonsense in ["hello\n", "{\"return\":{},\"id\":99}\n", "\u{7f}\n{}\n"] {
            let (mut monitor, mut qemu) = pair();
            monitor.order(Order::Quit);
            qemu.write_all(nonsense.as_bytes()).unwrap();
            let news = monitor.turn();
            assert!(matches!(news.as_slice(), [News::Lost(_)]), "{nonsense:?}: {news:?}");
            assert!(monitor.source().is_none() && !monitor.has_room());
            assert_eq!(monitor.unanswered(), [Asker::Machine(Order::Quit)]);
            assert!(monitor.turn().is_empty());
        }
    }

    #[test]
    fn a_flood_is_taken_in_turns_and_all_of_it_before_the_end() {
        let (mut monitor, mut qemu) = pair();
        let count = 3 * LINES_PER_TURN + 1;
        qemu.write_all("{\"event\":\"STOP\"}\n".repeat(count).as_bytes()).unwrap();
        drop(qemu);
        for turn in 0..3 {
            assert_eq!(monitor.turn().len(), LINES_PER_TURN, "{turn}");
            assert!(monitor.has_line());
        }
        assert_eq!(monitor.turn().len(), 1);
        assert!(!monitor.has_line() && matches!(monitor.turn().as_slice(), [News::Lost(_)]));
    }

    #[test]
    fn what_comes_behind_nonsense_is_not_heard() {
        let (mut monitor, mut qemu) = pair();
        qemu.write_all(b"{}\n{\"event\":\"SHUTDOWN\"}\n{\"event\":\"STOP\"}\n").unwrap();
        let news = monitor.turn();
        assert!(matches!(news.as_slice(), [News::Lost(_)]), "{news:?}");
        assert!(!monitor.has_line() && monitor.turn().is_empty());
    }

    #[test]
    fn an_endless_line_is_bounded() {
        let (mut monitor, mut qemu) = pair();
        let block = vec![b'x'; READ_PER_TURN];
        let mut sent = 0;
        let lost = loop {
            qemu.write_all(&block).unwrap();
            sent += block.len();
            if let [News::Lost(why)] = monitor.turn().as_slice() {
                break why.clone();
            }
        };
        assert!(sent <= qmp::LINE_LIMIT + 2 * READ_PER_TURN, "{sent}");
        assert!(lost.contains("without an end"));
    }

    #[test]
    fn the_last_words_are_heard_before_the_end() {
        let (mut monitor, mut qemu) = pair();
        qemu.write_all(b"{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-shutdown\"}}\n")
            .unwrap();
        drop(qemu);
        monitor.order(Order::Quit);
        let mut news = monitor.turn();
        news.extend(monitor.turn());
        assert!(matches!(news.as_slice(), [News::Event { .. }, News::Lost(_)]), "{news:?}");
    }

    #[test]
    fn a_qemu_that_never_reads_is_given_up_before_memory_is() {
        let (mut monitor, _qemu) = pair();
        let mut arguments = Map::new();
        arguments.insert("x".into(), "y".repeat(1 << 20).into());
        let lost = (0..20)
            .find_map(|_| monitor.execute(Asker::Machine(Order::Cont), "x", arguments.clone()));
        assert!(matches!(lost, Some(News::Lost(_))));
    }
}
