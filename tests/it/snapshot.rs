//! Snapshots of running VMs: of a guest that counts in memory and on its disk, refused, failed, and
//! broken half-way. Those of stopped ones are `snapshot_stopped`'s.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::full_disk::Disk;
use crate::harness::{Host, eventually, run, send};

/// How often a snapshot is loaded to prove that memory and disk belong together.
const ROUNDS: usize = 20;

/// The console of a guest that counts.
struct Console(PathBuf);

impl Console {
    fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.0).unwrap_or_default()).into_owned()
    }

    fn size(&self) -> usize {
        self.text().len()
    }

    /// The counts from this byte on, in memory and on the disk; `None` is a line that was cut.
    fn counts(&self, from: usize) -> Vec<Option<(u64, u64)>> {
        let text = self.text();
        let whole = text[from..].rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| count(line.trim_end())).collect()
    }

    fn last(&self) -> Option<u64> {
        self.counts(0).into_iter().flatten().last().map(|(memory, _)| memory)
    }

    /// Waits until the guest has counted this much further.
    fn wait_for_more(&self, from: usize, count: usize) {
        eventually(Duration::from_secs(20), "the guest counts", || {
            (self.counts(from).len() >= count).then_some(())
        });
    }
}

fn count(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("maqet-guest: count ")?.split(' ');
    let both = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next() == Some(".") && words.next().is_none()).then_some(both)
}

/// A host with a guest that counts.
fn counting(more: &[&str]) -> (Host, Console) {
    let host = Host::new();
    let words = ["--append", "console=ttyS0 quiet maqet.do=count", "--disk", "16M,cache=unsafe"];
    host.add_guest("web", &[&words[..], more].concat());
    host.maqet(["start", "web"]).exits(0);
    let console = Console(host.vm_folder("web").join("console.log"));
    eventually(Duration::from_secs(60), "the guest counts", || console.last().filter(|it| *it > 2));
    (host, console)
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn memory_and_disk_go_on_from_where_the_snapshot_was_taken_in_every_round() {
    let (host, console) = counting(&["--disk", "name=data,size=16M,cache=unsafe"]);
    let (mut saves, mut loads) = (Vec::new(), Vec::new());
    let mut kept = 0;
    for round in 0..ROUNDS {
        let name = ["two words", "größe ✓", "a,b=\"c\"", "-dash"][round / 4 % 4];
        if round % 4 == 0 {
            host.maqet(["pause", "web"]).exits(0);
            kept = console.last().unwrap();
            let create = ["snapshot", "create", "web", "--replace", "--", name];
            let saved = host.maqet(create).exits(0);
            assert_eq!(saved.stdout, format!("{name}\n"));
            assert_eq!(host.state("web"), "paused", "a paused VM stays so");
            host.maqet(["resume", "web"]).exits(0);
            saves.push(saved.took);
        }
        console.wait_for_more(console.size(), 3);

        let paused = round % 2 == 1;
        if paused {
            host.maqet(["pause", "web"]).exits(0);
        }
        let before = console.size();
        let gone_on_to = console.last().unwrap();
        assert!(gone_on_to > kept + 1);
        let loaded = host.maqet(["snapshot", "load", "web", "-y", "--", name]).exits(0);
        loads.push(loaded.took);
        assert_eq!(host.state("web"), if paused { "paused" } else { "running" });
        if paused {
            host.maqet(["resume", "web"]).exits(0);
        }
        eventually(Duration::from_secs(20), "it counts from the snapshot's number", || {
            let counts = console.counts(before);
            let back = counts.iter().position(|it| it.is_some_and(|it| it.0 <= kept + 2))?;
            (counts.len() >= back + 3).then_some(())
        });
        // One line may have been cut by the load.
        let counts = console.counts(before);
        let cut = counts.iter().filter(|it| it.is_none_or(|(memory, disk)| memory != disk)).count();
        assert!(cut <= 1, "round {round}: memory and disk differ: {counts:?}");
        let whole: Vec<u64> =
            counts.iter().flatten().filter(|it| it.0 == it.1).map(|it| it.0).collect();
        let back = whole.iter().position(|it| *it <= kept + 2).unwrap_or_else(|| {
            panic!("round {round}: never back at {kept}: {counts:?}");
        });
        let (ahead, again) = whole.split_at(back);
        assert!(ahead.iter().all(|it| *it > kept + 1), "round {round}: {counts:?}");
        assert!((kept + 1..=kept + 2).contains(&again[0]), "round {round}, {kept}: {counts:?}");
        assert!(again.windows(2).all(|two| two[1] == two[0] + 1), "round {round}: {counts:?}");
    }
    let longest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    println!("{ROUNDS} rounds of {ROUNDS}: memory and disk went on from the snapshot's numbers");
    println!("create at most {:?}, load at most {:?}", longest(&saves), longest(&loads));
    let listed = host.maqet(["snapshot", "ls", "web", "--json"]).exits(0).json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 4);
    for snapshot in listed {
        assert!(snapshot["vm_state_size"].as_u64().unwrap() > 1 << 20, "{snapshot}");
        assert!(snapshot["vm_clock"].as_f64().unwrap() > 1.0, "{snapshot}");
        assert_eq!(snapshot["drives"], serde_json::json!(["disk0", "data"]));
        assert_eq!(snapshot["missing"], serde_json::json!([]));
        let date = snapshot["date"].as_str().unwrap();
        assert!(date.starts_with("20") && date.ends_with('Z'), "{date}");
    }
    let rm = ["snapshot", "rm", "web", "--", "two words", "-dash"];
    host.maqet(rm).exits(0);
    assert_eq!(host.maqet(["snapshot", "ls", "web", "-q"]).stdout.lines().count(), 2);
    host.maqet(rm).exits(4);

    // A name of two drives goes back on neither where one lacks it; nothing is paused for that.
    let since = host.status("web")["since"].clone();
    let made = host.maqet(["snapshot", "create", "web", "part", "--drive", "data"]).exits(0);
    assert_eq!(made.stdout, "part\n");
    let refused = host.maqet(["snapshot", "load", "web", "part", "-y"]).exits(7);
    assert!(refused.stderr.contains("is not of its drive disk0"), "{}", refused.stderr);
    host.maqet(["snapshot", "load", "web", "no such", "-y"]).exits(4);
    host.maqet(["snapshot", "create", "web", "part"]).exits(7);
    host.maqet(["snapshot", "create", "web", "x", "--drive", "nope"]).exits(4);
    host.maqet(["snapshot", "load", "web", "größe ✓"]).exits(2);
    host.maqet(["snapshot", "load", "web", "größe ✓", "-y", "-n"]).exits(0);
    host.maqet(["snapshot", "create", "web", "dry", "-n"]).exits(0);
    host.maqet(["apply", "web", "--protect"]).exits(0);
    host.maqet(["snapshot", "load", "web", "größe ✓", "-y"]).exits(7);
    host.maqet(["snapshot", "rm", "web", "größe ✓"]).exits(7);
    assert_eq!((host.state("web").as_str(), &host.status("web")["since"]), ("running", &since));
    host.maqet(["apply", "web", "--protect=false"]).exits(0);

    // Stopped, its disks go back, and that its memory does not is said.
    host.maqet(["stop", "web", "--force"]).exits(0);
    let loaded = host.maqet(["snapshot", "load", "web", "größe ✓", "-y"]).exits(0);
    assert!(loaded.stderr.contains("without the snapshot's memory"), "{}", loaded.stderr);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["snapshot", "load", "web", "größe ✓", "-y"]).exits(0);
    assert_eq!(host.state("web"), "running");
}

#[test]
fn what_stands_in_the_way_is_told_by_itself_before_anything_is_paused() {
    let host = Host::new();
    let mut words =
        vec!["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "16M,cache=unsafe"];
    words.extend(["--disk", "name=raw,type=raw,size=1M", "--disk", "name=data,size=1M"]);
    for word in
        ["-blockdev", "null-co,node-name=n0,read-only=on", "-device", "nvme,drive=n0,serial=x"]
    {
        words.extend(["--arg", word]);
    }
    host.maqet(&words).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let since = host.status("web")["since"].clone();
    for words in [&["snapshot", "create", "web"][..], &["snapshot", "create", "web", "-n"]] {
        let refused = host.maqet(words).exits(1).stderr;
        let told = |what: &str| refused.lines().filter(|line| line.contains(what)).count();
        assert_eq!(told("maqet: cannot make a snapshot of \"web\": "), 2, "{refused}");
        assert_eq!(
            told("its drive \"raw\" can hold no snapshot: its format is raw"),
            1,
            "{refused}"
        );
        assert_eq!(told("nvme"), 1, "{refused}");
    }
    for name in ["", "7", "a\nb", &"x".repeat(256)] {
        host.maqet(["snapshot", "create", "web", name]).exits(2);
    }
    let made = host.maqet(["snapshot", "create", "web", "--drive", "disk0", "--drive", "data"]);
    let made = made.exits(0).stdout;
    assert!(made.starts_with("20") && made.ends_with("Z\n"), "{made}");
    let listed = host.maqet(["snapshot", "ls", "web", "-o", "name,drives,vm_state_size"]).stdout;
    assert_eq!(listed, format!("{}\t[\"disk0\",\"data\"]\t0\n", made.trim()));
    let alone = host.maqet(["snapshot", "load", "web", made.trim(), "-y"]).exits(1).stderr;
    assert!(alone.contains("raw"), "{alone}");
    assert_eq!((host.state("web").as_str(), &host.status("web")["since"]), ("running", &since));
}

#[test]
fn without_room_a_snapshot_fails_in_qemus_words_and_the_vm_runs_on() {
    let host = Host::new();
    let Some(small) = Disk::new(&host.root().join("small"), 1024) else { return };
    let disk = format!("file={}/a.qcow2,size=64M", small.0.display());
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", &disk]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let failed = host.maqet(["snapshot", "create", "web", "x"]).exits(1);
    assert!(failed.stderr.contains("Error while writing VM state"), "{}", failed.stderr);
    assert!(failed.stderr.contains("hint: look whether there is room"), "{}", failed.stderr);
    assert_eq!(host.state("web"), "running");
    assert_eq!(host.maqet(["snapshot", "ls", "web", "-q"]).exits(0).stdout, "");
    let jobs = host.maqet(["qmp", "web", "query-jobs", "--json"]).exits(0).json();
    assert_eq!(jobs, serde_json::json!([]));
    host.maqet(["stop", "web", "--force"]).exits(0);

    // Nor is there room for the few tables of a snapshot without memory.
    small.fill();
    let mut made = 0;
    let failed = loop {
        let ran = host.maqet(["snapshot", "create", "web", &format!("x{made}")]);
        if ran.code != 0 {
            break ran.exits(1);
        }
        made += 1;
        assert!(made < 100, "a full disk takes snapshots without end");
    };
    assert!(failed.stderr.contains("No space left on device"), "{}", failed.stderr);
    let listed = host.maqet(["snapshot", "ls", "web", "-q"]).exits(0).stdout;
    assert_eq!(listed.lines().count(), made);
    let check =
        run(std::process::Command::new("qemu-img").arg("check").arg(small.0.join("a.qcow2")));
    assert!([0, 3].contains(&check.code), "{}", check.stderr);
    assert!(failed.stderr.contains("hint: make room"), "{}", failed.stderr);
    small.make_room();
    if made > 0 {
        host.maqet(["snapshot", "rm", "web"].into_iter().chain(listed.lines())).exits(0);
    }
    host.maqet(["snapshot", "create", "web", "x"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
}

#[test]
fn a_load_that_breaks_half_way_leaves_a_guest_that_only_begins_anew_or_ends() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "16M"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["snapshot", "create", "web", "x"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    // Memory of this size does not fit: QEMU finds out after the disks are as they were.
    host.maqet(["apply", "web", "--memory", "32M"]).exits(0);
    for paused in [false, true] {
        host.maqet(["start", "web"]).exits(0);
        if paused {
            host.maqet(["pause", "web"]).exits(0);
        }
        let broken = host.maqet(["snapshot", "load", "web", "x", "-y"]).exits(1).stderr;
        assert!(broken.contains("it stays paused"), "{broken}");
        assert!(broken.contains("maqet reset web"), "{broken}");
        assert_eq!(host.state("web"), "paused");
        for words in [&["resume", "web"][..], &["start", "web"], &["snapshot", "create", "web"]] {
            let refused = host.maqet(words).exits(7).stderr;
            assert!(refused.contains("half-way") && refused.contains("reset"), "{refused}");
        }
        host.maqet(["snapshot", "load", "web", "x", "-y"]).exits(1);
        host.maqet(["resume", "web"]).exits(7);
        host.maqet(["reset", "web"]).exits(0);
        host.maqet(["resume", "web"]).exits(0);
        assert_eq!(host.state("web"), "running");
        host.maqet(["stop", "web", "--force"]).exits(0);
    }
    host.maqet(["apply", "web", "--memory", "64M"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["snapshot", "load", "web", "x", "-y"]).exits(0);
    assert_eq!(host.state("web"), "running");
    host.maqet(["stop", "web", "--force"]).exits(0);

    // On another machine it is not even tried.
    host.maqet(["apply", "web", "--machine", "pc"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let since = host.status("web")["since"].clone();
    let refused = host.maqet(["snapshot", "load", "web", "x", "-y"]).exits(7).stderr;
    assert!(refused.contains("is of the machine \"pc-q35-"), "{refused}");
    assert_eq!((host.state("web").as_str(), &host.status("web")["since"]), ("running", &since));
}

#[test]
fn the_job_of_a_killed_command_is_taken_away_by_the_next() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "16M"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let left = r#"{"execute":"snapshot-save","arguments":{"job-id":"maqet-snapshot","tag":"left",
        "vmstate":"disk-disk0","devices":["disk-disk0"]}}"#;
    host.maqet(["qmp", "web", left]).exits(0);
    host.maqet(["snapshot", "create", "web", "next"]).exits(0);
    assert_eq!(host.maqet(["snapshot", "ls", "web", "-q"]).stdout, "left\nnext\n");
    let mut child = host.command(Host::binary());
    let mut child = child.args(["snapshot", "create", "web", "killed"]).spawn().unwrap();
    eventually(Duration::from_secs(10), "the job has begun", || {
        let jobs = host.maqet(["qmp", "web", "query-jobs", "--json"]).json();
        (jobs != serde_json::json!([]) || child.try_wait().unwrap().is_some()).then_some(())
    });
    send(i32::try_from(child.id()).unwrap(), Signal::KILL);
    child.wait().unwrap();
    host.maqet(["snapshot", "create", "web", "last"]).exits(0);
    assert_eq!(host.state("web"), "running");
    host.maqet(["stop", "web", "--force"]).exits(0);

    // A name that another program gave twice goes from a running VM as a whole.
    let image = host.vm_folder("web").join("disks/disk0.qcow2");
    run(std::process::Command::new("qemu-img").args(["snapshot", "-c", "last"]).arg(image))
        .exits(0);
    host.maqet(["start", "web"]).exits(0);
    let refused = host.maqet(["snapshot", "load", "web", "last", "-y"]).exits(7).stderr;
    assert!(refused.contains("of disks alone"), "{refused}");
    host.maqet(["snapshot", "rm", "web", "last"]).exits(0);
    assert!(!host.maqet(["snapshot", "ls", "web", "-q"]).stdout.contains("last"));
    assert_eq!(host.state("web"), "running");
}

#[test]
fn snapshots_that_are_made_at_once_are_whole_each_and_no_other_command_takes_one_for_cut_short() {
    let host = Host::new();
    let disks = ["--disk", "name=a,size=1M", "--disk", "name=b,size=1M"];
    let words = ["add", "web", "--accel", "tcg", "--memory", "64M"];
    host.maqet(words.iter().chain(&disks)).exits(0);
    host.maqet(["start", "web", "--paused"]).exits(0);
    for _ in 0..3 {
        let codes: Vec<i32> = std::thread::scope(|scope| {
            let names = ["x", "x", "y", "x", "y"];
            let make = |name| host.maqet(["snapshot", "create", "web", name]).code;
            let makers = names.map(|name| scope.spawn(move || make(name)));
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(codes.iter().all(|code| [0, 7].contains(code)), "{codes:?}");
        assert!(codes.iter().filter(|code| **code == 0).count() >= 1, "{codes:?}");
        let listed = host.maqet(["snapshot", "ls", "web", "-o", "name,missing"]).exits(0).stdout;
        assert!(
            !listed.is_empty() && listed.lines().all(|line| line.ends_with("\t[]")),
            "{listed}"
        );
        let names: Vec<&str> = listed.lines().map(|line| &line[..1]).collect();
        host.maqet([&["snapshot", "rm", "web"], &names[..]].concat()).exits(0);
    }
    assert!(!host.vm_folder("web").join("snapshot.unfinished").exists());
    host.maqet(["stop", "web", "--force"]).exits(0);
}
