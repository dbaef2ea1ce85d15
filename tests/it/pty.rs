//! A command of maqet at a pseudo-terminal of its own: keys go in, what is drawn comes out, and what
//! the terminal is like can be compared.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::Winsize;

use crate::harness::{Host, eventually};

/// The longest that anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A terminal of this many columns and rows: our end, and that of programs.
pub(crate) fn pair(columns: u16, rows: u16) -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
    rustix::termios::tcsetwinsize(&theirs, size(columns, rows)).unwrap();
    (File::from(ours), theirs)
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A command at a terminal.
#[derive(Debug)]
pub(crate) struct AtTerminal {
    child: Child,
    keys: File,
    theirs: OwnedFd,
    /// What the terminal was like before.
    before: String,
    drawn: Vec<u8>,
}

impl AtTerminal {
    /// Starts maqet in a session of its own, with these variables.
    pub(crate) fn start(host: &Host, words: &[&str], variables: &[(&str, &str)]) -> AtTerminal {
        let (keys, theirs) = pair(80, 25);
        let before = modes(&theirs);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = host.command("setsid");
        command.arg("--ctty").arg(Host::binary()).args(words).envs(variables.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        AtTerminal { child, keys, theirs, before, drawn: Vec::new() }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Whether the terminal is what it was.
    pub(crate) fn is_sane(&self) -> bool {
        modes(&self.theirs) == self.before
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        rustix::termios::tcsetwinsize(&self.theirs, size(columns, rows)).unwrap();
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// What has been drawn so far.
    pub(crate) fn drawn(&self) -> String {
        String::from_utf8_lossy(&self.drawn).into_owned()
    }

    /// Reads what is drawn until this is in it.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.drawn().contains(text) {
            assert!(self.read(deadline), "{text:?} was not drawn, but {:?}", self.drawn());
        }
    }

    /// Waits for the end, and reads what was drawn by then: the exit code.
    pub(crate) fn code(&mut self) -> i32 {
        let code = eventually(LIMIT, "its end", || {
            self.read(Instant::now());
            self.child.try_wait().unwrap()
        });
        while self.read(Instant::now()) {}
        code.code().unwrap_or(-1)
    }

    /// Reads once; false where nothing has come in time.
    fn read(&mut self, deadline: Instant) -> bool {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
        let mut ends = [PollFd::new(&self.keys, PollFlags::IN)];
        if poll(&mut ends, Some(&left)).unwrap() == 0 {
            return false;
        }
        let mut bytes = vec![0; 64 << 10];
        let count = self.keys.read(&mut bytes).unwrap_or(0);
        self.drawn.extend_from_slice(&bytes[..count]);
        count > 0
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modes(terminal: &OwnedFd) -> String {
    format!("{:?}", rustix::termios::tcgetattr(terminal).unwrap())
}
