//! `firmware`, which is a word or an object.

use super::fields::Fields;
use crate::definition::keys;
use crate::definition::types::Firmware;
use crate::error::Result;

pub(super) fn firmware(fields: &Fields<'_>) -> Result<Firmware> {
    let Some(value) = fields.value("firmware").filter(|value| value.is_object()) else {
        let word = fields.choice("firmware", |word| match word {
            "bios" => Some(Firmware::Bios),
            "uefi" => Some(Firmware::Uefi),
            _ => None,
        })?;
        return Ok(word.unwrap_or(Firmware::Bios));
    };
    let inner = Fields::of("firmware", value, keys::FIRMWARE)?;
    match (inner.file("code")?, inner.file("vars")?) {
        (Some(code), Some(vars)) => Ok(Firmware::Files { code, vars }),
        (None, _) => Err(inner.refuse("code", "it is missing: a firmware is code and vars")),
        (_, None) => Err(inner.refuse("vars", "it is missing: a firmware is code and vars")),
    }
}
