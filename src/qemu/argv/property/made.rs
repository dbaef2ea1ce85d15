//! Items of definitions at random, each with what QEMU must read of it.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use super::reader::{Pairs, Read, flat};

/// A text that would be more than a text, were anything forgotten.
pub(super) fn text() -> impl Strategy<Value = String> {
    let piece = select(vec![
        ",",
        ",,",
        "=",
        "-",
        "--",
        " ",
        "\"",
        "'",
        "\\",
        "\n",
        "{",
        "}",
        "[",
        ":",
        "/",
        "#",
        "%",
        "$",
        "é",
        "\u{1}",
        "id=evil",
        ",id=evil",
        "-daemonize",
        "on",
        "a",
        "b",
        "0",
        "\t",
    ]);
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

pub(super) fn path() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("/{text}x"))
}

/// A key that is neither an option nor what a card says by itself: those end in a letter.
fn key() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_.-]{0,6}[0-9]"
}

fn one_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
    ]
}

fn properties() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        4 => one_scalar(),
        1 => vec(one_scalar(), 1..3).prop_map(Value::from),
        1 => btree_map(key(), one_scalar(), 1..3)
            .prop_map(|map| Value::Object(map.into_iter().collect())),
    ];
    btree_map(key(), value, 1..4).prop_map(|map| map.into_iter().collect())
}

/// A card's further options, whose values are no objects.
fn card_options() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        3 => one_scalar(),
        1 => vec(one_scalar(), 1..3).prop_map(Value::from),
    ];
    btree_map(key(), value, 0..3).prop_map(|map| map.into_iter().collect())
}

/// An item of `arguments`, and what QEMU must read of it; nothing: it must be refused.
pub(super) type Item = (Value, Option<(String, Read)>);

/// -global takes one property by its dotted name, or pairs of which none has a dot.
fn is_readable(option: &str, pairs: &Pairs) -> bool {
    option != "global" || pairs.len() == 1 || pairs.iter().all(|(key, _)| !key.contains('.'))
}

pub(super) fn argument() -> impl Strategy<Value = Item> {
    let bare = select(vec!["no-shutdown", "no-reboot", "s"]);
    let bare = (bare, 0..3).prop_map(|(name, form)| {
        let item = match form {
            0 => json!(name),
            1 => json!(format!("-{name}")),
            _ => json!({ name: true }),
        };
        (item, Some((format!("-{name}"), Read::Bare)))
    });
    let verbatim = (select(vec!["append", "kernel", "loadvm", "serial", "cpu"]), text()).prop_map(
        |(name, text)| {
            let read = Read::Verbatim(text.clone());
            (json!({ name: text }), Some((format!("-{name}"), read)))
        },
    );
    let option = || select(vec!["device", "object", "netdev", "chardev", "global", "rtc"]);
    let nested = (option(), properties()).prop_map(|(name, map)| {
        let mut pairs = Vec::new();
        map.iter().for_each(|(key, value)| flat(key, value, &mut pairs));
        let read = is_readable(name, &pairs).then(|| (format!("-{name}"), Read::Pairs(pairs)));
        (json!({ name: map }), read)
    });
    let first = (option(), text(), properties(), any::<bool>()).prop_map(
        |(name, first, mut map, is_null)| {
            let is_word = !first.contains('=') && !first.starts_with('{');
            map.remove(&first);
            let mut pairs = vec![(String::new(), first.clone())];
            map.iter().for_each(|(key, value)| flat(key, value, &mut pairs));
            // One that would be read as a key and its value is written so by intent.
            let intended = first.split_once('=').filter(|(key, _)| {
                !key.is_empty()
                    && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
            });
            if let Some((key, value)) = intended {
                pairs[0] = (key.to_owned(), value.to_owned());
            }
            let is_taken = (is_word || intended.is_some()) && is_readable(name, &pairs);
            let read = is_taken.then(|| (format!("-{name}"), Read::Pairs(pairs)));
            if is_null {
                map.insert(first, Value::Null);
                return (json!({ name: map }), read);
            }
            map.insert(name.to_owned(), first.into());
            (Value::Object(map), read)
        },
    );
    let list = (option(), vec((key(), text()), 2..4)).prop_map(|(name, pairs)| {
        let words: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let read = is_readable(name, &pairs).then(|| (format!("-{name}"), Read::Pairs(pairs)));
        (json!({ name: words }), read)
    });
    prop_oneof![1 => bare, 2 => verbatim, 3 => nested, 3 => first, 1 => list]
}

/// A card as an item of `network`, and what QEMU must read of its network.
pub(super) fn card() -> impl Strategy<Value = (Map<String, Value>, Option<Pairs>)> {
    let kind = select(vec!["user", "tap", "bridge", "socket", "none"]);
    let model =
        select(vec!["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "pcnet", "ne2k_pci"]);
    let interface = option::of("[a-z0-9,=\"{-]{1,15}");
    let ports = vec(1..60_000_u32, 0..3);
    (kind, model, interface, ports, card_options()).prop_map(
        |(kind, model, interface, mut ports, mut options)| {
            ports.sort_unstable();
            ports.dedup();
            let mut item = Map::from_iter([
                ("type".to_owned(), json!(kind)),
                ("model".to_owned(), json!(model)),
            ]);
            let mut read: Pairs = vec![(String::new(), kind.to_owned())];
            let mut told = |key: &str, value: &str| read.push((key.to_owned(), value.to_owned()));
            let keys = match kind {
                "tap" => Some(("ifname", "ifname")),
                "bridge" => Some(("bridge", "br")),
                _ => None,
            };
            told("id", "net-");
            if let Some(((ours, qemus), name)) = keys.zip(interface) {
                item.insert(ours.to_owned(), json!(name));
                told(qemus, &name);
            }
            if kind == "user" {
                let all: Vec<String> = ports.iter().map(|port| format!("{port}:22")).collect();
                item.insert("ports".to_owned(), json!(all));
                let rule = |port| format!("tcp:127.0.0.1:{port}-:22");
                ports.iter().for_each(|port| told("hostfwd", &rule(port)));
            }
            if kind == "socket" {
                options.insert("listen".to_owned(), json!(",id=x"));
            }
            if kind == "none" {
                return (item, None);
            }
            options.iter().for_each(|(key, value)| flat(key, value, &mut read));
            if kind == "tap" && options.is_empty() {
                for key in ["script", "downscript"] {
                    read.push((key.to_owned(), "no".to_owned()));
                }
            }
            item.insert("options".to_owned(), Value::Object(options));
            (item, Some(read))
        },
    )
}

/// A server of the screen: its word, its port, and the file of its password.
pub(super) type Server = (&'static str, Option<u16>, Option<String>);

pub(super) fn server() -> impl Strategy<Value = Option<Server>> {
    option::of((select(vec!["vnc", "spice"]), option::of(5900..6000_u16), option::of(path())))
}

/// A folder of the host: its path, its tag, how it is mapped.
pub(super) fn share() -> impl Strategy<Value = (String, String, &'static str)> {
    let tag = text().prop_filter("1 to 31 bytes", |text| (1..=28).contains(&text.len()));
    (path(), tag, select(vec!["mapped-xattr", "mapped-file", "passthrough", "none"]))
}

#[derive(Clone, Debug)]
pub(super) struct Texts {
    pub(super) description: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) cpu_model: Option<String>,
    pub(super) direct: Option<(String, Option<String>, Option<String>)>,
    pub(super) args: Vec<String>,
    pub(super) cpus: Cpus,
    pub(super) memory: u64,
    pub(super) menu: Option<bool>,
    pub(super) order: Option<String>,
    pub(super) vga: &'static str,
}

/// A count, or sockets, cores and threads.
#[derive(Clone, Debug)]
pub(super) enum Cpus {
    Count(u32),
    Topology([u32; 3]),
}

const LEVELS: [&str; 3] = ["sockets", "cores", "threads"];

impl Cpus {
    pub(super) fn item(&self) -> Value {
        match self {
            Cpus::Count(count) => json!(count),
            Cpus::Topology(counts) => LEVELS
                .iter()
                .zip(counts)
                .map(|(name, count)| (*name, *count))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect::<Value>(),
        }
    }

    /// What QEMU must read.
    pub(super) fn read(&self) -> Pairs {
        match self {
            Cpus::Count(count) => vec![("cpus".to_owned(), count.to_string())],
            Cpus::Topology(counts) => {
                let named = LEVELS.iter().zip(counts);
                named.map(|(name, count)| ((*name).to_owned(), count.to_string())).collect()
            }
        }
    }
}

fn cpus() -> impl Strategy<Value = Cpus> {
    let level = || 1..=16_u32;
    prop_oneof![
        (1..=4096_u32).prop_map(Cpus::Count),
        (level(), level(), level()).prop_map(|(a, b, c)| Cpus::Topology([a, b, c])),
    ]
}

pub(super) fn texts() -> impl Strategy<Value = Texts> {
    let model =
        text().prop_filter("a model", |text| !text.is_empty() && !text.contains([',', '\n']));
    let letters: Vec<char> = ('a'..='p').collect();
    let order = subsequence(letters, 1..=16).prop_shuffle();
    let order = order.prop_map(|letters| letters.into_iter().collect());
    (
        text(),
        btree_map(text(), text(), 0..3),
        option::of(model),
        option::of((path(), option::of(path()), option::of(text()))),
        vec(text(), 0..3),
        (cpus(), 1..1_u64 << 50, option::of(any::<bool>()), option::of(order)),
        select(vec!["std", "none", "virtio", "cirrus", "qxl", "vmware"]),
    )
        .prop_map(
            |(description, labels, cpu_model, direct, args, (cpus, memory, menu, order), vga)| {
                Texts {
                    description,
                    labels,
                    cpu_model,
                    direct,
                    args,
                    cpus,
                    memory,
                    menu,
                    order,
                    vga,
                }
            },
        )
}
