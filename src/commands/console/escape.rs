//! The key that detaches a terminal from a console: how it is written, and how it is found in what is
//! typed.

use crate::error::{Error, Result, quote};

/// The key, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escape(Option<u8>);

impl Default for Escape {
    /// `^]`
    fn default() -> Escape {
        Escape(Some(0x1d))
    }
}

impl Escape {
    /// Reads `^X`, X being a letter or one of `@ [ \ ] ^ _ ?`, or `none`.
    ///
    /// # Errors
    /// `Kind::Usage` for anything else.
    pub(super) fn parse(word: &str) -> Result<Escape> {
        match word.as_bytes() {
            b"none" => Ok(Escape(None)),
            [b'^', b'?'] => Ok(Escape(Some(0x7f))),
            [b'^', key] if matches!(key.to_ascii_uppercase(), b'@'..=b'_') => {
                Ok(Escape(Some(key.to_ascii_uppercase() & 0x1f)))
            }
            _ => Err(Error::usage(format!("{} is no key to detach with", quote(word)))
                .hint("--escape is ^X, with a letter or one of @ [ \\ ] ^ _ ? for X, or none")),
        }
    }

    /// The key as it is written; none where there is none.
    pub(super) fn written(self) -> Option<String> {
        let key = self.0?;
        Some(format!("^{}", char::from(if key == 0x7f { b'?' } else { key | 0x40 })))
    }
}

/// What is typed at a terminal, on its way to the guest.
#[derive(Debug)]
pub(super) struct Keys {
    escape: Escape,
    /// The key was the last one: what comes next tells what it means.
    pending: bool,
}

/// What has been typed means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// For the guest.
    pub(super) bytes: Vec<u8>,
    /// Whoever typed it wants to detach; what he typed after that is nobody's.
    pub(super) detaches: bool,
}

impl Keys {
    pub(super) fn new(escape: Escape) -> Keys {
        Keys { escape, pending: false }
    }

    /// Takes what was typed. The key twice is the key itself, for the guest; the key and anything
    /// else detaches.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for &byte in bytes {
            let is_key = self.escape.0 == Some(byte);
            match (self.pending, is_key) {
                (true, false) => {
                    typed.detaches = true;
                    return typed;
                }
                (false, true) => self.pending = true,
                (_, _) => {
                    self.pending = false;
                    typed.bytes.push(byte);
                }
            }
        }
        typed
    }

    /// Whether the key has been typed, and nothing behind it: after a moment that detaches, too.
    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_it_is_shown_elsewhere() {
        for (word, key) in [
            ("^]", Some(0x1d)),
            ("^a", Some(1)),
            ("^A", Some(1)),
            ("^z", Some(26)),
            ("^@", Some(0)),
            ("^\\", Some(0x1c)),
            ("^_", Some(0x1f)),
            ("^^", Some(0x1e)),
            ("^?", Some(0x7f)),
            ("none", None),
        ] {
            let escape = Escape::parse(word).unwrap();
            assert_eq!(escape, Escape(key), "{word}");
            assert_eq!(escape.written(), key.map(|_| word.to_uppercase()), "{word}");
        }
        for wrong in ["", "^", "]", "^]x", "None", "^é", "^1", "^ ", "^~", "^{"] {
            assert!(Escape::parse(wrong).unwrap_err().hint.is_some(), "{wrong}");
        }
        assert_eq!(Escape::default(), Escape::parse("^]").unwrap());
    }

    #[test]
    fn the_key_detaches_and_twice_it_is_itself() {
        for (typed, bytes, detaches, pending) in [
            (&b""[..], &b""[..], false, false),
            (b"ls\r", b"ls\r", false, false),
            (b"\x1d", b"", false, true),
            (b"a\x1db", b"a", true, true),
            (b"a\x1d\x1db", b"a\x1db", false, false),
            (b"\x1d\x1d\x1d\x1d", b"\x1d\x1d", false, false),
            (b"\x1d\x1d\x1dx", b"\x1d", true, true),
            (b"\x1d\r\x1d", b"", true, true),
        ] {
            // However it comes in.
            for size in 1..=typed.len().max(1) {
                let mut keys = Keys::new(Escape::default());
                let mut all = Typed::default();
                for piece in typed.chunks(size) {
                    let one = keys.push(piece);
                    all.bytes.extend(one.bytes);
                    all.detaches = one.detaches;
                    if all.detaches {
                        break;
                    }
                }
                assert_eq!((all.bytes.as_slice(), all.detaches), (bytes, detaches), "{typed:?}");
                assert_eq!(keys.is_pending(), pending, "{typed:?}");
            }
        }
    }

    #[test]
    fn without_a_key_every_byte_is_the_guests() {
        let all: Vec<u8> = (0..=255).collect();
        let mut keys = Keys::new(Escape::parse("none").unwrap());
        assert_eq!(keys.push(&all), Typed { bytes: all, detaches: false });
        assert!(!keys.is_pending());
    }
}
