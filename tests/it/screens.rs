//! The guest's screen, as a viewer finds it.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::harness::Host;

#[test]
fn a_screen_is_served_on_a_socket_in_the_vms_folder_that_goes_with_the_vm() {
    let host = Host::new();
    for kind in ["vnc", "spice"] {
        host.add_bare(kind);
        host.maqet(["apply", kind, "--machine", "q35", "--memory", "64M", "--display", kind])
            .exits(0);
        host.maqet(["start", kind, "--paused"]).exits(0);
        let told = host.maqet(["info", kind, "-o", "display"]).exits(0).stdout;
        let path = told.trim().strip_prefix(&format!("{kind}+unix://")).unwrap();
        let mut stream = UnixStream::connect(path).unwrap();
        if kind == "vnc" {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut greeting = [0; 4];
            stream.read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"RFB ");
        }
        host.maqet(["stop", kind, "--force"]).exits(0);
        assert!(!std::path::Path::new(path).exists(), "{path}");
    }
}

#[test]
fn a_screen_that_others_reach_needs_a_password() {
    let host = Host::new();
    let open = r#"display={"vnc":{"address":"0.0.0.0","port":5999}}"#;
    let ran = host.maqet(["add", "open", "--set", open]).exits(2);
    assert!(ran.stderr.contains("password_file"), "{}", ran.stderr);
}
