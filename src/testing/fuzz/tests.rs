//! The corpus is replayed, and each target is tried with bytes at random: whole ones, and those of the
//! corpus with some of them changed.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{TARGETS, Target};

/// The samples of a target, with their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

#[test]
fn the_corpus_is_replayed() {
    for (name, target) in TARGETS {
        let samples = corpus(name);
        assert!(samples.len() >= 3, "{name} has {} samples", samples.len());
        for (path, bytes) in samples {
            assert!(bytes.len() <= 64 << 10, "{}", path.display());
            // What a failure is about.
            println!("{}", path.display());
            target(&bytes);
        }
    }
}

/// What is done to a sample: at a place, so many bytes go and these come.
type Change = (Index, usize, Vec<u8>);

fn change() -> impl Strategy<Value = Change> {
    let token = prop::sample::select(vec![
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\",
        "\n",
        "\0",
        "null",
        "-1",
        "1e999",
        "\u{ff}",
        "é",
        "18446744073709551616",
        "\"id\":",
        "..",
        "/",
        "=",
    ]);
    let bytes = prop_oneof![
        token.prop_map(|token| token.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..5),
    ];
    (any::<Index>(), 0..4_usize, bytes)
}

fn try_changed(name: &str, target: Target, which: Index, changes: &[Change]) {
    let samples = corpus(name);
    let mut bytes = samples[which.index(samples.len())].1.clone();
    for (place, gone, come) in changes {
        let at = place.index(bytes.len() + 1);
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, come.iter().copied());
    }
    target(&bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_will_do(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        TARGETS.iter().for_each(|(_, target)| target(&bytes));
    }

    #[test]
    fn samples_with_changes_will_do(
        which in any::<Index>(),
        changes in prop::collection::vec(change(), 0..6),
    ) {
        TARGETS.iter().for_each(|(name, target)| try_changed(name, *target, which, &changes));
    }
}
