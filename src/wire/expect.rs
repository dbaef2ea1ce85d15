//! Literal text in what a guest writes: a console's bytes without escape sequences and CR, searched
//! piece by piece as they come.
//!
//! Pure, and of constant size however much is searched. Where the bytes come from and what follows
//! when the text is found is not known here.

/// The longest text that can be searched for, in bytes.
pub(crate) const LONGEST: usize = 1024;

/// Takes escape sequences and CR out of a stream, so that a coloured prompt still matches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cleaner(At);

/// Where in a sequence the stream stands (ECMA-48, section 5.4; xterm's OSC strings end with BEL too).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// Behind ESC and an intermediate byte.
    Intermediate,
    /// In a control sequence: ESC [ … up to a byte from @ to ~.
    Control,
    /// In a string (OSC, DCS, SOS, PM, APC), up to BEL or ESC \.
    String,
    /// Behind an ESC in a string.
    StringEscape,
}

impl Cleaner {
    /// The byte, if it is the guest's text.
    fn pass(&mut self, byte: u8) -> Option<u8> {
        let (next, passed) = match (self.0, byte) {
            (At::StringEscape, b'\\') => (At::Text, None),
            (_, 0x1b) if matches!(self.0, At::String) => (At::StringEscape, None),
            (_, 0x1b) => (At::Escape, None),
            // CAN and SUB break a sequence off.
            (_, 0x18 | 0x1a) => (At::Text, None),
            (At::Text, b'\r') => (At::Text, None),
            (At::Text, byte) => (At::Text, Some(byte)),
            (At::Escape, b'[') => (At::Control, None),
            (At::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (At::String, None),
            (At::Escape | At::Intermediate, 0x20..=0x2f) => (At::Intermediate, None),
            (At::Escape | At::Intermediate, _) => (At::Text, None),
            (At::Control, 0x40..=0x7e) => (At::Text, None),
            (At::Control, _) => (At::Control, None),
            (At::String | At::StringEscape, 0x07) => (At::Text, None),
            (At::String | At::StringEscape, _) => (At::String, None),
        };
        self.0 = next;
        passed
    }
}

/// A text that is searched for in a cleaned stream (Knuth, Morris and Pratt: no byte is looked at
/// twice).
#[derive(Clone, Debug)]
pub(crate) struct Search {
    text: Vec<u8>,
    /// For each length of a match that fails: the longest one that still stands.
    fallback: Vec<usize>,
    matched: usize,
    cleaner: Cleaner,
}

impl Search {
    /// `text` is not empty, and at most [`LONGEST`] bytes.
    pub(crate) fn new(text: &[u8]) -> Search {
        let mut fallback = vec![0; text.len()];
        let mut length = 0;
        for place in 1..text.len() {
            while length > 0 && text[place] != text[length] {
                length = fallback[length - 1];
            }
            length += usize::from(text[place] == text[length]);
            fallback[place] = length;
        }
        Search { text: text.to_vec(), fallback, matched: 0, cleaner: Cleaner::default() }
    }

    /// Looks at the next bytes of the stream; how many of them it took until the text stood there
    /// whole, `None` where it has not yet.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        for (place, byte) in bytes.iter().enumerate() {
            let Some(byte) = self.cleaner.pass(*byte) else { continue };
            while self.matched > 0 && self.text[self.matched] != byte {
                self.matched = self.fallback[self.matched - 1];
            }
            self.matched += usize::from(self.text[self.matched] == byte);
            if self.matched == self.text.len() {
                self.matched = self.fallback[self.matched - 1];
                return Some(place + 1);
            }
        }
        None
    }

    /// Forgets a match that had begun: bytes of the stream were lost.
    pub(crate) fn restart(&mut self) {
        self.matched = 0;
        self.cleaner = Cleaner::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(bytes: &[u8]) -> Vec<u8> {
        let mut cleaner = Cleaner::default();
        bytes.iter().filter_map(|byte| cleaner.pass(*byte)).collect()
    }

    #[test]
    fn sequences_and_carriage_returns_go_and_text_stays() {
        for (bytes, text) in [
            ("plain\r\ntext", "plain\ntext"),
            ("\x1b[1;32muser@host\x1b[0m:~$ ", "user@host:~$ "),
            ("\x1b]0;title\x07prompt", "prompt"),
            ("\x1b]0;title\x1b\\prompt", "prompt"),
            ("a\x1b(Bb\x1b=c\x1b7d", "abcd"),
            ("\x1b[?2004hlogin: ", "login: "),
            ("\x1b[12\x18ab", "ab"),
            ("\x1bPq#0;2\x1b[x\x1b\\é", "é"),
            ("\x1b\x1b[mx", "x"),
        ] {
            assert_eq!(clean(bytes.as_bytes()), text.as_bytes(), "{bytes:?}");
        }
    }

    #[test]
    fn a_text_is_found_where_it_ends_however_the_bytes_come() {
        let stream = "boot\r\n\x1b[32mweb lo\x1b[0mgin: ".as_bytes();
        let end = stream.len() - 1;
        for size in 1..=stream.len() {
            let mut search = Search::new(b"login:");
            let mut seen = 0;
            let found = stream.chunks(size).find_map(|piece| {
                let found = search.push(piece).map(|count| seen + count);
                seen += piece.len();
                found
            });
            assert_eq!(found, Some(end), "pieces of {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn it_finds_what_a_plain_search_finds(stream in "[ab]{0,40}", text in "[ab]{1,5}") {
            let plain = stream.find(&text).map(|at| at + text.len());
            proptest::prop_assert_eq!(Search::new(text.as_bytes()).push(stream.as_bytes()), plain);
        }

        #[test]
        fn any_bytes_can_be_searched(stream: Vec<u8>, text in proptest::collection::vec(proptest::num::u8::ANY, 1..8)) {
            let _ = Search::new(&text).push(&stream);
        }
    }

    #[test]
    fn a_match_goes_on_behind_the_last_one() {
        let mut search = Search::new(b"aa");
        assert_eq!((search.push(b"aaa"), search.push(b"a")), (Some(2), Some(1)));
        search.push(b"ba");
        search.restart();
        assert_eq!(search.push(b"a"), None);
    }
}
