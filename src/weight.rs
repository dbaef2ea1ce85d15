//! How much memory a JSON text takes once it is read as a tree of values, told before it is read.
//!
//! A few bytes of text can become hundreds in memory: `{"":0},` is seven, and an object of its own. So
//! a limit on a line's length bounds nothing; a limit on its weight does. Pure; what a text means, and
//! whether it is JSON at all, is not known here.

/// What a value takes in the list or object that holds it, with the room that a list grows ahead.
const VALUE: usize = 64;
/// The first node of an object, and what each further entry adds to it.
const OBJECT: usize = 640;
const ENTRY: usize = 112;
/// The least that a list and a text take for themselves.
const LIST: usize = 144;
const TEXT: usize = 32;

/// At most this many bytes are taken by the tree of a text, whatever it is.
pub(crate) fn weight(json: &[u8]) -> usize {
    let mut weight = VALUE;
    let mut rest = json.iter();
    while let Some(byte) = rest.next() {
        weight += match byte {
            b'"' => TEXT + text(&mut rest),
            b',' => VALUE,
            b':' => ENTRY,
            b'{' => OBJECT,
            b'[' => LIST,
            _ => 0,
        };
    }
    weight
}

/// The length of a text, whose opening quote has been taken, up to its end or that of all.
fn text(rest: &mut std::slice::Iter<'_, u8>) -> usize {
    let mut length = 0;
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                rest.next();
                length += 2;
            }
            _ => length += 1,
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_what_a_reader_would_make_of_it() {
        let long = format!("\"{}\"", "x".repeat(1000));
        for (text, least, most) in [
            ("", 1, 100),
            ("null", 32, 100),
            ("[]", 100, 300),
            (r#"{"":0}"#, 700, 900),
            (r#""a,[{:\",[{:""#, 30, 150),
            (long.as_str(), 1000, 1200),
            (r#""never ended \"#, 10, 150),
        ] {
            let weight = weight(text.as_bytes());
            assert!((least..most).contains(&weight), "{text:.20}: {weight}");
        }
        let many = "[0],".repeat(1000);
        assert!(weight(many.as_bytes()) > 200_000);
    }
}
