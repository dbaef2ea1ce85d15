//! The rules of the source, held by looking at it: imports point one way, one file sleeps, nothing is
//! unsafe, files are small and say what they are for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms from the lowest level to the highest. A room imports from levels below its own only.
const LEVELS: [&[&str]; 9] = [
    &["error"],
    &["backoff", "base64", "interrupt", "sys", "tar", "time", "weight"],
    &["copy", "lock", "outlet", "private", "terminal"],
    &["paths"],
    &["definition"],
    &["cli", "qemu", "store", "wire"],
    &["control", "runner"],
    &["commands"],
    &["main"],
];
/// What no level allows: the runner has no database and no command line.
const FORBIDDEN: [(&str, &str); 2] = [("runner", "store"), ("runner", "cli")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file with its text, comments taken out.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    assert!(files.len() > 50, "the source was not found");
    let code = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    files.into_iter().map(|path| (path.clone(), code(&path))).collect()
}

/// The room of a file: the first name below `src`.
fn room(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a file names by `crate::ROOM` or, in `main.rs`, by `ROOM::`.
fn imports(path: &Path, code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        let belongs = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_';
        text.chars().take_while(belongs).collect()
    };
    let mut named = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        // A group would hide rooms from this look, and so would the whole crate.
        assert!(!rest.starts_with(['{', '*']), "{}: one `use` for each room", path.display());
        named.insert(name(rest));
    }
    // As many times `super` as the file lies deep is the crate by another name; a `mod tests` at its
    // foot lies one deeper.
    let steps = path.strip_prefix(root().join("src")).unwrap().components().count();
    let depth = steps - usize::from(path.ends_with("mod.rs"));
    let leaves = |line: &str| {
        line.contains(&"super::".repeat(depth + 1))
            || line.starts_with(&format!("use {}", "super::".repeat(depth)))
    };
    assert!(!code.lines().any(leaves), "{} leaves its room by `super`", path.display());
    if room(path) == "main" {
        let rooms = LEVELS.concat();
        named.extend(
            rooms
                .iter()
                .filter(|room| code.contains(&format!("{room}::")))
                .map(ToString::to_string),
        );
    }
    named.remove("testing");
    named
}

#[test]
fn imports_point_one_way_only() {
    let level = |room: &str| LEVELS.iter().position(|rooms| rooms.contains(&room));
    let mut seen = 0;
    for (path, code) in sources() {
        let from = room(&path);
        if from == "testing" {
            continue;
        }
        let here = level(&from).unwrap_or_else(|| panic!("{from} has no level"));
        for to in imports(&path, &code) {
            let there = level(&to).unwrap_or_else(|| panic!("{}: {to}", path.display()));
            let allowed = to == from || there < here;
            let forbidden = FORBIDDEN.contains(&(from.as_str(), to.as_str()));
            assert!(allowed && !forbidden, "{} imports {to}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} imports were seen");
}

#[test]
fn one_file_sleeps() {
    for (path, code) in sources() {
        let sleeps = code.contains("sleep(");
        assert_eq!(sleeps, path.ends_with("src/backoff.rs"), "{}", path.display());
    }
}

#[test]
fn nothing_is_unsafe_and_only_sys_knows_the_system_calls() {
    for (path, code) in sources() {
        let shown = path.display();
        assert!(!code.contains("process::exit"), "{shown} ends the process");
        for word in ["unsafe {", "unsafe fn", "unsafe impl"] {
            assert!(!code.contains(word), "{shown}: {word}");
        }
        assert!(!code.contains("rustix::") || room(&path) == "sys", "{shown} calls rustix");
    }
}

#[test]
fn production_code_cannot_wait_for_a_mere_file() {
    let (_, code) = sources().into_iter().find(|(path, _)| path.ends_with("readiness.rs")).unwrap();
    let at = code.find("fn wait_for_socket_exists").unwrap();
    let before: Vec<&str> = code[..at].lines().rev().take(2).collect();
    assert!(before.contains(&"#[cfg(test)]"), "{before:?}");
}

#[test]
fn every_file_says_what_it_is_for_and_is_small() {
    for (path, _) in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
        let lines = text.lines().count();
        assert!(lines <= 450, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    const NAMES: [&str; 7] =
        ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "man", "src", "tests"];
    for entry in std::fs::read_dir(root()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let known = NAMES.contains(&name.as_str()) || name.starts_with('.') || name == "target";
        assert!(known, "{name} does not belong at the top level");
    }
}
