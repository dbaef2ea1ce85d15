//! Lines from standard input to VMs and lines back to standard output, in one loop: it reads while
//! it writes, and what waits is bounded on each side.
//!
//! What a line means is its owner's.

use std::io::ErrorKind;

use super::outlet::Outlet;
use crate::control::fleet::{Fleet, News};
use crate::error::{Error, Result};
use crate::sys::{self, Interest};
use crate::wire::line::Lines;
use crate::wire::message::REQUEST_LIMIT;

/// Bytes of standard input read at a time.
const PIECE: usize = 64 << 10;
/// What a line may hold beside the request, in bytes.
const BESIDE: usize = 1 << 10;

/// The two ends between which lines go.
#[derive(Debug)]
pub(super) struct Ends<'a> {
    pub(super) fleet: Fleet<'a>,
    pub(super) outlet: Outlet,
}

/// What is made of lines.
pub(super) trait Lined {
    /// Takes a line of standard input, without its newline; it is not empty.
    fn take(&mut self, ends: &mut Ends<'_>, line: &[u8]);

    /// Takes what has come of something asked of the VM of this number.
    fn tell(&mut self, ends: &mut Ends<'_>, number: usize, news: News);

    /// There is a line that is too long: nothing behind it is read.
    fn overflow(&mut self, ends: &mut Ends<'_>, error: &Error);
}

/// Goes on until standard input has ended and all has been answered, or nobody reads any more.
///
/// # Errors
/// `Kind::Failed` where standard input cannot be read, or standard output not written.
pub(super) fn pump(ends: &mut Ends<'_>, lined: &mut impl Lined) -> Result<()> {
    let mut lines = Lines::new(REQUEST_LIMIT + BESIDE);
    let mut reads = true;
    loop {
        while !ends.is_full() {
            match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(Some(line)) => lined.take(ends, &line),
                Err(_) => {
                    let why = "a line is longer than 1 MiB, and nothing behind it is read";
                    lined.overflow(ends, &Error::usage(why));
                    lines = Lines::new(REQUEST_LIMIT);
                    reads = false;
                }
            }
        }
        while let Some((number, news)) = ends.fleet.next_news() {
            lined.tell(ends, number, news);
        }
        let over = !reads && !lines.has_line() && ends.fleet.is_idle() && ends.outlet.is_empty();
        if over || ends.outlet.is_closed() {
            return Ok(());
        }
        ends.turn(&mut lines, &mut reads)?;
    }
}

impl Ends<'_> {
    /// Whether nothing more should be read: too much waits, for a VM or for who reads.
    fn is_full(&self) -> bool {
        self.fleet.is_full() || self.outlet.is_full()
    }

    /// Sleeps until there is something to do, and reads and writes what it is ready for.
    fn turn(&mut self, lines: &mut Lines, reads: &mut bool) -> Result<()> {
        let listens = *reads && !self.is_full() && !lines.has_line();
        let output = if self.outlet.is_empty() { Interest::Nothing } else { Interest::Write };
        let others = [(sys::standard_output(), output), (sys::standard_input(), Interest::Read)];
        // Standard input that has closed would be ready for ever.
        let others = &others[..1 + usize::from(listens)];
        let ready = self.fleet.wait(others, None, !self.outlet.is_full())?;
        match (ready[0], self.outlet.is_empty()) {
            (true, false) => self.outlet.write()?,
            // Asked for nothing and yet ready: nobody reads any more.
            (true, true) => self.outlet.close(),
            (false, _) => {}
        }
        if ready.get(1) == Some(&true) {
            let mut buffer = vec![0; PIECE];
            match sys::read(sys::standard_input(), &mut buffer) {
                Ok(0) => {
                    *reads = false;
                    // A last line may lack its newline.
                    lines.push(b"\n");
                }
                Ok(count) => lines.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read standard input", &error)),
            }
        }
        Ok(())
    }
}
