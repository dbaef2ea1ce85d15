//! What maqet costs, measured side by side with what it is to be compared with.
//!
//! The tests are ignored in a plain run: they are of use only with a release build on a machine that
//! is otherwise idle. `tests/run` runs them, with MAQET_RELEASE naming the binary. Each prints its
//! figures: medians, and the two sides in turn (A B A B).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Client, folder, resident};
use crate::harness::{Host, eventually};

/// Pairs of each comparison.
const PAIRS: usize = 15;

fn release() -> PathBuf {
    std::env::var_os("MAQET_RELEASE").map_or_else(|| Host::binary().to_owned(), PathBuf::from)
}

fn maqet(host: &Host, words: &[&str]) -> Command {
    let mut command = host.command(release());
    command.args(words).stdout(Stdio::null());
    command
}

#[track_caller]
fn done(command: &mut Command) -> Duration {
    let began = Instant::now();
    assert!(command.status().unwrap().success(), "{command:?}");
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Measures two things in turn and prints the medians; the first may take `more` than the second.
/// What else the machine does only ever adds: the best of three rounds counts.
#[track_caller]
fn compare(
    what: &str,
    other: &str,
    more: Duration,
    pairs: usize,
    mut pair: impl FnMut() -> (Duration, Duration),
) {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..pairs).map(|_| pair()).unzip();
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{what} {:.2} ms, {other} {:.2} ms", millis(ours), millis(theirs));
        least = least.min(ours.saturating_sub(theirs));
        if least <= more {
            return;
        }
    }
    panic!("{what} takes {least:?} more than {other}, at the best");
}

/// A QEMU that is ended with its owner.
struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// QEMU with this argv in this folder, from its spawn until it has answered `qmp_capabilities`. It
/// has ended when this returns, and with it its locks on the images.
fn bare(argv: &[String], folder: &Path) -> Duration {
    // Descriptors 3 and 4 of the command line are those of the pairs made here, whatever their
    // numbers are.
    let (qmp, theirs) = UnixStream::pair().unwrap();
    let (_agent, agent) = UnixStream::pair().unwrap();
    for end in [&theirs, &agent] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::empty()).unwrap();
    }
    let number = |end: &UnixStream| std::os::fd::AsRawFd::as_raw_fd(end).to_string();
    let argv: Vec<String> = argv
        .iter()
        .map(|word| match word.split_once(",fd=") {
            Some((device @ "socket,id=qmp", _)) => format!("{device},fd={}", number(&theirs)),
            Some((device @ "socket,id=agent", _)) => format!("{device},fd={}", number(&agent)),
            _ => word.clone(),
        })
        .collect();
    let mut command = Command::new(&argv[0]);
    command.arg0(&argv[0]).args(&argv[1..]).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let began = Instant::now();
    let child = Bare(command.stderr(Stdio::inherit()).spawn().unwrap());
    drop((theirs, agent));
    let mut lines = BufReader::new(qmp);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("QMP"), "{line}");
    lines.get_mut().write_all(b"{\"execute\":\"qmp_capabilities\"}\n").unwrap();
    line.clear();
    lines.read_line(&mut line).unwrap();
    let took = began.elapsed();
    assert!(line.contains("return"), "{line}");
    drop(child);
    took
}

/// Measures the start of a VM, which has been started once before, with these flags more.
#[track_caller]
fn compare_starts(what: &str, flags: &[&str]) {
    let host = Host::new();
    let words = ["add", "web", "--accel", "tcg", "--memory", "128M"];
    done(&mut maqet(&host, &[&words, flags].concat()));
    done(&mut maqet(&host, &["start", "web"]));
    let json = host.command(release()).args(["cmdline", "web", "--json"]).output().unwrap().stdout;
    let argv: Vec<String> = serde_json::from_slice(&json).unwrap();
    done(&mut maqet(&host, &["stop", "web", "--force"]));
    let folder = host.vm_folder("web");
    compare(what, "the same QEMU bare", Duration::from_millis(15), PAIRS, || {
        let ours = done(&mut maqet(&host, &["start", "web"]));
        done(&mut maqet(&host, &["stop", "web", "--force"]));
        (ours, bare(&argv, &folder))
    });
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn a_start_takes_at_most_15_ms_more_than_the_same_qemu_bare() {
    compare_starts("start", &[]);
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn a_start_with_a_disk_takes_at_most_15_ms_more_than_the_same_qemu_bare() {
    compare_starts("start with a disk", &["--disk", "1G"]);
}

/// An empty C program, which is what any process costs here.
fn empty_program(host: &Host) -> PathBuf {
    let source = host.root().join("empty.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let program = host.root().join("empty");
    assert!(
        Command::new("cc")
            .args(["-O2", "-o"])
            .args([&program, &source])
            .status()
            .unwrap()
            .success()
    );
    program
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn looking_takes_at_most_5_ms_more_than_an_empty_program() {
    let host = Host::new();
    let empty = empty_program(&host);
    done(&mut maqet(&host, &["add", "web", "--accel", "tcg", "--machine", "none"]));
    done(&mut maqet(&host, &["start", "web"]));
    for words in [&["status", "web"][..], &["ls"], &["qmp", "web", "query-status"]] {
        compare(&words.join(" "), "an empty program", Duration::from_millis(5), 5 * PAIRS, || {
            (done(&mut maqet(&host, words)), done(&mut host.command(&empty)))
        });
    }
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn a_runner_is_small_and_sleeps() {
    let host = Host::new();
    done(&mut maqet(&host, &["add", "web", "--accel", "tcg", "--memory", "128M"]));
    done(&mut maqet(&host, &["start", "web"]));
    let pid = host.runner_pid("web");
    let field = |name: &str| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    };
    // The last client's connection is closed by a turn of its own.
    let mut last = u64::MAX;
    eventually(Duration::from_secs(10), "the runner has come to rest", || {
        let now = field("voluntary_ctxt_switches");
        std::thread::sleep(Duration::from_millis(200));
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    let before = field("voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(30));
    let switches = field("voluntary_ctxt_switches") - before;
    let (rss, anonymous) = (field("VmRSS"), field("RssAnon"));
    println!(
        "runner: {rss} kB resident, {anonymous} kB of it anonymous, {switches} switches in 30 s"
    );
    assert_eq!(field("Threads"), 1);
    assert_eq!(switches, 0, "voluntary context switches in 30 idle seconds");
    // Elsewhere the C library's pages count too, which all processes share.
    if release().to_string_lossy().contains("-linux-musl") {
        assert!(rss <= 2048, "{rss} kB resident");
    }
    assert!(anonymous <= 512, "{anonymous} kB of its own");
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn a_batch_makes_at_least_10_000_pings_a_second_over_one_connection() {
    const PINGS: u32 = 50_000;
    let host = Host::new();
    done(&mut maqet(&host, &["add", "web", "--accel", "tcg", "--machine", "none"]));
    done(&mut maqet(&host, &["start", "web"]));
    let requests = host.root().join("requests");
    let line = |number: u32| format!("{{\"vm\":\"web\",\"method\":\"ping\",\"id\":{number}}}\n");
    std::fs::write(&requests, (0..PINGS).map(line).collect::<String>()).unwrap();
    let replies = host.root().join("replies");
    let best = (0..3).map(|_| {
        let mut command = maqet(&host, &["batch"]);
        command.stdin(std::fs::File::open(&requests).unwrap());
        let took = done(command.stdout(std::fs::File::create(&replies).unwrap()));
        let answered = std::fs::read_to_string(&replies).unwrap().lines().count();
        assert_eq!(answered, PINGS as usize);
        println!("{:.0} pings a second", f64::from(PINGS) / took.as_secs_f64());
        took
    });
    assert!(best.min().unwrap() < Duration::from_secs(u64::from(PINGS) / 10_000));

    // And where each waits for the one before.
    let mut command = maqet(&host, &["batch"]);
    let mut batch = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(batch.stdout.take().unwrap());
    let mut input = batch.stdin.take().unwrap();
    let began = Instant::now();
    let mut answer = String::new();
    for number in 0..10_000 {
        input.write_all(line(number).as_bytes()).unwrap();
        output.read_line(&mut answer).unwrap();
    }
    println!("{:.0} pings a second, one by one", 10_000.0 / began.elapsed().as_secs_f64());
    drop(input);
    assert!(batch.wait().unwrap().success());
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn the_status_of_100_running_vms_takes_at_most_30_ms() {
    let host = Host::new();
    let one = |number: usize| {
        format!(
            "{{\"name\":\"vm{number}\",\"machine\":\"none\",\"memory\":\"16M\",\"accel\":\"tcg\"}}\n"
        )
    };
    let file = host.root().join("vms.json");
    std::fs::write(&file, (0..100).map(one).collect::<String>()).unwrap();
    done(maqet(&host, &["apply", "-f"]).arg(&file));
    done(&mut maqet(&host, &["start", "--all"]));
    // What else the machine does only ever adds.
    let round = |_| {
        let one = |_| done(&mut maqet(&host, &["status", "--all"]));
        let took = median((0..PAIRS).map(one).collect());
        println!("status of 100 running VMs: {:.2} ms", millis(took));
        took
    };
    let took = (0..3).map(round).min().unwrap();
    done(&mut maqet(&host, &["stop", "--all", "--force"]));
    assert!(took <= Duration::from_millis(30), "{took:?}");
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn a_good_client_is_answered_within_5_ms_whatever_the_others_do() {
    const SLOW: usize = 60;
    let host = Host::new();
    host.add_agent_guest("web", &[]);
    done(&mut maqet(&host, &["start", "web"]));
    done(&mut maqet(&host, &["wait", "web", "--for", "agent"]));
    let folder = folder(&host);
    // Nobody reads what a command writes without end, nor the console, nor the events.
    let mut deaf: Vec<Client> = (0..3).map(|_| Client::version_1(&folder)).collect();
    deaf[0].say(r#"{"method":"exec","args":["yes"],"id":1}"#);
    deaf[1].say(r#"{"method":"console","kwargs":{"read_only":true},"id":1}"#);
    deaf[2].say(r#"{"method":"events","kwargs":{"follow":true},"id":1}"#);
    done(&mut maqet(&host, &["send", "web", "flood\\r"]));
    let mut slow: Vec<Client> = (0..SLOW).map(|_| Client::version_1(&folder)).collect();
    let mut good = Client::version_1(&folder);
    let began = Instant::now();
    let (mut times, mut bytes) = (Vec::new(), 0);
    while began.elapsed() < Duration::from_secs(20) {
        if began.elapsed().as_secs() >= bytes {
            bytes += 1;
            slow.iter_mut().for_each(|one| one.reader.get_mut().write_all(b"{").unwrap());
        }
        let asked = Instant::now();
        assert_eq!(good.ask(r#"{"method":"ping"}"#)["result"], "pong");
        times.push(asked.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100];
    let resident = resident(host.runner_pid("web"));
    println!(
        "{} pings: median {:.3} ms, 99th percentile {:.3} ms, slowest {:.3} ms; runner {resident} kB",
        times.len(),
        millis(at(50)),
        millis(at(99)),
        millis(*times.last().unwrap()),
    );
    assert!(at(99) < Duration::from_millis(5) && resident < 16 << 10);
}

#[test]
#[ignore = "a measurement: needs a release build and an idle machine"]
fn a_completion_takes_at_most_10_ms() {
    crate::completion::completes_within(Duration::from_millis(10), release());
}
