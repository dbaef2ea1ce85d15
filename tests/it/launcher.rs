//! How QEMU is launched: what it has, and what was taken from it, as /proc tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::{Host, not_here, run};

fn field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap().trim().to_owned()
}

fn descriptors(pid: i32) -> BTreeMap<i32, String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let target = |path: &Path| std::fs::read_link(path).unwrap().to_string_lossy().into_owned();
    entries
        .map(|entry| (entry.file_name().to_str().unwrap().parse().unwrap(), target(&entry.path())))
        .collect()
}

#[test]
fn qemu_has_what_it_needs_and_nothing_else() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M"]).exits(0);
    let mut start = host.command(Host::binary());
    start.args(["start", "web"]).env("LC_ALL", "C").env("SECRET_TOKEN", "x").env("LD_PRELOAD", "");
    run(&mut start).exits(0);
    let (runner, qemu) = (host.runner_pid("web"), host.qemu_pid("web"));

    assert_eq!(field(qemu, "PPid"), runner.to_string());
    assert_eq!(field(qemu, "NoNewPrivs"), "1");
    assert_eq!(field(qemu, "Seccomp"), "2", "filtered");
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{qemu}/{name}")).unwrap();
    assert_eq!(read("oom_score_adj").trim(), "200");
    let limits = read("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{core}");
    // pid, comm, state, ppid, pgrp, session.
    let session = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after = stat.rsplit(") ").next().unwrap().to_owned();
        after.split(' ').nth(3).unwrap().parse::<i32>().unwrap()
    };
    assert_eq!((session(runner), session(qemu)), (runner, qemu), "each has its own session");

    let environ = read("environ");
    let names: Vec<&str> =
        environ.split_terminator('\0').map(|one| one.split('=').next().unwrap()).collect();
    for name in &names {
        let known =
            ["PATH", "HOME", "LANG", "TZ", "TMPDIR"].contains(name) || name.starts_with("LC_");
        assert!(known, "{names:?}");
    }
    assert!(names.contains(&"LC_ALL") && names.contains(&"PATH"));

    let vm = host.vm_folder("web");
    let open = descriptors(qemu);
    assert!((0..=2).all(|fd| open[&fd].starts_with("pipe:")), "{open:?}");
    let guard = vm.join("guard").to_string_lossy().into_owned();
    assert_eq!(open.values().filter(|target| **target == guard).count(), 1, "{open:?}");
    assert_eq!(open.values().filter(|target| target.starts_with("socket:")).count(), 2, "{open:?}");
    for target in open.values() {
        let known = ["pipe:", "socket:", "anon_inode:", "/dev/"]
            .iter()
            .any(|kind| target.starts_with(kind));
        assert!(known || *target == guard, "{open:?}");
    }
}

#[test]
fn the_runner_has_no_database_open_and_bears_the_vms_name() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    let runner = host.runner_pid("web");
    assert_eq!(field(runner, "Name"), "maqet:web");
    assert_eq!(field(runner, "Threads"), "1");
    assert_eq!(field(runner, "Umask"), "0077");
    let open = descriptors(runner);
    assert!(!open.values().any(|target| target.contains("maqet.db")), "{open:?}");
    assert_eq!((open[&0].as_str(), open[&1].as_str()), ("/dev/null", "/dev/null"));
    assert!(open[&2].ends_with("runner.log"), "{open:?}");
    let words = std::fs::read_to_string(format!("/proc/{runner}/cmdline")).unwrap();
    assert!(words.starts_with("maqet\0__runner\0"), "{words:?}");
}

/// A script in the place of QEMU.
fn stand_in(host: &Host, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = host.root().join("qemu");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// A stand-in for QEMU that says what it was given, and ends.
const TELLTALE: &str = r#"#!/bin/bash
exec > "$(dirname "$0")/told"
grep -E '^(NoNewPrivs|Seccomp|SigBlk|SigIgn|Umask)' /proc/self/status
cat /proc/$$/environ | tr '\0' '\n' | sed 's/=.*//; s/^/env /'
exit 1
"#;

#[test]
fn each_exception_is_made_for_who_asks_for_it_alone_and_is_shown() {
    let host = Host::new();
    let program = stand_in(&host, TELLTALE);
    for (set, rights, screen) in [
        (None, "1", false),
        (Some("network=[{\"type\":\"bridge\",\"bridge\":\"br0\"}]"), "0", false),
        (Some("display={\"gtk\":{}}"), "1", true),
        (Some("sandbox=false"), "1", false),
    ] {
        let words = ["add", "web", "--accel", "tcg", "--binary", program.to_str().unwrap()];
        let set = set.into_iter().flat_map(|set| ["--set", set]);
        host.maqet(words.into_iter().chain(set)).exits(0);
        let mut start = host.command(Host::binary());
        start
            .args(["start", "web"])
            .env("DISPLAY", ":9")
            .env("XAUTHORITY", "/x")
            .env("SECRET", "x");
        run(&mut start).exits(1);
        let told = std::fs::read_to_string(host.root().join("told")).unwrap();
        assert!(told.contains(&format!("NoNewPrivs:\t{rights}\n")), "{told}");
        assert!(told.contains("SigBlk:\t0000000000000000\n"), "{told}");
        let ignored = told.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        // Signals 32 and 33 are the C library's own.
        let ignored = u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_ffff;
        assert_eq!(ignored, 0, "{told}");
        assert!(told.contains("Umask:\t0077\n"), "{told}");
        assert_eq!(told.contains("env DISPLAY\n"), screen, "{told}");
        assert_eq!(told.contains("env XAUTHORITY\n"), screen, "{told}");
        assert!(!told.contains("env SECRET"), "{told}");
        host.maqet(["rm", "web"]).exits(0);
    }
    let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-qemu");
    for (set, exceptions) in [
        ("sandbox=true", &[][..]),
        ("sandbox=false", &["system-calls"]),
        ("display={\"gtk\":{}}", &["screen"]),
        ("network=[{\"type\":\"bridge\",\"bridge\":\"br0\"}]", &["system-calls", "new-privileges"]),
    ] {
        let words = ["add", "web", "--accel", "tcg", "--binary", fake.to_str().unwrap()];
        host.maqet(words.into_iter().chain(["--set", set])).exits(0);
        assert!(host.status("web")["exceptions"].is_null());
        host.maqet(["start", "web"]).exits(0);
        assert_eq!(host.status("web")["exceptions"], serde_json::json!(exceptions), "{set}");
        host.maqet(["rm", "web", "--force"]).exits(0);
    }
}

/// A stand-in for QEMU that says which descriptors it was given, and ends.
const LISTER: &str = r#"#!/usr/bin/python3 -IS
import os, sys
open_ = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        open_[fd] = os.readlink("/proc/self/fd/" + fd)
    except FileNotFoundError:
        pass  # that of the listing itself
with open(os.path.dirname(os.path.abspath(sys.argv[0])) + "/told", "w") as told:
    for fd, target in open_.items():
        print(fd, target, file=told)
    for word in sys.argv:
        print("word", word, file=told)
sys.exit(1)
"#;

#[test]
fn qemu_is_given_the_descriptors_of_its_command_line_its_guard_and_three_pipes_and_no_other() {
    let host = Host::new();
    let program = stand_in(&host, LISTER);
    let words = ["add", "web", "--accel", "tcg", "--disk", "name=root,size=1M"];
    host.maqet(words.iter().chain(&["--binary", program.to_str().unwrap()])).exits(0);
    // What the command has open is its own.
    host.shell("exec 7< /etc/passwd 9< /dev/null; maqet start web").exits(1);
    let told = std::fs::read_to_string(host.root().join("told")).unwrap();
    let socket = |id: &str| -> i32 {
        let word = format!("word socket,id={id},fd=");
        let found = told.lines().find_map(|line| line.strip_prefix(&word));
        found.unwrap_or_else(|| panic!("{told}")).parse().unwrap()
    };
    let (qmp, agent) = (socket("qmp"), socket("agent"));
    let guard = host.vm_folder("web").join("guard").to_string_lossy().into_owned();
    let mut open: BTreeMap<i32, &str> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(fd, target)| Some((fd.parse().ok()?, target)))
        .collect();
    // The script, which Python reads.
    open.retain(|_, target| !target.ends_with("/qemu"));
    let guards: Vec<i32> = open.iter().filter(|(_, it)| **it == guard).map(|(fd, _)| *fd).collect();
    let [guard] = guards[..] else { panic!("{told}") };
    let meant = BTreeSet::from([0, 1, 2, guard, qmp, agent]);
    assert_eq!(open.keys().copied().collect::<BTreeSet<_>>(), meant, "{told}");
    assert_eq!(meant.len(), 6, "{told}");
    assert!((0..=2).all(|fd| open[&fd].starts_with("pipe:")), "{told}");
    assert!([qmp, agent].iter().all(|fd| open[fd].starts_with("socket:")), "{told}");
}

#[test]
fn a_qemu_with_file_capabilities_is_refused() {
    let host = Host::new();
    let program = host.root().join("qemu");
    std::fs::copy("/bin/true", &program).unwrap();
    // cap_net_admin=ep in version 2 of linux/capability.h: magic with the flag, permitted, inheritable.
    let mut value = [0_u8; 20];
    value[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
    value[4..8].copy_from_slice(&(1_u32 << 12).to_le_bytes());
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(&program, "security.capability", &value, flags).is_err() {
        not_here("it takes root, and a file system with capabilities");
        return;
    }
    host.maqet(["add", "web", "--binary", program.to_str().unwrap()]).exits(0);
    let ran = host.maqet(["start", "web"]).exits(6);
    assert!(ran.stderr.contains("file capabilities"), "{}", ran.stderr);
    // By a link to it, too.
    let link = host.root().join("link");
    std::os::unix::fs::symlink(&program, &link).unwrap();
    host.maqet(["apply", "web", "--binary", link.to_str().unwrap()]).exits(0);
    host.maqet(["start", "web"]).exits(6);
}

#[test]
fn a_set_id_qemu_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new();
    let program = host.root().join("qemu");
    std::fs::copy("/bin/true", &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    host.maqet(["add", "web", "--binary", program.to_str().unwrap()]).exits(0);
    let ran = host.maqet(["start", "web"]).exits(6);
    assert!(ran.stderr.contains("set-id"), "{}", ran.stderr);
}

#[test]
fn a_qemu_that_is_too_old_is_refused_by_its_version() {
    let host = Host::new();
    host.add_fake("web", &["old"]);
    let ran = host.maqet(["start", "web"]).exits(1);
    assert!(ran.stderr.contains("QEMU 6.2 is too old"), "{}", ran.stderr);
}
