//! What VMs are called: names, which people choose, and ids, which never change.
//!
//! The two cannot be confused: a word of 8 to 36 characters that are all `0-9 a-f -` is an id or the
//! beginning of one, and never a name. Whether such a VM exists is not known here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result, quote};

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;
/// The shortest beginning of an id that is taken for one, in characters.
const SHORTEST_PREFIX: usize = 8;
/// An id in its written form, in characters.
const ID_LENGTH: usize = 36;

/// A VM's name: `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`, without `..`, not ending in `.json`, and not to
/// be mistaken for an id. Safe as a file name and as a word of argv.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VmName(String);

impl VmName {
    /// Reads a name. Refusals (usage) say which rule was broken.
    pub(crate) fn parse(text: &str) -> Result<VmName> {
        let refuse = |rule: &str| {
            Err(Error::usage(format!("{} cannot be a VM's name: {rule}", quote(text))).hint(
                "a name is 1 to 64 letters, digits and _ . - and begins with a letter or a digit",
            ))
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric();
        match text.as_bytes() {
            [] => return refuse("it is empty"),
            [first, ..] if !is_word(*first) => {
                return refuse("it must begin with a letter or a digit");
            }
            bytes if bytes.len() > LONGEST_NAME => return refuse("it is longer than 64 bytes"),
            _ => {}
        }
        if let Some(wrong) = text.chars().find(|c| !c.is_ascii() || !is_name_byte(*c as u8)) {
            return refuse(&format!("{} is not allowed in it", quote(&wrong.to_string())));
        }
        if text.contains("..") {
            return refuse("two dots follow one another");
        }
        if text.ends_with(".json") {
            return refuse("it ends in .json, as files do");
        }
        if looks_like_an_id(text) {
            return refuse("8 to 36 characters of only 0-9, a-f and - are kept for ids");
        }
        Ok(VmName(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for VmName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for VmName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VmName, D::Error> {
        let text = String::deserialize(deserializer)?;
        VmName::parse(&text).map_err(|error| serde::de::Error::custom(&error.message))
    }
}

/// A VM's id: a random UUID (version 4, RFC 9562), written in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VmId([u8; 16]);

impl VmId {
    /// A new id. Fails only where the kernel gives no random bytes.
    pub(crate) fn random() -> Result<VmId> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|why| Error::failed(format!("cannot make an id: no random bytes: {why}")))?;
        bytes[6] = bytes[6] & 0x0f | 0x40; // version 4
        bytes[8] = bytes[8] & 0x3f | 0x80; // the variant of RFC 9562
        Ok(VmId(bytes))
    }

    /// Reads an id in its one written form.
    pub(crate) fn parse(text: &str) -> Result<VmId> {
        VmId::from_text(text).ok_or_else(|| {
            Error::usage(format!("{} is not the id of a VM", quote(text)))
                .hint("an id is a version 4 UUID in lower case")
        })
    }

    fn from_text(text: &str) -> Option<VmId> {
        if text.len() != ID_LENGTH {
            return None;
        }
        let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        });
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            *byte = digits.next()?? << 4 | digits.next()??;
        }
        let id = VmId(bytes);
        // Written out again it must be the same text: this holds the dashes, version and variant.
        let is_v4 = bytes[6] >> 4 == 4 && bytes[8] >> 6 == 0b10;
        (is_v4 && id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VmId({self})")
    }
}

impl Serialize for VmId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VmId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VmId, D::Error> {
        let text = String::deserialize(deserializer)?;
        VmId::parse(&text).map_err(|error| serde::de::Error::custom(&error.message))
    }
}

/// What a command was given to find a VM by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VmRef {
    Name(VmName),
    Id(VmId),
    /// 8 to 36 characters of `0-9 a-f -`; as it stands it may begin no id at all, or several.
    IdPrefix(String),
}

impl VmRef {
    /// Tells a name from an id and from an id's beginning. What can be none of them is refused as a
    /// name would be.
    pub(crate) fn parse(text: &str) -> Result<VmRef> {
        if !looks_like_an_id(text) {
            return VmName::parse(text).map(VmRef::Name);
        }
        Ok(VmId::from_text(text).map_or_else(|| VmRef::IdPrefix(text.to_owned()), VmRef::Id))
    }
}

/// Whether every byte may stand in a name (of a VM, of a disk, of a network card).
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn looks_like_an_id(text: &str) -> bool {
    (SHORTEST_PREFIX..=ID_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_taken_for_a_name_is_safe_as_a_file_name(text in ".{0,70}|[a-z0-9._-]{1,70}") {
            if let Ok(name) = VmName::parse(&text) {
                let name = name.as_str();
                proptest::prop_assert_eq!(name, &text);
                proptest::prop_assert!(name.bytes().all(is_name_byte) && name.len() <= 64);
                proptest::prop_assert!(!name.starts_with(['.', '-']) && !name.contains(".."));
            }
        }
    }

    #[test]
    fn names_are_read_by_whole_bytes() {
        for good in
            ["a", "0", "web", "Web_1.x-y", "abcdefg", "deadbeeF", "beef.bad", &"z".repeat(64)]
        {
            assert_eq!(VmName::parse(good).unwrap().as_str(), good);
        }
        for (bad, rule) in [
            ("", "empty"),
            ("-x", "begin"),
            (".x", "begin"),
            ("_x", "begin"),
            ("é", "begin"),
            ("web\n", "\\n"),
            ("we b", "\" \""),
            ("wéb", "é"),
            ("a/b", "/"),
            ("a\0", "not allowed"),
            ("a..b", "two dots"),
            ("web.json", ".json"),
            (&"z".repeat(65), "64 bytes"),
            ("deadbeef", "ids"),
            ("0000-0000", "ids"),
            (&"a".repeat(36), "ids"),
        ] {
            let error = VmName::parse(bad).unwrap_err();
            assert!(error.message.contains(rule), "{bad:?}: {error}");
            assert_eq!(error.kind, crate::error::Kind::Usage);
        }
        assert!(VmName::parse(&"a".repeat(37)).is_ok());
    }

    #[test]
    fn a_random_id_is_a_uuid_of_version_4_and_reads_back() {
        for _ in 0..64 {
            let id = VmId::random().unwrap();
            let text = id.to_string();
            assert_eq!((text.len(), &text[14..15]), (36, "4"));
            assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "{text}");
            assert_eq!(VmId::parse(&text).unwrap(), id);
            assert_eq!(VmRef::parse(&text).unwrap(), VmRef::Id(id));
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<VmId>(&format!("\"{text}\"")).unwrap(), id);
        }
    }

    #[test]
    fn only_the_one_written_form_is_an_id() {
        let good = "0e3f1b9c-7a52-4d8e-9f10-2b6c4d8e0f1a";
        assert!(VmId::parse(good).is_ok());
        for bad in [
            &good.to_uppercase(),
            "0e3f1b9c7a52-4d8e-9f10-2b6c4d8e0f1a-",
            "0e3f1b9c-7a52-1d8e-9f10-2b6c4d8e0f1a",
            "0e3f1b9c-7a52-4d8e-cf10-2b6c4d8e0f1a",
            "0e3f1b9c-7a52-4d8e-9f10-2b6c4d8e0f1g",
            "------------------------------------",
            "",
        ] {
            assert!(VmId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_is_a_name_or_an_id_or_its_beginning() {
        let prefix = |text: &str| VmRef::IdPrefix(text.to_owned());
        for (text, expected) in [
            ("web", VmRef::Name(VmName("web".into()))),
            ("abcdef1", VmRef::Name(VmName("abcdef1".into()))),
            ("DEADBEEF", VmRef::Name(VmName("DEADBEEF".into()))),
            ("deadbeef", prefix("deadbeef")),
            ("deadbeef-", prefix("deadbeef-")),
            ("0e3f1b9c-7a52-4d8e", prefix("0e3f1b9c-7a52-4d8e")),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", prefix(&"a".repeat(36))),
        ] {
            assert_eq!(VmRef::parse(text).unwrap(), expected);
        }
        for bad in ["", "../../x", "-all", "web\n", "deadbeef%"] {
            assert!(VmRef::parse(bad).is_err(), "{bad:?}");
        }
    }
}
