//! What the faults of this folder have found of disks and snapshots, each kept as a case of its own.

use std::time::Duration;

use crate::harness::{Host, eventually, run};

/// A whole machine with a disk, paused before its first instruction.
fn paused() -> Host {
    let host = Host::new();
    let words = ["add", "pc", "--accel", "tcg", "--memory", "32M", "--net", "none"];
    host.maqet(words).exits(0);
    host.maqet(["start", "pc", "--paused"]).exits(0);
    host
}

/// A stopped one with two disks, whose images are there.
fn with_two_disks() -> Host {
    let host = Host::new();
    let disks = ["--disk", "name=a,size=1M", "--disk", "name=b,size=1M"];
    let words = ["add", "pc", "--accel", "tcg", "--memory", "32M", "--net", "none"];
    host.maqet(words.iter().chain(&disks)).exits(0);
    host.maqet(["start", "pc", "--paused"]).exits(0);
    host.maqet(["stop", "pc", "--force"]).exits(0);
    host
}

fn nodes(host: &Host) -> Vec<String> {
    let all = host.maqet(["qmp", "pc", "query-named-block-nodes", "--json"]).exits(0).json();
    let names = all.as_array().unwrap().iter();
    let names = names.map(|node| node["node-name"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("disk-")).collect()
}

#[test]
fn a_disk_whose_plugging_was_cut_short_is_plugged_by_the_same_command_again() {
    let host = paused();
    for call in ["fdatasync,fsync", "sendto", "connect"] {
        for number in 1.. {
            let how = format!("{call}:signal=KILL:when={number}");
            let ran = host.tampered(&[&how], &["disk", "add", "pc", "name=a,size=1M"]);
            host.maqet(["disk", "add", "pc", "name=a,size=1M"]).exits(0);
            assert_eq!(nodes(&host), ["disk-a"], "{call} {number}");
            let again = host.maqet(["disk", "add", "pc", "name=a,size=1M", "--json"]).exits(0);
            assert_eq!(again.json()["changed"], false);
            host.maqet(["stop", "pc", "--force"]).exits(0);
            host.maqet(["disk", "rm", "pc", "a", "--delete-storage", "-y"]).exits(0);
            host.maqet(["start", "pc", "--paused"]).exits(0);
            if ran.code == 0 {
                break;
            }
        }
    }
}

#[test]
fn a_snapshot_whose_making_fails_anywhere_is_of_all_drives_or_of_none() {
    let host = with_two_disks();
    let mut failures = 0;
    for number in (1..).step_by(3) {
        // Of the command alone: a qemu-img whose read fails is not the subject.
        let mut strace = host.command("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=read", "-e"]);
        strace.arg(format!("inject=read:error=EIO:when={number}")).arg(Host::binary());
        let ran = run(strace.args(["snapshot", "create", "pc", "new"]));
        let listed = host.maqet(["snapshot", "ls", "pc", "-o", "name,missing"]).exits(0).stdout;
        failures += i32::from(ran.code != 0);
        match listed.as_str() {
            // The last look at it may have failed.
            "new\t[]\n" => drop(host.maqet(["snapshot", "rm", "pc", "new"]).exits(0)),
            "" => assert_ne!(ran.code, 0),
            _ => panic!("{number}: {listed}: {}", ran.stderr),
        }
        if ran.code == 0 && number > 80 {
            break;
        }
    }
    assert!(failures > 10, "{failures}");
}

#[test]
fn a_snapshot_that_was_cut_short_between_two_drives_is_made_by_the_same_command() {
    let host = with_two_disks();
    let listed = || host.maqet(["snapshot", "ls", "pc", "-o", "name,missing"]).exits(0).stdout;
    let mut parts = 0;
    for number in 1.. {
        let mut strace = host.command("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=wait4", "-e"]);
        strace.arg(format!("inject=wait4:signal=KILL:when={number}")).arg(Host::binary());
        let ran = run(strace.args(["snapshot", "create", "pc", "new"]));
        if ran.code == 0 {
            break;
        }
        // What it started comes to its end without it.
        let name = host.root().to_str().unwrap();
        eventually(Duration::from_secs(10), "no qemu-img is left", || {
            run(host.command("pgrep").args(["-f", &format!("qemu-img.*{name}")]))
                .code
                .eq(&1)
                .then_some(())
        });
        parts += usize::from(listed() == "new\t[\"b\"]\n");
        let again = host.maqet(["snapshot", "create", "pc", "new"]);
        assert!([0, 7].contains(&again.code), "{again:?}");
        assert_eq!(listed(), "new\t[]\n", "{number}: {again:?}");
        host.maqet(["snapshot", "rm", "pc", "new"]).exits(0);
    }
    assert!(parts > 0);
    // One that was meant to be of a part is nobody's to replace.
    host.maqet(["snapshot", "rm", "pc", "new"]).exits(0);
    host.maqet(["snapshot", "create", "pc", "new", "--drive", "a"]).exits(0);
    host.maqet(["snapshot", "create", "pc", "new"]).exits(7);
    assert!(!host.vm_folder("pc").join("snapshot.unfinished").exists());
}
