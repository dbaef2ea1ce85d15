//! Where the guest's screen is shown.

use std::path::Path;

use serde_json::json;

use super::words::{Words, utf8};
use crate::definition::types::{Display, Screen};
use crate::error::Result;

/// The first port of VNC, from which QEMU counts.
const VNC: u16 = 5900;
/// QEMU's secret that holds the password.
const PASSWORD: &str = "screen-password";

/// The name of the socket on which the screen is served, in QEMU's working directory, the VM's folder:
/// so its address is never too long.
pub(crate) fn socket(display: &Display) -> Option<&'static str> {
    match display {
        Display::Vnc(Screen { listen: None, .. }) => Some("vnc.sock"),
        Display::Spice(Screen { listen: None, .. }) => Some("spice.sock"),
        _ => None,
    }
}

/// Adds the display.
pub(super) fn add(words: &mut Words, display: &Display) -> Result<()> {
    let socket = socket(display);
    match display {
        Display::None => words.verbatim(["-display", "none"]),
        Display::Gtk(options) => window(words, "gtk", options),
        Display::Sdl(options) => window(words, "sdl", options),
        Display::Vnc(screen) => {
            words.verbatim(["-display", "none"]);
            let secret = secret(words, screen.password_file.as_deref())?;
            let place = match (screen.listen, socket) {
                (Some((address, port)), _) if address.is_ipv6() => {
                    format!("[{address}]:{}", port.saturating_sub(VNC))
                }
                (Some((address, port)), _) => format!("{address}:{}", port.saturating_sub(VNC)),
                (None, socket) => format!("unix:{}", socket.unwrap_or_default()),
            };
            let pairs: Vec<_> = secret.map(|id| ("password-secret", id)).into_iter().collect();
            words.option("-vnc", Some(&place), &pairs);
        }
        Display::Spice(screen) => {
            words.verbatim(["-display", "none"]);
            let password = match secret(words, screen.password_file.as_deref())? {
                Some(id) => ("password-secret", id),
                None => ("disable-ticketing", "on"),
            };
            match screen.listen {
                Some((address, port)) => {
                    let (address, port) = (address.to_string(), port.to_string());
                    let pairs = [("addr", address.as_str()), ("port", &port), password];
                    words.option("-spice", None, &pairs);
                }
                None => {
                    let pairs = [("unix", "on"), ("addr", socket.unwrap_or_default()), password];
                    words.option("-spice", None, &pairs);
                }
            }
        }
    }
    Ok(())
}

fn window(words: &mut Words, kind: &str, options: &[(String, String)]) {
    let pairs: Vec<_> = options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    words.option("-display", Some(kind), &pairs);
}

/// The secret that QEMU reads from the file, so that it stands in no argv.
fn secret(words: &mut Words, file: Option<&Path>) -> Result<Option<&'static str>> {
    let Some(file) = file else { return Ok(None) };
    let file = utf8(file)?;
    words.json("-object", &json!({ "qom-type": "secret", "id": PASSWORD, "file": file }));
    Ok(Some(PASSWORD))
}
