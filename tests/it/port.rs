//! `port`: ports of the host that lead into guests, of a VM that is stopped and of one that runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Host;

/// The host's ends of a VM's ports.
fn ends(host: &Host, words: &[&str]) -> Vec<String> {
    let listed = host.maqet(["port", "ls", "-q"].iter().chain(words)).exits(0).stdout;
    listed.lines().map(str::to_owned).collect()
}

fn defined(host: &Host, name: &str) -> Value {
    host.maqet(["show", name, "--json"]).exits(0).json()["network"][0]["ports"].clone()
}

/// A port of the host that was free a moment ago.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn the_ports_of_a_stopped_vm_are_those_of_its_definition() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--port", "2222:22"]).exits(0);
    assert_eq!(host.maqet(["port", "add", "web", "8080:80"]).exits(0).stdout, "8080\n");
    let auto = host.maqet(["port", "add", "web", "auto:443", "--json"]).exits(0).json();
    assert_eq!((&auto["port"], &auto["changed"]), (&Value::Null, &json!(true)));
    assert!(host.maqet(["port", "add", "web", "8080:80"]).exits(0).stderr.contains("already"));
    for (words, code) in [
        (["web", "8080:81"], 7),
        (["web", "8080"], 2),
        (["web", "nope:80"], 2),
        (["nope", "8081:80"], 4),
    ] {
        host.maqet(["port", "add"].iter().chain(&words)).exits(code);
    }
    host.maqet(["port", "add", "web", "9:9", "--live"]).exits(3);
    host.maqet(["port", "add", "web", "9:9", "-n"]).exits(0);
    assert_eq!(defined(&host, "web"), json!(["2222:22", "8080:80", "auto:443"]));
    assert_eq!(ends(&host, &["web", "22"]), ["127.0.0.1:2222"]);
    assert_eq!(ends(&host, &["web"]), ["127.0.0.1:2222", "127.0.0.1:8080", "127.0.0.1:auto"]);
    assert_eq!(ends(&host, &["web", "7"]).len(), 0);
    host.maqet(["port", "ls", "web", "x"]).exits(2);
    let table = host.maqet(["port", "ls"]).exits(0).stdout;
    assert!(table.lines().nth(1).is_some_and(|row| row.contains("127.0.0.1:2222")), "{table}");

    host.maqet(["port", "rm", "web", "2222"]).exits(0);
    host.maqet(["port", "rm", "web", "2222"]).exits(4);
    host.maqet(["port", "rm", "web", "443"]).exits(4);
    host.maqet(["port", "rm", "web", "auto:443"]).exits(0);
    host.maqet(["port", "rm", "web", "x"]).exits(2);
    assert_eq!(defined(&host, "web"), json!(["8080:80"]));
    host.maqet(["add", "alone", "--accel", "tcg", "--net", "none"]).exits(0);
    host.maqet(["port", "add", "alone", "1:1"]).exits(2);
}

#[test]
fn a_port_that_comes_to_a_running_vm_carries_a_connection_and_is_waited_for() {
    let host = Host::new();
    host.add_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.wait_for_guest("web");
    let added = host.maqet(["port", "add", "web", "auto:7777", "--json"]).exits(0).json();
    let port = added["port"].as_u64().unwrap();
    assert_eq!(ends(&host, &["web", "7777"]), [format!("127.0.0.1:{port}")]);
    assert_eq!(defined(&host, "web"), json!(["auto:7777"]));
    // Once more it is the same port.
    let again = host.maqet(["port", "add", "web", "auto:7777"]).exits(0);
    assert_eq!(again.stdout, format!("{port}\n"));

    // The host accepts at once; the guest has not answered.
    let waits = |limit: &str| host.maqet(["wait", "web", "--for", "tcp:7777", "--timeout", limit]);
    waits("1s").exits(5);
    let up = "sh ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; \
              nc -ll -p 7777 -e /bin/cat &";
    host.maqet(["send", "web", up, "--line", "--for", "console:done 0"]).exits(0);
    waits("30s").exits(0);
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"from the host\n").unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert_eq!(line, "from the host\n");

    // By the number that it got; the definition forgets it too.
    host.maqet(["port", "rm", "web", &port.to_string()]).exits(0);
    assert_eq!((ends(&host, &["web"]).len(), defined(&host, "web")), (0, json!([])));
    assert!(TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_err());
    host.maqet(["stop", "web"]).exits(0);
}

#[test]
fn a_port_that_is_taken_is_refused_and_nothing_is_changed() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("{}:80", taken.local_addr().unwrap().port());
    let refused = host.maqet(["port", "add", "web", &spec]).exits(1);
    assert!(refused.stderr.contains("host forwarding rule"), "{}", refused.stderr);
    assert_eq!((ends(&host, &["web"]).len(), defined(&host, "web")), (0, Value::Null));

    // For the running VM alone: the definition does not know it, and another is not there yet.
    let (live, next) = (free_port(), free_port());
    host.maqet(["port", "add", "web", &format!("{live}:80"), "--live"]).exits(0);
    host.maqet(["apply", "web", "--port", &format!("{next}:81")]).exits(0);
    assert_eq!(ends(&host, &["web"]), [format!("127.0.0.1:{live}")]);
    host.maqet(["port", "rm", "web", &live, "--live"]).exits(0);
    // What the definition has and the running VM has not is opened by the same command.
    host.maqet(["port", "add", "web", &format!("{next}:81")]).exits(0);
    assert_eq!(ends(&host, &["web"]), [format!("127.0.0.1:{next}")]);
    host.maqet(["port", "rm", "web", &next, "--live"]).exits(0);
    assert_eq!(ends(&host, &["web"]).len(), 0);
    assert_eq!(defined(&host, "web"), json!([format!("{next}:81")]));
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn a_port_whose_adding_was_cut_short_is_opened_once_whatever_it_was_to_be() {
    let host = Host::new();
    host.maqet(["add", "web", "--accel", "tcg", "--memory", "64M"]).exits(0);
    host.maqet(["start", "web"]).exits(0);
    let fixed = free_port();
    for (spec, place) in [("auto:82", "auto:82"), (&format!("{fixed}:83"), &fixed)] {
        // What QEMU has is there before what the definition has.
        let mut kills = 0;
        for number in 1.. {
            let how = format!("pwrite64:signal=KILL:when={number}");
            let ran = host.tampered(&[&how], &["port", "add", "web", spec]);
            if ran.code == 0 {
                break;
            }
            kills += 1;
            host.maqet(["port", "add", "web", spec]).exits(0);
            assert_eq!(ends(&host, &["web"]).len(), 1, "{spec} {number}");
            assert_eq!(defined(&host, "web"), json!([spec]));
            host.maqet(["port", "rm", "web", place]).exits(0);
        }
        assert!(kills > 2, "{kills}");
        host.maqet(["port", "rm", "web", place]).exits(0);
    }
    // Of the running VM alone, too.
    let live = |words: &[&str]| host.maqet(["port", "add", "web"].iter().chain(words)).exits(0);
    let first = live(&["auto:84", "--live"]).stdout;
    assert_eq!(live(&["auto:84", "--live"]).stdout, first);
    assert_eq!(live(&["auto:84"]).stdout, first);
    assert_eq!(defined(&host, "web"), json!(["auto:84"]));
    host.maqet(["stop", "web", "--force"]).exits(0);
}
