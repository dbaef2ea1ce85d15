//! The properties of a device as QEMU tells them (`device-list-properties`), and texts as values of
//! their types. Pure functions over what QEMU answered.
//!
//! QEMU's `device_add` wants each value in its own type where it comes as JSON; a text that is no
//! value of the type is left a text, for QEMU itself to judge.

use serde_json::{Number, Value};

/// What a driver can be told.
#[derive(Debug)]
pub(crate) struct Properties<'a>(&'a Value);

impl<'a> Properties<'a> {
    /// Reads the answer of `device-list-properties`.
    pub(crate) fn of(answer: &'a Value) -> Properties<'a> {
        Properties(answer)
    }

    fn kind(&self, name: &str) -> Option<&'a str> {
        let all = self.0.as_array().into_iter().flatten();
        all.filter(|one| one["name"] == name).find_map(|one| one["type"].as_str())
    }

    /// Whether the device sits on PCI: all such devices can say that they share their slot.
    pub(crate) fn is_pci(&self) -> bool {
        self.kind("multifunction").is_some()
    }

    /// A text as the value of a property.
    pub(crate) fn value(&self, name: &str, text: &str) -> Value {
        let typed = match self.kind(name) {
            Some("bool") => match text {
                "on" | "true" | "yes" => Some(true.into()),
                "off" | "false" | "no" => Some(false.into()),
                _ => None,
            },
            Some("size") => bytes(text).map(Value::from),
            Some(kind) if kind.starts_with("int") || kind.starts_with("uint") => number(text),
            _ => None,
        };
        typed.unwrap_or_else(|| text.into())
    }
}

fn number(text: &str) -> Option<Value> {
    let number: Number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?.into(),
        None => match text.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) => text.parse::<i64>().ok()?.into(),
        },
    };
    Some(number.into())
}

/// A size as QEMU writes it: K, M, G and T are of 1024.
fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let shift = match unit {
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_becomes_a_value_of_its_propertys_type() {
        let answer = json!([
            {"name": "multifunction", "type": "bool"},
            {"name": "addr", "type": "int32"},
            {"name": "max-bytes", "type": "uint64"},
            {"name": "romfile", "type": "str"},
            {"name": "disable-legacy", "type": "OnOffAuto"},
            {"name": "share", "type": "size"},
        ]);
        let properties = Properties::of(&answer);
        assert!(properties.is_pci() && !Properties::of(&json!(null)).is_pci());
        for (name, text, value) in [
            ("multifunction", "on", json!(true)),
            ("multifunction", "no", json!(false)),
            ("multifunction", "maybe", json!("maybe")),
            ("addr", "04.1", json!("04.1")),
            ("addr", "-1", json!(-1)),
            ("addr", "0x10", json!(16)),
            ("max-bytes", "18446744073709551615", json!(u64::MAX)),
            ("max-bytes", "1e3", json!("1e3")),
            ("romfile", "7", json!("7")),
            ("disable-legacy", "on", json!("on")),
            ("share", "2M", json!(2 << 20)),
            ("share", "2X", json!("2X")),
            ("unknown", "1", json!("1")),
        ] {
            assert_eq!(properties.value(name, text), value, "{name}={text}");
        }
    }
}
