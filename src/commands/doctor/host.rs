//! What `doctor` finds of the host: the programs, the kernel, the folders and the database. Changes
//! nothing.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::commands::context::Context;
use crate::definition::types::Definition;
use crate::error::{Error, Result};
use crate::private::check_private;
use crate::qemu::{firmware, machine, program};
use crate::sys;

/// For a program to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(10);
/// What QEMU and Linux must be at least, as major and minor version.
const OLDEST_QEMU: (u32, u32) = (7, 0);
const OLDEST_LINUX: (u32, u32) = (5, 4);
/// Where less is free, logs and images will soon meet the end of the disk.
const LITTLE_SPACE: u64 = 256 << 20;

/// The findings about the host, the folders and the database.
pub(super) fn host(context: &Context<'_>) -> Vec<Finding> {
    vec![
        Finding::of("qemu", qemu()),
        features(),
        qemu_img(),
        firmware(),
        Finding::of("linux", linux()),
        kvm(),
        Finding::of("data", data(context)),
        space(context),
        Finding::of("database", database(context)),
    ]
}

fn qemu() -> Result<String> {
    let path = program::find(machine::default_program().as_ref())?;
    let said = first_line(&path)?;
    let version = said.split("version ").nth(1).unwrap_or_default();
    let old = || {
        Error::failed(format!("{} is {said}", path.display()))
            .hint(format!("maqet needs QEMU {}.{} or newer", OLDEST_QEMU.0, OLDEST_QEMU.1))
    };
    if is_at_least(version, OLDEST_QEMU) { Ok(said) } else { Err(old()) }
}

/// What this QEMU was built with, as far as definitions ask for it: each question and its answer.
const FEATURES: [(&str, &[&str]); 3] = [
    ("accel", &["-accel", "help"]),
    ("network", &["-machine", "none", "-netdev", "help"]),
    ("display", &["-display", "help"]),
];

fn features() -> Finding {
    let Ok(path) = program::find(machine::default_program().as_ref()) else {
        let hint = "install QEMU first";
        return Finding::note("features", "there is no QEMU to be asked", hint);
    };
    let all: Vec<(&str, Vec<String>)> = FEATURES
        .iter()
        .map(|(name, words)| (*name, listed(&said(&path, words).unwrap_or_default())))
        .collect();
    let found: Vec<String> =
        all.iter().map(|(name, words)| format!("{name}: {}", words.join(" "))).collect();
    let found = found.join("; ");
    let has = |name: &str, word: &str| {
        all.iter().any(|(known, words)| *known == name && words.iter().any(|one| one == word))
    };
    match has("network", "user") {
        true => Finding::ok("features", found),
        false => Finding::note(
            "features",
            found,
            "this QEMU has no network of type user: --net none, or one built with slirp",
        ),
    }
}

/// The words of a list that QEMU prints, one a line after a title.
fn listed(said: &str) -> Vec<String> {
    let lines = said.lines().filter(|line| !line.ends_with(':') && !line.contains(' '));
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Whether a VM with `firmware: uefi` would find one.
fn firmware() -> Finding {
    let asks = serde_json::json!({ "firmware": "uefi" });
    let definition = Definition::read(&asks.as_object().cloned().unwrap_or_default());
    let binary = program::find(machine::default_program().as_ref());
    let found = definition.and_then(|definition| firmware::find(&definition, &binary?));
    match found {
        Ok(Some(flash)) => Finding::ok("firmware", format!("uefi: {}", flash.code.path.display())),
        Ok(None) => Finding::ok("firmware", "bios"),
        Err(error) => {
            let hint = error.hint.as_deref().unwrap_or("install OVMF for UEFI");
            Finding::note("firmware", &error.message, hint)
        }
    }
}

fn qemu_img() -> Finding {
    match program::find("qemu-img".as_ref()) {
        Ok(path) => Finding::ok("qemu-img", path.display().to_string()),
        Err(error) => {
            let hint = "without it no disk can be made; install QEMU's utilities";
            Finding::note("qemu-img", &error.message, hint)
        }
    }
}

fn linux() -> Result<String> {
    let path = "/proc/sys/kernel/osrelease";
    let release = std::fs::read_to_string(path)
        .map_err(|error| Error::io(format_args!("read {path}"), &error))?;
    let release = release.trim();
    let old = || {
        Error::failed(format!("Linux is {release}"))
            .hint(format!("maqet needs Linux {}.{} or newer", OLDEST_LINUX.0, OLDEST_LINUX.1))
    };
    if is_at_least(release, OLDEST_LINUX) { Ok(release.to_owned()) } else { Err(old()) }
}

fn kvm() -> Finding {
    if sys::kvm_opens() {
        return Finding::ok("kvm", "/dev/kvm opens");
    }
    let there = Path::new("/dev/kvm").exists();
    let (found, hint) = match there {
        true => ("/dev/kvm cannot be opened", "become a member of its group"),
        false => ("there is no /dev/kvm", "load the module kvm_intel or kvm_amd, if there is one"),
    };
    Finding::note("kvm", found, format!("guests run under TCG, slowly; {hint}"))
}

fn data(context: &Context<'_>) -> Result<String> {
    let folder = context.folders.data();
    match folder.exists() {
        true => check_private(folder).map(|()| folder.display().to_string()),
        false => Ok(format!("{} is made by the first \"maqet add\"", folder.display())),
    }
}

fn space(context: &Context<'_>) -> Finding {
    let mut folder = context.folders.data();
    while let (false, Some(above)) = (folder.exists(), folder.parent()) {
        folder = above;
    }
    match sys::free_bytes(folder) {
        Ok(free) if free < LITTLE_SPACE => Finding::note(
            "space",
            format!("{} MiB are free in {}", free >> 20, folder.display()),
            "make room before logs and images need it",
        ),
        Ok(free) => Finding::ok("space", format!("{} MiB are free", free >> 20)),
        Err(error) => {
            let error =
                Error::io(format_args!("ask for free space in {}", folder.display()), &error);
            Finding::wrong("space", &error)
        }
    }
}

fn database(context: &Context<'_>) -> Result<String> {
    match context.store_to_read()? {
        None => Ok("there is none yet".to_owned()),
        Some(store) => {
            store.check_integrity()?;
            Ok(format!("{} VMs", store.all()?.len()))
        }
    }
}

/// Whether a version such as `7.2.22 (Debian …)` is at least this one.
fn is_at_least(version: &str, least: (u32, u32)) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= least,
        _ => false,
    }
}

/// What a program says first when it is asked for its version.
fn first_line(path: &Path) -> Result<String> {
    let said = said(path, &["--version"])?;
    match said.lines().next() {
        Some(line) => Ok(line.to_owned()),
        None => Err(Error::failed(format!("{} does not say its version", path.display()))),
    }
}

/// What a program says when it is asked something, at most 64 KiB.
fn said(path: &Path, words: &[&str]) -> Result<String> {
    let cannot = |error: std::io::Error| {
        Error::io(format_args!("ask {} what it is", path.display()), &error)
    };
    let mut child = Command::new(path)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    let deadline = Instant::now() + VERSION_LIMIT;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let mut chunk = [0; 4096];
        while said.len() < 64 << 10 && sys::wait_readable(&stdout, deadline).map_err(cannot)? {
            match stdout.read(&mut chunk).map_err(cannot)? {
                0 => break,
                length => said.extend_from_slice(&chunk[..length]),
            }
        }
    }
    // One that goes on talking, or says nothing, is not waited for.
    let _ = child.kill();
    let _ = child.wait();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, expected) in [
            ("7.2.22 (Debian 1:7.2+dfsg)", true),
            ("7.0.0", true),
            ("10.0.2", true),
            ("6.2.0", false),
            ("", false),
            ("seven", false),
        ] {
            assert_eq!(is_at_least(version, OLDEST_QEMU), expected, "{version}");
        }
        assert_eq!(
            listed("Accelerators supported in QEMU binary:\ntcg\nkvm\n\nSome display.\n"),
            ["tcg", "kvm"]
        );
        assert!(is_at_least("6.18.44-rc1", OLDEST_LINUX) && !is_at_least("5.3.0", OLDEST_LINUX));
    }
}
