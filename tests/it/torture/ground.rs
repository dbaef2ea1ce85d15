//! The same place again and again: folders with VMs, disks and snapshots, put back before each fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Host, is_alive, lock_holder, send};

/// A host whose folders can be put back to what they were. Its VMs:
///
/// - `web`, with QEMU's machine `none`, which is up in some 30 ms, and an image that was given
/// - `fresh`, the same with an image that its first start makes
/// - `pc`, a whole machine with the image `root`, which maqet made, the snapshot `old`, the image
///   `spare` on USB
/// - `net`, one with a port, which never runs; `lan`, one whose port is any
/// - `brief`, whose guest ends at once
/// - `other`, which no command names
///
/// And `in.tar`, an archive of `pc`; `saved.db`, a copy of the database.
pub(crate) struct Ground {
    pub(crate) host: Host,
    ids: BTreeMap<String, String>,
}

/// What is put back.
const FOLDERS: [&str; 4] = ["data", "run", "files", "tmp"];
/// What an image that was given holds.
const GIVEN: [u8; 4096] = [0x5a; 4096];
/// A boot sector that ends its machine: it loads an empty interrupt table (`lidt cs:[0x7c08]`) and
/// raises an interrupt. QEMU resets then, and with -no-reboot it exits.
const ENDS: [u8; 8] = [0x2e, 0x0f, 0x01, 0x1e, 0x08, 0x7c, 0xcc, 0x90];

impl Ground {
    pub(crate) fn new() -> Ground {
        let host = Host::new();
        for folder in ["files", "tmp"] {
            std::fs::create_dir(host.root().join(folder)).unwrap();
        }
        let given = host.root().join("files/given.raw");
        std::fs::write(&given, GIVEN).unwrap();
        let disk = format!("name=given,file={},interface=none,type=raw", given.display());
        let bare = ["--machine", "none", "--accel", "tcg", "--memory", "16M"];
        let add = |name: &str, more: &[&str]| {
            let words = ["add", name, "--stop-timeout", "1s"].into_iter();
            host.maqet(words.chain(more.iter().copied())).exits(0);
        };
        add("web", &[&bare[..], &["--disk", &disk]].concat());
        add("fresh", &[&bare[..], &["--disk", "name=made,size=1M,interface=none"]].concat());
        add("other", &bare);
        add(
            "pc",
            &["--accel", "tcg", "--memory", "32M", "--net", "none", "--disk", "name=root,size=1M"],
        );
        let lan = ["--accel", "tcg", "--memory", "32M", "--net", "name=lan,type=user", "--port"];
        add("net", &[&lan[..], &["18081:81"]].concat());
        add("lan", &[&lan[..], &["auto:81"]].concat());
        let ends = host.root().join("files/ends.raw");
        // As large as SeaBIOS takes for a disk.
        let mut disk = vec![0; 1 << 20];
        disk[..8].copy_from_slice(&ENDS);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&ends, disk).unwrap();
        let ends = format!("name=ends,file={},type=raw", ends.display());
        let brief = ["--accel", "tcg", "--memory", "32M", "--net", "none", "--arg=-no-reboot"];
        add("brief", &[&brief[..], &["--disk", &ends]].concat());
        host.maqet(["disk", "add", "pc", "name=spare,size=1M,interface=usb"]).exits(0);
        host.maqet(["start", "pc", "--paused"]).exits(0);
        host.maqet(["stop", "pc", "--force"]).exits(0);
        host.maqet(["snapshot", "create", "pc", "old"]).exits(0);
        host.maqet(["export", "pc", "files/in.tar"]).exits(0);
        host.maqet(["db", "backup", "files/saved.db"]).exits(0);
        let names = host.maqet(["ls", "-o", "name,id"]).exits(0).stdout;
        let pair = |line: &str| line.split_once('\t').map(|(a, b)| (b.to_owned(), a.to_owned()));
        let ids = names.lines().filter_map(pair).collect();
        for folder in FOLDERS {
            let from = host.root().join(folder);
            if from.exists() {
                copy(&from, &host.root().join("template").join(folder));
            }
        }
        Ground { host, ids }
    }

    /// Ends all that runs here and puts the folders back.
    pub(crate) fn put_back(&self) {
        self.clear();
        for folder in FOLDERS {
            let to = self.host.root().join(folder);
            let _ = std::fs::remove_dir_all(&to);
            let from = self.host.root().join("template").join(folder);
            if from.exists() {
                copy(&from, &to);
            }
        }
    }

    /// Ends every process that works on this ground.
    pub(crate) fn clear(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|one| send(one.pid, Signal::KILL));
            assert!(Instant::now() < deadline, "{left:?} do not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The processes whose command line names this ground or one of its VMs. strace, which lives as
    /// long as what it looks at, is none of them.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let root = self.host.root().to_str().unwrap();
        let there: Vec<String> = self.vms().into_iter().collect();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(|pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            let ids = self.ids.keys().chain(&there);
            let ours = words.contains(root) || ids.into_iter().any(|id| words.contains(id));
            let ours = ours && !words.starts_with("strace ") && is_alive(pid);
            ours.then_some(Process { pid, words })
        })
        .collect()
    }

    /// The ids of all VMs that have a folder.
    pub(crate) fn vms(&self) -> BTreeSet<String> {
        let vms = std::fs::read_dir(self.host.data().join("vms")).into_iter().flatten().flatten();
        vms.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// maqet, or a program that starts it, with these words; `edit` edits without a person.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
        let mut command = self.host.command(program);
        command.env("EDITOR", "sed -i s/16M/17M/").env("TMPDIR", self.host.root().join("tmp"));
        command.stdin(std::process::Stdio::null());
        command
    }

    /// The runner that holds a VM's lock.
    pub(crate) fn runner(&self, id: &str) -> Option<i32> {
        lock_holder(&self.host.data().join("vms").join(id).join("lock"))
    }

    /// The id that a VM of the beginning has.
    pub(crate) fn id(&self, name: &str) -> &str {
        self.ids.iter().find(|(_, known)| *known == name).map(|(id, _)| id.as_str()).unwrap()
    }

    /// Every path in the folders, ids replaced by what does not change; without logs and what SQLite
    /// keeps beside a database.
    pub(crate) fn paths(&self) -> BTreeMap<String, PathBuf> {
        let mut paths = BTreeMap::new();
        for folder in FOLDERS {
            walk(&self.host.root().join(folder), &mut |path| {
                let text = path.strip_prefix(self.host.root()).unwrap().to_str().unwrap();
                let mut text = text.to_owned();
                for (id, name) in &self.ids {
                    text = text.replace(id, name);
                }
                for id in self.vms() {
                    text = text.replace(&id, "NEW");
                }
                let passing =
                    [".log", ".log.1", ".ndjson", "-wal", "-shm", "guard", ".lock", ".bak"];
                if !passing.iter().any(|end| text.ends_with(end)) {
                    paths.insert(text, path.to_owned());
                }
            });
        }
        paths
    }

    /// Whether the image that was given is what it was.
    pub(crate) fn given_is_whole(&self) -> bool {
        std::fs::read(self.host.root().join("files/given.raw")).is_ok_and(|bytes| bytes == GIVEN)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clear();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) words: String,
}

impl Process {
    pub(crate) fn is_qemu(&self) -> bool {
        self.words.split(' ').next().unwrap_or_default().contains("qemu-system")
    }
}

fn walk(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        each(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), each);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
