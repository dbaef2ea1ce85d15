//! A network card: one item of `network`.

use super::fields::{Fields, at, text};
use super::words;
use crate::definition::port::Port;
use crate::definition::types::{Card, ItemName, Link, Mac, Model};
use crate::error::{Result, quote};

pub(super) fn card(item: &Fields<'_>, name: ItemName) -> Result<Card> {
    let link = item.choice("type", words::link)?.unwrap_or(Link::User);
    let ports = ports(item)?;
    if link != Link::User && !ports.is_empty() {
        return Err(item.refuse("ports", "only a card of type user has ports"));
    }
    Ok(Card {
        name,
        link,
        ports,
        model: item.choice("model", words::model)?.unwrap_or(Model::Virtio),
        mac: mac(item)?,
    })
}

fn ports(item: &Fields<'_>) -> Result<Vec<Port>> {
    let mut all: Vec<Port> = Vec::new();
    for (path, value) in item.list("ports")?.unwrap_or_default() {
        let port = Port::parse(text(&path, value)?).map_err(|error| at(&path, error))?;
        if let Some(other) = all.iter().find(|other| other.collides(&port)) {
            return Err(item.refuse("ports", format!("{port} and {other} are the same port")));
        }
        all.push(port);
    }
    Ok(all)
}

fn mac(item: &Fields<'_>) -> Result<Option<Mac>> {
    let Some(text) = item.text("mac")? else {
        return Ok(None);
    };
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    let mut next = || parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
    let is_read = bytes.iter_mut().all(|byte| {
        next().and_then(|part| u8::from_str_radix(part, 16).ok()).map(|read| *byte = read).is_some()
    });
    if !is_read || parts.next().is_some() {
        let why = format!("expected six pairs of hex digits with colons, found {}", quote(text));
        return Err(item.refuse("mac", why));
    }
    if bytes[0] & 1 == 1 || bytes == [0; 6] {
        return Err(item
            .refuse("mac", format!("{} is not the address of one card", quote(text)))
            .hint("the first byte must be even; 52:54:00:… is QEMU's own"));
    }
    Ok(Some(Mac(bytes)))
}
