//! A command under strace, which counts its system calls or has one of them fail.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ground::Ground;
use crate::harness::{Host, Ran, is_alive};

/// A kind of system call, as strace names its members (those that this machine has not are passed
/// over), and what may be done to it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) names: &'static [&'static str],
    pub(crate) faults: &'static [&'static str],
}

const fn call(names: &'static [&'static str], faults: &'static [&'static str]) -> Call {
    Call { names, faults }
}

const KILL: &str = "signal=KILL";
const EIO: &str = "error=EIO";
const ENOSPC: &str = "error=ENOSPC";
const EMFILE: &str = "error=EMFILE";
const EAGAIN: &str = "error=EAGAIN";

pub(crate) const CALLS: [Call; 25] = [
    call(&["openat"], &[KILL, EIO, ENOSPC, EMFILE]),
    call(&["write", "writev", "pwrite64"], &[KILL, EIO, ENOSPC]),
    call(&["read", "pread64"], &[KILL, EIO]),
    call(&["rename", "renameat", "renameat2"], &[KILL, EIO, ENOSPC]),
    call(&["unlink", "unlinkat"], &[KILL, EIO]),
    call(&["rmdir"], &[KILL, EIO]),
    call(&["mkdir", "mkdirat"], &[KILL, EIO, ENOSPC]),
    call(&["symlink", "symlinkat"], &[KILL, EIO, ENOSPC]),
    call(&["fsync", "fdatasync"], &[KILL, EIO, ENOSPC]),
    call(&["ftruncate", "fallocate"], &[KILL, EIO, ENOSPC]),
    call(&["socket", "socketpair", "pipe2"], &[KILL, EMFILE]),
    call(&["bind", "listen"], &[KILL, EIO]),
    call(&["connect"], &[KILL, EIO]),
    call(&["accept4"], &[KILL, EMFILE]),
    call(&["sendto", "sendmsg"], &[KILL, EIO]),
    call(&["recvfrom", "recvmsg"], &[KILL, EIO]),
    call(&["fcntl"], &[KILL, EIO, EMFILE]),
    call(&["flock"], &[KILL, EIO]),
    call(&["clone", "clone3", "fork", "vfork"], &[KILL, EAGAIN]),
    call(&["pidfd_open", "pidfd_send_signal"], &[KILL, EMFILE]),
    call(&["poll", "ppoll", "wait4", "waitid"], &[KILL]),
    call(&["close"], &[KILL]),
    call(&["prctl", "setsid"], &[KILL, EIO]),
    call(&["getdents64"], &[KILL, EIO]),
    call(&["statx", "newfstatat", "fstat"], &[KILL, EIO]),
];

/// Whose system calls are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The command's own.
    Command,
    /// The command's and those of all that it starts, counted for each process.
    All,
    /// Those of the runner that is there already.
    Runner,
}

/// One fault: what happens to the N-th call of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) whose: Whose,
    /// Index into [`CALLS`].
    pub(crate) call: usize,
    pub(crate) how: &'static str,
    pub(crate) number: usize,
}

impl Fault {
    pub(crate) fn is_kill(&self) -> bool {
        self.how == KILL
    }
}

fn names(call: &Call) -> String {
    let named: Vec<String> = call.names.iter().map(|name| format!("?{name}")).collect();
    named.join(",")
}

/// The words for strace: where it writes, and what it looks at or does.
fn words(log: &Path, fault: Option<&Fault>) -> Vec<String> {
    let mut words = vec!["-qq".into(), "-o".into(), log.display().to_string(), "-e".into()];
    match fault {
        None => {
            let all: Vec<String> = CALLS.iter().map(names).collect();
            words.push(format!("trace={},execve", all.join(",")));
            words.extend(["-e".into(), "signal=none".into()]);
        }
        Some(fault) => {
            let names = names(&CALLS[fault.call]);
            words.push(format!("trace={names}"));
            let Fault { how, number, .. } = fault;
            words.extend(["-e".into(), format!("inject={names}:{how}:when={number}")]);
        }
    }
    words
}

/// Starts maqet with these words, tampered with, or only looked at; `log` is what strace writes.
pub(crate) fn spawn(
    ground: &Ground,
    log: &Path,
    whose: Whose,
    fault: Option<&Fault>,
    line: &[&str],
) -> Running {
    let mut command = match whose {
        Whose::Runner => ground.command(Host::binary()),
        Whose::Command | Whose::All => {
            let mut strace = ground.command("strace");
            // As its child's child, so that it may outlive the command with the runner.
            strace.arg("-D").args((whose == Whose::All).then_some("-f"));
            strace.args(words(log, fault)).arg(Host::binary());
            strace
        }
    };
    Running::of(command.args(line), log)
}

/// Has strace look at a process that runs already.
pub(crate) fn attach(host: &Host, log: &Path, pid: i32, fault: Option<&Fault>) -> Child {
    let mut strace = host.command("strace");
    strace.args(words(log, fault)).args(["-p", &pid.to_string()]);
    let said = File::create(log.with_extension("said")).unwrap();
    let child = strace.stdout(Stdio::null()).stderr(said).spawn().unwrap();
    crate::harness::eventually(Duration::from_secs(30), &format!("strace looks at {pid}"), || {
        // The first call that it sees may have been the last.
        if !is_alive(pid) {
            return Some(());
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let traced = status.lines().find(|line| line.starts_with("TracerPid:"));
        (!traced?.ends_with("\t0")).then_some(())
    });
    child
}

/// A command whose output goes into files: a tracer or a runner may outlive it.
pub(crate) struct Running {
    pub(crate) child: Child,
    began: Instant,
    stdout: std::path::PathBuf,
    stderr: std::path::PathBuf,
}

impl Running {
    pub(crate) fn of(command: &mut Command, beside: &Path) -> Running {
        let (stdout, stderr) = (beside.with_extension("out"), beside.with_extension("err"));
        let file = |path| std::fs::File::create(path).unwrap();
        command.stdout(file(&stdout)).stderr(file(&stderr));
        let (began, child) = (Instant::now(), command.spawn().unwrap());
        Running { child, began, stdout, stderr }
    }

    /// Its end; `None`, and it is killed, where that does not come in time.
    pub(crate) fn wait(mut self, limit: Duration) -> Option<Ran> {
        let mut pause = Duration::from_micros(500);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if self.began.elapsed() > limit => break None,
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        if status.is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        let took = self.began.elapsed();
        status.map(|status| Ran { code: status.code().unwrap_or(-1), stdout, stderr, took })
    }
}

/// How often each kind of call was made at most by one process, of the processes that are maqet.
pub(crate) fn counts(log: &Path) -> [usize; CALLS.len()] {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    let mut by_process: BTreeMap<String, [usize; CALLS.len()]> = BTreeMap::new();
    let mut foreign = std::collections::BTreeSet::new();
    for line in text.lines() {
        let (pid, rest) = match line.split_once(' ') {
            Some((pid, rest)) if pid.bytes().all(|byte| byte.is_ascii_digit()) => (pid, rest),
            _ => ("", line),
        };
        let rest = rest.trim_start();
        let Some((name, words)) = rest.split_once('(') else { continue };
        if name == "execve" && !words.contains("maqet") && !words.contains("/proc/self/exe") {
            foreign.insert(pid.to_owned());
        }
        let found = CALLS.iter().position(|call| call.names.contains(&name));
        if let Some(found) = found.filter(|_| !foreign.contains(pid)) {
            by_process.entry(pid.to_owned()).or_default()[found] += 1;
        }
    }
    let mut most = [0; CALLS.len()];
    for counted in by_process.values() {
        for (most, counted) in most.iter_mut().zip(counted) {
            *most = (*most).max(*counted);
        }
    }
    most
}

/// Whether strace has done what it was told to.
pub(crate) fn has_hit(log: &Path) -> bool {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.contains("(INJECTED)") || text.contains("killed by SIGKILL")
}

/// Whether what the command had to say was itself not to be written.
pub(crate) fn is_mute(log: &Path) -> bool {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().any(|line| line.contains("write(2, ") && line.contains("(INJECTED)"))
}
