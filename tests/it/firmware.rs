//! UEFI on a real QEMU: found by its descriptor, with variables that are the VM's own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::copy::qemu_img;
use crate::harness::{Host, eventually};

/// The beginning of a qcow2 image.
const QCOW2: &[u8] = b"QFI\xfb";

fn add(host: &Host, name: &str, more: &[&str]) {
    let words = ["add", name, "--accel", "tcg", "--machine", "q35", "--memory", "128M"];
    let rest = ["--set", "network=[]", "--disk", "name=root,size=8M"];
    host.maqet(words.into_iter().chain(rest).chain(more.iter().copied())).exits(0);
}

fn snapshots(image: &Path) -> String {
    qemu_img(&["snapshot", "-l", "-U", image.to_str().unwrap()])
}

#[test]
fn a_vm_boots_with_uefi_and_its_variables_go_where_the_vm_goes() {
    let host = Host::new();
    add(&host, "efi", &["--firmware", "uefi"]);
    host.maqet(["start", "efi"]).exits(0);
    let variables = host.vm_folder("efi").join("firmware-vars.qcow2");
    let console = host.vm_folder("efi").join("console.log");
    eventually(Duration::from_secs(60), "the firmware speaks", || {
        let said = std::fs::read(&console).ok()?;
        String::from_utf8_lossy(&said).contains("BdsDxe").then_some(())
    });
    for (property, node) in [("pflash0", "firmware-code"), ("pflash1", "firmware-vars")] {
        let property = format!("property={property}");
        let told = host.maqet(["qmp", "efi", "qom-get", "path=/machine", &property]).exits(0);
        assert!(told.stdout.contains(node), "{property}: {}", told.stdout);
    }
    assert_eq!(std::fs::metadata(&variables).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read(&variables).unwrap().starts_with(QCOW2));
    host.maqet(["snapshot", "create", "efi", "live"]).exits(0);
    host.maqet(["stop", "efi", "--force"]).exits(0);

    // The variables are one more drive, for qemu-img as for QEMU.
    host.maqet(["snapshot", "create", "efi", "still"]).exits(0);
    let listed = host.maqet(["snapshot", "ls", "efi", "-o", "name,missing"]).exits(0).stdout;
    assert_eq!(listed, "live\t[]\nstill\t[]\n");
    let held = snapshots(&variables);
    assert!(held.contains("live") && held.contains("still"), "{held}");
    host.maqet(["snapshot", "load", "efi", "still", "-y"]).exits(0);

    // A second start keeps what is there; so do a copy and an archive.
    host.maqet(["start", "efi", "--paused"]).exits(0);
    host.maqet(["stop", "efi", "--force"]).exits(0);
    assert!(snapshots(&variables).contains("still"));
    let archive = host.root().join("efi.tar");
    host.maqet(["clone", "efi", "twin"]).exits(0);
    host.maqet(["export", "efi", archive.to_str().unwrap()]).exits(0);
    host.maqet(["import", archive.to_str().unwrap(), "third"]).exits(0);
    for name in ["twin", "third"] {
        let own = host.vm_folder(name).join("firmware-vars.qcow2");
        assert!(snapshots(&own).contains("still"), "{name}");
        assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
        host.maqet(["start", name, "--paused"]).exits(0);
        host.maqet(["stop", name, "--force"]).exits(0);
    }
    let doctor = host.maqet(["doctor"]).stdout;
    assert!(!doctor.contains("firmware-vars"), "{doctor}");
    for name in ["efi", "twin", "third"] {
        let folder = host.vm_folder(name);
        host.maqet(["rm", name, "--delete-storage", "-y"]).exits(0);
        assert!(!folder.exists(), "{name}");
    }
}

#[test]
fn variables_that_name_another_file_are_refused() {
    let host = Host::new();
    add(&host, "efi", &["--firmware", "uefi"]);
    let variables = host.vm_folder("efi").join("firmware-vars.qcow2");
    let words = ["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd"];
    let path = variables.to_str().unwrap();
    qemu_img(&words.into_iter().chain([path, "528K"]).collect::<Vec<_>>());
    for command in [&["start", "efi"][..], &["clone", "efi", "twin"]] {
        let ran = host.maqet(command).exits(1);
        assert!(ran.stderr.contains("firmware-vars.qcow2"), "{}", ran.stderr);
    }
}

#[test]
fn a_machine_without_flash_is_refused_and_files_may_be_named() {
    let host = Host::new();
    for machine in ["microvm", "none"] {
        let words = ["add", "no", "--machine", machine, "--firmware", "uefi"];
        let ran = host.maqet(words).exits(2);
        assert!(
            ran.stderr.contains("firmware: ") && ran.stderr.contains("hint: "),
            "{}",
            ran.stderr
        );
    }
    let code = host.root().join("code, raw.fd");
    std::fs::write(&code, vec![0xff; 1 << 20]).unwrap();
    std::fs::write(host.root().join("vars.fd"), vec![0xff; 64 << 10]).unwrap();
    let file = host.root().join("own.json");
    let text = r#"{"name": "own", "firmware": {"code": "code, raw.fd", "vars": "./vars.fd"}}"#;
    std::fs::write(&file, text).unwrap();
    add(&host, "own", &["-f", file.to_str().unwrap()]);
    host.maqet(["check", "own"]).exits(0);
    host.maqet(["start", "own", "--paused"]).exits(0);
    let blocks = host.maqet(["qmp", "own", "query-block", "--json"]).exits(0).stdout;
    assert!(blocks.contains("code, raw.fd") && blocks.contains("firmware-vars"), "{blocks}");
    host.maqet(["stop", "own", "--force"]).exits(0);
    std::fs::remove_file(&code).unwrap();
    let ran = host.maqet(["check", "own"]).exits(1);
    assert!(ran.stderr.contains("code, raw.fd"), "{}", ran.stderr);
}

#[test]
fn where_no_descriptor_of_the_host_fits_that_is_said_and_what_to_do() {
    let host = Host::new();
    // The architecture is told by the program's name, and nobody has firmware for this one.
    let binary = host.root().join("qemu-system-maqet");
    std::fs::write(&binary, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["add", "efi", "--accel", "tcg", "--firmware", "uefi", "--machine", "virt"];
    host.maqet(words.into_iter().chain(["--binary", binary.to_str().unwrap()])).exits(0);
    let refused = host.maqet(["start", "efi"]).exits(1).stderr;
    let why = "there is no UEFI firmware for the machine virt of maqet on this host\nhint: install";
    assert!(refused.contains(why) && refused.contains("\"firmware\": {\"code\""), "{refused}");
    assert!(host.maqet(["why", "efi"]).stdout.contains("no UEFI firmware"));
    assert_eq!(host.state("efi"), "failed");
}
