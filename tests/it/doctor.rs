//! What `doctor` finds, and what it puts right.

use crate::harness::{Host, eventually, is_alive, run, send};
use rustix::process::Signal;

#[test]
fn doctor_tells_what_is_wrong_and_what_is_well() {
    let host = Host::new();
    let well = host.maqet(["doctor", "-o", "check,result"]).exits(0).stdout;
    for line in ["qemu\tok", "linux\tok", "data\tok", "database\tok"] {
        assert!(well.lines().any(|found| found == line), "{line}: {well}");
    }
    host.add_bare("web");
    host.add_bare("db");
    std::fs::create_dir(host.data().join("vms/stray")).unwrap();
    let folder = host.vm_folder("web");
    std::fs::rename(&folder, host.root().join("away")).unwrap();
    let ran = host.maqet(["doctor"]).exits(1);
    assert!(ran.stdout.contains("the VM web has no folder"), "{}", ran.stdout);
    assert!(ran.stdout.contains("stray belongs to no VM"), "{}", ran.stdout);
    std::fs::rename(host.root().join("away"), &folder).unwrap();
    std::fs::write(host.data().join("maqet.db"), vec![b'x'; 8192]).unwrap();
    let _ = std::fs::remove_file(host.data().join("maqet.db-wal"));
    let ran = host.maqet(["doctor", "--json"]).exits(1);
    assert!(ran.stdout.contains("\"check\":\"database\",\"ok\":false"), "{}", ran.stdout);
    let mut command = host.command(Host::binary());
    command.arg("doctor").env("PATH", "/nowhere");
    let ran = crate::harness::run(&mut command).exits(1);
    assert!(ran.stdout.contains("there is no qemu-system-"), "{}", ran.stdout);
}

fn found(host: &Host, words: &[&str]) -> String {
    host.maqet(["doctor", "-o", "check,result,found"].iter().chain(words)).stdout
}

#[test]
fn what_is_safe_to_mend_is_mended_and_nothing_else() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "8M"]).exits(0);
    host.add_bare("mail");
    host.maqet(["start", "web"]).exits(0);
    // A runner that was killed leaves its link; a copy that was killed a part of an image.
    let pid = host.runner_pid("web");
    send(pid, Signal::KILL);
    eventually(std::time::Duration::from_secs(10), "the runner is gone", || {
        (!is_alive(pid)).then_some(())
    });
    let part = host.vm_folder("web").join("disks/.maqet-unfinished-x");
    std::fs::write(&part, "a part").unwrap();
    let image = host.vm_folder("web").join("disks/disk0.qcow2");
    std::fs::remove_dir_all(host.vm_folder("mail")).unwrap();
    std::fs::create_dir(host.data().join("vms/stray")).unwrap();
    let before = found(&host, &[]);
    assert!(before.contains("left by a runner that is gone"), "{before}");
    host.maqet(["doctor"]).exits(1);

    let mended = host.maqet(["doctor", "--fix", "-o", "result,found"]).exits(0).stdout;
    let count = mended.lines().filter(|line| line.starts_with("mended")).count();
    assert_eq!(count, 3, "{mended}");
    assert!(!part.exists() && image.exists());
    assert!(std::fs::read_dir(host.data().join("live")).unwrap().next().is_none());
    host.maqet(["start", "mail"]).exits(0);
    // What belongs to no VM may be somebody's: it is told, and stays.
    let after = found(&host, &["--fix"]);
    assert!(after.contains("stray belongs to no VM") && !after.contains("mended"), "{after}");
    assert_eq!(host.state("mail"), "running");
    host.maqet(["stop", "mail", "--force"]).exits(0);
}

/// A /dev without kvm, for a command and all that it starts.
const WITHOUT_KVM: &str = r#"
    mount -t tmpfs none "$0"
    for device in null zero full random urandom tty; do
        : > "$0/$device"; mount --bind "/dev/$device" "$0/$device"
    done
    ln -s /proc/self/fd "$0/fd"
    mount --move "$0" /dev
    exec "$@"
"#;

#[test]
fn a_vm_that_fell_back_to_slow_emulation_is_named() {
    let host = Host::new();
    host.maqet(["add", "slow", "--machine", "none", "--memory", "16M"]).exits(0);
    host.maqet(["add", "meant", "--machine", "none", "--memory", "16M", "--accel", "tcg"]).exits(0);
    let dev = host.root().join("dev");
    std::fs::create_dir(&dev).unwrap();
    let mut start = host.command("unshare");
    start.args(["--mount", "--propagation", "private", "sh", "-ec", WITHOUT_KVM]).arg(&dev);
    let started = run(start.arg(Host::binary()).args(["start", "slow", "meant"])).exits(0);
    assert!(started.stderr.contains("TCG"), "{}", started.stderr);
    let said = found(&host, &[]);
    assert!(said.contains("slow RUNS UNDER TCG") && !said.contains("meant RUNS"), "{said}");
    host.maqet(["stop", "slow", "meant", "--force"]).exits(0);
}
