//! Names, what images say, and which snapshots a VM has.

use serde_json::json;

use super::*;
use crate::error::Kind;

fn tag(id: &str, name: &str, vm_state: u64) -> Tag {
    let taken_at = Timestamp::from_unix_millis(id.parse::<i64>().unwrap() * 1000);
    Tag { id: id.into(), name: name.into(), taken_at, vm_clock: 1.5, vm_state }
}

fn drive(name: &str, tags: &[(&str, &str)]) -> Drive {
    let tags = tags.iter().map(|(id, name)| tag(id, name, 0)).collect();
    Drive { name: name.into(), tags }
}

#[test]
fn a_name_is_any_text_that_qemu_keeps_whole_and_takes_for_a_name() {
    for name in ["a", "two words", "größe ✓", "-x", "1a", "a,b=c", &"x".repeat(255)] {
        assert_eq!(SnapshotName::parse(name).unwrap().as_str(), name);
    }
    for name in ["", "1", "007", "a\nb", "\u{1b}[2J", &"x".repeat(256), &"é".repeat(128)] {
        assert_eq!(SnapshotName::parse(name).unwrap_err().kind, Kind::Usage, "{name:?}");
    }
    let at = SnapshotName::at(Timestamp::parse("2026-11-25T05:52:00.123Z").unwrap());
    assert_eq!(at.as_str(), "2026-11-25T05:52:00Z");
    let long = SnapshotName::before_loading(&"é".repeat(127));
    assert!(long.as_str().len() <= 255 && SnapshotName::parse(long.as_str()).is_ok());
}

#[test]
fn what_qemu_says_of_an_image_becomes_tags() {
    let image = json!({"snapshots": [{
        "icount": 0, "vm-clock-nsec": 500_000_000, "name": "a b \u{e9}", "date-sec": 1_795_587_361,
        "date-nsec": 359_567_000, "vm-clock-sec": 7, "id": "3", "vm-state-size": 1_362_901,
    }]});
    let [tag] = &tags(&image).unwrap()[..] else { panic!() };
    assert_eq!((tag.id.as_str(), tag.name.as_str(), tag.vm_state), ("3", "a b é", 1_362_901));
    assert_eq!(tag.taken_at.to_string(), "2026-11-25T06:16:01.359Z");
    assert!((tag.vm_clock - 7.5).abs() < 1e-9);
    assert_eq!(tags(&json!({})).unwrap(), []);
    assert!(tags(&json!({"snapshots": [{"id": 1}]})).is_err());
}

#[test]
fn a_snapshot_of_a_vm_names_the_drives_that_have_it_and_those_that_lack_it() {
    let mut drives = [drive("a", &[("1", "x"), ("2", "y")]), drive("b", &[("1", "y")])];
    drives[0].tags[1].vm_state = 9;
    let all = gather(&drives);
    let told: Vec<_> =
        all.iter().map(|it| (it.name.as_str(), it.drives.len(), it.missing.join(","))).collect();
    assert_eq!(told, [("x", 1, "b".into()), ("y", 2, String::new())]);
    assert_eq!((all[1].vm_state_size, all[1].date), (9, drives[0].tags[1].taken_at));
}

#[test]
fn a_replacement_cut_short_anywhere_leaves_the_old_or_the_new_one() {
    let old = ("1", "x");
    let new = ("2", "x");
    for (a, b, expected) in [
        (&[old][..], &[old][..], "1 1"),
        (&[old, new], &[old], "1 1"),
        (&[old, new], &[old, new], "2 2"),
        (&[new], &[old, new], "2 2"),
        (&[new], &[new], "2 2"),
    ] {
        let drives = [drive("a", a), drive("b", b)];
        let ids: Vec<&str> = chosen(&drives, "x").iter().map(|(_, tag)| tag.id.as_str()).collect();
        assert_eq!(ids.join(" "), expected);
    }
}

#[test]
fn a_running_qemu_tells_which_drives_can_hold_a_snapshot_and_why_others_cannot() {
    let block = |node: &str, driver: &str, ro: bool| {
        let medium = json!({"node-name": node, "drv": driver, "ro": ro, "image": {}});
        json!({ "inserted": medium })
    };
    let blocks = json!([
        block("vars", "qcow2", false),
        block("disk-root", "qcow2", false),
        block("disk-iso", "raw", true),
        block("disk-data", "raw", false),
        {"device": "empty"},
    ]);
    let live = Drives::read(&blocks).unwrap();
    assert_eq!(live.handles, ["disk-root", "vars"]);
    assert_eq!(live.unfit, [("data".to_owned(), "its format is raw".to_owned())]);
    let some = live.clone().only(&["root"]).unwrap();
    assert_eq!((some.handles.len(), some.unfit.len()), (1, 0));
    assert_eq!(live.only(&["nope"]).unwrap_err().kind, Kind::NotFound);
    assert!(Drives::read(&json!({})).is_err());
}

#[test]
fn a_load_that_broke_is_known_by_qemus_state_or_by_its_job() {
    let status = |status: &str, running: bool| json!({"status": status, "running": running});
    let failed = json!([{"id": "j", "type": "snapshot-load", "error": "x"}]);
    let fine = json!([{"id": "j", "type": "snapshot-load"}, {"id": "k", "error": "x"}]);
    for (status, jobs, expected) in [
        (status("running", true), &fine, false),
        (status("paused", false), &fine, false),
        (status("paused", false), &failed, true),
        (status("running", true), &failed, false),
        (status("restore-vm", false), &fine, true),
        (status("internal-error", false), &fine, true),
    ] {
        assert_eq!(is_half_loaded(&status, jobs, "j"), expected, "{status}");
    }
}
