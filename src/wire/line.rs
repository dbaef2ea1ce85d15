//! Framing: bytes come in any pieces, whole lines go out. It knows nothing of what a line means.

/// A peer sent more bytes than its limit without a newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// A line that is longer than this, in bytes, and alone is handed over without a copy.
const LARGE: usize = 64 << 10;

/// A value as one line, with its newline.
pub(super) fn line_of(value: &serde_json::Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Collects bytes and gives lines without their `\n`.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
    /// How far `buffer` is known to hold no newline, from `start` on: no byte is looked at twice.
    scanned: usize,
    limit: usize,
}

impl Lines {
    /// A framer for lines of at most `limit` bytes, the newline not counted.
    pub(crate) fn new(limit: usize) -> Lines {
        Lines { buffer: Vec::new(), start: 0, scanned: 0, limit }
    }

    /// Another limit from here on, as when a client has authenticated.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, if there is one.
    ///
    /// # Errors
    /// [`TooLong`] when more than the limit has come without a newline.
    pub(crate) fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        match self.buffer[self.scanned..].iter().position(|&byte| byte == b'\n') {
            Some(offset) => {
                let end = self.scanned + offset;
                if end - self.start > self.limit {
                    return Err(TooLong);
                }
                if self.start == 0 && end + 1 == self.buffer.len() && end > LARGE {
                    let mut line = std::mem::take(&mut self.buffer);
                    line.truncate(end);
                    self.scanned = 0;
                    return Ok(Some(line));
                }
                let line = self.buffer[self.start..end].to_vec();
                self.start = end + 1;
                self.scanned = self.start;
                self.release();
                Ok(Some(line))
            }
            None => {
                self.scanned = self.buffer.len();
                if self.scanned - self.start > self.limit { Err(TooLong) } else { Ok(None) }
            }
        }
    }

    /// Whether a whole line waits.
    pub(crate) fn has_line(&self) -> bool {
        self.buffer[self.scanned..].contains(&b'\n')
    }

    /// Gives a large buffer back once it has been emptied: a runner is to stay small.
    fn release(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(4096);
            (self.start, self.scanned) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.next_line().unwrap())
            .map(|line| String::from_utf8(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_come_in() {
        let text = b"one\ntwo\n\nthree";
        for size in 1..=text.len() {
            let mut lines = Lines::new(16);
            let mut seen = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece);
                seen.extend(drain(&mut lines));
            }
            assert_eq!(seen, ["one", "two", ""], "pieces of {size}");
            lines.push(b"\n");
            assert!(lines.has_line());
            assert_eq!(drain(&mut lines), ["three"]);
            assert!(!lines.has_line());
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let mut lines = Lines::new(4);
        lines.push(b"1234\n12345\n");
        assert_eq!(lines.next_line(), Ok(Some(b"1234".to_vec())));
        assert_eq!(lines.next_line(), Err(TooLong));
        let mut endless = Lines::new(4);
        endless.push(b"1234");
        assert_eq!(endless.next_line(), Ok(None));
        endless.push(b"5");
        assert_eq!(endless.next_line(), Err(TooLong));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut lines = Lines::new(1 << 20);
        lines.push(&vec![b'x'; 1 << 20]);
        lines.push(b"\n");
        assert!(lines.next_line().unwrap().is_some());
        assert!(lines.buffer.capacity() <= 8192);
        // Whatever stood around it, the next ones come whole.
        for (before, behind) in [("", ""), ("a\n", ""), ("", "b\n"), ("", "b")] {
            let mut lines = Lines::new(1 << 20);
            lines.push(format!("{before}{}\n{behind}", "x".repeat(LARGE + 1)).as_bytes());
            let mut seen = drain(&mut lines);
            lines.push(b"c\n");
            seen.extend(drain(&mut lines));
            let lengths: Vec<usize> = seen.iter().map(String::len).collect();
            let expected: &[usize] = match (before, behind) {
                ("", "") => &[LARGE + 1, 1],
                ("", "b") => &[LARGE + 1, 2],
                _ => &[[1, LARGE + 1, 1], [LARGE + 1, 1, 1]][usize::from(before.is_empty())],
            };
            assert_eq!(lengths, expected, "{before:?} {behind:?}");
        }
    }
}
