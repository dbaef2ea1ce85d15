//! A VM's life on a real QEMU: defined, started, looked at, stopped, removed.

use crate::harness::Host;

#[test]
fn a_vm_is_defined_started_stopped_and_removed() {
    let host = Host::new();
    host.add_bare("web");
    assert_eq!(host.state("web"), "stopped");
    let started = host.maqet(["start", "web"]).exits(0);
    assert_eq!((started.stdout.as_str(), started.stderr.as_str()), ("", ""));
    assert_eq!(host.state("web"), "running");
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_eq!(host.state("web"), "stopped");
    host.maqet(["rm", "web"]).exits(0);
    host.maqet(["status", "web"]).exits(4);
    assert_eq!(std::fs::read_dir(host.data().join("vms")).unwrap().count(), 0);
}

#[test]
fn whoever_looks_at_the_moment_of_the_end_is_told_how_it_ended() {
    let host = Host::new();
    host.add_fake("web", &[]);
    for round in 0..40 {
        host.maqet(["start", "web"]).exits(0);
        let mut kill = host.command("kill");
        kill.args(["-SEGV", &host.qemu_pid("web").to_string()]).spawn().unwrap().wait().unwrap();
        let status = loop {
            let status = host.status("web");
            if status["state"] != "running" {
                break status;
            }
        };
        assert_eq!(status["state"], "crashed", "round {round}: {status}");
        assert!(status["runner_pid"].is_null(), "round {round}: {status}");
        assert_eq!(status["last_exit"]["signal"], 11, "round {round}: {status}");
    }
}
