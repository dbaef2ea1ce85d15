//! `display`, which is a word or an object.

use std::net::{IpAddr, Ipv4Addr};

use super::fields::Fields;
use crate::definition::keys;
use crate::definition::types::{Display, Screen};
use crate::error::{Result, quote};

pub(super) fn display(fields: &Fields<'_>) -> Result<Display> {
    let Some(value) = fields.value("display").filter(|value| value.is_object()) else {
        let word = fields.choice("display", |word| {
            Some(match word {
                "none" => Display::None,
                "gtk" => Display::Gtk,
                "sdl" => Display::Sdl,
                "vnc" => Display::Vnc(Screen::default()),
                "spice" => Display::Spice(Screen::default()),
                _ => return None,
            })
        })?;
        return Ok(word.unwrap_or(Display::None));
    };
    let inner = Fields::of("display", value, keys::DISPLAY)?;
    match (inner.value("vnc"), inner.value("spice")) {
        (Some(vnc), None) => Ok(Display::Vnc(screen(&Fields::of("display.vnc", vnc, keys::VNC)?)?)),
        (None, Some(spice)) => {
            Ok(Display::Spice(screen(&Fields::of("display.spice", spice, keys::SPICE)?)?))
        }
        _ => Err(fields.refuse("display", "expected one of vnc and spice in it")),
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
