//! 32 bytes as 64 lower-case hex characters: the one form of keys, challenges, nonces and MACs.

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Whether this is 32 bytes as [`hex`] writes them.
pub(super) fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The bytes of 64 lower-case hex characters; `None` for any other text.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !is_hex64(text) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_bytes_are_written_and_read_back() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 8 + 7).collect();
        let text = hex(&bytes);
        assert!(is_hex64(&text));
        assert_eq!(unhex(&text), Some(bytes));
    }

    #[test]
    fn nothing_else_is_read() {
        for text in ["", &"0".repeat(63), &"0".repeat(65), &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
