//! `stats` of real VMs: what they use of the host, between two looks.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, eventually};
use crate::pty::AtTerminal;

#[test]
fn figures_are_bytes_and_percents_and_null_where_nobody_counts() {
    let host = Host::new();
    host.add_bare("off");
    let words = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "16M", "--start"];
    host.maqet(words).exits(0);
    // The firmware reads the beginning of a disk that it tries to boot.
    let all = eventually(Duration::from_secs(20), "the disk is read", || {
        let all = host.maqet(["stats", "--json", "--every", "100ms"]).exits(0).json();
        (all[0]["disk_read"].as_u64()? >= 512).then_some(all)
    });
    assert_eq!(all.as_array().unwrap().len(), 1, "those that run");
    let web = &all[0];
    let number = |key: &str| web[key].as_f64().unwrap_or_else(|| panic!("{key}: {web}"));
    assert_eq!((web["name"].as_str(), web["state"].as_str()), (Some("web"), Some("running")));
    assert!(number("memory") > f64::from(8 << 20) && number("runner_memory") < f64::from(16 << 20));
    assert!(number("cpu") >= 0.0 && number("interval") >= 0.1 && number("disk_read_rate") >= 0.0);
    assert!(web["net_received"].is_null(), "user networking counts nothing");
    assert_eq!(web["qemu_pid"], host.qemu_pid("web"));

    let named = host.maqet(["stats", "off", "web", "-o", "name,state,memory"]).exits(0).stdout;
    assert!(named.starts_with("off\tstopped\t-\nweb\trunning\t"), "{named}");
    let table = host.maqet(["stats"]).exits(0).stdout;
    assert!(table.starts_with("NAME  STATE    CPU"), "{table}");
    assert_eq!(host.maqet(["stats", "-q"]).exits(0).stdout, "web\n");
    host.maqet(["stats", "--every", "10ms"]).exits(2);
    host.maqet(["stats", "nobody"]).exits(4);
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_eq!(host.maqet(["stats", "--json"]).exits(0).stdout, "[]\n");
}

#[test]
fn it_goes_on_with_an_array_a_line_until_nobody_reads() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    let mut command = host.command(Host::binary());
    command.args(["stats", "-f", "--json", "--every", "100ms"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..3 {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let look: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(look[0]["name"], "web");
    }
    drop(output);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    host.maqet(["stats", "-f", "--every", "100ms", "--timeout", "350ms"]).exits(5);
}

#[test]
fn on_a_terminal_it_is_drawn_again_in_its_place() {
    let host = Host::new();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    let words = ["stats", "-f", "--every", "100ms", "--color", "never"];
    let mut terminal = AtTerminal::start(&host, &words, &[]);
    // Up over the header and its one row, and all below is cleared.
    terminal.wait_for("\u{1b}[2A\u{1b}[JNAME  STATE");
    terminal.press(b"\x03");
}
