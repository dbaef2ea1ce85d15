//! Copies of images that a start makes, and what becomes of one that is ended half-way.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, eventually, is_alive};
use crate::images::{add, image, qmp};
use crate::pty;

#[test]
fn a_disk_is_made_a_copy_of_an_image_of_any_format_and_never_smaller() {
    let host = Host::new();
    let originals = ["qcow2", "raw", "vdi", "vhdx", "vpc", "vmdk"]
        .map(|format| image(&host, format, &format!("from,{format}"), &[]));
    let mut storage: Vec<Value> = originals.iter().map(|file| json!({"from": file})).collect();
    storage[0]["size"] = json!("16M");
    storage[1]["type"] = json!("raw");
    storage[1]["size"] = json!("16M");
    let mut bytes = vec![0; 8 << 20];
    bytes[5 << 20] = 42;
    std::fs::write(&originals[1], &bytes).unwrap();
    add(&host, "vm", json!({"storage": storage}));
    host.maqet(["start", "vm", "--paused"]).exits(0);
    let sizes: Vec<u64> = qmp(&host, &["vm", "query-block"])
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["inserted"]["image"]["virtual-size"].as_u64().unwrap())
        .collect();
    // A vpc image has a size of whole cylinders.
    assert_eq!(sizes, [16 << 20, 16 << 20, 8 << 20, 8 << 20, 8_390_656, 8 << 20]);
    host.maqet(["stop", "vm", "--force"]).exits(0);
    let disks = host.vm_folder("vm").join("disks");
    let copied = std::fs::read(disks.join("disk1.raw")).unwrap();
    assert!(copied.len() == 16 << 20 && copied[..8 << 20] == bytes, "the copy is the original");
    for entry in std::fs::read_dir(&disks).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!entry.file_name().to_string_lossy().starts_with('.'), "{entry:?}");
    }
    // The copies are there now: the originals are not looked at any more.
    originals.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    host.maqet(["start", "vm", "--paused"]).exits(0);

    let large = image(&host, "qcow2", "large", &[]);
    add(&host, "small", json!({"storage": [{"from": large, "size": "1M"}]}));
    let refused = host.maqet(["start", "small"]).exits(2);
    assert!(refused.stderr.contains("is to have 1 MiB, but the image"), "{}", refused.stderr);
    add(&host, "none", json!({"storage": [{"from": "/nonexistent/x"}]}));
    let refused = host.maqet(["start", "none"]).exits(1);
    assert!(refused.stderr.contains("/nonexistent/x"), "{}", refused.stderr);
}

/// A qemu-img whose `convert` takes until a file is there, first in PATH.
pub(crate) fn slow_qemu_img(host: &Host) -> (String, PathBuf) {
    let folder = host.root().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let script = "#!/bin/sh\nif [ \"$1\" = convert ]; then\n    echo $$ > \"$HOME/convert.pid\"\n    \
                  printf '    (42.00/100%%)\\r'\n    until [ -e \"$HOME/go\" ]; do sleep 0.02; done\nfi\n\
                  PATH=${PATH#*:} exec qemu-img \"$@\"\n";
    let program = folder.join("qemu-img");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    (path, host.root().join("go"))
}

pub(crate) fn converting(host: &Host) -> i32 {
    eventually(Duration::from_secs(10), "the copy has begun", || {
        let pid = std::fs::read_to_string(host.root().join("convert.pid")).ok()?;
        pid.trim().parse().ok()
    })
}

/// Waits until a command has said how far the slow copy is, and gives what it says then.
pub(crate) fn told(command: &mut Child, what: &str) -> impl Read + use<> {
    let mut said = BufReader::new(command.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let told = line.starts_with(&format!("maqet: copying {what}: 42 %, ")) && line.contains("B/s");
    assert!(told && line.ends_with('\n'), "{line}");
    said
}

#[test]
fn while_an_image_is_copied_the_runner_answers_and_whoever_starts_the_vm_waits() {
    let host = Host::new();
    let (path, go) = slow_qemu_img(&host);
    let original = image(&host, "qcow2", "from", &[]);
    add(&host, "vm", json!({"machine": "q35", "storage": [{"from": original}]}));
    let start = |words: &[&str]| {
        let mut start = host.command(Host::binary());
        start.args(["start", "vm", "--paused"]).args(words).env("PATH", &path);
        start.stdout(Stdio::piped()).stderr(Stdio::piped());
        start.spawn().unwrap()
    };
    let first = start(&[]);
    converting(&host);
    let status = host.status("vm");
    assert_eq!(
        (&status["state"], &status["responding"], &status["qemu_pid"]),
        (&json!("starting"), &json!(true), &Value::Null)
    );
    let second = start(&[]);
    let hasty = start(&["--timeout", "300ms"]).wait_with_output().unwrap();
    assert_eq!(hasty.status.code(), Some(5), "{}", String::from_utf8_lossy(&hasty.stderr));
    // That one started nothing, and ends nothing.
    assert_eq!(host.state("vm"), "starting");
    let mut starts = [first, second];
    // One line for each tenth, once it takes more than half a second.
    let mut said = starts.each_mut().map(|start| told(start, "vm"));
    std::fs::write(&go, "").unwrap();
    for (start, said) in starts.iter_mut().zip(&mut said) {
        let mut more = String::new();
        said.read_to_string(&mut more).unwrap();
        assert!(more.is_empty() || more.starts_with("maqet: copying vm: 100 %, "), "{more}");
        assert!(start.wait().unwrap().success());
    }
    assert_eq!(host.state("vm"), "paused");
}

#[test]
fn on_a_terminal_a_start_shows_its_copy_in_one_line_which_goes_in_the_end() {
    let host = Host::new();
    let (path, go) = slow_qemu_img(&host);
    let original = image(&host, "qcow2", "from", &[]);
    add(&host, "vm", json!({"machine": "q35", "storage": [{"from": original}]}));
    let (mut ours, theirs) = pty::pair(200, 50);
    let mut start = host.command(Host::binary());
    start.args(["start", "vm", "--paused"]).env("PATH", &path).stderr(theirs);
    let mut running = start.spawn().unwrap();
    // With our own ends of the program's side gone, the last of it ends the terminal.
    drop(start);
    let (mut drawn, mut block) = (String::new(), [0; 4096]);
    while let Ok(count @ 1..) = ours.read(&mut block) {
        drawn.push_str(&String::from_utf8_lossy(&block[..count]));
        if drawn.matches("copying vm: 42 %, ").count() > 2 {
            std::fs::write(&go, "").unwrap();
        }
    }
    assert!(running.wait().unwrap().success(), "{drawn}");
    assert!(drawn.starts_with("\r\u{1b}[Kmaqet: copying vm: "), "{drawn:?}");
    assert!(drawn.ends_with("\r\u{1b}[K") && !drawn.contains('\n'), "{drawn:?}");
}

#[test]
fn a_copy_ends_with_a_stop_a_signal_its_starter_or_its_runner_and_leaves_nothing_half_made() {
    let host = Host::new();
    let (path, go) = slow_qemu_img(&host);
    let original = image(&host, "qcow2", "from", &[]);
    add(&host, "vm", json!({"storage": [{"from": original}]}));
    let disks = host.vm_folder("vm").join("disks");
    let left = || std::fs::read_dir(&disks).into_iter().flatten().flatten().count();
    for how in ["stop", "signal", "starter", "timeout", "kill"] {
        let _ = std::fs::remove_file(host.root().join("convert.pid"));
        let mut start = host.command(Host::binary());
        start.args(["start", "vm"]).env("PATH", &path).stderr(Stdio::null());
        if how == "timeout" {
            start.args(["--timeout", "1s"]);
        }
        let mut start = start.spawn().unwrap();
        let copier = converting(&host);
        let runner = host.runner_pid("vm");
        use rustix::process::Signal;
        match how {
            "stop" => drop(host.maqet(["stop", "vm"]).exits(0)),
            "signal" => crate::harness::send(runner, Signal::TERM),
            "starter" => start.kill().unwrap(),
            "kill" => crate::harness::send(runner, Signal::KILL),
            _ => {}
        }
        let ended = start.wait().unwrap();
        let expected = match how {
            "starter" => None,
            "timeout" => Some(5),
            _ => Some(1),
        };
        assert_eq!(ended.code(), expected, "{how}");
        eventually(Duration::from_secs(10), "the copier has gone", || {
            (!is_alive(copier) && !is_alive(runner)).then_some(())
        });
        let state = if how == "kill" { "crashed" } else { "stopped" };
        assert_eq!(host.state("vm"), state, "{how}");
        assert_eq!(left(), usize::from(how == "kill"), "{how}");
    }
    // What the kill has left goes with the next start.
    std::fs::write(go, "").unwrap();
    host.maqet(["start", "vm", "--paused"]).exits(0);
    assert_eq!((left(), disks.join("disk0.qcow2").exists()), (1, true));
}
