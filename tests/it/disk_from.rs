//! `disk add` of a copy: a disk that takes long to be made, and what is left where it is cut short.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Host, eventually, is_alive, send};
use crate::images::{add, image, qmp};
use crate::originals::{converting, slow_qemu_img, told};

/// A host with `vm`, running or not; an image to be copied, and where the copy is to lie.
fn with_vm(running: bool) -> (Host, String, PathBuf) {
    let host = Host::new();
    let original = image(&host, "qcow2", "from", &[]);
    add(&host, "vm", json!({"machine": "q35", "network": []}));
    if running {
        host.maqet(["start", "vm", "--paused"]).exits(0);
    }
    let copy = host.vm_folder("vm").join("disks/data.qcow2");
    (host, format!("name=data,from={}", original.display()), copy)
}

fn begin(host: &Host, path: &str, spec: &str) -> Child {
    let _ = std::fs::remove_file(host.root().join("convert.pid"));
    let mut command = host.command(Host::binary());
    command.args(["disk", "add", "vm", spec]).env("PATH", path);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn disks(host: &Host) -> usize {
    host.maqet(["disk", "ls", "vm", "-q"]).exits(0).stdout.lines().count()
}

/// What lies beside the copy.
fn left(copy: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(copy.parent().unwrap()).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn a_copy_comes_to_a_vm_that_runs_or_not_and_how_far_it_is_is_told() {
    for running in [false, true] {
        let (host, spec, copy) = with_vm(running);
        let (path, go) = slow_qemu_img(&host);
        let mut command = begin(&host, &path, &spec);
        let mut said = told(&mut command, "data");
        assert!(!copy.exists());
        std::fs::write(go, "").unwrap();
        let mut more = String::new();
        said.read_to_string(&mut more).unwrap();
        let ran = command.wait_with_output().unwrap();
        assert!(more.is_empty() || more.starts_with("maqet: copying data: 100 %, "), "{more}");
        assert_eq!((ran.status.success(), &ran.stdout[..]), (true, &b"data\n"[..]));
        assert_eq!((left(&copy), disks(&host)), (vec!["data.qcow2".to_owned()], 1));
        if !running {
            host.maqet(["start", "vm", "--paused"]).exits(0);
        }
        let blocks = qmp(&host, &["vm", "query-block"]);
        assert_eq!(blocks[0]["inserted"]["image"]["virtual-size"], 8 << 20);
        host.maqet(["stop", "vm", "--force"]).exits(0);
        host.maqet(["rm", "vm", "--delete-storage", "-y"]).exits(0);
        assert!(!copy.exists(), "maqet made it");
    }
}

#[test]
fn a_signal_leaves_everything_as_it_was_and_a_kill_a_disk_that_the_next_start_makes() {
    for running in [false, true] {
        let (host, spec, copy) = with_vm(running);
        let (path, go) = slow_qemu_img(&host);
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let mut command = begin(&host, &path, &spec);
            let copier = converting(&host);
            send(command.id().try_into().unwrap(), signal);
            assert_eq!(command.wait().unwrap().code(), Some(code));
            assert!(!is_alive(copier));
            assert_eq!((left(&copy), disks(&host)), (vec![], 0), "{signal:?}");
            assert_eq!(host.state("vm"), if running { "paused" } else { "stopped" });
        }
        let mut command = begin(&host, &path, &spec);
        let copier = converting(&host);
        command.kill().unwrap();
        command.wait().unwrap();
        eventually(Duration::from_secs(10), "the copier has gone", || {
            (!is_alive(copier)).then_some(())
        });
        let [stray] = &left(&copy)[..] else { panic!("{:?}", left(&copy)) };
        assert!(host.maqet(["doctor"]).stdout.contains(stray.as_str()), "{stray}");
        assert_eq!(disks(&host), 1);
        std::fs::write(go, "").unwrap();
        host.maqet(["stop", "vm", "--force"]).exits(0);
        host.maqet(["start", "vm", "--paused"]).exits(0);
        assert_eq!(left(&copy), ["data.qcow2"]);
        host.maqet(["stop", "vm", "--force"]).exits(0);
    }
}

#[test]
fn a_file_that_appears_where_the_copy_is_to_lie_is_nobodys_to_delete() {
    for running in [false, true] {
        let (host, spec, copy) = with_vm(running);
        let (path, go) = slow_qemu_img(&host);
        let command = begin(&host, &path, &spec);
        converting(&host);
        std::fs::write(&copy, "precious").unwrap();
        std::fs::write(go, "").unwrap();
        let ran = command.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() == Some(1) && said.contains("File exists"), "{said}");
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "precious");
        assert_eq!((left(&copy).len(), disks(&host)), (1, 0));
        host.maqet(["rm", "vm", "--force", "--delete-storage", "-y"]).exits(0);
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "precious");
    }
}
