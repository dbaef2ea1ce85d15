//! The real guest: it boots, talks, heeds the power button, and finds what its definition promised.

use std::time::{Duration, Instant};

use crate::harness::{Host, eventually};

#[test]
fn a_guest_boots_with_its_disks_and_devices_and_heeds_the_power_button() {
    let host = Host::new();
    host.add_guest(
        "web",
        &["--disk", "64M", "--disk", "name=raw,type=raw,size=32M,serial=it's", "--cpu", "2"],
    );
    let before: serde_json::Value = host.maqet(["show", "web", "--json"]).json();
    assert!(before["machine"].is_null());
    host.maqet(["start", "web"]).exits(0);
    let pinned = host.maqet(["show", "web", "--json"]).json();
    let machine = pinned["machine"].as_str().unwrap();
    assert!(machine.starts_with("pc-q35-"), "pinned at the first start: {machine}");

    let disks = host.vm_folder("web").join("disks");
    for (name, size) in [("disk0.qcow2", None), ("raw.raw", Some(32 << 20))] {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(disks.join(name)).unwrap();
        assert_eq!(found.mode() & 0o777, 0o600, "{name}");
        assert!(size.is_none_or(|size| found.len() == size), "{name}");
    }
    let blocks = host.maqet(["qmp", "web", "query-block", "--json"]).exits(0).json();
    let sizes: Vec<u64> = blocks
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|block| block["inserted"]["image"]["virtual-size"].as_u64())
        .collect();
    assert_eq!(sizes, [64 << 20, 32 << 20]);
    let characters = host.maqet(["qmp", "web", "query-chardev", "--json"]).exits(0).stdout;
    assert!(characters.contains("\"agent\""), "{characters}");
    let rng = host.maqet(["qmp", "web", "qom-list", "path=/machine/peripheral", "--json"]);
    assert!(rng.exits(0).stdout.contains("\"rng\""));

    host.wait_for_guest("web");
    host.maqet(["pause", "web"]).exits(0);
    assert_eq!(host.state("web"), "paused");
    assert!(host.maqet(["pause", "web"]).exits(0).stderr.contains("already"));
    host.maqet(["resume", "web"]).exits(0);
    assert_eq!(host.state("web"), "running");

    let stopped = host.maqet(["stop", "web"]).exits(0);
    assert_eq!(stopped.stderr, "", "the guest ended by itself");
    let end = &host.status("web")["last_exit"];
    assert_eq!((end["outcome"].as_str(), end["by"].as_str()), (Some("stopped"), Some("guest")));
    assert_eq!(end["exit_code"], 0);
    let why = host.maqet(["why", "web"]).exits(0).stdout;
    assert!(why.contains("POWERDOWN") && why.contains("maqet-guest: power button"), "{why}");

    let kept = host.maqet(["rm", "web"]).exits(0).stderr;
    assert!(
        kept.contains("kept") && kept.contains("disk0.qcow2") && kept.contains("raw.raw"),
        "{kept}"
    );
}

#[test]
fn a_guest_that_powers_off_by_itself_was_stopped_by_the_guest() {
    let host = Host::new();
    host.add_guest("web", &["--append", "console=ttyS0 quiet maqet.do=poweroff"]);
    host.maqet(["start", "web"]).exits(0);
    let status = eventually(Duration::from_secs(60), "the guest has powered off", || {
        Some(host.status("web")).filter(|status| status["state"] != "running")
    });
    let end = &status["last_exit"];
    let told = (status["state"].as_str(), end["by"].as_str(), end["asked_by"].as_str());
    let runs = std::fs::read_to_string(host.vm_folder("web").join("runs.ndjson")).unwrap();
    assert_eq!(told, (Some("stopped"), Some("guest"), None), "{runs}");
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn a_guest_that_prints_without_end_is_not_slowed_and_its_log_is_bounded() {
    let host = Host::new();
    host.add_guest("web", &["--append", "console=ttyS0 quiet maqet.do=flood"]);
    host.maqet(["start", "web"]).exits(0);
    let log = host.vm_folder("web").join("console.log");
    let size = || std::fs::metadata(&log).map_or(0, |found| found.len());
    // Far more than any buffer between the guest and the disk holds.
    eventually(Duration::from_secs(120), "the guest has printed 3 MiB to nobody", || {
        (size() > 3 << 20).then_some(())
    });
    let answered = host.maqet(["qmp", "web", "query-status"]).exits(0);
    assert!(answered.took < Duration::from_secs(1), "{:?}", answered.took);
    let (before, began) = (size(), Instant::now());
    eventually(Duration::from_secs(60), "it goes on printing", || {
        (size() > before + (1 << 20)).then_some(())
    });
    println!("1 MiB of console in {:?}", began.elapsed());
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert!(size() <= 8 << 20, "{} bytes of log", size());
}
