//! Sizes and times as people write them. What key or flag they were written for is not known here.

use std::time::Duration;

use crate::error::{Error, Result, quote};

/// The longest time that is taken: far beyond any use, and safe to add to an `Instant`.
const LONGEST_SECONDS: u64 = 100 * 365 * 24 * 60 * 60;
/// The largest size that is taken: QEMU and the kernel count file offsets in signed 64 bits.
const LARGEST_SIZE: u64 = i64::MAX as u64;

/// How long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Written `0`.
    Never,
    /// 1 ms to 100 years.
    After(Duration),
}

impl Limit {
    /// Reads `500ms 30s 2m 1h 1d`; a bare number counts seconds, `0` is for ever.
    pub(crate) fn parse(text: &str) -> Result<Limit> {
        let refuse = |why: &str| {
            Err(Error::usage(format!("{} is not a time: {why}", quote(text)))
                .hint("a time is a whole number and ms, s, m, h or d, such as 500ms, 30s or 2m"))
        };
        let (number, unit) = split(text);
        let milliseconds = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ if number.is_empty() => return refuse("it does not begin with a digit"),
            _ => return refuse(&format!("{} is no unit of time", quote(unit))),
        };
        if number.is_empty() {
            return refuse("it has no number");
        }
        match number.parse::<u64>().ok().and_then(|count| count.checked_mul(milliseconds)) {
            Some(total) if total <= LONGEST_SECONDS * 1000 => Ok(Limit::of(total)),
            _ => refuse("it is longer than 100 years (0 is for ever)"),
        }
    }

    /// `seconds` as JSON numbers give them; 0 is for ever.
    pub(crate) fn seconds(seconds: u64) -> Result<Limit> {
        Limit::parse(&seconds.to_string())
    }

    /// The time, unless it is for ever.
    pub(crate) fn duration(self) -> Option<Duration> {
        match self {
            Limit::Never => None,
            Limit::After(duration) => Some(duration),
        }
    }

    fn of(milliseconds: u64) -> Limit {
        match milliseconds {
            0 => Limit::Never,
            _ => Limit::After(Duration::from_millis(milliseconds)),
        }
    }
}

/// What a size without a unit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    /// It counts MiB (memory).
    Mebibytes,
    /// It is refused, since half of the tools would read it as bytes (disks).
    Refused,
}

/// Reads a size in bytes, 1 to 2^63 - 1: `2G` and `2GiB` count by 1024, `2GB` by 1000, `512B` bytes.
/// Letter case does not matter.
pub(crate) fn size(text: &str, bare: Bare) -> Result<u64> {
    let refuse = |why: &str| {
        Err(Error::usage(format!("{} is not a size: {why}", quote(text)))
            .hint("a size is a whole number and K, M, G, T, P or E, such as 512M or 20G"))
    };
    let (number, unit) = split(text);
    if number.is_empty() {
        return refuse("it does not begin with a digit");
    }
    let unit_in_bytes = match (unit_in_bytes(unit), bare) {
        (Some(bytes), _) => bytes,
        (None, Bare::Mebibytes) if unit.is_empty() => 1 << 20,
        (None, Bare::Refused) if unit.is_empty() => return refuse("it has no unit"),
        _ => return refuse(&format!("{} is no unit of size", quote(unit))),
    };
    match number.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_in_bytes)) {
        Some(0) => refuse("it is nothing"),
        Some(bytes) if bytes <= LARGEST_SIZE => Ok(bytes),
        _ => refuse("it is too large"),
    }
}

/// A number of bytes as [`size`] reads it back, in the largest unit of which it is a whole number.
pub(crate) fn exact(count: u64) -> String {
    let powers = (count.trailing_zeros() / 10).min(6);
    match powers.checked_sub(1).and_then(|place| "KMGTPE".chars().nth(place as usize)) {
        Some(letter) if count > 0 => format!("{}{letter}", count >> (powers * 10)),
        _ => format!("{count}B"),
    }
}

/// A number of bytes for people: `20 GiB`, `1.5 GiB`, `512 B`. Never more than it is: cut, not
/// rounded up.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = count.checked_ilog2().unwrap_or(0) / 10;
    let Some(place) = power.checked_sub(1) else {
        return format!("{count} B");
    };
    let unit = 1_u128 << (power * 10);
    let tenths = u128::from(count) * 10 / unit;
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[place as usize]),
        tenth => format!("{}.{tenth} {}", tenths / 10, UNITS[place as usize]),
    }
}

fn unit_in_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if unit == "b" {
        return Some(1);
    }
    let mut letters = unit.chars();
    let power = 1 + "kmgtpe".find(letters.next()?)? as u32;
    match letters.as_str() {
        "" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// The leading digits, and the rest.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_bytes_is_written_so_that_it_is_read_back() {
        for (count, text) in
            [(20 << 30, "20G"), (1536 << 20, "1536M"), (512, "512B"), (1 << 62, "4E")]
        {
            assert_eq!(exact(count), text);
            assert_eq!(size(text, Bare::Refused).unwrap(), count);
        }
    }

    #[test]
    fn sizes_are_read_by_their_unit() {
        for (text, expected) in [
            ("2G", 2 << 30),
            ("2GiB", 2 << 30),
            ("2gib", 2 << 30),
            ("2GB", 2_000_000_000),
            ("512M", 512 << 20),
            ("3k", 3 << 10),
            ("1T", 1 << 40),
            ("7E", 7 << 60),
            ("512B", 512),
            ("0020G", 20 << 30),
        ] {
            assert_eq!(size(text, Bare::Refused).unwrap(), expected, "{text}");
            assert_eq!(size(text, Bare::Mebibytes).unwrap(), expected, "{text}");
        }
        assert_eq!(size("512", Bare::Mebibytes).unwrap(), 512 << 20);
    }

    #[test]
    fn what_is_no_size_says_why() {
        for (text, why) in [
            ("", "digit"),
            ("G", "digit"),
            ("-1G", "digit"),
            ("20", "no unit"),
            ("1.5G", "no unit of size"),
            ("2 G", "no unit of size"),
            ("2GiBs", "no unit of size"),
            ("2é", "no unit of size"),
            ("0G", "nothing"),
            ("8E", "too large"),
            ("18446744073709551616B", "too large"),
            ("99999999999999999999G", "too large"),
        ] {
            let error = size(text, Bare::Refused).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
        assert!(size("99999999999999999", Bare::Mebibytes).is_err());
    }

    #[test]
    fn times_are_read_by_their_unit_and_0_is_for_ever() {
        let after = |ms| Limit::After(Duration::from_millis(ms));
        for (text, expected) in [
            ("500ms", after(500)),
            ("30", after(30_000)),
            ("30s", after(30_000)),
            ("2m", after(120_000)),
            ("1h", after(3_600_000)),
            ("1d", after(86_400_000)),
            ("0", Limit::Never),
            ("0h", Limit::Never),
        ] {
            assert_eq!(Limit::parse(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "s", "-1", "1.5s", "1w", "2M", "1 s", "36501d", "18446744073709551615d"] {
            assert!(Limit::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Limit::seconds(60).unwrap(), after(60_000));
        assert!(Limit::seconds(u64::MAX).is_err());
    }

    #[test]
    fn bytes_for_people_are_never_more_than_there_are() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (20 << 30, "20 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }
}
