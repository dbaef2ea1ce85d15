//! A throw-away host for one test: private folders, the binary, and the end of everything it started.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Flock, FlockType, Pid, PidfdFlags, Signal};
use serde_json::Value;

/// What one command of maqet gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// The same, having checked the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.stdout, self.stderr))
    }
}

/// Says that a test is passed over because this machine cannot do what it takes; tests/run shows it.
pub(crate) fn not_here(reason: &str) {
    use std::io::Write;
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("passed over: {test}: {reason}\n");
    print!("{line}");
    if let Some(list) = std::env::var_os("MAQET_PASSED_OVER") {
        let list = File::options().append(true).create(true).open(list);
        list.and_then(|mut list| list.write_all(line.as_bytes())).unwrap();
    }
}

/// Private folders and the binary.
#[derive(Debug)]
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    pub(crate) fn new() -> Host {
        use std::os::unix::fs::DirBuilderExt;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("maqet-it-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&root).unwrap();
        Host { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The folder of a VM, by its name.
    pub(crate) fn vm_folder(&self, name: &str) -> PathBuf {
        let id = self.maqet(["status", name, "-o", "id"]).stdout;
        self.data().join("vms").join(id.trim())
    }

    pub(crate) fn binary() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_maqet"))
    }

    /// A command with this host's folders, a HOME of its own and nothing else of the environment
    /// but PATH.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("MAQET_DATA_DIR", self.data())
            .env("MAQET_RUNTIME_DIR", self.runtime())
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }

    /// Runs maqet to its end.
    pub(crate) fn maqet<I>(&self, words: I) -> Ran
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = self.command(Host::binary());
        command.args(words);
        run(&mut command)
    }

    /// Runs maqet under strace, which tampers with its system calls and with those of what it starts:
    /// `fsync:signal=KILL:when=3`, `pwrite64,fsync:error=ENOSPC`.
    pub(crate) fn tampered(&self, tampering: &[&str], words: &[&str]) -> Ran {
        let calls = tampering.iter().filter_map(|how| how.split(':').next());
        let mut strace = self.command("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
        let calls = calls.collect::<Vec<_>>().join(",");
        strace.arg(format!("trace={}", if calls.is_empty() { "none" } else { &calls }));
        for how in tampering {
            strace.args(["-e", &format!("inject={how}")]);
        }
        run(strace.arg(Host::binary()).args(words))
    }

    /// Runs a shell script in which `maqet` is the binary.
    pub(crate) fn shell(&self, script: &str) -> Ran {
        let mut command = self.command("sh");
        let folder = Host::binary().parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).unwrap()).args(["-c", script]);
        run(&mut command)
    }

    /// Defines a VM that needs no guest: QEMU's machine `none`, which is up in some 30 ms.
    pub(crate) fn add_bare(&self, name: &str) {
        self.maqet(["add", name, "--machine", "none", "--accel", "tcg", "--memory", "16M"])
            .exits(0);
    }

    /// Defines a VM that boots the real guest, its kernel being told `quiet` and where its console is
    /// unless `more` tells it something else.
    pub(crate) fn add_guest(&self, name: &str, more: &[&str]) {
        self.add_booting(name, &guest().initrd, more);
    }

    /// The same with a guest agent in it.
    pub(crate) fn add_agent_guest(&self, name: &str, more: &[&str]) {
        self.add_booting(name, &guest().agent, more);
    }

    fn add_booting(&self, name: &str, initrd: &Path, more: &[&str]) {
        let kernel = &guest().kernel;
        let words = ["add", name, "--accel", "tcg", "--memory", "128M", "--kernel"];
        let kernel = [kernel.as_os_str(), OsStr::new("--initrd"), initrd.as_os_str()];
        let append: &[&str] =
            if more.contains(&"--append") { &[] } else { &["--append", "console=ttyS0 quiet"] };
        let words = words.iter().map(OsStr::new).chain(kernel);
        let words = words.chain(append.iter().chain(more).map(OsStr::new));
        self.maqet(words).exits(0);
    }

    /// Defines a VM whose QEMU is the stand-in of `tests/fake-qemu`, misbehaving in these ways.
    pub(crate) fn add_fake(&self, name: &str, modes: &[&str]) {
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-qemu");
        let mut words = vec!["add".to_owned(), name.to_owned()];
        words.extend(["--accel".into(), "tcg".into()]);
        words.extend(["--binary".into(), fake.to_str().unwrap().to_owned()]);
        for mode in modes {
            words.extend(["--arg".into(), "-fake".into(), "--arg".into(), (*mode).to_owned()]);
        }
        self.maqet(words).exits(0);
    }

    /// The status of a VM, whatever its exit code is.
    pub(crate) fn status(&self, name: &str) -> Value {
        self.maqet(["status", name, "--json"]).json()
    }

    pub(crate) fn state(&self, name: &str) -> String {
        self.status(name)["state"].as_str().unwrap().to_owned()
    }

    pub(crate) fn runner_pid(&self, name: &str) -> i32 {
        i32::try_from(self.status(name)["runner_pid"].as_i64().unwrap()).unwrap()
    }

    pub(crate) fn qemu_pid(&self, name: &str) -> i32 {
        i32::try_from(self.status(name)["qemu_pid"].as_i64().unwrap()).unwrap()
    }

    /// Waits until the guest of `tests/guest` has said that it is ready.
    pub(crate) fn wait_for_guest(&self, name: &str) {
        eventually(Duration::from_secs(60), "the guest is ready", || {
            self.maqet(["logs", name]).stdout.contains("maqet-guest: ready").then_some(())
        });
    }
}

impl Drop for Host {
    /// Ends every runner, with which its QEMU ends, and removes the folders.
    fn drop(&mut self) {
        for vm in std::fs::read_dir(self.data().join("vms")).into_iter().flatten().flatten() {
            let lock = vm.path().join("lock");
            if let Some(pid) = lock_holder(&lock) {
                send(pid, Signal::KILL);
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            while !guard_is_free(&vm.path().join("guard")) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let began = Instant::now();
    let Output { status, stdout, stderr } = command.output().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        took: began.elapsed(),
    }
}

/// The files of the real guest: its kernel, its initramfs, and one with an agent.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) agent: PathBuf,
}

/// The real guest, made once.
pub(crate) fn guest() -> &'static Guest {
    static GUEST: OnceLock<Guest> = OnceLock::new();
    GUEST.get_or_init(|| made_guest(&[]))
}

/// The same guest with a kernel that can mount a shared folder.
pub(crate) fn guest_with_9p() -> &'static Guest {
    static GUEST: OnceLock<Guest> = OnceLock::new();
    GUEST.get_or_init(|| made_guest(&["9p"]))
}

fn made_guest(words: &[&str]) -> Guest {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let ran = run(Command::new(script).args(words).stdin(Stdio::null())).exits(0);
    let path = |key: &str| {
        let line = ran.stdout.lines().find_map(|line| line.strip_prefix(key));
        PathBuf::from(line.unwrap_or_else(|| panic!("{:?}", ran.stdout)))
    };
    Guest { kernel: path("KERNEL="), initrd: path("INITRD="), agent: path("AGENT=") }
}

/// Repeats a look until it finds something; a test that waits in vain fails with `what`.
#[track_caller]
pub(crate) fn eventually<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to a process that this test has started.
pub(crate) fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).unwrap();
    if let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// Who holds a record lock, as F_GETLK names it.
pub(crate) fn lock_holder(path: &Path) -> Option<i32> {
    let file = File::open(path).ok()?;
    let held = rustix::process::fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    held.pid.map(|pid| pid.as_raw_nonzero().get())
}

/// Whether nobody holds an flock.
pub(crate) fn guard_is_free(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok()) || !path.exists()
}
