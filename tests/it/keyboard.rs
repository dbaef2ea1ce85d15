//! `type` and `keys`, as a guest's kernel takes them from its keyboard.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Host, eventually, send};

/// A VM with the real guest, ready.
fn guest(host: &Host) {
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
}

/// Has the guest do something, and gives what it printed.
fn obey(host: &Host, script: &str) -> String {
    let mark = host.maqet(["wait", "web", "--for", "running", "--from", "now"]).exits(0).stdout;
    let mark: usize = mark.trim().rsplit('\t').next().unwrap().parse().unwrap();
    let line = format!("sh {}", script.replace('\\', r"\\"));
    host.maqet(["send", "web", &line, "--line", "--for", "console:guest: done"]).exits(0);
    let log = std::fs::read(host.vm_folder("web").join("console.log")).unwrap();
    String::from_utf8_lossy(&log[mark..]).into_owned()
}

/// Has the guest keep what is typed on its first virtual terminal, so many bytes.
fn keep(host: &Host, bytes: usize) {
    // Its last user's end would make the terminal what it was.
    let script = format!(
        "(stty raw -echo; echo keeps; dd of=/typed bs=1 count={bytes} 2>/dev/null; echo kept) < /dev/tty1 &"
    );
    obey(host, &format!("rm -f /typed; {script}"));
    host.maqet(["wait", "web", "--for", "console:keeps"]).exits(0);
}

/// What it has kept by now.
fn kept(host: &Host) -> Vec<u8> {
    let text = obey(host, "echo; od -An -v -tx1 /typed | tr -d ' \\n'; echo");
    let hex = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let digits = hex.unwrap_or_default().as_bytes();
    digits
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn no_key_of_a_long_text_is_lost() {
    let host = Host::new();
    guest(&host);
    let printed: String = (' '..='~').collect();
    let text = format!("{printed}\r\t\u{3}").repeat(3);
    std::fs::write(host.root().join("text"), &text).unwrap();
    let mut took = Duration::ZERO;
    for round in 0..10 {
        keep(&host, text.len());
        let ran = host.shell("maqet type web - < text").exits(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
        host.maqet(["wait", "web", "--for", "console:kept"]).exits(0);
        assert_eq!(String::from_utf8(kept(&host)).unwrap(), text, "round {round}");
        took += ran.took;
    }
    println!("{} keys in {took:?}", 10 * text.len());
}

#[test]
fn others_are_served_while_somebody_types_and_who_leaves_types_no_more() {
    let host = Host::new();
    guest(&host);
    keep(&host, 4000);
    std::fs::write(host.root().join("text"), "x".repeat(3000)).unwrap();
    let text = std::fs::File::open(host.root().join("text")).unwrap();
    let mut command = host.command(Host::binary());
    command.args(["type", "web", "-"]).stdin(Stdio::from(text));
    let mut child = command.spawn().unwrap();
    eventually(Duration::from_secs(60), "it has begun", || (!kept(&host).is_empty()).then_some(()));
    let asked = host.maqet(["qmp", "web", "query-status"]).exits(0);
    assert!(asked.took < Duration::from_secs(2), "{:?}", asked.took);
    send(i32::try_from(child.id()).unwrap(), Signal::TERM);
    child.wait().unwrap();
    // What another types comes after the last key of the one who has left, and none comes between.
    host.maqet(["type", "web", "END"]).exits(0);
    let typed = String::from_utf8(kept(&host)).unwrap();
    let xs = typed.trim_end_matches("END");
    assert!(typed.ends_with("xEND") && xs.len() < 3000, "{typed}");
    assert!(xs.bytes().all(|byte| byte == b'x'), "{typed}");
}

#[test]
fn chords_are_pressed_together() {
    let host = Host::new();
    guest(&host);
    // There is no terminal to change to before somebody uses it.
    obey(&host, "sleep 1000 < /dev/tty2 & sleep 1000 < /dev/tty3 &");
    let active = |expected: &str| {
        eventually(Duration::from_secs(20), expected, || {
            obey(&host, "cat /sys/class/tty/tty0/active").contains(expected).then_some(())
        });
    };
    host.maqet(["keys", "web", "ctrl-alt-f2"]).exits(0);
    active("tty2");
    let began = Instant::now();
    host.maqet(["keys", "web", "alt-left", "alt-right", "alt-f3", "--hold", "300ms"]).exits(0);
    assert!(began.elapsed() >= Duration::from_millis(900));
    active("tty3");
    // As the predecessor spelled it.
    host.maqet(["qmp", "keys", "web", "alt", "f1"]).exits(0);
    active("tty1");
    keep(&host, 5);
    host.maqet(["qmp", "type", "web", "--hold-time", "50", "Old"]).exits(0);
    host.maqet(["keys", "web", "shift-a", "?"]).exits(0);
    assert_eq!(kept(&host), b"OldA?");
}

#[test]
fn what_cannot_be_typed_is_told_before_anything_is() {
    let host = Host::new();
    host.add_guest("web", &["--append", "console=ttyS0 quiet initcall_blacklist=i8042_init"]);
    host.maqet(["start", "web"]).exits(0);
    let unknown = host.maqet(["type", "web", "aéb€"]).exits(2);
    assert!(unknown.stderr.contains("no key for \"é\", \"€\""), "{}", unknown.stderr);
    let byte = host.maqet(["type", "web", r"a\xff"]).exits(2);
    assert!(byte.stderr.contains("\\xff"), "{}", byte.stderr);
    host.maqet(["type", "web", r"a\q"]).exits(2);
    let chord = host.maqet(["keys", "web", "ctrl-x", "crtl-y"]).exits(2);
    assert!(chord.stderr.contains("did you mean \"ctrl\""), "{}", chord.stderr);
    host.maqet(["keys", "web", "a", "--hold", "61s"]).exits(2);
    host.maqet(["keys", "web", "a", "--hold", "0"]).exits(2);
    host.maqet(["keys", "web"]).exits(2);

    host.wait_for_guest("web");
    let deaf = host.maqet(["type", "web", "abc"]).exits(5);
    assert!(deaf.stderr.contains("does not read its keyboard"), "{}", deaf.stderr);
    let late = host.maqet(["type", "web", "abc", "--timeout", "300ms"]).exits(5);
    assert!(late.took < Duration::from_secs(3), "{:?}", late.took);
    host.maqet(["pause", "web"]).exits(0);
    let paused = host.maqet(["type", "web", "abc"]).exits(7);
    assert!(paused.stderr.contains("maqet resume"), "{}", paused.stderr);
    host.maqet(["stop", "web", "--force"]).exits(0);
    host.maqet(["type", "web", "abc"]).exits(3);

    host.add_bare("bare");
    host.maqet(["start", "bare"]).exits(0);
    let none = host.maqet(["keys", "bare", "a"]).exits(1);
    assert!(none.stderr.contains("QEMU refused"), "{}", none.stderr);
}
