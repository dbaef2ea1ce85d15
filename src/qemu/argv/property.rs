//! Whatever a definition holds, QEMU reads what went in and nothing else.
//!
//! Definitions are made at random together with what QEMU must find. Their argv is read back by
//! QEMU's own rules, written down once more: which options take the next word, that a comma ends a
//! value and two are one, that the first key may be implied, and JSON. `drives` and `made` have the
//! items, `reader` the rules.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use serde_json::{Map, Value, json};

use self::drives::{Drive, drive};
use self::made::{Server, Texts, argument, card, server, share, text, texts};
use self::reader::{Pairs, Read, count, one, one_json, pairs, read};
use super::tests::argv;

mod drives;
mod made;
mod reader;

fn verbatim(text: &str) -> Option<Read> {
    Some(Read::Verbatim(text.to_owned()))
}

fn check(
    machine: &str,
    texts: &Texts,
    screen: Option<&Server>,
    drives: &[Drive],
    shares: &[(String, String, &str)],
    cards: &[(Map<String, Value>, Option<Pairs>)],
    arguments: &[(Value, (String, Read))],
) -> TestCaseResult {
    let mut storage: Vec<Value> =
        drives.iter().enumerate().map(|(place, drive)| drive.item(place)).collect();
    storage.extend(shares.iter().enumerate().map(|(place, (path, tag, security))| {
        json!({ "name": format!("s{place}"), "type": "virtfs", "path": path,
                "tag": format!("{place}:{tag}"), "security_model": security })
    }));
    let items: Vec<Value> = arguments.iter().map(|(item, _)| item.clone()).collect();
    let network: Vec<Value> = cards.iter().map(|(item, _)| Value::Object(item.clone())).collect();
    let (kernel, initrd, append) = match &texts.direct {
        None => (None, None, None),
        Some((kernel, initrd, append)) => (Some(kernel), initrd.as_ref(), append.as_ref()),
    };
    let cpu_model = texts.cpu_model.as_ref().filter(|_| machine != "none");
    let vga = Some(texts.vga).filter(|_| ["q35", "pc"].contains(&machine));
    let display = screen
        .map(|(word, port, file)| json!({ (*word): { "port": port, "password_file": file } }));
    let argv = argv(json!({
        "description": texts.description, "labels": texts.labels, "machine": machine,
        "cpu_model": cpu_model, "cpu": texts.cpus.item(), "memory": format!("{}B", texts.memory),
        "kernel": kernel, "initrd": initrd, "append": append, "boot": { "menu": texts.menu, "order": texts.order },
        "vga": vga, "display": display, "storage": storage, "network": network, "arguments": items,
        "args": texts.args,
    }));
    let (own, args) = argv.split_at(argv.len() - texts.args.len());
    prop_assert_eq!(args, &texts.args[..]);
    let all = read(own);

    // What a definition says as structured values is the last that we say.
    let (options, last) = all.split_at(all.len() - arguments.len());
    let expected: Vec<_> = arguments.iter().map(|(_, read)| read.clone()).collect();
    prop_assert_eq!(last, &expected[..]);

    let is = |name: &str| one(options, name).cloned();
    let model = cpu_model.map_or("max", |model| model.as_str());
    prop_assert_eq!(is("-cpu"), verbatim(model).filter(|_| machine != "none"));
    let kind = vec![("type".to_owned(), machine.to_owned())];
    prop_assert_eq!(is("-machine"), Some(Read::Pairs(kind)));
    let shown = vga.filter(|vga| *vga != "none").and_then(verbatim);
    prop_assert_eq!(is("-vga"), shown);
    prop_assert_eq!(is("-kernel"), kernel.and_then(|text| verbatim(text)));
    prop_assert_eq!(is("-initrd"), initrd.and_then(|text| verbatim(text)));
    prop_assert_eq!(is("-append"), append.and_then(|text| verbatim(text)));
    prop_assert_eq!(is("-smp"), Some(Read::Pairs(texts.cpus.read())));
    let Some(Read::Verbatim(memory)) = is("-m") else { panic!("-m is missing") };
    let mebibytes = memory.strip_suffix('M').map(|count| count.parse::<u64>().unwrap() << 20);
    let bytes = memory.strip_suffix('B').map(|count| count.parse().unwrap());
    prop_assert_eq!(mebibytes.or(bytes), Some(texts.memory));
    let menu = texts.menu.map(|menu| ("menu", if menu { "on" } else { "off" }));
    let order = texts.order.as_deref().map(|order| ("order", order));
    let boot: Pairs = order
        .into_iter()
        .chain(menu)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    prop_assert_eq!(
        is("-boot"),
        Some(Read::Pairs(boot)).filter(|read| *read != Read::Pairs(vec![]))
    );

    if let Some((word, port, file)) = screen {
        prop_assert_eq!(
            is(&format!("-{word}")),
            Some(Read::Pairs(served(word, *port, file.is_some())))
        );
        if let Some(file) = file {
            let secret = one_json(options, "-object", "id", "screen-password");
            prop_assert_eq!(&secret["file"], &json!(file));
        }
    }
    let secrets = screen.iter().filter(|(_, _, file)| file.is_some()).count();
    prop_assert_eq!(count(options, "-object"), secrets);

    for (place, drive) in drives.iter().enumerate() {
        drive.holds(place, options)?;
    }
    prop_assert_eq!(count(options, "-blockdev"), drives.len());

    let mut folders = options.iter().filter(|(name, _)| name == "-fsdev");
    for (place, (path, tag, security)) in shares.iter().enumerate() {
        let id = format!("share-s{place}");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = vec![
            pair("", "local"),
            pair("id", &id),
            pair("path", path),
            pair("security_model", security),
            pair("multidevs", "remap"),
        ];
        prop_assert_eq!(folders.next().map(|(_, read)| read), Some(&Read::Pairs(expected)));
        let device = one_json(options, "-device", "fsdev", &id);
        prop_assert_eq!(&device["mount_tag"], &json!(format!("{place}:{tag}")));
    }
    prop_assert!(folders.next().is_none());

    let mut networks = options.iter().filter(|(name, _)| name == "-netdev");
    for (place, (_, expected)) in cards.iter().enumerate() {
        let Some(mut expected) = expected.clone() else { continue };
        expected[1].1 = format!("net-net{place}");
        one_json(options, "-device", "netdev", &expected[1].1);
        prop_assert_eq!(networks.next().map(|(_, read)| read), Some(&Read::Pairs(expected)));
    }
    prop_assert!(networks.next().is_none());

    // Besides these there are only options that stand in every command line, and devices of ours.
    for (option, read) in options {
        prop_assert!(OURS.contains(&&**option), "{}", option);
        let is_json = matches!(read, Read::Json(_));
        prop_assert_eq!(is_json, ["-device", "-blockdev", "-object"].contains(&&**option));
    }
    let devices = options.iter().filter_map(|(option, read)| match read {
        Read::Json(read) if option == "-device" => read["id"].as_str(),
        _ => None,
    });
    for id in devices {
        let known = ["disk-", "share-", "net-", "slot", "bridge-"];
        let own = ["scsi", "sata", "usb", "ports", "agent", "rng"];
        prop_assert!(
            known.iter().any(|start| id.starts_with(start)) || own.contains(&id),
            "{}",
            id
        );
    }
    Ok(())
}

/// What QEMU must read of a server of the screen.
fn served(word: &str, port: Option<u16>, has_password: bool) -> Pairs {
    let password = has_password.then_some(("password-secret", "screen-password".to_owned()));
    let mut all: Vec<(&str, String)> = match (word, port) {
        ("vnc", Some(port)) => vec![("", format!("127.0.0.1:{}", port - 5900))],
        ("vnc", None) => vec![("", "unix:vnc.sock".to_owned())],
        (_, Some(port)) => vec![("addr", "127.0.0.1".to_owned()), ("port", port.to_string())],
        (_, None) => vec![("unix", "on".to_owned()), ("addr", "spice.sock".to_owned())],
    };
    all.extend(password);
    if word == "spice" && !has_password {
        all.push(("disable-ticketing", "on".to_owned()));
    }
    all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Every option that a definition without `arguments` and `args` may lead to.
const OURS: [&str; 27] = [
    "-nodefaults",
    "-no-user-config",
    "-name",
    "-uuid",
    "-S",
    "-sandbox",
    "-machine",
    "-accel",
    "-cpu",
    "-smp",
    "-m",
    "-chardev",
    "-mon",
    "-serial",
    "-display",
    "-vga",
    "-device",
    "-blockdev",
    "-fsdev",
    "-netdev",
    "-boot",
    "-kernel",
    "-initrd",
    "-append",
    "-object",
    "-vnc",
    "-spice",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn qemu_reads_every_value_that_went_in_and_nothing_else(
        machine in select(vec!["q35", "pc", "microvm", "none"]),
        texts in texts(),
        screen in server(),
        drives in vec(drive(), 0..4),
        shares in vec(share(), 0..3),
        cards in vec(card(), 0..3),
        items in vec(argument(), 0..4),
    ) {
        let mut accepted = Vec::new();
        for (item, expected) in items {
            let whole = json!({ "arguments": [item] });
            let is_read = crate::definition::types::Definition::read(whole.as_object().unwrap());
            prop_assert_eq!(is_read.is_ok(), expected.is_some(), "{}: {:?}", item, is_read);
            accepted.extend(expected.map(|read| (item, read)));
        }
        let drives: Vec<Drive> = drives.into_iter().map(|drive| drive.on(machine)).collect();
        let (mut shares, mut cards) = (shares, cards);
        match machine {
            "none" => {
                shares.clear();
                cards.clear();
            }
            "microvm" => cards.iter_mut().for_each(|(item, _)| {
                item.insert("model".to_owned(), json!("virtio"));
            }),
            _ => {}
        }
        check(machine, &texts, screen.as_ref(), &drives, &shares, &cards, &accepted)?;
    }

    #[test]
    fn the_reader_above_undoes_what_a_comma_is_written_as(values in vec(text(), 1..5)) {
        let word = values.iter().map(|value| format!("k={}", value.replace(',', ",,")));
        let read = pairs(&word.collect::<Vec<_>>().join(","));
        prop_assert_eq!(read.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
    }
}
