//! Servers that hold the VM's lock and its socket and are yet no runner, or cannot prove it: what our
//! client tells them, which is nothing, and what it tells its user.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::Signal;

use crate::client::folder;
use crate::harness::{Host, Ran, eventually, guard_is_free, send};

/// What a server does with a line that it heard: what it says next, if anything.
type Manners = fn(heard: &str) -> Option<String>;

/// This process in the place of a runner that was killed: it holds the lock and serves the socket.
struct Usurper {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<String>>,
    _lock: File,
}

impl Usurper {
    /// Says `first` to everyone, the VM's id in the place of `ID`, and goes on as its manners are.
    fn new(host: &Host, first: &str, manners: Manners) -> Usurper {
        let (_, socket, lock) = bereaved(host);
        let id = host.status("web")["id"].as_str().unwrap().to_owned();
        let first = first.replace("ID", &id);
        std::fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let thread = std::thread::spawn(move || {
            let mut heard = String::new();
            while !until.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => talk(stream, &first, manners, &mut heard),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
            heard
        });
        Usurper { ended, thread: Some(thread), _lock: lock }
    }

    /// All that it was told.
    fn heard(mut self) -> String {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Usurper {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Talks to one client until it leaves, or has been silent for a while.
fn talk(mut stream: UnixStream, first: &str, manners: Manners, heard: &mut String) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let _ = stream.write_all(first.as_bytes());
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                heard.push_str(&text);
                if let Some(answer) = manners(&text) {
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Starts the VM, kills its runner and takes its lock: the runtime folder, the socket, the lock.
fn bereaved(host: &Host) -> (PathBuf, PathBuf, File) {
    // A command sends SIGHUP to a runner whose socket is of no use, and this process is to bear it.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).unwrap();
    host.add_bare("web");
    host.maqet(["start", "web"]).exits(0);
    let runtime = folder(host);
    let vm = host.vm_folder("web");
    send(host.runner_pid("web"), Signal::KILL);
    eventually(Duration::from_secs(5), "runner and QEMU are gone", || {
        guard_is_free(&vm.join("guard")).then_some(())
    });
    let lock = File::options().write(true).open(vm.join("lock")).unwrap();
    rustix::fs::fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    (runtime.clone(), runtime.join("ipc.sock"), lock)
}

fn silent(_: &str) -> Option<String> {
    None
}

/// The client is told what it is: not to be trusted, within its 2 seconds.
#[track_caller]
fn assert_distrust(ran: Ran, why: &str) {
    let ran = ran.exits(6);
    assert!(ran.stderr.contains("not to be trusted"), "{}", ran.stderr);
    assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
    assert!(ran.took < Duration::from_secs(4), "{:?}", ran.took);
}

const VALUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn a_server_that_speaks_only_version_1_is_told_nothing() {
    let host = Host::new();
    let first = format!("{{\"type\":\"challenge\",\"value\":\"{VALUE}\"}}\n");
    let server = Usurper::new(&host, &first, silent);
    assert_distrust(host.maqet(["qmp", "web", "query-status"]), "version 2");
    assert_eq!(server.heard(), "");
}

#[test]
fn a_server_that_speaks_for_another_vm_is_told_nothing() {
    let host = Host::new();
    let first =
        format!("{{\"type\":\"challenge\",\"value\":\"{VALUE}\",\"v\":2,\"vm\":\"other\"}}\n");
    let server = Usurper::new(&host, &first, silent);
    assert_distrust(host.maqet(["qmp", "web", "query-status"]), "another VM");
    assert_eq!(server.heard(), "");
}

#[test]
fn a_server_without_a_proof_never_hears_the_request() {
    let reflected: Manners = |heard| {
        let answer: serde_json::Value = serde_json::from_str(heard).ok()?;
        let mac = answer["auth"].as_str()?;
        Some(format!("{{\"type\":\"auth\",\"status\":\"ok\",\"proof\":\"{mac}\"}}\n"))
    };
    let bare: Manners = |_| Some("{\"type\":\"auth\",\"status\":\"ok\"}\n".into());
    let hasty: Manners = |_| Some("{\"status\":\"success\",\"result\":\"pong\"}\n".into());
    for manners in [reflected, bare, hasty] {
        let host = Host::new();
        let first =
            format!("{{\"type\":\"challenge\",\"value\":\"{VALUE}\",\"v\":2,\"vm\":\"ID\"}}\n");
        let server = Usurper::new(&host, &first, manners);
        assert_distrust(host.maqet(["qmp", "web", "query-status"]), "");
        let heard = server.heard();
        assert!(heard.contains("\"auth\"") && !heard.contains("query-status"), "{heard}");
    }
}

#[test]
fn a_server_that_is_silent_or_never_ends_its_line_counts_as_not_responding() {
    for first in [String::new(), "{\"type\":".into(), "x".repeat(12 << 20)] {
        let host = Host::new();
        let server = Usurper::new(&host, &first, silent);
        let ran = host.maqet(["status", "web", "--json"]).exits(5);
        assert_eq!(ran.json()["responding"], false);
        assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
        assert_eq!(server.heard(), "");
    }
}

#[test]
fn a_secret_that_others_may_read_or_that_is_no_plain_file_is_not_used() {
    let host = Host::new();
    let (runtime, _, lock) = bereaved(&host);
    let secret = runtime.join("secret");
    let text = std::fs::read_to_string(&secret).unwrap();
    let status = |why: &str| {
        let began = Instant::now();
        let ran = host.maqet(["status", "web"]).exits(6);
        assert!(began.elapsed() < Duration::from_secs(4));
        assert!(ran.stderr.contains("secret"), "{why}: {}", ran.stderr);
    };
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    status("readable by others");
    std::fs::remove_file(&secret).unwrap();
    std::fs::write(runtime.join("else"), text).unwrap();
    std::os::unix::fs::symlink("else", &secret).unwrap();
    status("a link");
    drop(lock);
}
