//! A command's output within the agent's answer: it is taken out of the line while that comes, so
//! that no answer is kept whole, however long it is.
//!
//! Pure, and fed with bytes in pieces of any size. Whether the line is an answer is not decided here:
//! what is left of it, with empty texts where the output was, is to be read as any other.

use std::collections::VecDeque;

use super::command::PIECE;
use crate::base64::Decoder;

/// The most that is kept of a command's output, in bytes, standard output and error together.
pub(crate) const LIMIT: usize = 4 << 20;
/// The keys whose texts are output. Both have this length.
const OUT: [u8; 8] = *b"out-data";
const ERR: [u8; 8] = *b"err-data";

/// Where a command wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// What a command wrote, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    out: VecDeque<Vec<u8>>,
    err: VecDeque<Vec<u8>>,
    /// Bytes in both.
    length: usize,
    /// Some of it is missing: it was too long, or no base64.
    pub(crate) cut: bool,
}

impl Output {
    /// The next piece, of at most 64 KiB, which is then no longer here.
    pub(crate) fn pop(&mut self) -> Option<(Stream, Vec<u8>)> {
        let piece = match self.out.pop_front() {
            Some(bytes) => (Stream::Out, bytes),
            None => (Stream::Err, self.err.pop_front()?),
        };
        self.length -= piece.1.len();
        Some(piece)
    }

    fn pieces(&mut self, stream: Stream) -> &mut VecDeque<Vec<u8>> {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    /// Adds at most a piece, as far as there is room.
    fn push(&mut self, stream: Stream, mut bytes: Vec<u8>) {
        let room = LIMIT - self.length;
        if bytes.len() > room {
            bytes.truncate(room);
            self.cut = true;
        }
        self.length += bytes.len();
        let pieces = self.pieces(stream);
        match pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE => last.extend(bytes),
            _ if bytes.is_empty() => {}
            _ => pieces.push_back(bytes),
        }
    }

    fn forget(&mut self, stream: Stream) {
        let gone = std::mem::take(self.pieces(stream));
        self.length -= gone.iter().map(Vec::len).sum::<usize>();
        self.cut = true;
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Outside of any text.
    #[default]
    Outside,
    Text {
        begin: [u8; 8],
        length: usize,
        escaped: bool,
    },
    Data {
        stream: Stream,
        escaped: bool,
    },
}

/// Takes the output out of one line.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    place: Place,
    /// The text before this place is one of the two keys; and a colon stands behind it.
    key: Option<(Stream, bool)>,
    /// `None`: this text is no base64.
    decoder: Option<Decoder>,
    output: Output,
}

impl Sieve {
    /// Takes bytes of the line; what of them is no output.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut others = Vec::new();
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            rest = match self.place {
                Place::Data { stream, escaped: false } => {
                    let is_data = |byte: &u8| !matches!(byte, b'"' | b'\\');
                    let length = rest.iter().position(|byte| !is_data(byte));
                    let (data, end) = rest.split_at(length.unwrap_or(rest.len()));
                    self.decode(stream, data);
                    match end.split_first() {
                        None => end,
                        Some((b'"', behind)) => {
                            others.push(b'"');
                            self.end(stream);
                            behind
                        }
                        Some((_, behind)) => {
                            self.place = Place::Data { stream, escaped: true };
                            behind
                        }
                    }
                }
                Place::Data { stream, escaped: true } => {
                    // JSON may write a slash so; any other character of base64 nobody writes with
                    // an escape.
                    self.decode(stream, if *byte == b'/' { b"/" } else { b"?" });
                    self.place = Place::Data { stream, escaped: false };
                    behind
                }
                Place::Outside | Place::Text { .. } => {
                    others.push(*byte);
                    self.pass(*byte);
                    behind
                }
            };
        }
        others
    }

    /// What was taken out.
    pub(super) fn into_output(self) -> Output {
        self.output
    }

    fn pass(&mut self, byte: u8) {
        match &mut self.place {
            Place::Text { escaped: escaped @ true, .. } => *escaped = false,
            Place::Text { begin, length, .. } if byte == b'"' => {
                self.key = match *begin {
                    _ if *length != begin.len() => None,
                    OUT => Some((Stream::Out, false)),
                    ERR => Some((Stream::Err, false)),
                    _ => None,
                };
                self.place = Place::Outside;
            }
            Place::Text { begin, length, escaped } => {
                *escaped = byte == b'\\';
                if let Some(place) = begin.get_mut(*length) {
                    *place = byte;
                }
                *length = length.saturating_add(1);
            }
            _ => match (byte, self.key) {
                (b'"', Some((stream, true))) => {
                    (self.key, self.decoder) = (None, Some(Decoder::default()));
                    self.place = Place::Data { stream, escaped: false };
                }
                (b'"', _) => {
                    self.place = Place::Text { begin: [0; 8], length: 0, escaped: false };
                }
                (b':', Some((stream, false))) => self.key = Some((stream, true)),
                (b' ' | b'\t' | b'\r', _) => {}
                _ => self.key = None,
            },
        }
    }

    fn decode(&mut self, stream: Stream, text: &[u8]) {
        for part in text.chunks(PIECE) {
            let Some(decoder) = &mut self.decoder else { return };
            let mut bytes = Vec::with_capacity(part.len() / 4 * 3 + 3);
            match decoder.push(part, &mut bytes) {
                Some(()) => self.output.push(stream, bytes),
                None => {
                    self.decoder = None;
                    self.output.forget(stream);
                }
            }
        }
    }

    fn end(&mut self, stream: Stream) {
        if self.decoder.take().is_some_and(|decoder| !decoder.is_whole()) {
            self.output.forget(stream);
        }
        self.place = Place::Outside;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base64;

    /// What is left of a line that comes in pieces of this size, and both streams.
    fn sift(line: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, Vec<u8>, bool) {
        let mut sieve = Sieve::default();
        let left: Vec<u8> = line.chunks(size.max(1)).flat_map(|piece| sieve.push(piece)).collect();
        let mut output = sieve.into_output();
        let cut = output.cut;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some((stream, bytes)) = output.pop() {
            assert!(!bytes.is_empty() && bytes.len() <= PIECE);
            match stream {
                Stream::Out => out.extend(bytes),
                Stream::Err => err.extend(bytes),
            }
        }
        assert_eq!(output.length, 0);
        assert!(out.len() + err.len() <= LIMIT);
        (left, out, err, cut)
    }

    #[test]
    fn output_is_taken_out_and_the_rest_stays_as_it_was() {
        for (line, left, out, err, cut) in [
            (r#"{"return": {"pid": 5}}"#, r#"{"return": {"pid": 5}}"#, "", "", false),
            (
                r#"{"return": {"out-data": "aGkK", "exited": true, "err-data" :"b2g="}}"#,
                r#"{"return": {"out-data": "", "exited": true, "err-data" :""}}"#,
                "hi\n",
                "oh",
                false,
            ),
            (r#"{"out-data": "Pz8\/"}"#, r#"{"out-data": ""}"#, "???", "", false),
            // No texts, other keys, values that look like keys.
            (
                r#"{"out-data": null, "x": "aGkK"}"#,
                r#"{"out-data": null, "x": "aGkK"}"#,
                "",
                "",
                false,
            ),
            (r#"{"out-data2": "aGkK"}"#, r#"{"out-data2": "aGkK"}"#, "", "", false),
            (
                r#"{"x": "out-data", "y": "aGkK"}"#,
                r#"{"x": "out-data", "y": "aGkK"}"#,
                "",
                "",
                false,
            ),
            (r#"["out-data", "aGkK"]"#, r#"["out-data", "aGkK"]"#, "", "", false),
            (r#"{"\"out-data": "aGkK"}"#, r#"{"\"out-data": "aGkK"}"#, "", "", false),
            (r#"{"out-data\": "aGkK"}"#, r#"{"out-data\": "aGkK"}"#, "", "", false),
            // No base64: what there is of the stream says nothing then.
            (
                r#"{"out-data": "aGkK?", "err-data": "b2g="}"#,
                r#"{"out-data": "", "err-data": ""}"#,
                "",
                "oh",
                true,
            ),
            (r#"{"out-data": "aGk"}"#, r#"{"out-data": ""}"#, "", "", true),
            (r#"{"out-data": "aG\"K"}"#, r#"{"out-data": ""}"#, "", "", true),
            (r#"{"out-data": "aG\u006bK", "x": 1}"#, r#"{"out-data": "", "x": 1}"#, "", "", true),
            // A line that ends within.
            (r#"{"out-data": "aGkK"#, r#"{"out-data": ""#, "hi\n", "", false),
        ] {
            for size in 1..=line.len() {
                let expected = (left.into(), out.into(), err.into(), cut);
                assert_eq!(sift(line.as_bytes(), size), expected, "{line} in pieces of {size}");
            }
        }
    }

    #[test]
    fn the_first_four_mebibytes_are_kept() {
        let bytes: Vec<u8> = (0..LIMIT + 5).map(|at| (at % 251) as u8).collect();
        for (out, err) in [(LIMIT + 5, 0), (LIMIT - 1, 2), (LIMIT, 1), (1, LIMIT + 5), (LIMIT, 0)] {
            let line = format!(
                r#"{{"out-data":"{}","err-data":"{}"}}"#,
                base64::encode(&bytes[..out]),
                base64::encode(&bytes[..err])
            );
            let room = LIMIT - out.min(LIMIT);
            for size in [7919, 64 << 10, line.len()] {
                let (left, first, second, cut) = sift(line.as_bytes(), size);
                assert_eq!(left, br#"{"out-data":"","err-data":""}"#);
                assert!(first == bytes[..out.min(LIMIT)] && second == bytes[..err.min(room)]);
                assert_eq!(cut, out + err > LIMIT);
            }
        }
    }

    /// Pieces of which answers are made, and others.
    fn token() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::sample::select(vec![
                "\"",
                "\\",
                "/",
                "\"out-data\"",
                "\"err-data\"",
                ":",
                " ",
                "\"aGkK\"",
                "\"b2g=\"",
                "{",
                "}",
                ",",
                "=",
                "aGkK",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..5),
        ]
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same(
            tokens in prop::collection::vec(token(), 0..40),
            size in 1..50_usize,
        ) {
            let line = tokens.concat();
            let whole = sift(&line, line.len());
            prop_assert!(whole.0.len() + whole.1.len() + whole.2.len() <= line.len());
            prop_assert_eq!(sift(&line, size), whole);
        }

        #[test]
        fn any_output_comes_out(out: Vec<u8>, err: Vec<u8>, size in 1..50_usize) {
            let texts = (base64::encode(&out), base64::encode(&err));
            let line = format!(r#"{{"return": {{"err-data": "{}", "out-data": "{}"}}}}"#, texts.1, texts.0);
            let left = br#"{"return": {"err-data": "", "out-data": ""}}"#.to_vec();
            prop_assert_eq!(sift(line.as_bytes(), size), (left, out, err, false));
        }
    }
}
