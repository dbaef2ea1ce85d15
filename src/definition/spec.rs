//! One disk, share or network card as a word of the command line, to the JSON item that it stands for.
//!
//! `FIRST[,KEY=VALUE|,KEY]… | KEY=VALUE[,…] | {JSON item}`; `,,` is a comma, KEY alone is true. The
//! item is read like any other: what its values mean is not decided here.

use serde_json::{Map, Value};

use super::keys::{self, Key};
use super::nearest::nearest;
use super::units::{self, Bare};
use super::{json, read};
use crate::error::{Error, Result, quote};

type Item = Map<String, Value>;

/// A disk: FIRST is a size (`20G`) or a file (`./x.qcow2`). What is only letters and digits and
/// begins with a digit is a size.
pub(crate) fn disk(text: &str) -> Result<Item> {
    item(text, "the disk", keys::STORAGE, |first| {
        let is_size = first.starts_with(|c: char| c.is_ascii_digit())
            && first.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_size {
            units::size(first, Bare::Refused).map_err(|error| {
                let hint = format!("for a file of that name write ./{first}");
                error.hint(hint)
            })?;
        }
        Ok(if is_size { "size" } else { "file" })
    })
}

/// A CD-ROM drive: FIRST is the file of its disc.
pub(crate) fn cdrom(text: &str) -> Result<Item> {
    let mut item = item(text, "the cdrom", keys::STORAGE, |_| Ok("file"))?;
    match item.insert("media".to_owned(), "cdrom".into()) {
        None => Ok(item),
        Some(media) if media == "cdrom" => Ok(item),
        Some(_) => Err(Error::usage(format!("the cdrom {} is to be no cdrom", quote(text)))
            .hint("\"--disk\" takes any medium")),
    }
}

/// A folder of the host that the guest mounts: FIRST is the folder.
pub(crate) fn share(text: &str) -> Result<Item> {
    let mut item = item(text, "the share", keys::STORAGE, |_| Ok("path"))?;
    match item.insert("type".to_owned(), "virtfs".into()) {
        None => Ok(item),
        Some(kind) if kind == "virtfs" => Ok(item),
        Some(_) => Err(Error::usage(format!("the share {} is to be no share", quote(text)))
            .hint("\"--disk\" takes images")),
    }
}

/// A network card: FIRST is its type.
pub(crate) fn net(text: &str) -> Result<Item> {
    item(text, "the network card", keys::NETWORK, |_| Ok("type"))
}

fn item(
    text: &str,
    what: &str,
    keys: &'static [Key],
    key_of_first: impl Fn(&str) -> Result<&'static str>,
) -> Result<Item> {
    if text.starts_with('{') {
        let mut items = json::documents(text.as_bytes(), what)?;
        return match (items.pop(), items.is_empty()) {
            (Some(item), true) => Ok(item),
            _ => Err(Error::usage(format!("{what} {} is more than one item", quote(text)))),
        };
    }
    let at = |error| read::at(&format!("{what} {}", quote(text)), error);
    let mut item = Item::new();
    for (place, word) in words(text).iter().enumerate() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if place > 0 || is_key(name) => (name, value),
            _ if place == 0 && word.is_empty() => return Err(at(Error::usage("it is empty"))),
            _ if place == 0 => (key_of_first(word).map_err(at)?, word.as_str()),
            _ => (word.as_str(), "true"),
        };
        let key = keys::find(keys, name).ok_or_else(|| at(unknown(name, keys)))?;
        let value = key.value_of(value).map_err(at)?;
        if item.insert(name.to_owned(), value).is_some() {
            return Err(at(Error::usage(format!("{name} is given twice"))));
        }
    }
    Ok(item)
}

/// Whether the first word's part before `=` is meant as a key, and not the beginning of a path.
fn is_key(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn unknown(name: &str, keys: &'static [Key]) -> Error {
    let error = Error::usage(format!("there is no key {}", quote(name)));
    match nearest(name, keys.iter().map(|key| key.name)) {
        Some(known) => error.hint(format!("did you mean {known}?")),
        None if name.is_empty() => error.hint("a comma inside a value is written ,,"),
        None => error,
    }
}

/// The words between single commas; of two commas one stays.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == ',' && letters.next_if_eq(&',').is_none() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn any_path_comes_through_with_its_commas_doubled(path: String, name: String) {
            let text = format!("./{},serial={}", path.replace(',', ",,"), name.replace(',', ",,"));
            let item = Value::Object(disk(&text).unwrap());
            prop_assert_eq!(item, json!({"file": format!("./{path}"), "serial": name}));
        }

        #[test]
        fn any_text_is_an_item_or_an_error(text: String, tail: String) {
            let _ = disk(&text);
            let _ = disk(&format!("20G,{text}={tail}"));
            let _ = net(&format!("{{{text}"));
        }
    }

    #[test]
    fn a_disk_is_a_size_or_a_file_and_its_keys() {
        for (text, expected) in [
            ("20G", json!({"size":"20G"})),
            ("./x.qcow2", json!({"file":"./x.qcow2"})),
            ("x.raw,readonly", json!({"file":"x.raw","readonly":true})),
            (
                "20G,name=data,bootindex=1,serial=7",
                json!({"size":"20G","name":"data","bootindex":1,"serial":"7"}),
            ),
            ("name=data,size=50G", json!({"name":"data","size":"50G"})),
            ("a,,b,,,readonly=off", json!({"file":"a,b,","readonly":false})),
            ("./k=v.raw", json!({"file":"./k=v.raw"})),
            ("file=a=b", json!({"file":"a=b"})),
            ("a b\"c\n,cache=none", json!({"file":"a b\"c\n","cache":"none"})),
            ("2024-05.raw", json!({"file":"2024-05.raw"})),
            ("{\"size\":\"1G\"}", json!({"size":"1G"})),
        ] {
            assert_eq!(Value::Object(disk(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_cdrom_is_its_file_and_its_keys() {
        for (text, expected) in [
            ("a.iso", json!({"file":"a.iso","media":"cdrom"})),
            ("./a,,b,name=cd", json!({"file":"./a,b","name":"cd","media":"cdrom"})),
            ("{\"file\":\"x\"}", json!({"file":"x","media":"cdrom"})),
        ] {
            assert_eq!(Value::Object(cdrom(text).unwrap()), expected, "{text}");
        }
        assert!(cdrom("a,media=disk").is_err() && cdrom("").is_err());
    }

    #[test]
    fn a_share_is_its_folder_and_its_keys() {
        for (text, expected) in [
            (".,tag=src,readonly", json!({"path":".","tag":"src","readonly":true,"type":"virtfs"})),
            ("path=/a,,b,name=s", json!({"path":"/a,b","name":"s","type":"virtfs"})),
            ("20G", json!({"path":"20G","type":"virtfs"})),
            ("{\"path\":\"x\"}", json!({"path":"x","type":"virtfs"})),
        ] {
            assert_eq!(Value::Object(share(text).unwrap()), expected, "{text}");
        }
        assert!(share(".,type=raw").is_err() && share("").is_err());
    }

    #[test]
    fn a_network_card_is_its_type_and_its_keys() {
        for (text, expected) in [
            ("user", json!({"type":"user"})),
            ("none", json!({"type":"none"})),
            (
                "user,model=e1000,mac=52:54:00:00:00:01",
                json!({"type":"user","model":"e1000","mac":"52:54:00:00:00:01"}),
            ),
            ("model=virtio", json!({"model":"virtio"})),
        ] {
            assert_eq!(Value::Object(net(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, expected) in [
            ("", "empty"),
            (",name=a", "empty"),
            ("20", "no unit"),
            ("20X", "no unit of size"),
            ("20G,", "no key \"\""),
            ("20G,a,b", "no key \"a\""),
            ("20G,nmae=x", "did you mean name?"),
            ("siez=20G", "did you mean size?"),
            ("20G,size=1G", "size is given twice"),
            ("20G,readonly=maybe", "readonly: expected true or false, found \"maybe\""),
            ("20G,bootindex=first", "bootindex: expected a whole number"),
            ("{} {}", "more than one"),
            ("{\"a\":", "the disk, line 1"),
        ] {
            let error = disk(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
