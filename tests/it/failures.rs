//! Starts that fail: told at once, in QEMU's own words, with nothing left behind.

use std::net::TcpListener;
use std::time::Duration;

use crate::crash::assert_nothing_left;
use crate::harness::{Host, Ran, run};

/// Starts a VM that cannot start; it must say why within half a second of QEMU's end, and again when
/// asked. QEMU itself takes some 50 ms.
#[track_caller]
fn fails(host: &Host, name: &str, words: &str) -> Ran {
    let ran = host.maqet(["start", name]).exits(1);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert!(ran.stderr.starts_with(&format!("maqet: cannot start \"{name}\": ")), "{}", ran.stderr);
    assert!(ran.took < Duration::from_millis(800), "told after {:?}", ran.took);
    assert_eq!(host.state(name), "failed");
    let why = host.maqet(["why", name]).exits(0).stdout;
    assert!(why.contains(words), "{why}");
    assert_nothing_left(host);
    ran
}

#[test]
fn an_unknown_option_and_an_unknown_device_are_told_in_qemus_words() {
    let host = Host::new();
    host.maqet(["add", "option", "--accel", "tcg", "--arg", "-nonsense"]).exits(0);
    let told = fails(&host, "option", "-nonsense: invalid option");
    assert!(told.stderr.contains("hint: "), "{}", told.stderr);
    host.maqet(["add", "device", "--accel", "tcg", "--arg", "-device", "--arg", "nonsense"])
        .exits(0);
    fails(&host, "device", "'nonsense' is not a valid device model name");
}

#[test]
fn a_missing_program_is_told_and_remembered() {
    let host = Host::new();
    host.maqet(["add", "path", "--binary", "/nonexistent/qemu"]).exits(0);
    fails(&host, "path", "/nonexistent/qemu: No such file or directory");
    host.maqet(["add", "name", "--binary", "qemu-system-nonexistent"]).exits(0);
    fails(&host, "name", "there is no qemu-system-nonexistent in PATH");
}

#[test]
fn a_missing_qemu_img_is_told_with_what_to_install() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--binary", "/bin/true", "--disk", "1M"]).exits(0);
    let mut start = host.command(Host::binary());
    let ran = run(start.args(["start", "web"]).env("PATH", "/nonexistent")).exits(1);
    assert_eq!(
        ran.stderr,
        "maqet: cannot start \"web\": there is no qemu-img in PATH\n\
         hint: install it: it comes with QEMU, or in a package such as qemu-utils\n"
    );
    assert_eq!(host.state("web"), "failed");
    assert_nothing_left(&host);
}

#[test]
fn a_missing_kernel_is_told_in_qemus_words() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--kernel", "/nonexistent/vmlinuz"]).exits(0);
    fails(&host, "web", "/nonexistent/vmlinuz");
}

#[test]
fn a_disk_that_another_vm_holds_is_told_in_qemus_words() {
    let host = Host::new();
    let disk = host.root().join("shared, disk.raw");
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let spec = format!("file={},type=raw", disk.display().to_string().replace(',', ",,"));
    for name in ["first", "second"] {
        host.maqet(["add", name, "--accel", "tcg", "--memory", "64M", "--disk", &spec]).exits(0);
    }
    host.maqet(["start", "first"]).exits(0);
    let told = host.maqet(["start", "second"]).exits(1);
    assert!(told.stderr.contains("Failed to get \"write\" lock"), "{}", told.stderr);
    assert!(told.stderr.contains("hint: another QEMU"), "{}", told.stderr);
    assert_eq!((host.state("first"), host.state("second")), ("running".into(), "failed".into()));
    host.maqet(["stop", "first", "--force"]).exits(0);
    host.maqet(["start", "second"]).exits(0);
}

#[test]
fn a_taken_port_is_told_in_qemus_words() {
    let host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let netdev = format!("user,id=x,hostfwd=tcp:127.0.0.1:{port}-:22");
    host.maqet(["add", "web", "--accel", "tcg", "--arg", "-netdev", "--arg", &netdev]).exits(0);
    fails(&host, "web", "Could not set up host forwarding rule");
}

#[test]
fn a_missing_image_is_told_before_qemu_is_asked() {
    let host = Host::new();
    let disk = host.root().join("a.raw");
    std::fs::write(&disk, vec![0; 512]).unwrap();
    host.maqet(["add", "web", "--accel", "tcg", "--disk", disk.to_str().unwrap()]).exits(0);
    std::fs::remove_file(&disk).unwrap();
    fails(&host, "web", disk.to_str().unwrap());
}

#[test]
fn a_failure_is_over_with_the_next_start_that_works() {
    let host = Host::new();
    let program = host.root().join("qemu");
    host.maqet(
        ["add", "web", "--accel", "tcg", "--machine", "none", "--binary"]
            .into_iter()
            .chain([program.to_str().unwrap()]),
    )
    .exits(0);
    fails(&host, "web", "No such file or directory");
    std::os::unix::fs::symlink("/usr/bin/qemu-system-x86_64", &program).unwrap();
    host.maqet(["start", "web"]).exits(0);
    assert_eq!(host.state("web"), "running");
    let both = host.maqet(["why", "web", "--runs", "2"]).exits(0).stdout;
    assert!(both.contains("run 1") && both.contains("run 2"), "{both}");
}
