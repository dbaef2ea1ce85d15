//! `export` and `import`: what is in an archive, that it is a tar like any other, and that nothing in
//! one that somebody made gets further than it may.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;

use crate::copy::{folders, names, qemu_img, raw, show, with_web};
use crate::full_disk::{Disk, assert_told};
use crate::harness::{Host, Ran, run};

fn tar(host: &Host, words: &[&str]) -> Ran {
    run(host.command("tar").args(words)).exits(0)
}

/// An archive as GNU tar makes it of a definition and files with these contents.
fn packed(host: &Host, definition: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let from = host.root().join("from");
    let _ = std::fs::remove_dir_all(&from);
    std::fs::create_dir_all(from.join("disks")).unwrap();
    std::fs::write(from.join("definition.json"), definition).unwrap();
    for (name, bytes) in files {
        std::fs::write(from.join(name), bytes).unwrap();
    }
    let archive = host.root().join("made.tar");
    let mut words = vec!["--format=posix", "-S", "-cf", archive.to_str().unwrap(), "-C"];
    words.extend([from.to_str().unwrap(), "definition.json"]);
    words.extend(files.iter().map(|(name, _)| *name));
    tar(host, &words);
    archive
}

#[test]
fn what_is_exported_is_imported_again_and_is_a_tar_like_any_other() {
    let host = with_web();
    host.maqet(["apply", "web", "--set", "storage.disc=null", "--json"]);
    let archive = host.root().join("web.tar");
    let file = archive.to_str().unwrap();
    let ran = host.maqet(["export", "web", file]).exits(0);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("disc.iso"), "{}", ran.stderr);
    let found = std::fs::metadata(&archive).unwrap();
    assert!(found.mode() & 0o777 == 0o600 && found.len() < 2 << 20, "{}", found.len());
    let listed = tar(&host, &["tf", file]).stdout;
    assert_eq!(listed, "definition.json\ndisks/root.qcow2\ndisks/data.raw\n");
    let out = host.root().join("out");
    std::fs::create_dir(&out).unwrap();
    tar(&host, &["xf", file, "-C", out.to_str().unwrap()]);
    let images = [
        ("root.qcow2", host.vm_folder("web").join("disks/root.qcow2")),
        ("data.raw", host.root().join("data.raw")),
    ];
    for (name, image) in &images {
        let unpacked = std::fs::read(out.join("disks").join(name)).unwrap();
        assert_eq!(unpacked, std::fs::read(image).unwrap(), "{name}");
    }
    // It exists: nothing is written over it by surprise.
    let ran = host.maqet(["export", "web", file]).exits(7);
    assert!(ran.stderr.contains("exists already") && ran.stderr.contains("hint: "));
    host.maqet(["export", "web", file, "--force", "-q"]).exits(0);

    // The disc lies outside: it is named, and nothing is made.
    let before = folders(&host);
    let ran = host.maqet(["import", file, "again"]).exits(2);
    assert!(ran.stderr.contains("disc.iso") && ran.stderr.contains("--trust"), "{}", ran.stderr);
    assert_eq!(folders(&host), before);
    let ran = host.maqet(["import", file]).exits(7);
    assert!(ran.stderr.contains("of that name already"), "{}", ran.stderr);
    let ran = host.maqet(["import", file, "again", "--trust"]).exits(0);
    let folder = host.data().join("vms").join(ran.stdout.trim());
    for (name, image) in &images {
        let copy = folder.join("disks").join(name);
        assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(image).unwrap(), "{name}");
        let found = std::fs::metadata(&copy).unwrap();
        assert!(found.mode() & 0o777 == 0o600 && found.blocks() * 512 < 2 << 20, "{name}");
    }
    assert_eq!(show(&host, "again")["labels"], json!({"env": "prod"}));
    host.maqet(["start", "again"]).exits(0);
    let ran = host.maqet(["export", "again", "x.tar"]).exits(7);
    assert!(ran.stderr.contains("is running"), "{}", ran.stderr);
    host.maqet(["stop", "again", "--force"]).exits(0);
    host.maqet(["rm", "again", "--delete-storage", "-y"]).exits(0);
    assert!(!folder.exists());

    // Through a pipe, and by way of GNU tar.
    let script = "maqet export web - -q | maqet import - third --trust >/dev/null && \
                  cd out && tar --format=posix -Scf - ./definition.json disks | \
                  maqet import - fourth --trust";
    host.shell(script).exits(0);
    for vm in ["third", "fourth"] {
        let copy = host.vm_folder(vm).join("disks/data.raw");
        assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(&images[1].1).unwrap(), "{vm}");
    }
    let closed = host.shell("maqet export web - -q | head -c 10 >/dev/null");
    assert_eq!((closed.code, closed.stderr.as_str()), (0, ""));
}

#[test]
fn an_image_that_stands_on_another_is_packed_with_what_that_one_holds() {
    let host = Host::new();
    let path = |name: &str| host.root().join(name).to_str().unwrap().to_owned();
    raw(Path::new(&path("base.raw")), 8);
    let disk = format!("name=root,backing_file={}", path("base.raw"));
    let add = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", &disk];
    host.maqet(add).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    let ran = host.maqet(["export", "web", "web.tar"]).exits(0);
    assert!(ran.stderr.contains("with what it stands on"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(host.vm_folder("web").join("disks")).unwrap().count(), 1);
    host.maqet(["import", "web.tar", "copy"]).exits(0);
    let image = host.vm_folder("copy").join("disks/root.qcow2");
    let flat = path("flat.raw");
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", image.to_str().unwrap(), &flat]);
    std::fs::remove_file(path("base.raw")).unwrap();
    host.maqet(["start", "copy"]).exits(0);
    let mut mark = [0; 20];
    std::fs::File::open(flat).unwrap().read_exact_at(&mut mark, 4 << 20).unwrap();
    assert_eq!(&mark, b"what the guest wrote");
}

#[test]
fn a_hostile_archive_is_refused_and_leaves_nothing() {
    let host = Host::new();
    host.add_bare("web");
    let before = folders(&host);
    let plain = r#"{"storage": [{"name": "a", "type": "raw", "file": "disks/a.raw"}]}"#;
    let refused = |archive: &Path, code: i32, says: &str| {
        let ran = host.maqet(["import", archive.to_str().unwrap(), "new"]).exits(code);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
        assert_eq!((names(&host).as_str(), folders(&host)), ("web\n", before.clone()), "{says}");
    };
    for (definition, says) in [
        (r#"{"binary": "sh"}"#, "binary: sh"),
        (r#"{"args": ["-x"], "kernel": "/k"}"#, "\"args\", \"kernel: /k\""),
        (r#"{"arguments": ["x"]}"#, "arguments"),
        (r#"{"storage": [{"file": "../../../x", "type": "raw"}]}"#, "storage.0.file: ../../../x"),
        (r#"{"storage": [{"file": "/etc/passwd", "type": "raw"}]}"#, "/etc/passwd"),
        (r#"{"storage": [{"file": "lock", "type": "raw"}]}"#, "does not lie in disks"),
        (r#"{"storage": [{"size": "1M", "backing_file": "/etc/passwd"}]}"#, "/etc/passwd"),
        (r#"{"nonsense": 1}"#, "nonsense"),
        ("{} {}", "several definitions"),
        ("{", "definition.json, line 1"),
        (&"x".repeat((1 << 20) + 1), "larger than 1048576 bytes"),
    ] {
        refused(&packed(&host, definition, &[("disks/a.raw", b"x")]), 2, says);
    }
    let trusted = |archive: &Path, code: i32, says: &str| {
        let words = ["import", archive.to_str().unwrap(), "new", "--trust"];
        let ran = host.maqet(words).exits(code);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
        assert_eq!((names(&host).as_str(), folders(&host)), ("web\n", before.clone()), "{says}");
    };
    // An image may name only what the definition names, trusted or not.
    let image = host.root().join("evil.qcow2");
    let words = ["create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw"];
    qemu_img(&words.into_iter().chain([image.to_str().unwrap(), "1M"]).collect::<Vec<_>>());
    let evil = std::fs::read(&image).unwrap();
    let definition = r#"{"storage": [{"name": "a", "type": "qcow2", "file": "disks/a.qcow2"}]}"#;
    trusted(
        &packed(&host, definition, &[("disks/a.qcow2", &evil)]),
        2,
        "stands on \"/etc/passwd\"",
    );
    trusted(&packed(&host, plain, &[]), 1, "is not in it");
    let two = [("disks/a.raw", &b"x"[..]), ("disks/b.raw", b"x")];
    trusted(&packed(&host, plain, &two), 1, "\"disks/b.raw\" in it belongs to no disk");

    let script = |text: &str| host.shell(&format!("set -e; cd from; {text}")).exits(0);
    let made = host.root().join("made.tar");
    for (text, says) in [
        (
            "ln -sf /etc/passwd disks/a.raw; tar -cf ../made.tar definition.json disks/a.raw",
            "neither file",
        ),
        (
            "rm disks/a.raw; mkfifo disks/a.raw; tar -cf ../made.tar definition.json disks/a.raw",
            "neither file",
        ),
        (
            "rm disks/a.raw; echo x > disks/a.raw; tar -cf ../made.tar disks/a.raw definition.json",
            "begins with",
        ),
        (
            "tar -Pcf ../made.tar --transform s,disks,/tmp/evil, definition.json disks/a.raw",
            "/tmp/evil",
        ),
        (
            "tar -Pcf ../made.tar --transform s,disks,../disks, definition.json disks/a.raw",
            "../disks",
        ),
        (
            "tar --hard-dereference -cf ../made.tar definition.json disks/a.raw disks/a.raw",
            "comes twice",
        ),
        ("mkdir -p more; tar -cf ../made.tar definition.json more disks/a.raw", "\"more/\""),
        ("tar -cf - definition.json disks/a.raw | head -c 2000 > ../made.tar", "is cut off"),
        ("tar -cf - definition.json disks/a.raw | head -c 2048 > ../made.tar", "is cut off"),
        (
            "tar -cf ../made.tar definition.json disks/a.raw; printf X | \
          dd of=../made.tar bs=1 seek=1030 conv=notrunc 2>/dev/null",
            "checksum",
        ),
        ("head -c 4096 /dev/urandom > ../made.tar", "no tar archive"),
        (": > ../made.tar", "is cut off"),
        ("gzip -c definition.json > ../made.tar; truncate -s 4096 ../made.tar", "no tar archive"),
        (
            "tar --no-recursion -cf ../made.tar definition.json $(yes disks | head -n 1200)",
            "more than any VM",
        ),
    ] {
        packed(&host, plain, &[("disks/a.raw", b"x")]);
        script(text);
        trusted(&made, 1, says);
    }
    let mut yes = host.command("sh");
    yes.args(["-c", "yes | \"$0\" import - new", Host::binary().to_str().unwrap()]);
    assert_eq!(run(yes.stdin(Stdio::null())).code, 1);
    // What the same things look like when they are right.
    host.maqet(["import", packed(&host, plain, &[("disks/a.raw", b"x")]).to_str().unwrap(), "new"])
        .exits(0);
}

#[test]
fn a_signal_leaves_neither_half_an_archive_nor_half_a_vm() {
    let host = with_web();
    host.maqet(["export", "web", "web.tar", "-q"]).exits(0);
    let before = folders(&host);
    let files = || std::fs::read_dir(host.root()).unwrap().count();
    let there = files();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let how = format!("fsync:signal={signal}:when=1");
        let export = ["export", "web", "other.tar", "-q"];
        let ran = host.tampered(&[&how], &export);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert_eq!(files(), there);
        let ran = host.tampered(&[&how], &["import", "web.tar", "new", "--trust"]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert_eq!((names(&host).as_str(), folders(&host)), ("web\n", before.clone()));
        // One that waits for an archive which does not come.
        let words = [format!("-s{signal}"), "0.3".into(), Host::binary().display().to_string()];
        let mut waiting = host.command("timeout");
        waiting.arg("--preserve-status").args(words).args(["import", "-"]).stdin(Stdio::piped());
        let mut waiting = waiting.spawn().unwrap();
        let held = waiting.stdin.take();
        assert_eq!(waiting.wait().unwrap().code(), Some(code));
        drop(held);
    }
}

#[test]
fn an_import_that_is_killed_anywhere_is_there_or_not_and_doctor_names_what_is_left() {
    let host = with_web();
    host.maqet(["export", "web", "web.tar", "-q"]).exits(0);
    let calls = "mkdir,openat,write,pwrite64,ftruncate,fsync,fdatasync,unlink,close";
    let (mut killed, mut stray) = (0, 0);
    let own = host.vm_folder("web");
    for number in 1.. {
        let how = format!("{calls}:signal=KILL:when={number}");
        let ran = host.tampered(&[&how], &["import", "web.tar", "new", "--trust"]);
        match names(&host).as_str() {
            "web\n" => {}
            "new\nweb\n" => {
                let copy = std::fs::read(host.vm_folder("new").join("disks/data.raw")).unwrap();
                assert_eq!(copy, std::fs::read(host.root().join("data.raw")).unwrap());
                host.maqet(["rm", "new", "--delete-storage", "-y"]).exits(0);
            }
            there => panic!("after {number}: {there}"),
        }
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
    assert!(killed > 40 && stray > 5, "{killed} {stray}");
}

#[test]
fn without_room_an_export_and_an_import_leave_nothing() {
    let host = Host::new();
    let image = host.root().join("data.raw");
    std::fs::write(&image, vec![7; 8 << 20]).unwrap();
    let add =
        ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", image.to_str().unwrap()];
    host.maqet(add).exits(0);
    host.maqet(["export", "web", "web.tar"]).exits(0);
    let small = host.root().join("small");
    let Some(_disk) = Disk::new(&small, 4 << 10) else { return };
    assert_told(&host.maqet(["export", "web", "small/web.tar"]).exits(1));
    assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
    let data = small.to_str().unwrap();
    assert_told(&host.maqet(["import", "web.tar", "--data-dir", data]).exits(1));
    assert_eq!(std::fs::read_dir(small.join("vms")).unwrap().count(), 0);
    host.maqet(["start", "web"]).exits(0);
}

#[test]
fn an_archive_takes_the_place_of_a_file_and_never_of_a_device_or_a_fifo() {
    use std::os::unix::fs::FileTypeExt;
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg"]).exits(0);
    host.shell("mkfifo pipe; ln -s /dev/null sink; echo old > real; ln -s real link").exits(0);
    for name in ["pipe", "sink", "/dev/null", "/dev/stdout"] {
        let refused = host.maqet(["export", "web", name, "--force"]).exits(2);
        assert!(refused.stderr.contains("no regular file"), "{name}: {}", refused.stderr);
    }
    let kind = |name: &str| std::fs::symlink_metadata(host.root().join(name)).unwrap().file_type();
    assert!(kind("pipe").is_fifo() && kind("sink").is_symlink());
    assert!(kind("/dev/null").is_char_device());
    // A link to a file leads to it.
    host.maqet(["export", "web", "link", "--force"]).exits(0);
    assert!(kind("link").is_symlink());
    tar(&host, &["-tf", "real"]).exits(0);
}
