//! A picture in the format PPM (P6), as QEMU's `screendump` writes it.

use crate::error::{Error, Result};

/// The most pixels of a side.
const LONGEST: usize = 16384;

/// Red, green, blue.
pub(crate) type Pixel = [u8; 3];

/// A picture of at least one pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Row by row.
    pixels: Vec<Pixel>,
}

impl Picture {
    /// Reads a file.
    ///
    /// # Errors
    /// `Kind::Failed` for what is none, or is cut short.
    pub(crate) fn read(bytes: &[u8]) -> Result<Picture> {
        parse(bytes).ok_or_else(|| Error::failed("cannot read the picture that QEMU wrote"))
    }

    /// The colour at a place in it.
    pub(crate) fn at(&self, column: usize, row: usize) -> Pixel {
        self.pixels.get(row * self.width + column).copied().unwrap_or_default()
    }

    /// The mean colour of a part of it, which begins at this place; at least of one pixel.
    pub(crate) fn mean(&self, left: usize, top: usize, width: usize, height: usize) -> Pixel {
        let (width, height) = (width.max(1), height.max(1));
        let mut sums = [0_usize; 3];
        for row in top..top + height {
            for column in left..left + width {
                for (sum, part) in sums.iter_mut().zip(self.at(column, row)) {
                    *sum += usize::from(part);
                }
            }
        }
        // A mean of bytes is one.
        sums.map(|sum| u8::try_from(sum / (width * height)).unwrap_or(u8::MAX))
    }
}

fn parse(bytes: &[u8]) -> Option<Picture> {
    let mut rest = bytes.strip_prefix(b"P6")?;
    let mut numbers = [0_usize; 3];
    for number in &mut numbers {
        rest = rest.trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (text, behind) = rest.split_at(digits);
        *number = std::str::from_utf8(text).ok()?.parse().ok()?;
        rest = behind;
    }
    let [width, height, deepest] = numbers;
    let is_sound = |side: usize| (1..=LONGEST).contains(&side);
    if !is_sound(width) || !is_sound(height) || deepest != 255 {
        return None;
    }
    let (pixels, _) = rest.strip_prefix(b"\n")?.as_chunks::<3>();
    let pixels = pixels.get(..width * height)?.to_vec();
    Some(Picture { width, height, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read_and_measured() {
        let picture = Picture::read(b"P6\n2 2\n255\n\0\0\0\x0a\0\0\0\x14\0\xff\xff\xff").unwrap();
        assert_eq!((picture.width, picture.height), (2, 2));
        assert_eq!(picture.at(1, 0), [10, 0, 0]);
        assert_eq!(picture.mean(0, 0, 2, 1), [5, 0, 0]);
        assert_eq!(picture.mean(1, 1, 0, 0), [255, 255, 255]);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for wrong in [
            &b""[..],
            b"P6",
            b"P5\n1 1\n255\n\0\0\0",
            b"P6\n1 1\n255\n\0\0",
            b"P6\n0 1\n255\n",
            b"P6\n99999 1\n255\n",
            b"P6\n1 1\n65535\n\0\0\0\0\0\0",
            b"P6\n1 1\n255",
            b"P6\n99999999999999999999 1\n255\n",
        ] {
            assert!(Picture::read(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_picture_or_an_error(bytes: Vec<u8>) {
            let _ = Picture::read(&bytes);
            let _ = Picture::read(&[b"P6 3 3 255\n", bytes.as_slice()].concat());
        }
    }
}
