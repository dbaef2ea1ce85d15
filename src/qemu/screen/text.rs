//! VGA's text mode: 80 by 25 characters, found in the card's memory.
//!
//! Which of its lines are shown only a register tells that cannot be read without changing it: a
//! guest that scrolls moves it, and the screen is then not at the memory's beginning. So the picture
//! decides: the lines that are shown are those whose characters fit it, blank where it is blank and
//! alike where it is alike. Where none fit, it is no text.

use std::collections::HashMap;

use super::picture::Picture;

/// Where a colour card has its text, and how much of it, in bytes.
pub(crate) const MEMORY: u64 = 0xb8000;
pub(crate) const MEMORY_SIZE: u64 = 0x8000;

const COLUMNS: usize = 80;
const LINES: usize = 25;
/// Bytes of a line: each character has its attribute behind it.
const LINE: usize = COLUMNS * 2;
/// Of the 2000 characters at least so many must fit: the others may be under a cursor, or have
/// changed between the picture and the memory.
const FITTING: usize = 1900;

/// The characters of code page 437, from 128 on.
const HIGH: &str = "\
ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
/// And those below the blank.
const LOW: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";

/// The 25 lines that a picture shows of the card's memory, without the blanks at their ends; `None`
/// where it shows none of it, for it is no text.
pub(crate) fn characters(picture: &Picture, memory: &[u8]) -> Option<Vec<String>> {
    let cells = Cells::of(picture)?;
    if cells.is_empty() {
        return Some(vec![String::new(); LINES]);
    }
    let starts = (0..).step_by(LINE).take_while(|start| start + LINES * LINE <= memory.len());
    let scored = starts.map(|start| {
        let shown = &memory[start..start + LINES * LINE];
        (cells.fitting(shown), shown)
    });
    // Of several that fit alike the first: they hold the same.
    let (score, shown) = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (score >= FITTING).then(|| shown.chunks_exact(LINE).map(line).collect())
}

fn line(bytes: &[u8]) -> String {
    let text: String = bytes.iter().step_by(2).map(|byte| character(*byte)).collect();
    text.trim_end().to_owned()
}

fn character(byte: u8) -> char {
    let found = match byte {
        ..0x20 => LOW.chars().nth(usize::from(byte)),
        0x7f => Some('⌂'),
        0x20..0x80 => Some(char::from(byte)),
        0x80.. => HIGH.chars().nth(usize::from(byte - 0x80)),
    };
    found.map_or(' ', |letter| if letter == '\u{a0}' { ' ' } else { letter })
}

/// What a picture shows in each place of a character: a number for each shape that it has, and
/// whether that is of one colour.
#[derive(Debug)]
struct Cells {
    shapes: Vec<usize>,
    is_plain: Vec<bool>,
}

impl Cells {
    /// `None` where the picture has no places for so many characters.
    fn of(picture: &Picture) -> Option<Cells> {
        let (width, height) = (picture.width / COLUMNS, picture.height / LINES);
        let is_text = picture.width == width * COLUMNS && picture.height == height * LINES;
        if !is_text || !(8..=9).contains(&width) || !(14..=16).contains(&height) {
            return None;
        }
        let mut known = HashMap::new();
        let mut cells = Cells { shapes: Vec::new(), is_plain: Vec::new() };
        for place in 0..LINES * COLUMNS {
            let (left, top) = (place % COLUMNS * width, place / COLUMNS * height);
            let shape: Vec<_> = (0..width * height)
                .map(|at| picture.at(left + at % width, top + at / width))
                .collect();
            cells.is_plain.push(shape.iter().all(|pixel| *pixel == shape[0]));
            let number = known.len();
            cells.shapes.push(*known.entry(shape).or_insert(number));
        }
        Some(cells)
    }

    /// Whether all of it is one colour.
    fn is_empty(&self) -> bool {
        let first = self.shapes.first();
        self.is_plain.iter().all(|plain| *plain)
            && self.shapes.iter().all(|shape| Some(shape) == first)
    }

    /// How many of these characters fit what is shown in their places.
    fn fitting(&self, shown: &[u8]) -> usize {
        let letters: Vec<[u8; 2]> = shown.as_chunks::<2>().0.to_vec();
        let places = || letters.iter().zip(self.shapes.iter().zip(&self.is_plain));
        let fits =
            |letter: &[u8; 2], plain| if plain { may_be_plain(letter) } else { !is_blank(letter) };
        // Most lines of the memory are told apart by their blanks.
        if places().filter(|(letter, (_, plain))| fits(letter, **plain)).count() < FITTING {
            return 0;
        }
        // Of characters that are alike most are shown alike, and of shapes that are alike most are the
        // same character.
        let shape_of = most(places().map(|(letter, (shape, _))| (*letter, *shape)));
        let named = places().filter(|(letter, _)| !may_be_plain(letter));
        let letter_of = most(named.map(|(letter, (shape, _))| (*shape, *letter)));
        places()
            .filter(|(letter, (shape, plain))| {
                let alike = shape_of.get(*letter) == Some(*shape);
                let same = **plain || letter_of.get(*shape).is_none_or(|it| it == *letter);
                alike && same && fits(letter, **plain)
            })
            .count()
    }
}

/// Whether a character is shown as nothing.
fn is_blank([letter, _]: &[u8; 2]) -> bool {
    matches!(letter, 0 | b' ' | 0xff)
}

/// Whether it is shown in one colour: a full block is, and one whose colours are the same.
fn may_be_plain(letter: &[u8; 2]) -> bool {
    is_blank(letter) || letter[0] == 0xdb || letter[1] & 0xf == letter[1] >> 4
}

/// For each key the value that it has most often.
fn most<K: Copy + Eq + std::hash::Hash, V: Copy + Eq + std::hash::Hash>(
    pairs: impl Iterator<Item = (K, V)>,
) -> HashMap<K, V> {
    let mut counts: HashMap<(K, V), usize> = HashMap::new();
    let mut best: HashMap<K, (usize, V)> = HashMap::new();
    for (key, value) in pairs {
        let count = counts.entry((key, value)).or_default();
        *count += 1;
        let first = best.entry(key).or_insert((0, value));
        if *count > first.0 {
            *first = (*count, value);
        }
    }
    best.into_iter().map(|(key, (_, value))| (key, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a card with a made-up font shows of a memory, from this line on.
    fn shown(memory: &[u8], line: usize) -> Picture {
        let (width, height) = (9, 16);
        let mut bytes = format!("P6\n{} {}\n255\n", width * COLUMNS, height * LINES).into_bytes();
        for row in 0..height * LINES {
            for column in 0..width * COLUMNS {
                let at = (line + row / height) * LINE + column / width * 2;
                let (letter, attribute) = (memory[at], memory[at + 1]);
                let inside = (row % height) * width + column % width;
                let blank = matches!(letter, 0 | b' ' | 0xff);
                // Some 256 different shapes, none of them of one colour.
                let bits = (usize::from(letter) + 1) * (inside + 7) * 0x9e37;
                let bit = !blank && (inside == 0 || (inside > 1 && bits >> 9 & 1 == 1));
                let bit = bit || letter == 0xdb;
                let colour = if bit { attribute & 0xf } else { attribute >> 4 };
                bytes.extend([colour * 16, 0, 0]);
            }
        }
        Picture::read(&bytes).unwrap()
    }

    fn memory(lines: usize) -> Vec<u8> {
        let mut memory = Vec::new();
        for line in 0..lines {
            let text =
                format!("[{:>5}.{line:06}] line {line} says {:x}", line / 7, line * line * 31);
            memory.extend(format!("{text:<80}").bytes().flat_map(|byte| [byte, 0x07]));
        }
        memory.resize(MEMORY_SIZE as usize, 0);
        memory
    }

    #[test]
    fn the_lines_that_are_shown_are_found_wherever_they_are() {
        let memory = memory(150);
        for line in [0, 1, 60, 125, 140] {
            let text = characters(&shown(&memory, line), &memory).unwrap();
            assert_eq!(text.len(), LINES);
            let first = format!("[{:>5}.{line:06}]", line / 7);
            assert!(text[0].starts_with(&first) && !text[0].ends_with(' '), "{line}: {text:?}");
        }
    }

    #[test]
    fn a_cursor_and_a_few_changes_do_no_harm() {
        let memory = memory(30);
        let picture = shown(&memory, 2);
        let mut changed = memory.clone();
        changed[5 * LINE..5 * LINE + 60].fill(b'_');
        assert!(characters(&picture, &changed).unwrap()[0].contains("line 2 "));
    }

    #[test]
    fn a_picture_that_is_no_text_is_none() {
        let memory = memory(150);
        let mut bytes = b"P6\n720 400\n255\n".to_vec();
        bytes.extend((0..720 * 400 * 3).map(|at: u32| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8));
        assert_eq!(characters(&Picture::read(&bytes).unwrap(), &memory), None);
        let small = Picture::read(b"P6\n1 1\n255\n\0\0\0").unwrap();
        assert_eq!(characters(&small, &memory), None);
        // What shows nothing is 25 empty lines, whatever lies in the memory.
        let dark = vec![0; LINES * LINE];
        let text = characters(&shown(&dark, 0), &memory).unwrap();
        assert!(text.len() == LINES && text.iter().all(String::is_empty));
        assert_eq!(characters(&shown(&memory, 0), &[]), None);
    }

    #[test]
    fn all_256_characters_are_known() {
        let all: Vec<char> = (0..=255).map(character).collect();
        assert_eq!((LOW.chars().count(), HIGH.chars().count()), (32, 128));
        assert_eq!((all[0], all[65], all[0xb3], all[0xdb], all[0xff]), (' ', 'A', '│', '█', ' '));
        assert!(all.iter().all(|letter| !letter.is_control()));
    }
}
