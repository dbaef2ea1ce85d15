//! `run` under the real s6 and the real runit: readiness, orderly stops, exit codes, and no QEMU left
//! behind a runner that was killed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Host, eventually, is_alive, run, send};

const BOOT: Duration = Duration::from_secs(60);

/// A service folder under its supervisor, which ends with this value.
struct Service {
    supervisor: Child,
    folder: PathBuf,
}

impl Service {
    /// `supervisor` is told the folder, in which `run` runs the VM and `finish` writes its exit code.
    fn new(host: &Host, supervisor: &str, words: &str) -> Service {
        let folder = host.root().join("service");
        std::fs::create_dir(&folder).unwrap();
        let maqet = Host::binary().display();
        script(&folder.join("run"), &format!("exec {maqet} run web {words} 2>&1\n"));
        script(&folder.join("finish"), "echo \"$1\" >> codes\n");
        script(&folder.join("check"), &format!("exec {maqet} status web -q\n"));
        std::fs::write(folder.join("notification-fd"), "3\n").unwrap();
        let mut command = host.command(supervisor);
        let console = std::fs::File::create(host.root().join("service.log")).unwrap();
        command.arg(&folder).stdin(Stdio::null()).stdout(console).stderr(Stdio::null());
        Service { supervisor: command.spawn().unwrap(), folder }
    }

    /// The exit codes that `finish` was told, so far.
    fn codes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("codes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_for_codes(&self, expected: &[&str]) {
        eventually(BOOT, "the service has ended", || {
            (self.codes().len() >= expected.len()).then_some(())
        });
        assert_eq!(self.codes(), expected);
    }

    fn tool(&self, host: &Host, words: &[&str]) -> i32 {
        let mut command = host.command(words[0]);
        command.args(&words[1..]).arg(&self.folder).stdin(Stdio::null());
        run(&mut command).code
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both supervisors take their service down with them on SIGTERM; what does not come down is
        // killed by the host's end.
        let pid = i32::try_from(self.supervisor.id()).unwrap();
        send(pid, Signal::TERM);
        for _ in 0..1000 {
            if self.supervisor.try_wait().ok().flatten().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

fn script(path: &Path, body: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{body}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn s6_is_told_readiness_stops_it_in_order_and_starts_it_again_after_a_kill() {
    let host = Host::new();
    host.add_guest("web", &[]);
    let service = Service::new(&host, "s6-supervise", "--ready-fd 3");
    eventually(BOOT, "s6 supervises", || (service.tool(&host, &["s6-svok"]) == 0).then_some(()));
    assert_eq!(service.tool(&host, &["s6-svwait", "-U", "-t", "60000"]), 0, "ready");
    assert_eq!(host.state("web"), "running");
    // The runner is killed: its QEMU goes with it, and s6 makes a new one.
    let (runner, qemu) = (host.runner_pid("web"), host.qemu_pid("web"));
    assert_eq!(service.tool(&host, &["s6-svc", "-k"]), 0);
    eventually(BOOT, "QEMU's death", || (!is_alive(qemu)).then_some(()));
    service.wait_for_codes(&["256"]);
    eventually(BOOT, "it runs again", || {
        let status = host.status("web");
        let anew = status["runner_pid"].as_i64().is_some_and(|pid| pid != i64::from(runner));
        (anew && status["state"] == "running").then_some(())
    });
    host.wait_for_guest("web");
    // SIGTERM, and the guest shuts itself down.
    assert_eq!(service.tool(&host, &["s6-svc", "-wD", "-T", "60000", "-d"]), 0);
    service.wait_for_codes(&["256", "0"]);
    let last = host.maqet(["status", "web", "-o", "state,last_exit.by"]).stdout;
    assert_eq!(last, "stopped\tguest\n");
}

#[test]
fn runit_checks_it_stops_it_in_order_and_learns_how_it_ended() {
    let host = Host::new();
    host.add_guest("web", &[]);
    let service = Service::new(&host, "runsv", "");
    eventually(BOOT, "runit supervises", || {
        service.folder.join("supervise/ok").exists().then_some(())
    });
    eventually(BOOT, "runit's check finds it up", || {
        (service.tool(&host, &["sv", "-w", "1", "check"]) == 0).then_some(())
    });
    host.wait_for_guest("web");
    assert_eq!(service.tool(&host, &["sv", "-w", "60", "down"]), 0);
    service.wait_for_codes(&["0"]);
    assert_eq!(host.maqet(["status", "web", "-o", "last_exit.by"]).stdout, "guest\n");
    // Killed QEMU: the code of a crash, and a new start.
    assert_eq!(service.tool(&host, &["sv", "up"]), 0);
    eventually(BOOT, "running", || (host.state("web") == "running").then_some(()));
    let qemu = host.qemu_pid("web");
    send(qemu, Signal::KILL);
    service.wait_for_codes(&["0", "1"]);
    eventually(BOOT, "it runs again", || {
        let status = host.status("web");
        let anew = status["qemu_pid"].as_i64().is_some_and(|pid| pid != i64::from(qemu));
        (anew && status["state"] == "running").then_some(())
    });
    // A killed runner leaves none either.
    let qemu = host.qemu_pid("web");
    assert_eq!(service.tool(&host, &["sv", "kill"]), 0);
    eventually(BOOT, "QEMU's death", || (!is_alive(qemu)).then_some(()));
    service.wait_for_codes(&["0", "1", "-1"]);
}
