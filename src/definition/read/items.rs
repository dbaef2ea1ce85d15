//! A network card: one item of `network`.

use super::fields::{Fields, at, options, text};
use super::words;
use crate::definition::port::Port;
use crate::definition::types::{Card, ItemName, Link, Mac, Model};
use crate::error::{Error, Result, quote};

/// What QEMU must be told of a socket network: one of these.
const SOCKET_WANTS: [&str; 5] = ["listen", "connect", "mcast", "udp", "fd"];

pub(super) fn card(item: &Fields<'_>, name: ItemName) -> Result<Card> {
    let interface = |key| interface_name(item, key);
    let kind = item.choice("type", |word| KINDS.iter().find(|kind| **kind == word))?;
    let kind = *kind.unwrap_or(&"user");
    let link = match kind {
        "tap" => Link::Tap { ifname: interface("ifname")? },
        "bridge" => Link::Bridge { bridge: interface("bridge")? },
        "socket" => Link::Socket,
        "none" => Link::None,
        _ => Link::User,
    };
    for (key, only) in [("ports", "user"), ("ifname", "tap"), ("bridge", "bridge")] {
        // A merge leaves an empty list where ports are taken back.
        let is_given = item.value(key).is_some_and(|value| {
            key != "ports" || value.as_array().is_none_or(|all| !all.is_empty())
        });
        if is_given && kind != only {
            return Err(item.refuse(key, format!("only a card of type {only} has it")));
        }
    }
    let options = match item.value("options") {
        Some(_) if kind == "none" => {
            return Err(item.refuse("options", "a card of type none has none"));
        }
        Some(value) => options(&item.path("options"), value)?,
        None => Vec::new(),
    };
    if let Some((key, _)) = options.iter().find(|(key, _)| key == "id" || key == "type") {
        let path = format!("{}.{}", item.path("options"), quote(key));
        return Err(Error::usage(format!("{path}: that is told by the card itself")));
    }
    let has = |key: &str| options.iter().any(|(known, _)| known == key);
    if let Some((key, own)) = [("ifname", "ifname"), ("br", "bridge")]
        .into_iter()
        .find(|(key, own)| item.value(own).is_some() && has(key))
    {
        return Err(item.refuse("options", format!("{} says {} already", own, quote(key))));
    }
    if link == Link::Socket && !SOCKET_WANTS.iter().any(|key| has(key)) {
        return Err(item
            .refuse("options", "a card of type socket needs to know where the others are")
            .hint("give it one of listen, connect and mcast: {\"listen\": \"127.0.0.1:9000\"}"));
    }
    Ok(Card {
        name,
        link,
        ports: ports(item)?,
        model: item.choice("model", words::model)?.unwrap_or(Model::Virtio),
        mac: mac(item)?,
        options,
    })
}

const KINDS: [&str; 5] = ["user", "tap", "bridge", "socket", "none"];

/// The name of an interface of the host (dev_valid_name in Linux's net/core/dev.c).
fn interface_name(item: &Fields<'_>, key: &str) -> Result<Option<String>> {
    let Some(name) = item.text(key)? else {
        return Ok(None);
    };
    let is_name = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    match is_name {
        true => Ok(Some(name.to_owned())),
        false => Err(item.refuse(key, format!("{} is not an interface's name", quote(name)))),
    }
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
