//! The guest's screen, as a viewer finds it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::harness::{Host, run};

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

/// Security types of RFB (RFC 6143, 7.1.2).
const NONE: u8 = 1;
const PASSWORD: u8 = 2;

/// Connects to a VNC server, and says which security types it offers.
fn offered(port: u16) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut version = [0; 12];
    stream.read_exact(&mut version).unwrap();
    assert_eq!(&version, b"RFB 003.008\n");
    stream.write_all(&version).unwrap();
    let mut count = [0];
    stream.read_exact(&mut count).unwrap();
    let mut types = vec![0; usize::from(count[0])];
    stream.read_exact(&mut types).unwrap();
    (stream, types)
}

/// What the server says to a password: 0 is welcome (RFC 6143, 7.2.2 and 7.1.3).
fn answer(host: &Host, port: u16, password: &str) -> u32 {
    let (mut stream, _) = offered(port);
    stream.write_all(&[PASSWORD]).unwrap();
    let mut challenge = [0; 16];
    stream.read_exact(&mut challenge).unwrap();
    std::fs::write(host.root().join("challenge"), challenge).unwrap();
    let mut key = [0; 8];
    key.iter_mut().zip(password.bytes()).for_each(|(key, byte)| *key = byte.reverse_bits());
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    host.shell(&format!(
        "openssl enc -des-ecb -nopad -K {key} -provider legacy -provider default \
         -in challenge -out response"
    ))
    .exits(0);
    stream.write_all(&std::fs::read(host.root().join("response")).unwrap()).unwrap();
    let mut result = [0; 4];
    stream.read_exact(&mut result).unwrap();
    u32::from_be_bytes(result)
}

#[test]
fn a_screen_on_an_address_asks_for_its_password_and_takes_no_other() {
    let host = Host::new();
    std::fs::write(host.root().join("password"), "letme,in").unwrap();
    for (address, password) in [("127.0.0.1", false), ("127.0.0.1", true), ("0.0.0.0", true)] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = if password { r#","password_file":"./password""# } else { "" };
        let vnc = format!(r#"display={{"vnc":{{"address":"{address}","port":{port}{file}}}}}"#);
        let words = ["add", "vm", "--accel", "tcg", "--memory", "64M", "--set", &vnc];
        host.maqet(words).exits(0);
        host.maqet(["start", "vm", "--paused"]).exits(0);
        let told = host.maqet(["info", "vm", "-o", "display"]).stdout;
        assert_eq!(told.trim(), format!("vnc://{address}:{port}"));
        let (_, types) = offered(port);
        assert_eq!((types.contains(&PASSWORD), types.contains(&NONE)), (password, !password));
        if password {
            assert_eq!(answer(&host, port, "letme,in"), 0);
            assert_eq!(answer(&host, port, "letmein"), 1);
        }
        host.maqet(["stop", "vm", "--force"]).exits(0);
        host.maqet(["rm", "vm"]).exits(0);
    }
}

#[test]
fn only_a_window_gets_what_finds_the_hosts_screen() {
    const SCREEN: [&str; 4] = ["DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"];
    let host = Host::new();
    for (display, gets) in
        [("gtk", true), ("{\"sdl\":{\"gl\":true}}", true), ("none", false), ("vnc", false)]
    {
        host.add_fake("vm", &[]);
        host.maqet(["apply", "vm", "--set", &format!("display={display}")]).exits(0);
        let mut start = host.command(Host::binary());
        start.args(["start", "vm"]).env("SECRET_TOKEN", "x");
        start.envs(SCREEN.map(|name| (name, format!("{}/{name}", host.root().display()))));
        run(&mut start).exits(0);
        let environ = std::fs::read(format!("/proc/{}/environ", host.qemu_pid("vm"))).unwrap();
        let environ = String::from_utf8_lossy(&environ).into_owned();
        for name in SCREEN {
            let value = format!("{name}={}/{name}", host.root().display());
            let has = environ.split('\0').any(|one| one == value);
            assert_eq!(has, gets, "{display}: {environ}");
        }
        assert!(!environ.contains("SECRET_TOKEN"), "{environ}");
        host.maqet(["stop", "vm", "--force"]).exits(0);
        host.maqet(["rm", "vm"]).exits(0);
    }
}
