//! A picture on a terminal: half blocks, each of two pixels, in 24-bit colours.

use std::fmt::Write;

use crate::qemu::screen::{Picture, Pixel};

/// The picture as text, as large as fits in so many columns and rows, and no larger than it is.
pub(super) fn draw(picture: &Picture, columns: usize, rows: usize) -> String {
    let (width, height) = fitted((picture.width, picture.height), (columns, rows * 2));
    let mut text = String::new();
    for row in (0..height).step_by(2) {
        let mut before = None;
        for column in 0..width {
            let upper = pixel(picture, (column, row), (width, height));
            let lower =
                (row + 1 < height).then(|| pixel(picture, (column, row + 1), (width, height)));
            if before != Some((upper, lower)) {
                push(&mut text, upper, lower);
                before = Some((upper, lower));
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

/// The largest size of this shape that fits, at least one pixel.
fn fitted(size: (usize, usize), room: (usize, usize)) -> (usize, usize) {
    let (width, height) = size;
    let (most_wide, most_high) = (room.0.clamp(1, width), room.1.clamp(1, height));
    // What is bound by the width is not bound by the height.
    match most_wide * height <= most_high * width {
        true => (most_wide, (most_wide * height / width).max(1)),
        false => ((most_high * width / height).max(1), most_high),
    }
}

/// The colour of a place in the smaller picture.
fn pixel(
    picture: &Picture,
    (column, row): (usize, usize),
    (width, height): (usize, usize),
) -> Pixel {
    let (left, right) = (column * picture.width / width, (column + 1) * picture.width / width);
    let (top, bottom) = (row * picture.height / height, (row + 1) * picture.height / height);
    picture.mean(left, top, right - left, bottom - top)
}

fn push(text: &mut String, [r, g, b]: Pixel, lower: Option<Pixel>) {
    // Writing to a string never fails.
    let _ = write!(text, "\x1b[38;2;{r};{g};{b}");
    let _ = match lower {
        Some([r, g, b]) => write!(text, ";48;2;{r};{g};{b}m"),
        None => write!(text, ";49m"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_shape_and_is_never_enlarged() {
        for (size, room, fits) in [
            ((720, 400), (80, 48), (80, 44)),
            ((720, 400), (200, 48), (86, 48)),
            ((4, 2), (80, 48), (4, 2)),
            ((1000, 1), (80, 48), (80, 1)),
            ((1, 1000), (80, 48), (1, 48)),
            ((10, 10), (0, 0), (1, 1)),
        ] {
            assert_eq!(fitted(size, room), fits, "{size:?} {room:?}");
        }
    }

    #[test]
    fn two_rows_of_pixels_are_one_of_half_blocks() {
        let picture =
            Picture::read(b"P6\n2 3\n255\n\x01\0\0\x01\0\0\x02\0\0\x02\0\0\x03\0\0\x04\0\0")
                .unwrap();
        let expected = "\x1b[38;2;1;0;0;48;2;2;0;0m▀▀\x1b[0m\n\
                        \x1b[38;2;3;0;0;49m▀\x1b[38;2;4;0;0;49m▀\x1b[0m\n";
        assert_eq!(draw(&picture, 80, 24), expected);
    }
}
