//! The keyboard as QEMU knows it: chords as people write them, characters on a US keyboard, and the
//! commands that press and release keys.
//!
//! Pure: what is pressed when is the caller's.

use serde_json::{Map, Value, json};

use crate::definition::nearest::nearest;
use crate::error::{Error, Result, quote};

/// The most keys of one chord.
const MOST_AT_ONCE: usize = 8;
/// How many characters without a key are named.
const NAMED: usize = 8;

/// QEMU's names of keys (QKeyCode), those that a PC's keyboard has.
const KEYS: &[&str] = &[
    "shift",
    "shift_r",
    "alt",
    "alt_r",
    "ctrl",
    "ctrl_r",
    "meta_l",
    "meta_r",
    "menu",
    "compose",
    "esc",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "0",
    "minus",
    "equal",
    "backspace",
    "tab",
    "q",
    "w",
    "e",
    "r",
    "t",
    "y",
    "u",
    "i",
    "o",
    "p",
    "bracket_left",
    "bracket_right",
    "ret",
    "a",
    "s",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "semicolon",
    "apostrophe",
    "grave_accent",
    "backslash",
    "z",
    "x",
    "c",
    "v",
    "b",
    "n",
    "m",
    "comma",
    "dot",
    "slash",
    "spc",
    "less",
    "caps_lock",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "f9",
    "f10",
    "f11",
    "f12",
    "num_lock",
    "scroll_lock",
    "print",
    "sysrq",
    "pause",
    "insert",
    "delete",
    "home",
    "end",
    "pgup",
    "pgdn",
    "left",
    "up",
    "down",
    "right",
    "kp_divide",
    "kp_multiply",
    "kp_subtract",
    "kp_add",
    "kp_enter",
    "kp_decimal",
    "kp_0",
    "kp_1",
    "kp_2",
    "kp_3",
    "kp_4",
    "kp_5",
    "kp_6",
    "kp_7",
    "kp_8",
    "kp_9",
    "power",
    "sleep",
    "wake",
    "volumeup",
    "volumedown",
    "audiomute",
    "yen",
    "ro",
    "henkan",
    "muhenkan",
    "hiragana",
    "katakanahiragana",
];

/// Other names that people have for them.
const ALIASES: &[(&str, &str)] = &[
    ("control", "ctrl"),
    ("altgr", "alt_r"),
    ("meta", "meta_l"),
    ("super", "meta_l"),
    ("win", "meta_l"),
    ("escape", "esc"),
    ("enter", "ret"),
    ("return", "ret"),
    ("space", "spc"),
    ("bksp", "backspace"),
    ("ins", "insert"),
    ("del", "delete"),
    ("pageup", "pgup"),
    ("pagedown", "pgdn"),
    ("printscreen", "print"),
    ("capslock", "caps_lock"),
    ("numlock", "num_lock"),
    ("scrolllock", "scroll_lock"),
];

/// The keys of a US keyboard that are no letters: unshifted, shifted, and the key's name.
const LAYOUT: &[(char, char, &str)] = &[
    ('1', '!', "1"),
    ('2', '@', "2"),
    ('3', '#', "3"),
    ('4', '$', "4"),
    ('5', '%', "5"),
    ('6', '^', "6"),
    ('7', '&', "7"),
    ('8', '*', "8"),
    ('9', '(', "9"),
    ('0', ')', "0"),
    ('-', '_', "minus"),
    ('=', '+', "equal"),
    ('[', '{', "bracket_left"),
    (']', '}', "bracket_right"),
    (';', ':', "semicolon"),
    ('\'', '"', "apostrophe"),
    ('`', '~', "grave_accent"),
    ('\\', '|', "backslash"),
    (',', '<', "comma"),
    ('.', '>', "dot"),
    ('/', '?', "slash"),
];

/// Keys that are pressed one after the other, held together, and released the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chord(Vec<&'static str>);

impl Chord {
    /// Reads `ctrl-alt-f2`: names of keys, or single characters of a US keyboard, joined by dashes.
    ///
    /// # Errors
    /// `Kind::Usage`, which names the part that is no key.
    pub(crate) fn parse(word: &str) -> Result<Chord> {
        let mut keys: Vec<&'static str> = Vec::new();
        for name in word.split('-') {
            let chord = match single(name) {
                Some(letter) => of_char(letter.to_ascii_lowercase()),
                None => named(name).map(|key| Chord(vec![key])),
            };
            let chord = chord.ok_or_else(|| unknown(word, name))?;
            for key in chord.0 {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        if keys.len() > MOST_AT_ONCE {
            return Err(Error::usage(format!("{} has more than 8 keys", quote(word))));
        }
        Ok(Chord(keys))
    }

    /// The arguments of QMP's `input-send-event` that press these keys.
    pub(crate) fn press(&self) -> Map<String, Value> {
        events(self.0.iter(), true)
    }

    /// How many keys it has.
    pub(crate) fn count(&self) -> u32 {
        self.0.iter().fold(0, |count, _| count + 1)
    }

    /// The arguments that release them.
    pub(crate) fn release(&self) -> Map<String, Value> {
        events(self.0.iter().rev(), false)
    }
}

/// The chords that type a text on a US keyboard.
///
/// # Errors
/// `Kind::Usage` with the characters that it has no keys for.
pub(crate) fn typed(text: &str) -> Result<Vec<Chord>> {
    let mut chords = Vec::with_capacity(text.len());
    let mut unknown: Vec<char> = Vec::new();
    for letter in text.chars() {
        match of_char(letter) {
            Some(chord) => chords.push(chord),
            None if unknown.contains(&letter) => {}
            None => unknown.push(letter),
        }
    }
    if unknown.is_empty() {
        return Ok(chords);
    }
    let rest = if unknown.len() > NAMED { ", and others" } else { "" };
    let named: Vec<String> =
        unknown.iter().take(NAMED).map(|letter| quote(&letter.to_string())).collect();
    let what = format!("a US keyboard has no key for {}{rest}", named.join(", "));
    Err(Error::usage(what).hint("nothing was typed; \"maqet keys\" presses any key by its name"))
}

/// The text of HMP's `i /b 0x64`, with which the keyboard's controller is looked at.
pub(crate) const LOOK: &str = "i /b 0x64";

/// What a look at the keyboard's controller tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It holds bytes that the guest has not taken yet.
    Waiting,
    Taken,
    /// There is no such controller.
    Nobody,
}

/// Reads what QEMU says to [`LOOK`]: the status register of a PC's controller, whose lowest bit tells
/// whether something waits (OBF).
pub(crate) fn look(answer: &str) -> Look {
    let digits = answer.trim().rsplit_once("= 0x").map(|(_, digits)| digits);
    match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        None | Some(0xff) => Look::Nobody,
        Some(status) if status & 1 != 0 => Look::Waiting,
        Some(_) => Look::Taken,
    }
}

fn events<'a>(keys: impl Iterator<Item = &'a &'static str>, down: bool) -> Map<String, Value> {
    let event = |key: &&str| {
        let key = json!({ "type": "qcode", "data": key });
        json!({ "type": "key", "data": { "down": down, "key": key } })
    };
    Map::from_iter([("events".to_owned(), keys.map(event).collect())])
}

/// How a character is typed.
fn of_char(letter: char) -> Option<Chord> {
    let key = match letter {
        'a'..='z' => return named(&letter.to_string()).map(|key| Chord(vec![key])),
        'A'..='Z' => {
            let lower = letter.to_ascii_lowercase().to_string();
            return named(&lower).map(|key| Chord(vec!["shift", key]));
        }
        '\r' | '\n' => "ret",
        '\t' => "tab",
        '\u{8}' | '\u{7f}' => "backspace",
        '\u{1b}' => "esc",
        ' ' => "spc",
        // Control-C, as at any terminal.
        '\u{1}'..='\u{1a}' => {
            let letter = char::from(u8::try_from(letter).ok()? | 0x60).to_string();
            return named(&letter).map(|key| Chord(vec!["ctrl", key]));
        }
        _ => {
            let row =
                LAYOUT.iter().find(|(plain, shifted, _)| [*plain, *shifted].contains(&letter));
            let (plain, _, key) = row?;
            let shift = if *plain == letter { None } else { Some("shift") };
            return Some(Chord(shift.into_iter().chain([*key]).collect()));
        }
    };
    Some(Chord(vec![key]))
}

/// The one character of a name that has no other.
fn single(name: &str) -> Option<char> {
    let mut letters = name.chars();
    letters.next().filter(|letter| letters.next().is_none() && letter.is_ascii_graphic())
}

/// The key of this name, whatever its case.
fn named(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, key)| *key);
    alias.or_else(|| KEYS.iter().copied().find(|key| *key == name))
}

fn unknown(word: &str, name: &str) -> Error {
    let error = Error::usage(format!("in {} {} is no key", quote(word), quote(name)));
    let names = KEYS.iter().chain(ALIASES.iter().map(|(alias, _)| alias)).copied();
    match nearest(name, names) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error.hint("keys are named as in ctrl-alt-f2, shift-tab, ret, esc, minus"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn words(chord: &Chord) -> String {
        chord.0.join(" ")
    }

    #[test]
    fn a_chord_is_keys_joined_by_dashes() {
        for (word, keys) in [
            ("ctrl-alt-f2", "ctrl alt f2"),
            ("Ctrl-Alt-Del", "ctrl alt delete"),
            ("ctrl-C", "ctrl c"),
            ("shift-shift-a", "shift a"),
            ("enter", "ret"),
            ("ctrl-?", "ctrl shift slash"),
            ("alt-minus", "alt minus"),
            ("super-l", "meta_l l"),
            ("kp_0", "kp_0"),
            ("alt_r-bracket_left", "alt_r bracket_left"),
        ] {
            assert_eq!(words(&Chord::parse(word).unwrap()), keys, "{word}");
        }
        for wrong in ["", "-", "ctrl-", "ctrl--", "ctrl+c", "f13", "é", "a-b-c-d-e-f-g-h-i"] {
            assert_eq!(Chord::parse(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
        }
        let near = Chord::parse("crtl-c").unwrap_err();
        assert_eq!(near.hint.as_deref(), Some("did you mean \"ctrl\"?"));
    }

    #[test]
    fn every_name_in_the_tables_is_a_key() {
        for key in ALIASES.iter().map(|row| row.1).chain(LAYOUT.iter().map(|row| row.2)) {
            assert!(KEYS.contains(&key), "{key}");
        }
        for (alias, _) in ALIASES {
            assert!(!KEYS.contains(alias) && alias.len() > 1, "{alias}");
        }
        for key in KEYS {
            assert_eq!(words(&Chord::parse(key).unwrap()), *key);
        }
    }

    #[test]
    fn all_of_ascii_that_is_printed_can_be_typed_and_no_two_characters_alike() {
        let printed: String = (' '..='~').collect();
        let chords = typed(&printed).unwrap();
        assert_eq!(chords.len(), 95);
        for (number, chord) in chords.iter().enumerate() {
            assert!(!chords[..number].contains(chord), "{chord:?}");
        }
        let shown: Vec<String> = typed("aZ~\r\t\u{1b}\u{3}|").unwrap().iter().map(words).collect();
        let expected = ["a", "shift z", "shift grave_accent", "ret", "tab", "esc", "ctrl c"];
        assert_eq!(shown[..7], expected);
        assert_eq!(shown[7], "shift backslash");
    }

    #[test]
    fn what_has_no_key_is_named() {
        let error = typed("aé\u{0}é€b").unwrap_err();
        let said = "a US keyboard has no key for \"é\", \"\\0\", \"€\"";
        assert_eq!((error.kind, error.message.as_str()), (Kind::Usage, said));
        let many: String = ('à'..='ÿ').collect();
        assert!(typed(&many).unwrap_err().message.ends_with(", and others"));
    }

    #[test]
    fn keys_are_released_the_other_way_round() {
        let chord = Chord::parse("ctrl-c").unwrap();
        let key = |name, down| {
            let key = json!({ "type": "qcode", "data": name });
            json!({ "type": "key", "data": { "down": down, "key": key } })
        };
        assert_eq!(chord.press()["events"], json!([key("ctrl", true), key("c", true)]));
        assert_eq!(chord.release()["events"], json!([key("c", false), key("ctrl", false)]));
    }

    #[test]
    fn the_controllers_status_tells_whether_something_waits() {
        for (answer, told) in [
            ("portb[0x0064] = 0x1c\r\n", Look::Taken),
            ("portb[0x0064] = 0x1d\r\n", Look::Waiting),
            ("portb[0x0064] = 0xff\r\n", Look::Nobody),
            ("unknown command: 'i'\r\n", Look::Nobody),
            ("", Look::Nobody),
        ] {
            assert_eq!(look(answer), told, "{answer:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_chords_or_an_error(text: String) {
            let _ = (Chord::parse(&text), typed(&text));
        }
    }
}
