//! `display`, which is a word or an object.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::fields::{Fields, options};
use crate::definition::keys;
use crate::definition::types::{Display, Screen};
use crate::error::{Result, quote};

pub(super) fn display(fields: &Fields<'_>) -> Result<Display> {
    let value = fields.value("display");
    let Some(value) = value.filter(|value| value.is_object()) else {
        let known = fields.choice("display", |word| {
            Some(match word {
                "none" => Display::None,
                "gtk" => Display::Gtk(Vec::new()),
                "sdl" => Display::Sdl(Vec::new()),
                "vnc" => Display::Vnc(Screen::default()),
                "spice" => Display::Spice(Screen::default()),
                _ => return None,
            })
        });
        return match (known, value.and_then(Value::as_str)) {
            (Ok(word), _) => Ok(word.unwrap_or(Display::None)),
            (Err(error), Some(word)) if error.hint.is_none() => Err(error.hint(elsewhere(word))),
            (Err(error), _) => Err(error),
        };
    };
    let inner = Fields::of("display", value, keys::DISPLAY)?;
    let given: Vec<_> = ["vnc", "spice", "gtk", "sdl"]
        .into_iter()
        .filter_map(|name| inner.value(name).map(|value| (name, value)))
        .collect();
    let [(name, value)] = given[..] else {
        return Err(fields.refuse("display", "expected one of vnc, spice, gtk and sdl in it"));
    };
    let path = inner.path(name);
    Ok(match name {
        "vnc" => Display::Vnc(screen(&Fields::of(&path, value, keys::VNC)?)?),
        "spice" => Display::Spice(screen(&Fields::of(&path, value, keys::SPICE)?)?),
        "gtk" => Display::Gtk(options(&path, value)?),
        _ => Display::Sdl(options(&path, value)?),
    })
}

/// What QEMU has besides, and what its word for a server says that was not translated.
fn elsewhere(word: &str) -> String {
    match word.starts_with("vnc") {
        true => "a server is {\"vnc\": {\"port\": 5901}}, or \"vnc\" on a socket".to_owned(),
        false => {
            format!("another display of QEMU goes into \"args\": [\"-display\", {}]", quote(word))
        }
    }
}

fn screen(fields: &Fields<'_>) -> Result<Screen> {
    let address = match fields.text("address")? {
        None => None,
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| {
            fields.refuse("address", format!("{} is not an IP address", quote(text)))
        })?),
    };
    let port: Option<u16> = fields.count("port")?;
    let password_file = fields.file("password_file")?;
    let listen = match (address, port) {
        (None, None) => None,
        (Some(_), None) => return Err(fields.refuse("port", "an address needs a port")),
        (address, Some(port)) => Some((address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port)),
    };
    if let Some((address, _)) = listen
        && !address.is_loopback()
        && password_file.is_none()
    {
        let why = format!("others reach {address}, so that it needs a password_file");
        return Err(fields.refuse("address", why));
    }
    Ok(Screen { listen, password_file })
}
