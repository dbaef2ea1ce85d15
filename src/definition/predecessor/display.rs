//! `display` in QEMU's own words, as the predecessor handed them on.

use serde_json::{Map, Value, json};

use super::form::Form;

/// The first port of VNC, from which QEMU counts.
const VNC: u16 = 5900;

/// What a text with more than today's words says, where today's key can say it.
pub(super) fn of_text(text: &str) -> Option<Value> {
    text.contains([',', '=']).then(|| of_form(Form::of_text(text)))?
}

/// The same of an item of `arguments`.
pub(super) fn of_form(form: Form) -> Option<Value> {
    let Form { first, mut pairs } = form;
    match first.as_deref() {
        Some(window @ ("gtk" | "sdl")) if !pairs.is_empty() => Some(json!({ (window): pairs })),
        Some(word @ ("gtk" | "sdl" | "none")) if pairs.is_empty() => Some(word.into()),
        None if pairs.len() == 1 => vnc(&pairs.remove("vnc")?),
        _ => None,
    }
}

/// `ADDRESS:DISPLAY` on TCP. Without an address QEMU would listen for everyone.
fn vnc(place: &str) -> Option<Value> {
    let (address, display) = place.rsplit_once(':')?;
    let port = VNC.checked_add(display.parse().ok()?)?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let mut screen = Map::from_iter([("port".to_owned(), port.into())]);
    match address {
        "" | "localhost" => {}
        address => {
            address.parse::<std::net::IpAddr>().ok()?;
            screen.insert("address".to_owned(), address.into());
        }
    }
    Some(json!({ "vnc": screen }))
}
