//! A command driven against a guest that is made of a few variables, and broken off at every step.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::base64;
use crate::error::{Error, Kind};
use crate::qemu::agent::Lost;

/// An agent with what it has open, and a command that copies its input to its output.
#[derive(Debug, Default)]
struct Guest {
    handles: BTreeMap<i64, (String, usize)>,
    files: BTreeMap<String, Vec<u8>>,
    processes: BTreeMap<i64, &'static str>,
    next: i64,
    /// What the command has read.
    input: Vec<u8>,
    input_ended: bool,
    /// Pieces that were told of.
    told: usize,
    /// The command takes nothing.
    holds: bool,
    /// How the command ended.
    code: Option<i64>,
    folder: bool,
    ended: usize,
    windows: bool,
    asked: Vec<String>,
}

impl Guest {
    fn answer(&mut self, command: &Command) -> Value {
        self.asked.push(command.name.clone());
        self.next += 1;
        let arguments = &command.arguments;
        let handle = arguments.get("handle").and_then(Value::as_i64);
        match command.name.as_str() {
            "guest-exec" if self.windows => json!({ "error": { "desc": "no such file" } }),
            "guest-exec" => {
                let words = arguments["arg"].as_array().unwrap();
                let script = words[1].as_str().unwrap();
                let kind = if script.contains("mkdir") {
                    self.folder = true;
                    "make"
                } else if script.contains("exec \"$@\"") {
                    assert!(self.folder);
                    "run"
                } else {
                    (self.folder, self.code) = (false, Some(143));
                    self.ended += 1;
                    "end"
                };
                self.processes.insert(self.next, kind);
                json!({ "return": { "pid": self.next } })
            }
            "guest-exec-status" => {
                let kind = self.processes[&arguments["pid"].as_i64().unwrap()];
                match kind {
                    "make" => {
                        let folder = base64::encode(b"/tmp/maqet-1\n");
                        json!({ "return": { "exited": true, "exitcode": 0, "out-data": folder } })
                    }
                    "run" => {
                        self.folder &= self.code.is_none();
                        json!({ "return": { "exited": self.code.is_some(), "exitcode": self.code } })
                    }
                    _ => json!({ "return": { "exited": true, "exitcode": 0 } }),
                }
            }
            "guest-get-osinfo" => json!({ "return": { "id": "mswindows" } }),
            "guest-file-open" => {
                let path = arguments["path"].as_str().unwrap().rsplit('/').next().unwrap();
                self.handles.insert(self.next, (path.to_owned(), 0));
                json!({ "return": self.next })
            }
            "guest-file-close" => {
                self.handles.remove(&handle.unwrap()).unwrap();
                json!({ "return": {} })
            }
            "guest-file-read" => {
                let (path, at) = self.handles.get_mut(&handle.unwrap()).unwrap();
                let bytes = self.files.get(path).map_or(&[][..], |bytes| &bytes[*at..]);
                let bytes = &bytes[..bytes.len().min(PIECE)];
                *at += bytes.len();
                json!({ "return": { "count": bytes.len(), "buf-b64": base64::encode(bytes) } })
            }
            "guest-file-write" => {
                let (path, _) = &self.handles[&handle.unwrap()];
                let bytes = base64::decode(arguments["buf-b64"].as_str().unwrap()).unwrap();
                // Half of it at a time, as a busy file system may.
                let count = if path == "go" { bytes.len() } else { bytes.len().div_ceil(2) };
                let file = self.files.entry(path.clone()).or_default();
                file.extend(&bytes[..count]);
                json!({ "return": { "count": count } })
            }
            "guest-file-flush" => {
                self.feed();
                json!({ "return": {} })
            }
            other => panic!("{other}"),
        }
    }

    fn feed(&mut self) {
        let lines = String::from_utf8(self.files.insert("go".into(), Vec::new()).unwrap()).unwrap();
        for line in lines.lines() {
            match line {
                "end" => self.input_ended = true,
                number => {
                    self.told += 1;
                    if !self.holds {
                        let bytes = self.files.remove(number).unwrap();
                        self.input.extend(&bytes);
                        self.files.entry("out".into()).or_default().extend(bytes);
                        self.files.entry("ack".into()).or_default().push(b'\n');
                    }
                }
            }
        }
        if self.input_ended {
            self.code.get_or_insert(7);
        }
    }
}

fn task() -> Task {
    Task { words: vec!["cat".into()], number: "1".into(), ..Task::default() }
}

/// What was told to the client.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ends: Vec<std::result::Result<Exit, Kind>>,
}

impl Seen {
    fn take(&mut self, exec: &mut Exec) {
        for report in exec.reports() {
            assert!(self.ends.is_empty(), "nothing follows the end: {report:?}");
            match report {
                Report::Stdout(bytes) => self.stdout.extend(bytes),
                Report::Stderr(bytes) => self.stderr.extend(bytes),
                Report::Ended(end) => self.ends.push(end.map_err(|error| error.kind)),
                Report::Cut | Report::IsWindows => panic!("{report:?}"),
            }
        }
    }
}

/// Drives it to its end; `meddle` comes before each answer, with its number, and may take its place.
fn drive(
    exec: &mut Exec,
    guest: &mut Guest,
    mut meddle: impl FnMut(usize, &mut Exec, &mut Guest) -> Option<Result<Vec<u8>, Lost>>,
) -> Seen {
    let mut now = Instant::now();
    let mut seen = Seen::default();
    let mut asked = 0;
    for _ in 0..10_000 {
        match exec.next(now, true) {
            Next::Ask(command) => {
                let answer = meddle(asked, exec, guest)
                    .unwrap_or_else(|| Ok(guest.answer(&command).to_string().into_bytes()));
                asked += 1;
                exec.answered(now, answer.as_deref().map_err(Clone::clone));
            }
            Next::Sleep(until) => now = until.expect("it sleeps for ever"),
            Next::Over => {
                seen.take(exec);
                return seen;
            }
        }
        seen.take(exec);
    }
    panic!("it does not end: {exec:?}");
}

#[test]
fn a_command_gets_its_input_and_gives_its_output_and_its_code() {
    for size in [0, 1, PIECE, 5 * PIECE + 3] {
        let input: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
        let mut guest = Guest::default();
        guest.files.insert("err".into(), b"oh".to_vec());
        let mut exec = Exec::new(Task { env: vec!["A=b".into()], ..task() });
        exec.feed(&input);
        let seen = drive(&mut exec, &mut guest, |asked, exec, guest| {
            if asked == 12 {
                exec.end_input();
            }
            // It takes its input in its own time.
            guest.holds = false;
            None
        });
        assert_eq!(seen.ends, [Ok(Exit::Code(7))], "{size}");
        assert!(seen.stdout == input && seen.stderr == b"oh", "{size}");
        assert!(guest.handles.is_empty() && !guest.folder && guest.ended == 0, "{guest:?}");
    }
}

#[test]
fn a_command_without_input_has_no_feeder() {
    let mut guest = Guest { code: Some(0), ..Guest::default() };
    let mut exec = Exec::new(task());
    exec.end_input();
    let seen = drive(&mut exec, &mut guest, |_, _, _| None);
    assert_eq!(seen.ends, [Ok(Exit::Code(0))]);
    let opened = guest.asked.iter().filter(|name| *name == "guest-file-open").count();
    assert_eq!(opened, 2);
}

#[test]
fn input_goes_no_further_ahead_than_four_pieces() {
    let mut guest = Guest { holds: true, ..Guest::default() };
    let mut exec = Exec::new(task());
    exec.feed(&vec![b'x'; 10 * PIECE]);
    assert!(!exec.takes_more());
    let seen = drive(&mut exec, &mut guest, |asked, exec, guest| {
        if asked == 200 {
            assert_eq!(guest.told, 4);
            assert!(!exec.takes_more());
            exec.cancel();
        }
        None
    });
    assert!(seen.ends.is_empty() && guest.ended == 1 && guest.handles.is_empty(), "{guest:?}");
}

#[test]
fn a_command_whose_time_is_over_is_ended_and_what_it_said_is_told() {
    let now = Instant::now();
    let mut guest = Guest::default();
    guest.files.insert("out".into(), b"so far".to_vec());
    let mut exec = Exec::new(Task { until: Some(now + Duration::from_secs(5)), ..task() });
    let seen = drive(&mut exec, &mut guest, |_, _, _| None);
    assert_eq!((seen.ends, &seen.stdout[..]), (vec![Ok(Exit::TimedOut)], &b"so far"[..]));
    assert!(guest.ended == 1 && guest.handles.is_empty() && !guest.folder);
    // Before anything was asked for there is nothing to end.
    let mut exec = Exec::new(Task { until: Some(now), ..task() });
    let seen = drive(&mut exec, &mut guest, |_, _, _| panic!());
    assert_eq!(seen.ends, [Ok(Exit::TimedOut)]);
}

/// What an agent gives in the place of its answer.
type Given = Result<Vec<u8>, Lost>;

/// A run with input, in which something happens before the answer of each number.
fn broken_off(at: usize, happen: fn(&mut Exec) -> Option<Given>) -> (Seen, Guest) {
    let mut guest = Guest::default();
    let mut exec = Exec::new(task());
    exec.feed(&[b'x'; 3]);
    exec.end_input();
    let seen = drive(
        &mut exec,
        &mut guest,
        |asked, exec, _| {
            if asked == at { happen(exec) } else { None }
        },
    );
    (seen, guest)
}

#[test]
fn whenever_its_client_leaves_nothing_is_left_in_the_guest() {
    for at in 0..40 {
        let (seen, guest) = broken_off(at, |exec| {
            exec.cancel();
            None
        });
        assert!(seen.ends.len() <= 1, "{at}");
        assert!(!guest.folder && guest.handles.is_empty(), "{at}: {guest:?}");
    }
    let (seen, guest) = broken_off(10, |exec| {
        exec.cancel();
        None
    });
    assert!(seen.ends.is_empty() && guest.ended == 1, "{guest:?}");
}

#[test]
fn an_answer_that_does_not_come_is_an_error_and_the_guest_is_cleaned_up_later() {
    for nonsense in [false, true] {
        for at in 0..40 {
            let lost = |_: &mut Exec| Some(Err(Lost::given(Error::timeout("no answer"))));
            let silly = |_: &mut Exec| Some(Ok(b"{\"return\": {}, \"id\": 3}".to_vec()));
            let (seen, guest) = broken_off(at, if nonsense { silly } else { lost });
            assert_eq!(seen.ends.len(), 1, "{at}");
            assert!(!guest.folder, "{at}: {guest:?}");
        }
    }
    // What was never given is not cleaned up behind.
    let (seen, guest) =
        broken_off(0, |_| Some(Err(Lost { error: Error::failed("there is none"), given: false })));
    assert_eq!((seen.ends, guest.asked.len()), (vec![Err(Kind::Failed)], 0));
}

#[test]
fn a_refusal_is_told_and_the_guest_is_cleaned_up() {
    for at in 1..40 {
        let refuse = |_: &mut Exec| Some(Ok(b"{\"error\": {\"desc\": \"disk full\"}}".to_vec()));
        let (seen, guest) = broken_off(at, refuse);
        assert_eq!(seen.ends.len(), 1, "{at}");
        assert!(!guest.folder, "{at}: {guest:?}");
    }
}

#[test]
fn an_agent_that_never_comes_back_is_given_up() {
    let mut guest = Guest::default();
    let mut exec = Exec::new(task());
    let mut lost = 0;
    let seen = drive(&mut exec, &mut guest, |asked, _, _| {
        lost += usize::from(asked >= 8);
        (asked >= 8).then(|| Err(Lost::given(Error::timeout("no answer"))))
    });
    assert_eq!(seen.ends, [Err(Kind::Timeout)]);
    assert!(lost <= 1 + RETRIES as usize, "{lost}");
}

#[test]
fn a_windows_guest_is_told_from_one_without_a_shell() {
    let mut guest = Guest { windows: true, ..Guest::default() };
    let mut exec = Exec::new(task());
    exec.feed(b"x");
    let now = Instant::now();
    while let Next::Ask(command) = exec.next(now, true) {
        let answer = guest.answer(&command).to_string();
        exec.answered(now, Ok(answer.as_bytes()));
    }
    assert_eq!(exec.reports(), [Report::IsWindows]);
    assert_eq!(exec.take_input(), (b"x".to_vec(), false));
}

#[test]
fn a_client_that_does_not_read_has_its_output_left_in_the_guest() {
    let mut guest = Guest { code: Some(0), ..Guest::default() };
    guest.files.insert("out".into(), vec![b'x'; 2 * PIECE]);
    let mut exec = Exec::new(task());
    exec.end_input();
    let mut now = Instant::now();
    loop {
        match exec.next(now, false) {
            Next::Ask(command) => {
                assert_ne!(command.name, "guest-file-read");
                let answer = guest.answer(&command).to_string();
                exec.answered(now, Ok(answer.as_bytes()));
            }
            Next::Sleep(Some(until)) => now = until,
            Next::Sleep(None) => break,
            Next::Over => panic!("its output was lost"),
        }
    }
    let mut seen = Seen::default();
    while let Next::Ask(command) = exec.next(now, true) {
        let answer = guest.answer(&command).to_string();
        exec.answered(now, Ok(answer.as_bytes()));
        seen.take(&mut exec);
    }
    assert_eq!((seen.stdout.len(), seen.ends), (2 * PIECE, vec![Ok(Exit::Code(0))]));
}

#[test]
fn input_for_a_command_that_has_just_ended_is_no_failure() {
    for step in 8..20 {
        let mut guest = Guest::default();
        let mut exec = Exec::new(task());
        exec.feed(&[b'x'; 3]);
        exec.end_input();
        let mut refused = false;
        let seen = drive(&mut exec, &mut guest, |asked, exec, guest| {
            let is_input = exec.asked.is_some_and(|asked| format!("{asked:?}").contains("Piece"));
            if asked < step || !is_input || refused {
                return None;
            }
            (refused, guest.code) = (true, Some(0));
            Some(Ok(b"{\"error\": {\"desc\": \"no such file\"}}".to_vec()))
        });
        if refused {
            assert_eq!(seen.ends, [Ok(Exit::Code(0))], "{step}");
            assert!(guest.handles.len() <= 1, "{guest:?}");
        }
        if !refused {
            break;
        }
    }
    // A guest whose disk is full is another thing.
    let mut guest = Guest::default();
    let mut exec = Exec::new(task());
    exec.feed(&[b'x'; 3]);
    let seen = drive(&mut exec, &mut guest, |_, exec, _| {
        let full = exec.asked == Some(Asked::PieceWrite);
        full.then(|| Ok(b"{\"error\": {\"desc\": \"no space\"}}".to_vec()))
    });
    assert_eq!(seen.ends, [Err(Kind::Failed)]);
    assert!(guest.handles.is_empty() && guest.ended == 1, "{guest:?}");
}

#[test]
fn a_time_that_is_over_is_told_though_the_agent_does_not_answer() {
    let now = Instant::now();
    let mut guest = Guest::default();
    let mut exec = Exec::new(Task { until: Some(now), ..task() });
    exec.task.until = Some(now + PATIENCE);
    while exec.phase != Phase::Running {
        let Next::Ask(command) = exec.next(now, true) else { panic!() };
        exec.answered(now, Ok(guest.answer(&command).to_string().as_bytes()));
    }
    let Next::Ask(command) = exec.next(now, true) else { panic!() };
    exec.overdue(now + PATIENCE);
    assert_eq!(exec.reports(), []);
    exec.overdue(exec.overdue_at().unwrap());
    assert_eq!(exec.reports(), [Report::Ended(Ok(Exit::TimedOut))]);
    exec.answered(now, Ok(guest.answer(&command).to_string().as_bytes()));
    let seen = drive(&mut exec, &mut guest, |_, _, _| None);
    assert!(seen.ends.is_empty() && guest.ended == 1 && guest.handles.is_empty());
}
