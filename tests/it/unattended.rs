//! VMs that nobody starts by hand: those that start with the host.

use crate::harness::Host;

#[test]
fn start_autostart_starts_the_vms_that_say_so_and_no_other() {
    let host = Host::new();
    let started = || host.maqet(["start", "--autostart", "-o", "name,state,changed"]);
    assert_eq!(started().exits(0).stdout, "", "without a database");
    host.add_bare("other");
    assert_eq!(started().exits(0).stdout, "", "without any that says so");
    for name in ["web", "db"] {
        let words = ["add", name, "--machine", "none", "--accel", "tcg", "--autostart"];
        host.maqet(words).exits(0);
    }
    assert_eq!(host.maqet(["show", "web", "-o", "autostart"]).stdout, "true\n");
    let ran = host.maqet(["start", "--autostart", "-n"]).exits(0);
    assert_eq!(ran.stderr, "maqet: would start db\nmaqet: would start web\n");
    assert_eq!(started().exits(0).stdout, "db\trunning\ttrue\nweb\trunning\ttrue\n");
    assert_eq!(host.state("other"), "stopped");
    let again = started().exits(0);
    assert_eq!(again.stdout, "db\trunning\tfalse\nweb\trunning\tfalse\n");
    assert!(again.stderr.contains("db is running already"), "{}", again.stderr);
    // One that cannot start keeps no other from it.
    host.maqet(["stop", "--all", "--force"]).exits(0);
    host.maqet(["apply", "db", "--arg", "-nonsense"]).exits(0);
    assert_eq!(started().exits(1).stdout, "web\trunning\ttrue\n");
    host.maqet(["apply", "--all", "--autostart=false"]).exits(0);
    assert_eq!(started().exits(0).stdout, "");
    // The VMs are named, or they are selected.
    for words in [&["web", "--autostart"][..], &["--all", "--autostart"]] {
        let ran = host.maqet([&["start"], words].concat()).exits(2);
        assert!(ran.stderr.contains("exclude one another"), "{}", ran.stderr);
    }
    host.maqet(["stop", "--autostart"]).exits(2);
}

#[test]
fn the_settings_can_say_autostart_of_every_vm_that_does_not_say_no() {
    let host = Host::new();
    let config = host.root().join(".config/maqet");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("maqet.json"), r#"{"defaults": {"autostart": true}}"#).unwrap();
    host.add_bare("web");
    host.add_bare("db");
    host.maqet(["apply", "db", "--autostart=false"]).exits(0);
    let ran = host.maqet(["start", "--autostart", "-o", "name,changed"]).exits(0);
    assert_eq!(ran.stdout, "web\ttrue\n");
}
