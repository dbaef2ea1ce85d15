//! A disk that is full, in data or in runtime, at each step of a VM's life: a clear error or a counted
//! loss, a guest that never notices, and a stop that works.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crash::assert_nothing_left;
use crate::harness::{Host, Ran, eventually, not_here, run};

/// A small tmpfs, unmounted when it is dropped.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Disk {
    /// None, with the reason printed, where nobody may mount.
    pub(crate) fn new(path: &Path, kib: u32) -> Option<Disk> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
        let size = format!("mode=700,size={kib}k");
        let mut mount = std::process::Command::new("mount");
        let ran = run(mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(path));
        if ran.code != 0 {
            not_here(&format!("nothing can be mounted: {}", ran.stderr.trim()));
            return None;
        }
        Some(Disk(path.to_owned()))
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        use std::io::Write;
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        while filler.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
    }

    /// Takes the filler away, which may have found no room, and makes the disk larger.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
        let mut mount = std::process::Command::new("mount");
        run(mount.args(["-o", "remount,size=8m"]).arg(&self.0)).exits(0);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The runners of the test have to be gone, and end with the host: hence lazily.
        run(std::process::Command::new("umount").arg("-l").arg(&self.0));
    }
}

#[track_caller]
pub(crate) fn assert_told(ran: &Ran) {
    let says = ["No space left on device", "no space is left"];
    assert!(says.iter().any(|says| ran.stderr.contains(says)), "{}", ran.stderr);
    assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
}

#[test]
fn without_room_for_data_an_add_an_apply_and_a_rename_change_nothing_and_say_why() {
    let host = Host::new();
    let Some(disk) = Disk::new(&host.data(), 512) else { return };
    host.add_bare("web");
    let shown = host.maqet(["show", "--all"]).exits(0).stdout;
    disk.fill();
    let long = "x".repeat(100_000);
    for words in [
        &["add", "db", "--machine", "none", "--description", &long][..],
        &["apply", "web", "--description", &long],
    ] {
        assert_told(&host.maqet(words).exits(1));
        assert_eq!(host.maqet(["show", "--all"]).exits(0).stdout, shown);
    }
    assert_eq!(std::fs::read_dir(host.data().join("vms")).unwrap().count(), 1);
    disk.make_room();
    host.maqet(["add", "db", "--machine", "none", "--description", &long]).exits(0);
    host.maqet(["apply", "web", "--description", &long]).exits(0);
    host.maqet(["rm", "db"]).exits(0);
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn without_room_for_data_a_vm_starts_runs_and_stops_and_its_losses_are_counted() {
    let host = Host::new();
    let Some(disk) = Disk::new(&host.data(), 1024) else { return };
    host.add_guest("web", &["--append", "console=ttyS0 quiet maqet.do=flood"]);
    host.maqet(["start", "web"]).exits(0);
    let qemu = host.qemu_pid("web");
    // The guest fills the disk by itself.
    let lost = || host.status("web")["log_bytes_lost"].as_u64().unwrap();
    let first = eventually(Duration::from_secs(60), "a loss", || Some(lost()).filter(|it| *it > 0));
    eventually(Duration::from_secs(60), "a greater loss", || {
        (lost() > first + (1 << 20)).then_some(())
    });
    assert_eq!((host.state("web").as_str(), host.qemu_pid("web")), ("running", qemu));
    host.maqet(["pause", "web"]).exits(0);
    host.maqet(["resume", "web"]).exits(0);
    // What may not be written is told, and the runner lives on.
    disk.fill();
    let ran = host.maqet(["stop", "web", "--force"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert_nothing_left(&host);
    assert!(!Path::new(&format!("/proc/{qemu}")).exists());
    assert_ne!(host.state("web"), "running");
    // Nor can it be started without any room for its run: at once, and with the reason.
    let ran = host.maqet(["start", "web"]);
    assert!(ran.code == 0 || ran.stderr.contains("hint: "), "{}: {}", ran.code, ran.stderr);
    host.maqet(["stop", "web", "--force"]).exits(0);
    disk.make_room();
    for log in ["console.log", "console.log.1"] {
        let _ = std::fs::remove_file(host.vm_folder("web").join(log));
    }
    host.maqet(["apply", "web", "--append", "console=ttyS0 quiet"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    host.maqet(["stop", "web"]).exits(0);
}

#[test]
fn without_room_for_its_runtime_a_vm_does_not_start_and_a_running_one_goes_on() {
    let host = Host::new();
    host.add_guest("web", &[]);
    let Some(disk) = Disk::new(&host.runtime(), 64) else { return };
    disk.fill();
    let ran = host.maqet(["start", "web"]).exits(1);
    assert_told(&ran);
    assert!(ran.stderr.contains(host.runtime().to_str().unwrap()), "{}", ran.stderr);
    assert_eq!(host.state("web"), "failed");
    disk.make_room();
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let qemu = host.qemu_pid("web");
    disk.fill();
    host.maqet(["pause", "web"]).exits(0);
    assert_eq!(host.state("web"), "paused");
    host.maqet(["resume", "web"]).exits(0);
    assert_eq!((host.state("web").as_str(), host.qemu_pid("web")), ("running", qemu));
    host.maqet(["stop", "web"]).exits(0);
    let last = host.maqet(["status", "web", "-o", "state,last_exit.by"]).stdout;
    assert_eq!(last, "stopped\tguest\n");
    disk.make_room();
    assert_nothing_left(&host);
}
