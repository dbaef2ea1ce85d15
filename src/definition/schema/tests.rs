//! The schema against the parser: for every key of every table, values that may stand there and
//! values that may not are judged by both.

use std::path::Path;

use super::*;
use crate::definition::merge;
use crate::definition::types::Definition;

/// Whether a schema takes a value: as much of JSON Schema as ours uses, and a panic on the rest.
fn takes(schema: &Value, value: &Value, whole: &Value) -> bool {
    let Value::Object(rules) = schema else { panic!("{schema}") };
    rules.iter().all(|(rule, what)| match rule.as_str() {
        "$schema" | "title" | "description" | "$defs" => true,
        "$ref" => takes(whole.pointer(&what.as_str().unwrap()[1..]).unwrap(), value, whole),
        "type" => match what {
            Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap(), value)),
            name => is(name.as_str().unwrap(), value),
        },
        "enum" => what.as_array().unwrap().contains(value),
        "minimum" => value.as_f64().is_none_or(|number| number >= what.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= what.as_f64().unwrap()),
        "minLength" => {
            let least = usize::try_from(what.as_u64().unwrap()).unwrap();
            value.as_str().is_none_or(|text| text.chars().count() >= least)
        }
        "minProperties" => {
            let least = usize::try_from(what.as_u64().unwrap()).unwrap();
            value.as_object().is_none_or(|map| map.len() >= least)
        }
        "pattern" => value.as_str().is_none_or(|text| matches(what.as_str().unwrap(), text)),
        "anyOf" => what.as_array().unwrap().iter().any(|one| takes(one, value, whole)),
        "oneOf" => {
            let all = what.as_array().unwrap();
            all.iter().filter(|one| takes(one, value, whole)).count() == 1
        }
        "items" => {
            value.as_array().is_none_or(|all| all.iter().all(|item| takes(what, item, whole)))
        }
        "properties" => value.as_object().is_none_or(|map| {
            map.iter()
                .all(|(key, inner)| what.get(key).is_none_or(|rule| takes(rule, inner, whole)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let known =
                |key: &String| rules.get("properties").is_some_and(|all| all.get(key).is_some());
            map.iter().filter(|(key, _)| !known(key)).all(|(_, inner)| match what {
                Value::Bool(allowed) => *allowed,
                rule => takes(rule, inner, whole),
            })
        }),
        _ => panic!("an unknown rule: {rule}"),
    })
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("an unknown type: {name}"),
    }
}

/// Whether an anchored pattern of characters, classes, groups and quantifiers matches a text.
fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix('^').unwrap().strip_suffix('$').unwrap();
    let pattern: Vec<char> = inner.chars().collect();
    let text: Vec<char> = text.chars().collect();
    ends(&pattern, &text, 0).contains(&text.len())
}

/// Where a match of `pattern` that begins at `from` may end.
fn ends(pattern: &[char], text: &[char], from: usize) -> Vec<usize> {
    let branches = split_top(pattern);
    if branches.len() > 1 {
        return branches.iter().flat_map(|branch| ends(branch, text, from)).collect();
    }
    let Some(first) = pattern.first() else { return vec![from] };
    let close = |open: char, shut: char| {
        let mut depth = 0;
        pattern.iter().position(|letter| {
            depth += i32::from(*letter == open) - i32::from(*letter == shut);
            depth == 0
        })
    };
    let length = match first {
        '[' => pattern.iter().position(|letter| *letter == ']').unwrap() + 1,
        '(' => close('(', ')').unwrap() + 1,
        _ => 1,
    };
    let (atom, rest) = pattern.split_at(length);
    let (least, most, used) = match rest.first() {
        Some('?') => (0, 1, 1),
        Some('*') => (0, usize::MAX, 1),
        Some('+') => (1, usize::MAX, 1),
        Some('{') => {
            let end = rest.iter().position(|letter| *letter == '}').unwrap();
            let bounds: String = rest[1..end].iter().collect();
            let (least, most) = bounds.split_once(',').unwrap_or((&bounds, &bounds));
            (least.parse().unwrap(), most.parse().unwrap(), end + 1)
        }
        _ => (1, 1, 0),
    };
    let (mut places, mut found, mut times) = (vec![from], Vec::new(), 0);
    loop {
        if times >= least {
            found.extend(places.iter().copied());
        }
        if times == most || places.is_empty() {
            break;
        }
        places = places.iter().flat_map(|place| once(atom, text, *place)).collect();
        times += 1;
    }
    found.into_iter().flat_map(|place| ends(&rest[used..], text, place)).collect()
}

fn once(atom: &[char], text: &[char], place: usize) -> Vec<usize> {
    let next = text.get(place);
    let fits = match atom {
        ['(', inner @ .., ')'] => return ends(inner, text, place),
        ['[', '^', class @ .., ']'] => next.is_some_and(|letter| !in_class(class, *letter)),
        ['[', class @ .., ']'] => next.is_some_and(|letter| in_class(class, *letter)),
        ['.'] => next.is_some_and(|letter| *letter != '\n'),
        [literal] => next == Some(literal),
        _ => panic!("{atom:?}"),
    };
    fits.then_some(place + 1).into_iter().collect()
}

fn in_class(class: &[char], letter: char) -> bool {
    match class {
        [] => false,
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&letter) || in_class(rest, letter),
        ['\\', 'n', rest @ ..] => letter == '\n' || in_class(rest, letter),
        [one, rest @ ..] => *one == letter || in_class(rest, letter),
    }
}

/// The alternatives of a pattern, outside groups and classes.
fn split_top(pattern: &[char]) -> Vec<&[char]> {
    let (mut depth, mut begin, mut all) = (0, 0, Vec::new());
    for (place, letter) in pattern.iter().enumerate() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '|' if depth == 0 => {
                all.push(&pattern[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    all.push(&pattern[begin..]);
    all
}

/// Values that some key takes and others do not.
fn samples(kind: &Kind) -> Vec<Value> {
    let mut all = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("no such word, nor any"),
        json!([]),
        json!([7]),
        json!([null]),
        json!({}),
        json!({ "no_such_key": 1 }),
        json!({ "a": "b" }),
    ];
    match kind {
        Kind::Text => all.extend(["x", "a:b", "é", "n"].map(Value::from)),
        Kind::Count { min, max } | Kind::CountOr { min, max } => {
            all.extend([*min, *max, max + 1, min.saturating_sub(1)].map(Value::from));
            if matches!(kind, Kind::CountOr { .. }) {
                all.extend([json!({ "cores": 2 }), json!({ "cores": 0 }), json!({ "cpus": 1 })]);
            }
        }
        Kind::Size(_) | Kind::Duration => {
            let sizes =
                ["1G", "2GiB", "3gb", "512B", "0G", "7", "G", "1X", "1 G", "30s", "2m", "5ms"];
            all.extend(sizes.map(Value::from));
            all.extend([json!(0), json!(64)]);
        }
        Kind::Path | Kind::Program => all.push(json!("/a b,c")),
        Kind::Choice(choice) => {
            all.extend(choice.words.iter().map(|word| json!(word)));
        }
        Kind::Words => all.push(json!(["-a", ""])),
        Kind::List => all.extend([
            json!(["8080:80", "auto:22/udp", "0.0.0.0:1:2"]),
            json!(["80"]),
            json!(["0:80"]),
            json!(["1:2/sctp"]),
        ]),
        Kind::Options => all.extend([
            json!({ "a": ["b", 7, true] }),
            json!({ "a": { "b": 1 } }),
            json!({ "a": null }),
        ]),
        Kind::Anything => all.extend([
            json!(["-no-shutdown", "no-reboot"]),
            json!(["-m 512"]),
            json!([{ "m": 512 }]),
        ]),
        Kind::Bool | Kind::Object(_) | Kind::Labels | Kind::Items { .. } => {}
    }
    all
}

/// What must stand beside a key for `read` to look at it alone.
fn beside(place: &str, key: &str, value: &Value) -> Value {
    match (place, key) {
        ("", "initrd" | "append") => json!({ "kernel": "/k" }),
        ("storage", "file") => json!({ "type": "qcow2", "size": "1G" }),
        ("storage", "media") if value == "cdrom" => json!({ "file": "/x.iso" }),
        ("storage", "type") => match value.as_str() {
            Some("virtfs") => json!({ "path": "/", "tag": "t" }),
            Some("raw" | "qcow2") | None => json!({ "size": "1G" }),
            Some(_) => json!({ "file": "/x" }),
        },
        ("firmware", "code") => json!({ "vars": "/v" }),
        ("firmware", "vars") => json!({ "code": "/c" }),
        ("display.vnc" | "display.spice", "address") => json!({ "port": 5901 }),
        ("storage", "path" | "tag" | "security_model") => {
            json!({ "type": "virtfs", "path": "/", "tag": "t" })
        }
        ("storage", "backing_file") => json!({ "backing_format": "qcow2", "size": "1G" }),
        ("storage", "backing_format") => json!({ "backing_file": "/b", "size": "1G" }),
        ("storage", "aio") => json!({ "cache": "none", "size": "1G" }),
        ("storage", "size") => json!({ "file": "/x", "type": "qcow2" }),
        ("storage", _) => json!({ "size": "1G" }),
        ("network", "type") if value == "socket" => json!({ "options": { "listen": ":1" } }),
        ("network", "ifname") => json!({ "type": "tap" }),
        ("network", "bridge") => json!({ "type": "bridge" }),
        _ => json!({}),
    }
}

/// Keys that only make sense together with others, so that a `null` or nothing is refused for the
/// lack of it and not for what it is.
fn needs_itself(place: &str, key: &str) -> bool {
    let is_one_of_an_object = matches!(place, "display" | "firmware");
    is_one_of_an_object
        || place == "storage" && matches!(key, "path" | "backing_format" | "backing_file")
}

/// The table of what stands in a key's value, and whether it stands in a list.
fn inner(kind: &Kind) -> (&'static [Key], bool) {
    match kind {
        Kind::Object(keys) => (keys, false),
        Kind::Choice(choice) => (choice.object, false),
        Kind::CountOr { .. } => (keys::CPU, false),
        Kind::Items { keys, .. } => (keys, true),
        _ => (&[], false),
    }
}

fn walk(
    place: &str,
    keys: &'static [Key],
    wrap: &dyn Fn(Value) -> Value,
    judged: &mut usize,
    quarrels: &mut Vec<String>,
) {
    let schema = schema();
    for key in keys {
        for value in samples(&key.kind) {
            if value.is_null() && needs_itself(place, key.name) {
                continue;
            }
            let mut object = beside(place, key.name, &value);
            object[key.name] = value.clone();
            let whole = wrap(object);
            let mut map = whole.as_object().unwrap().clone();
            merge::absolute(&mut map, Path::new("/")).unwrap();
            let read = Definition::read(&map);
            let taken = takes(&schema, &whole, &schema);
            if taken != read.is_ok() {
                quarrels.push(format!("{whole}: the schema {taken}, the parser {read:?}"));
            }
            *judged += 1;
        }
        let path = match place {
            "" => key.name.to_owned(),
            _ => format!("{place}.{}", key.name),
        };
        let (inner, is_list) = inner(&key.kind);
        let around = |object: Value| {
            let value = if is_list { json!([object]) } else { object };
            wrap(json!({ (key.name): value }))
        };
        walk(&path, inner, &around, judged, quarrels);
    }
}

#[test]
fn the_schema_and_the_parser_agree_on_every_key() {
    let (mut judged, mut quarrels) = (0, Vec::new());
    walk("", keys::DEFINITION, &|object| object, &mut judged, &mut quarrels);
    assert!(quarrels.is_empty(), "{}", quarrels.join("\n"));
    assert!(judged > 800, "{judged}");
}

#[test]
fn every_pattern_belongs_to_a_text() {
    for (path, _) in PATTERNS {
        let mut table = keys::DEFINITION;
        let mut kind = None;
        for name in path.split('.') {
            let found = &keys::find(table, name).unwrap().kind;
            (table, kind) = (inner(found).0, Some(found));
        }
        assert!(matches!(kind, Some(Kind::Text)), "{path}");
    }
}

#[test]
fn one_definition_or_a_list_of_them() {
    let schema = schema();
    for (value, taken) in [
        (json!({}), true),
        (json!([{ "name": "a" }, { "name": "b" }]), true),
        (json!([{ "nmae": "a" }]), false),
        (json!("a"), false),
    ] {
        assert_eq!(takes(&schema, &value, &schema), taken, "{value}");
    }
}
