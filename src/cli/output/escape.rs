//! Text of others made safe to look at: a guest must not move the cursor, set the title or answer
//! for the person at the terminal.

use std::fmt::Write;

/// What a guest or QEMU wrote, with each control character and each byte that is not UTF-8 as
/// `\xNN`. Line ends, also CR LF, and TABs stay.
pub(crate) fn escape_for_terminal(bytes: &[u8]) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut letters = chunk.valid().chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\r' if letters.peek() == Some(&'\n') => {}
                '\n' | '\t' => safe.push(letter),
                _ => push(&mut safe, letter),
            }
        }
        for byte in chunk.invalid() {
            push_byte(&mut safe, *byte);
        }
    }
    safe
}

/// A value as one word of one line: with line ends and TABs escaped, too.
pub(crate) fn escape_value(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    text.chars().for_each(|letter| push(&mut safe, letter));
    safe
}

/// JSON as a terminal may see it. serde_json escapes what stands below the blank; the controls
/// above, which can stand in strings alone, are written as JSON escapes: the value is the same.
pub(in crate::cli) fn escape_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '\u{7f}'..='\u{9f}' => {
                let _ = write!(safe, "\\u{:04x}", u32::from(letter));
            }
            _ => safe.push(letter),
        }
    }
    safe
}

fn push(safe: &mut String, letter: char) {
    match letter {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        _ if letter.is_control() => {
            let mut utf8 = [0; 4];
            letter.encode_utf8(&mut utf8).bytes().for_each(|byte| push_byte(safe, byte));
        }
        _ => safe.push(letter),
    }
}

fn push_byte(safe: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(safe, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_reaches_the_terminal_and_no_letter_is_lost() {
        for (bytes, expected) in [
            (&b"login: \x1b[31mred\r\n"[..], "login: \\x1b[31mred\n"),
            (b"50%\r100%\n", "50%\\r100%\n"),
            (b"a\tb\n\n", "a\tb\n\n"),
            (b"\x00\x07\x7f", "\\x00\\x07\\x7f"),
            ("\u{9b}31m é…".as_bytes(), "\\xc2\\x9b31m é…"),
            (b"\xff\xc3", "\\xff\\xc3"),
            (b"end\r", "end\\r"),
        ] {
            assert_eq!(escape_for_terminal(bytes), expected);
        }
    }

    #[test]
    fn a_value_stays_on_its_line_and_in_its_column() {
        assert_eq!(escape_value("a\tb\nc\u{1b}é"), "a\\tb\\nc\\x1bé");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let json = serde_json::to_string("\u{9b}31m\u{7f}\n\u{e9}").unwrap();
        let safe = escape_json(&json);
        assert!(!safe.chars().any(char::is_control));
        assert_eq!(
            serde_json::from_str::<String>(&safe).unwrap(),
            serde_json::from_str::<String>(&json).unwrap()
        );
    }
}
