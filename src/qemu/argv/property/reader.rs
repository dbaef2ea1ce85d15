//! QEMU's reading of an argv, by its own rules. How maqet writes one is not known here.

use serde_json::Value;

/// The options of QEMU that take no word (its qemu-options.def), as far as they stand here.
const BARE: [&str; 6] =
    ["-nodefaults", "-no-user-config", "-S", "-no-shutdown", "-no-reboot", "-s"];
/// The options whose word is not made of pairs.
const VERBATIM: [&str; 10] = [
    "-uuid", "-accel", "-cpu", "-m", "-serial", "-vga", "-kernel", "-initrd", "-append", "-loadvm",
];

/// What QEMU reads: a key that is implied is the empty one.
pub(super) type Pairs = Vec<(String, String)>;

/// One option as QEMU reads it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Read {
    Bare,
    Verbatim(String),
    Json(Value),
    Pairs(Pairs),
}

/// The options of an argv, its program left out, in order.
pub(super) fn read(argv: &[String]) -> Vec<(String, Read)> {
    let mut words = argv[1..].iter();
    let mut all = Vec::new();
    while let Some(option) = words.next() {
        assert!(option.starts_with('-'), "QEMU takes {option:?} for an image");
        if BARE.contains(&&**option) {
            all.push((option.clone(), Read::Bare));
            continue;
        }
        let word = words.next().unwrap_or_else(|| panic!("{option} has no word"));
        let takes_json =
            ["-device", "-blockdev", "-object", "-netdev", "-display"].contains(&&**option);
        let is_json = takes_json && word.starts_with('{');
        all.push((
            option.clone(),
            match (VERBATIM.contains(&&**option), is_json) {
                (true, _) => Read::Verbatim(word.clone()),
                (_, true) => Read::Json(serde_json::from_str(word).unwrap()),
                _ if option == "-global" => Read::Pairs(global(word)),
                _ => Read::Pairs(pairs(word)),
            },
        ));
    }
    all
}

/// As `qemu_global_option` of QEMU's softmmu/qdev-monitor.c: behind a dotted name all is the value.
fn global(word: &str) -> Pairs {
    match word.split_once('=') {
        Some((key, value)) if key.contains('.') => vec![(key.to_owned(), value.to_owned())],
        _ => pairs(word),
    }
}

/// As `opts_do_parse` of QEMU's util/qemu-option.c reads a word.
pub(super) fn pairs(word: &str) -> Pairs {
    let mut all = Vec::new();
    let mut rest = word;
    loop {
        let key_ends = rest.find(['=', ',']).unwrap_or(rest.len());
        let is_pair = rest[key_ends..].starts_with('=');
        let (key, value) = match (is_pair, all.is_empty()) {
            (true, _) => (&rest[..key_ends], Some(&rest[key_ends + 1..])),
            (false, true) => ("", Some(rest)),
            (false, false) => (&rest[..key_ends], None),
        };
        let mut read = String::new();
        let mut letters = value.unwrap_or(&rest[key_ends..]).chars().peekable();
        let mut more = false;
        while let Some(letter) = letters.next() {
            if letter == ',' && letters.next_if_eq(&',').is_none() {
                more = true;
                break;
            }
            read.push(letter);
        }
        // A flag is its key alone.
        let read = if value.is_some() { read } else { "on".to_owned() };
        all.push((key.to_owned(), read));
        if !more {
            return all;
        }
        let left: usize = letters.map(char::len_utf8).sum();
        rest = &rest[rest.len() - left..];
    }
}

/// The one option of this name whose JSON has `key` with `value`.
pub(super) fn one_json<'a>(
    options: &'a [(String, Read)],
    name: &str,
    key: &str,
    value: &str,
) -> &'a Value {
    let mut found = options.iter().filter_map(|(option, read)| match read {
        Read::Json(read) if option == name && read[key] == value => Some(read),
        _ => None,
    });
    let one = found.next().unwrap_or_else(|| panic!("{name} with {key}={value} is missing"));
    assert!(found.next().is_none(), "{name} with {key}={value} stands twice");
    one
}

pub(super) fn count(options: &[(String, Read)], name: &str) -> usize {
    options.iter().filter(|(option, _)| option == name).count()
}

pub(super) fn one<'a>(options: &'a [(String, Read)], name: &str) -> Option<&'a Read> {
    options.iter().find(|(option, _)| option == name).map(|(_, read)| read)
}

/// What QEMU reads of an object: its keys below one another have dots.
pub(super) fn flat(key: &str, value: &Value, into: &mut Pairs) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(inner, value)| flat(&format!("{key}.{inner}"), value, into));
        }
        Value::Array(all) => all.iter().for_each(|value| flat(key, value, into)),
        one => into.push((key.to_owned(), scalar(one))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
