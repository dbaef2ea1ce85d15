//! The three forms of output, and readers that go away.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;

use super::*;
use crate::cli::parse;

/// A reader that takes `room` bytes and then fails with `error`.
#[derive(Clone)]
struct Reader {
    got: Rc<RefCell<Vec<u8>>>,
    room: usize,
    error: ErrorKind,
}

impl Reader {
    fn endless() -> Reader {
        Reader { got: Rc::default(), room: usize::MAX, error: ErrorKind::Other }
    }

    fn text(&self) -> String {
        String::from_utf8(self.got.borrow().clone()).unwrap()
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut got = self.got.borrow_mut();
        let free = self.room - got.len();
        if free == 0 && !bytes.is_empty() {
            return Err(self.error.into());
        }
        let taken = bytes.len().min(free);
        got.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const LIST: Shape = Shape {
    list: true,
    columns: &[
        Column { title: "NAME", path: "name", show: plain },
        Column { title: "STATE", path: "state", show: |state| plain(state).to_uppercase() },
        Column { title: "SIGNAL", path: "last_exit.signal", show: plain },
    ],
    fields: &["name", "state", "last_exit.signal"],
};

const ONE_A_LINE: Shape = Shape { list: false, ..LIST };

#[derive(Serialize)]
struct Vm {
    name: &'static str,
    state: &'static str,
    last_exit: Value,
}

fn vms() -> [Vm; 2] {
    [
        Vm { name: "web", state: "running", last_exit: Value::Null },
        Vm { name: "db", state: "crashed", last_exit: json!({"signal": 9}) },
    ]
}

fn output(line: &str, shape: Shape, reader: &Reader, width: Option<usize>) -> Result<Output> {
    let invocation = parse(line.split(' ').map(Into::into)).unwrap();
    Output::to(Box::new(reader.clone()), width.is_some(), width, &invocation, shape)
}

fn printed(line: &str, shape: Shape, width: Option<usize>, vms: &[Vm]) -> String {
    let reader = Reader::endless();
    let mut output = output(line, shape, &reader, width).unwrap();
    for vm in vms {
        output.object(vm).unwrap();
    }
    output.finish().unwrap();
    reader.text()
}

#[test]
fn each_form_prints_what_it_is_for() {
    let objects = [
        "{\"name\":\"web\",\"state\":\"running\",\"last_exit\":null}",
        "{\"name\":\"db\",\"state\":\"crashed\",\"last_exit\":{\"signal\":9}}",
    ];
    let table = "NAME  STATE    SIGNAL\nweb   RUNNING  -\ndb    CRASHED  9\n";
    for (line, shape, width, expected) in [
        ("ls", LIST, None, table.to_owned()),
        ("ls", LIST, Some(15), "NAME  STATE\nweb   RUNNING\ndb    CRASHED\n".to_owned()),
        ("ls -q", LIST, Some(15), "web\ndb\n".to_owned()),
        ("ls --json", LIST, None, format!("[{},\n{}]\n", objects[0], objects[1])),
        ("ls -o state,last_exit.signal", LIST, Some(3), "running\t-\ncrashed\t9\n".to_owned()),
        ("status web db", ONE_A_LINE, None, table.to_owned()),
        ("status web db -q", ONE_A_LINE, None, table.to_owned()),
        ("status web db --json", ONE_A_LINE, None, format!("{}\n{}\n", objects[0], objects[1])),
        ("status web db -o name", ONE_A_LINE, None, "web\ndb\n".to_owned()),
    ] {
        assert_eq!(printed(line, shape, width, &vms()), expected, "{line}");
    }
}

#[test]
fn a_list_of_nothing_is_a_header_an_empty_array_or_no_line() {
    for (line, shape, expected) in [
        ("ls", LIST, "NAME  STATE  SIGNAL\n"),
        ("ls --json", LIST, "[]\n"),
        ("ls -q", LIST, ""),
        ("ls -o name", LIST, ""),
        ("status web", ONE_A_LINE, ""),
        ("status web --json", ONE_A_LINE, ""),
    ] {
        assert_eq!(printed(line, shape, None, &[]), expected, "{line}");
    }
}

#[test]
fn an_unknown_column_is_refused_before_anything_is_done() {
    for line in ["ls -o name,stat", "ls --sort stat"] {
        let error = output(line, LIST, &Reader::endless(), None).unwrap_err();
        assert_eq!(error.kind.exit_code(), 2);
        assert_eq!(error.message, "no column \"stat\"", "{line}");
    }
    assert!(output("ls --sort last_exit.signal", LIST, &Reader::endless(), None).is_ok());
}

#[test]
fn a_reader_that_goes_away_ends_the_output_silently() {
    for room in [0, 3] {
        let reader = Reader { room, error: ErrorKind::BrokenPipe, ..Reader::endless() };
        let mut output = output("ls -o name", LIST, &reader, None).unwrap();
        output.object(&vms()[0]).unwrap();
        assert!(!output.closed, "nothing was written yet");
        output.flush().unwrap();
        assert!(output.closed);
        output.object(&vms()[1]).unwrap();
        output.finish().unwrap();
        assert_eq!(reader.text(), "web"[..room]);
    }
}

#[test]
fn a_full_disk_is_exit_1_at_the_latest_when_the_output_is_finished() {
    for error in [ErrorKind::StorageFull, ErrorKind::PermissionDenied] {
        let reader = Reader { room: 2, error, ..Reader::endless() };
        let mut output = output("ls --json", LIST, &reader, None).unwrap();
        output.object(&vms()[0]).unwrap();
        let error = output.finish().unwrap_err();
        assert_eq!(error.kind.exit_code(), 1);
        assert!(error.message.starts_with("cannot write to standard output: "), "{error}");
    }
}

#[test]
fn the_real_full_device_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let invocation = parse(["ls".into()]).unwrap();
    let output = Output::to(Box::new(full), false, None, &invocation, LIST).unwrap();
    assert_eq!(
        output.finish().unwrap_err().message,
        "cannot write to standard output: No space left on device"
    );
}

#[test]
fn much_output_is_written_before_the_end() {
    let reader = Reader::endless();
    let mut output = output("logs web", Shape::TEXT, &reader, None).unwrap();
    output.raw(&[b'x'; BUFFER]).unwrap();
    assert_eq!(reader.got.borrow().len(), BUFFER);
    output.text("y").unwrap();
    assert_eq!(reader.got.borrow().len(), BUFFER);
    output.finish().unwrap();
    assert_eq!(reader.got.borrow().len(), BUFFER + 1);
}

#[test]
fn a_guests_escape_sequences_reach_pipes_and_not_terminals_unless_raw() {
    let said = b"\x1b[2J\xff\r\n";
    for (width, raw, expected) in
        [(None, false, &said[..]), (Some(80), false, b"\\x1b[2J\\xff\n"), (Some(80), true, said)]
    {
        let reader = Reader::endless();
        let mut output = output("logs web", Shape::TEXT, &reader, width).unwrap();
        if raw {
            output.raw(said).unwrap()
        } else {
            output.guest(said).unwrap()
        }
        output.finish().unwrap();
        assert_eq!(*reader.got.borrow(), expected);
    }
}

#[test]
fn on_a_terminal_json_holds_no_control_characters_either() {
    let reader = Reader::endless();
    let mut output = output("status web --json", ONE_A_LINE, &reader, Some(80)).unwrap();
    output.object(&json!({"name": "\u{1b}\u{9b}"})).unwrap();
    output.finish().unwrap();
    assert_eq!(reader.text(), "{\"name\":\"\\u001b\\u009b\"}\n");
}
