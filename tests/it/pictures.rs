//! `screen`: what a guest shows, as files, on a terminal and as text.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Host, eventually, send};
use crate::pty::AtTerminal;

const LIMIT: Duration = Duration::from_secs(60);

/// A VM without a disk, whose firmware has said so.
fn firmware(host: &Host) {
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M", "--net", "none"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    eventually(LIMIT, "the firmware has given up", || {
        host.maqet(["screen", "web", "--text"]).stdout.contains("No bootable device").then_some(())
    });
}

/// The files in the VM's folder that are pictures.
fn left(host: &Host) -> Vec<String> {
    let names = std::fs::read_dir(host.vm_folder("web")).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("screen-")).collect()
}

#[track_caller]
fn nothing_is_left(host: &Host) {
    eventually(LIMIT, "no picture is left", || left(host).is_empty().then_some(()));
}

/// The checksum of a chunk of a PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

/// The size of a PNG that is sound from its first chunk to its last.
#[track_caller]
fn png_size(bytes: &[u8]) -> (u32, u32) {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("a PNG");
    let mut size = None;
    loop {
        let length = number(&rest[..4]) as usize;
        let (chunk, behind) = rest[4..].split_at(4 + length);
        assert_eq!(number(&behind[..4]), crc(chunk));
        if &chunk[..4] == b"IHDR" {
            size = Some((number(&chunk[4..8]), number(&chunk[8..12])));
        }
        rest = &behind[4..];
        if &chunk[..4] == b"IEND" {
            assert!(rest.is_empty());
            return size.unwrap();
        }
    }
}

#[test]
fn a_picture_is_a_file_of_the_callers() {
    let host = Host::new();
    firmware(&host);
    let root = host.root().to_owned();
    for name in ["shot.png", "with blank, and 'quotes'.png", "-n.png", "naïve\n\u{1b}[31m.png"] {
        let path = root.join(name);
        let given = if name.starts_with('-') { format!("./{name}") } else { name.to_owned() };
        for _ in 0..2 {
            let ran = host.maqet(["screen", "web", &given]).exits(0);
            assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
        }
        assert_eq!(png_size(&std::fs::read(&path).unwrap()), (720, 400), "{name}");
    }
    let size = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..15]).into_owned();
    host.maqet(["screen", "web", "shot.ppm"]).exits(0);
    assert_eq!(size(&std::fs::read(root.join("shot.ppm")).unwrap()), "P6\n720 400\n255\n");
    host.maqet(["qmp", "screendump", "web", "old"]).exits(0);
    assert_eq!(size(&std::fs::read(root.join("old")).unwrap()), "P6\n720 400\n255\n");

    // Through a pipe, a FIFO and a link, none of which is replaced.
    host.shell(
        "set -e; maqet screen web - > piped; ln -s linked-to link; : > linked-to; \
                maqet screen web link; [ -L link ]; mkfifo fifo; cat fifo > from-fifo & \
                maqet screen web fifo; [ -p fifo ]; wait",
    )
    .exits(0);
    for name in ["piped", "linked-to", "from-fifo"] {
        assert_eq!(png_size(&std::fs::read(root.join(name)).unwrap()), (720, 400), "{name}");
    }
    nothing_is_left(&host);
    let strays = std::fs::read_dir(&root).unwrap().flatten();
    assert!(
        strays
            .into_iter()
            .all(|entry| { !entry.file_name().to_string_lossy().starts_with(".maqet-") })
    );

    let nowhere = host.maqet(["screen", "web", "no/such/folder.png"]).exits(1);
    assert!(nowhere.stderr.contains("no/such/folder.png"), "{}", nowhere.stderr);
    host.maqet(["screen", "web"]).exits(2);
    host.maqet(["screen", "web", "x.png", "--text"]).exits(2);
    // A paused guest shows something, too; one that is stopped does not.
    host.maqet(["pause", "web"]).exits(0);
    host.maqet(["screen", "web", "paused.png"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    host.maqet(["screen", "web", "stopped.png"]).exits(3);
    assert!(!Path::new(&root.join("stopped.png")).exists());
}

#[test]
fn the_text_of_a_screen_can_be_searched() {
    let host = Host::new();
    firmware(&host);
    let ran = host.shell("maqet screen web --text | grep SeaBIOS").exits(0);
    assert!(ran.stdout.starts_with("SeaBIOS (version "), "{}", ran.stdout);
    let text = host.maqet(["screen", "web", "--text"]).exits(0).stdout;
    assert!(text.lines().count() == 25 && text.lines().all(|line| line == line.trim_end()));
    nothing_is_left(&host);
}

#[test]
fn the_text_of_a_guest_that_has_scrolled_is_what_it_shows() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    // Far more than the card's memory holds.
    for last in [30, 90, 400] {
        let script =
            format!("sh for i in $(seq {last}); do echo line $i of {last} > /dev/tty1; done");
        host.maqet(["send", "web", &script, "--line", "--for", "console:guest: done"]).exits(0);
        let text = host.maqet(["screen", "web", "--text"]).exits(0).stdout;
        let expected: Vec<String> =
            (last - 23..=last).map(|number| format!("line {number} of {last}")).collect();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..24], expected, "{text}");
        assert_eq!(lines[24], "");
    }
}

#[test]
fn a_screen_is_drawn_on_a_terminal() {
    let host = Host::new();
    firmware(&host);
    let mut terminal = AtTerminal::start(&host, &["screen", "web"], &[]);
    assert_eq!(terminal.code(), 0, "{}", terminal.drawn());
    let drawn = terminal.drawn();
    let rows: Vec<&str> = drawn.lines().collect();
    assert_eq!(rows.len(), 22, "{drawn:?}");
    assert!(rows.iter().all(|row| row.matches('▀').count() == 80 && row.ends_with("\x1b[0m")));
    let mut terminal = AtTerminal::start(&host, &["screen", "web", "-"], &[]);
    assert_eq!(terminal.code(), 2, "{}", terminal.drawn());
    let mut terminal = AtTerminal::start(&host, &["screen", "web", "--text"], &[]);
    assert_eq!(terminal.code(), 0, "{}", terminal.drawn());
    assert!(terminal.drawn().contains("SeaBIOS"));
    nothing_is_left(&host);
}

#[test]
fn a_guest_without_text_or_without_a_screen_is_told() {
    let host = Host::new();
    host.maqet(["add", "blind", "--accel", "tcg", "--memory", "64M", "--vga", "none"]).exits(0);
    host.add_bare("bare");
    for name in ["blind", "bare"] {
        host.maqet(["start", name]).exits(0);
        let none = host.maqet(["screen", name, "x.png"]).exits(4);
        assert!(none.stderr.contains("has no screen") && none.stderr.contains("vga"), "{none:?}");
    }
    let uefi = ["add", "web", "--accel", "tcg", "--memory", "256M", "--firmware", "uefi"];
    host.maqet(uefi).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let graphics = eventually(LIMIT, "the firmware has a picture", || {
        let ran = host.maqet(["screen", "web", "--text"]);
        (ran.code == 1).then_some(ran)
    });
    assert!(graphics.stderr.contains("it is no text, but a picture"), "{}", graphics.stderr);
    host.maqet(["screen", "web", "x.png"]).exits(0);
}

#[test]
fn a_client_that_is_killed_leaves_no_picture() {
    let host = Host::new();
    firmware(&host);
    host.shell("mkfifo fifo").exits(0);
    let mut command = host.command(Host::binary());
    // It waits for somebody who reads the FIFO, with its picture in the VM's folder.
    let mut child = command.args(["screen", "web", "fifo"]).stdout(Stdio::null()).spawn().unwrap();
    eventually(LIMIT, "a picture is there", || (!left(&host).is_empty()).then_some(()));
    send(i32::try_from(child.id()).unwrap(), Signal::KILL);
    child.wait().unwrap();
    nothing_is_left(&host);
    // What a killed runner leaves goes with the next run.
    let stray = host.vm_folder("web").join("screen-0");
    host.maqet(["stop", "web", "--force"]).exits(0);
    std::fs::write(&stray, "left").unwrap();
    host.maqet(["start", "web"]).exits(0);
    assert!(!stray.exists());
    host.maqet(["stop", "web", "--force"]).exits(0);
    std::fs::write(&stray, "left").unwrap();
    let folder = host.vm_folder("web");
    host.maqet(["rm", "web"]).exits(0);
    assert!(!folder.exists());
}
