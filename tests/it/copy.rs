//! `clone`: what a copy has of the VM that it is made of, and what is left where it is cut short.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::full_disk::{Disk, assert_told};
use crate::harness::{Host, run};

/// The bytes of a file by which a copy is known.
const MARK: &[u8] = b"what the guest wrote";

pub(crate) fn qemu_img(words: &[&str]) -> String {
    run(std::process::Command::new("qemu-img").args(words)).exits(0).stdout
}

/// A raw image of this many MiB with data at its beginning and in its middle, and holes.
pub(crate) fn raw(path: &Path, mib: u64) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(mib << 20).unwrap();
    file.write_all_at(MARK, 0).unwrap();
    file.write_all_at(MARK, mib << 19).unwrap();
}

/// A host with `web`, which has a qcow2 image with a snapshot, a raw one elsewhere, and a disc.
pub(crate) fn with_web() -> Host {
    let host = Host::new();
    let path = |name: &str| host.root().join(name).to_str().unwrap().to_owned();
    raw(Path::new(&path("data.raw")), 64);
    std::fs::write(path("disc.iso"), vec![0; 1 << 20]).unwrap();
    let disc = format!("name=disc,file={}", path("disc.iso"));
    let data = format!("name=data,file={}", path("data.raw"));
    let words = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "name=root,size=32M"];
    let more = ["--disk", &data, "--cdrom", &disc, "--label", "env=prod", "--net"];
    let net = ["name=lan,type=user,mac=52:54:00:00:00:01"];
    host.maqet(words.into_iter().chain(more).chain(net)).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    let root = host.vm_folder("web").join("disks/root.qcow2");
    qemu_img(&["snapshot", "-c", "before it all", root.to_str().unwrap()]);
    host
}

pub(crate) fn show(host: &Host, name: &str) -> Value {
    host.maqet(["show", name, "--json"]).exits(0).json()
}

pub(crate) fn names(host: &Host) -> String {
    host.maqet(["ls", "-q"]).exits(0).stdout
}

/// The folders of VMs, by id.
pub(crate) fn folders(host: &Host) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(host.data().join("vms")).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn a_clone_has_the_definition_and_a_copy_of_each_disk_and_nothing_that_is_the_others() {
    let host = with_web();
    let ran = host.maqet(["clone", "web", "copy", "--cpu", "2", "--label", "env=test"]).exits(0);
    let id = ran.stdout.trim();
    assert_eq!(id.len(), 36, "{}", ran.stdout);
    assert!(ran.stderr.contains("card lan gets a hardware address of its own"), "{}", ran.stderr);
    let (old, new) = (show(&host, "web"), show(&host, "copy"));
    let folder = host.data().join("vms").join(id);
    assert_eq!(new["labels"], json!({"env": "test"}));
    assert_eq!((&new["cpu"], &new["machine"]), (&json!(2), &old["machine"]));
    assert_eq!(new["network"], json!([{"name": "lan", "type": "user"}]));
    assert_eq!(new["storage"][2], old["storage"][2], "the disc is used by both");
    assert_eq!(new["storage"][1]["file"], json!(folder.join("disks/data.raw")));
    let images = [("root.qcow2", host.vm_folder("web").join("disks/root.qcow2"))];
    for (name, image) in images.into_iter().chain([("data.raw", host.root().join("data.raw"))]) {
        let copy = folder.join("disks").join(name);
        assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(image).unwrap(), "{name}");
        let found = std::fs::metadata(&copy).unwrap();
        assert_eq!(found.mode() & 0o777, 0o600);
        assert!(found.blocks() * 512 < 2 << 20, "{name}: its holes are filled");
    }
    let root = folder.join("disks/root.qcow2");
    assert!(qemu_img(&["snapshot", "-l", root.to_str().unwrap()]).contains("before it all"));
    // Both run at once: neither has what is the other's.
    host.maqet(["start", "web", "copy"]).exits(0);
    let busy = host.maqet(["clone", "web", "third"]).exits(7);
    assert!(
        busy.stderr.contains("is running") && busy.stderr.contains("hint: "),
        "{}",
        busy.stderr
    );
    let busy = host.maqet(["clone", "web", "third", "-n"]).exits(7);
    assert!(busy.stderr.contains("is running"), "{}", busy.stderr);
    host.maqet(["stop", "web", "copy", "--force"]).exits(0);
    host.maqet(["rm", "copy", "--delete-storage", "-y"]).exits(0);
    assert!(!folder.exists() && host.root().join("data.raw").exists());
    assert_eq!(host.maqet(["doctor", "-o", "result"]).stdout.matches("wrong").count(), 0);
}

#[test]
fn a_clone_that_cannot_be_made_is_refused_before_anything_is_made() {
    let host = with_web();
    let before = folders(&host);
    for (words, code, says) in [
        (&["clone", "web", "web"][..], 7, "of that name already"),
        (&["clone", "web"], 2, "hint: "),
        (&["clone", "nobody", "copy"], 4, "no VM"),
        (&["clone", "web", "x y"], 2, "name"),
        (&["clone", "web", "copy", "--linked"], 7, "no template"),
        (&["clone", "web", "copy", "--disk", "name=data,type=qcow2"], 2, "is of type raw"),
        (&["clone", "web", "copy", "-n"], 0, "would clone web as copy"),
    ] {
        let ran = host.maqet(words).exits(code);
        assert!(ran.stderr.contains(says), "{words:?}: {}", ran.stderr);
        assert_eq!((names(&host).as_str(), folders(&host)), ("web\n", before.clone()), "{words:?}");
    }
    let image = host.root().join("data.raw");
    std::fs::remove_file(&image).unwrap();
    let ran = host.maqet(["clone", "web", "copy"]).exits(1);
    assert!(ran.stderr.contains(image.to_str().unwrap()), "{}", ran.stderr);
    assert_eq!(folders(&host), before);
}

#[test]
fn an_image_that_names_what_it_stands_on_by_a_relative_path_is_mended_in_the_copy() {
    let host = Host::new();
    let path = |name: &str| host.root().join(name).to_str().unwrap().to_owned();
    raw(Path::new(&path("base.raw")), 8);
    let base = ["-b", "base.raw", "-F", "raw"];
    let words = ["create", "-q", "-f", "qcow2"].into_iter().chain(base);
    qemu_img(&words.chain([path("over.qcow2").as_str()]).collect::<Vec<_>>());
    let disk = format!("file={},backing_file={}", path("over.qcow2"), path("base.raw"));
    let add = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", &disk];
    host.maqet(add).exits(0);
    host.maqet(["clone", "web", "copy"]).exits(0);
    host.maqet(["start", "copy"]).exits(0);
    let image = host.vm_folder("copy").join("disks/disk0.qcow2");
    let info = qemu_img(&["info", "-U", "--output=json", image.to_str().unwrap()]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["backing-filename"], json!(path("base.raw")));
}

#[test]
fn a_signal_in_the_middle_of_a_clone_leaves_nothing_and_is_the_exit_code() {
    let host = with_web();
    let before = folders(&host);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 143)] {
        for call in ["copy_file_range", "fsync"] {
            let how = format!("{call}:signal={signal}:when=1");
            let ran = host.tampered(&[&how], &["clone", "web", "copy"]).exits(code);
            assert!(ran.stdout.is_empty() && ran.stderr.contains("cannot clone"), "{}", ran.stderr);
            assert_eq!((names(&host).as_str(), folders(&host)), ("web\n", before.clone()));
        }
    }
    host.maqet(["clone", "web", "copy"]).exits(0);
}

#[test]
fn a_clone_that_is_killed_anywhere_is_there_or_not_and_doctor_names_what_is_left() {
    let host = with_web();
    let calls =
        "mkdir,openat,write,pwrite64,ftruncate,copy_file_range,fsync,fdatasync,unlink,close";
    let (mut killed, mut stray) = (0, 0);
    for number in 1.. {
        let how = format!("{calls}:signal=KILL:when={number}");
        let ran = host.tampered(&[&how], &["clone", "web", "copy"]);
        let there = names(&host);
        match there.as_str() {
            "web\n" => {}
            "copy\nweb\n" => {
                let copy = std::fs::read(host.vm_folder("copy").join("disks/data.raw")).unwrap();
                assert_eq!(copy, std::fs::read(host.root().join("data.raw")).unwrap());
                host.maqet(["rm", "copy", "--delete-storage", "-y"]).exits(0);
            }
            _ => panic!("after {number}: {there}"),
        }
        let own = host.vm_folder("web");
        for left in folders(&host).into_iter().filter(|folder| *folder != own) {
            let said = host.maqet(["doctor", "-o", "found"]).stdout;
            assert!(said.contains(left.to_str().unwrap()), "after {number}: {said}");
            std::fs::remove_dir_all(left).unwrap();
            stray += 1;
        }
        if ran.code == 0 {
            break;
        }
        killed += 1;
    }
    println!("killed {killed} times, {stray} times a folder was left");
    assert!(killed > 50 && stray > 5, "{killed} {stray}");
    host.maqet(["start", "web"]).exits(0);
}

#[test]
fn without_room_a_clone_leaves_nothing_and_its_source_is_unharmed() {
    let host = Host::new();
    let Some(_disk) = Disk::new(&host.data(), 6 << 10) else { return };
    let image = host.root().join("data.raw");
    std::fs::write(&image, vec![7; 8 << 20]).unwrap();
    let add =
        ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", image.to_str().unwrap()];
    host.maqet(add).exits(0);
    let before = folders(&host);
    assert_told(&host.maqet(["clone", "web", "copy"]).exits(1));
    assert_eq!((names(&host).as_str(), folders(&host)), ("web\n", before));
    host.maqet(["start", "web"]).exits(0);
    // What runs from that disk has to be gone before it is.
    host.maqet(["stop", "web", "--force"]).exits(0);
}
