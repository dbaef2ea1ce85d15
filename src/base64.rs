//! Base64 (RFC 4648, section 4) as streams carry bytes in JSON: with padding, without line breaks.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as text, four characters for every three of them.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let is_padding = place > group.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

/// The bytes of a text; `None` for anything that [`encode`] does not make.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut decoder = Decoder::default();
    decoder.push(text.as_bytes(), &mut bytes)?;
    decoder.is_whole().then_some(bytes)
}

/// Reads a text that comes in parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    group: [u8; 4],
    /// How much of a group has come.
    length: usize,
    /// Padding has come: nothing may follow.
    ended: bool,
}

impl Decoder {
    /// Takes the next part and adds what it completes to `bytes`; `None` for what is no part of a
    /// text that [`encode`] makes, and nothing is of use then.
    pub(crate) fn push(&mut self, text: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
        for byte in text {
            if self.ended {
                return None;
            }
            self.group[self.length] = *byte;
            self.length += 1;
            if self.length == self.group.len() {
                let (three, missing) = three(self.group)?;
                bytes.extend_from_slice(&three[..3 - missing]);
                (self.length, self.ended) = (0, missing > 0);
            }
        }
        Some(())
    }

    /// Whether the text may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.length == 0
    }
}

/// The bytes of four characters, and how many of the three are padding.
fn three(group: [u8; 4]) -> Option<([u8; 3], usize)> {
    let missing = group.iter().rev().take_while(|byte| **byte == b'=').count();
    if missing > 2 {
        return None;
    }
    let mut bits = 0;
    for byte in &group[..4 - missing] {
        bits = bits << 6 | value(*byte)?;
    }
    bits <<= 6 * missing;
    let [_, first, second, third] = bits.to_be_bytes();
    let three = [first, second, third];
    // What the last character holds beyond the bytes must be nothing: one text for any bytes.
    three[3 - missing..].iter().all(|byte| *byte == 0).then_some((three, missing))
}

fn value(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_bytes_of_which_it_is_the_text_or_nothing(text: String) {
            if let Some(bytes) = decode(&text) {
                proptest::prop_assert_eq!(encode(&bytes), text);
            }
        }
    }

    #[test]
    fn the_texts_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        for wrong in ["Z", "Zg=", "Zg==Zg==", "Zh==", "Zm9=", "====", "Z===", "Zm 9v", "Zm9v\n"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
