//! `run`: a VM in the foreground, by itself and under those who supervise it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Guest, Host, eventually, guest, is_alive, send};

const BOOT: Duration = Duration::from_secs(60);

/// A VM in the foreground, with its console in a file.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    console: std::path::PathBuf,
    errors: std::path::PathBuf,
}

impl Running {
    fn new(host: &Host, words: &[&str]) -> Running {
        Running::with(host, words, &[])
    }

    fn with(host: &Host, words: &[&str], variables: &[(&str, &str)]) -> Running {
        let console = host.root().join("console");
        let errors = host.root().join("errors");
        let mut command = host.command(Host::binary());
        command
            .arg("run")
            .args(words)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(File::create(&console).unwrap())
            .stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        Running { child, stdin, console, errors }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.console).unwrap()).into_owned()
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    fn wait_for(&self, text: &str) {
        eventually(BOOT, text, || self.console().contains(text).then_some(()));
    }

    fn say(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = eventually(BOOT, "the end of run", || child.try_wait().unwrap());
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_console_is_standard_output_and_standard_input_goes_to_it() {
    let host = Host::new();
    host.add_guest("web", &[]);
    let mut vm = Running::new(&host, &["web"]);
    vm.wait_for("maqet-guest: ready");
    vm.say("echo through and back");
    vm.wait_for("through and back");
    // It is a VM like any other meanwhile.
    let status = host.status("web");
    assert_eq!(status["runner_pid"].as_i64(), Some(i64::from(vm.pid())));
    assert_eq!((&status["state"], &status["responding"]), (&"running".into(), &true.into()));
    let again = host.maqet(["run", "web"]).exits(7);
    assert!(again.stderr.contains("running already"), "{}", again.stderr);
    vm.say("poweroff");
    assert_eq!(vm.code(), Some(0));
    assert_eq!(vm.errors(), "");
    // The log has what standard output got.
    assert_eq!(host.maqet(["logs", "web"]).stdout, vm.console());
    assert_eq!(
        host.maqet(["status", "web", "-o", "state,last_exit.by"]).stdout,
        "stopped\tguest\n"
    );
    // What the run found out is stored.
    let machine = host.maqet(["show", "web", "-o", "machine"]).stdout;
    assert!(machine.starts_with("pc-q35-"), "{machine}");
}

#[test]
fn the_exit_code_tells_how_the_guest_ended() {
    let host = Host::new();
    host.add_guest("web", &["--arg", "-no-reboot"]);
    for line in ["poweroff", "reboot"] {
        let mut vm = Running::new(&host, &["web"]);
        vm.wait_for("maqet-guest: ready");
        vm.say(line);
        assert_eq!((vm.code(), vm.errors().as_str()), (Some(0), ""), "{line}");
    }
    // Boot sectors that write to a port: the debug exit gives twice the value and one, and a panic
    // ends QEMU as it was told.
    let exit = ["-device", "isa-debug-exit,iobase=0x501,iosize=1"];
    let panic = ["-device", "pvpanic,ioport=0x505"];
    let failing = [&panic[..], &["-action", "panic=exit-failure"]].concat();
    for (port, value, args, code, says) in [
        (0x501_u16, 3, &exit[..], 7, "QEMU ended with exit code 7"),
        (0x505, 1, &panic, 0, ""),
        (0x505, 1, &failing, 1, "QEMU ended with exit code 1"),
    ] {
        let [low, high] = port.to_le_bytes();
        let mut sector = vec![0xba, low, high, 0xb0, value, 0xee, 0xf4, 0xeb, 0xfd];
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        sector.resize(1 << 20, 0);
        let disk = host.root().join("sector.raw");
        std::fs::write(&disk, sector).unwrap();
        let mut words = vec!["--rm", disk.to_str().unwrap(), "--accel", "tcg", "--memory", "64M"];
        words.extend(args.iter().flat_map(|word| ["--arg", word]));
        let mut vm = Running::new(&host, &words);
        assert_eq!(vm.code(), Some(code), "{args:?}: {}", vm.errors());
        assert!(vm.errors().contains(says) && vm.errors().is_empty() == says.is_empty());
    }
    // By others: an orderly stop, a power cut, and the death of QEMU.
    let mut vm = Running::new(&host, &["web"]);
    vm.wait_for("maqet-guest: ready");
    host.maqet(["stop", "web"]).exits(0);
    assert_eq!(vm.code(), Some(0));
    let mut vm = Running::new(&host, &["web"]);
    vm.wait_for("maqet-guest: ready");
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_eq!(vm.code(), Some(0));
    for signal in [Signal::KILL, Signal::SEGV] {
        let mut vm = Running::new(&host, &["web"]);
        eventually(BOOT, "running", || (host.state("web") == "running").then_some(()));
        send(host.qemu_pid("web"), signal);
        assert_eq!(vm.code(), Some(1));
        assert!(vm.errors().contains("QEMU was killed by signal"), "{}", vm.errors());
        assert_eq!(host.state("web"), "crashed");
    }
    // It never comes up.
    host.maqet(["apply", "web", "--set", "args=[\"-nonsense\"]"]).exits(0);
    let mut vm = Running::new(&host, &["web"]);
    assert_eq!(vm.code(), Some(1));
    assert!(vm.errors().contains("-nonsense: invalid option\nhint: "), "{}", vm.errors());
    assert_eq!(host.state("web"), "failed");
    host.maqet(["apply", "web", "--binary", "/nowhere/qemu"]).exits(0);
    let ran = host.maqet(["run", "web"]).exits(1);
    assert!(ran.stderr.contains("/nowhere/qemu"), "{}", ran.stderr);
    host.maqet(["run", "nobody"]).exits(4);
}

#[test]
fn signals_stop_the_guest_in_order_and_the_second_one_at_once() {
    let host = Host::new();
    host.add_guest("web", &[]);
    for signal in [Signal::TERM, Signal::INT] {
        let mut vm = Running::new(&host, &["web"]);
        vm.wait_for("maqet-guest: ready");
        // It never ends a runner.
        send(vm.pid(), Signal::HUP);
        host.maqet(["status", "web"]).exits(0);
        send(vm.pid(), signal);
        assert_eq!(vm.code(), Some(0));
        assert!(vm.console().contains("maqet-guest: power button"));
    }
    // A guest that does not listen is ended by the second.
    host.add_bare("deaf");
    let mut vm = Running::new(&host, &["deaf"]);
    eventually(BOOT, "running", || (host.state("deaf") == "running").then_some(()));
    send(vm.pid(), Signal::TERM);
    eventually(BOOT, "stopping", || (host.state("deaf") == "stopping").then_some(()));
    let asked = Instant::now();
    send(vm.pid(), Signal::INT);
    assert_eq!(vm.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[test]
fn readiness_is_told_to_a_notify_socket_when_the_guest_runs() {
    use std::os::linux::net::SocketAddrExt;
    let host = Host::new();
    host.add_bare("web");
    let path = host.root().join("notify");
    let by_path = UnixDatagram::bind(&path).unwrap();
    let name = format!("maqet-it-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_one = UnixDatagram::bind_addr(&address).unwrap();
    for (listener, value) in
        [(by_path, path.to_str().unwrap().to_owned()), (abstract_one, format!("@{name}"))]
    {
        listener.set_read_timeout(Some(BOOT)).unwrap();
        let mut vm = Running::with(&host, &["web"], &[("NOTIFY_SOCKET", value.as_str())]);
        let mut buffer = [0; 256];
        let mut hear = || {
            let count = listener.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        assert!(hear().starts_with("READY=1\n"));
        assert_eq!(host.state("web"), "running");
        send(vm.pid(), Signal::TERM);
        assert!(hear().starts_with("STOPPING=1\n"));
        send(vm.pid(), Signal::TERM);
        assert_eq!(vm.code(), Some(0));
    }
    // A listener that is not there is no reason not to run; an address that is none is.
    let gone = host.root().join("gone");
    let mut vm = Running::with(&host, &["web"], &[("NOTIFY_SOCKET", gone.to_str().unwrap())]);
    eventually(BOOT, "running", || (host.state("web") == "running").then_some(()));
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_eq!(vm.code(), Some(0));
    let mut vm = Running::with(&host, &["web"], &[("NOTIFY_SOCKET", &"x".repeat(200))]);
    assert_eq!(vm.code(), Some(2));
}

#[test]
fn readiness_is_a_newline_on_the_descriptor_that_is_named() {
    let host = Host::new();
    host.add_bare("web");
    let ran = host.shell(
        "mkfifo ready; (head -n 1 ready | od -An -c; maqet status web -o state; \
         maqet stop web --force) > seen & maqet run web --ready-fd 5 5<> ready; echo $?; wait; cat seen",
    );
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "\\n", "running"], "{}", ran.stderr);
    let ran = host.maqet(["run", "web", "--ready-fd", "77"]).exits(2);
    assert!(ran.stderr.contains("descriptor 77"), "{}", ran.stderr);
    host.maqet(["run", "web", "--ready-fd", "1"]).exits(2);
    assert_eq!(host.state("web"), "stopped");
}

#[test]
fn a_reader_that_does_not_read_never_stops_the_guest() {
    let host = Host::new();
    host.add_guest("web", &["--append", "console=ttyS0 quiet maqet.do=flood"]);
    let mut command = host.command(Host::binary());
    command.args(["run", "web"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut unread = child.stdout.take().unwrap();
    let size =
        || std::fs::metadata(host.vm_folder("web").join("console.log")).map_or(0, |f| f.len());
    // More than the pipe and what waits for it can hold: 64 and 256 KiB. Beside other tests the guest
    // writes some KiB a second.
    eventually(Duration::from_secs(180), "a flood", || (size() > 512 << 10).then_some(()));
    assert_eq!(host.state("web"), "running");
    host.maqet(["stop", "web", "--force"]).exits(0);
    let mut read = Vec::new();
    unread.read_to_end(&mut read).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&read);
    assert!(text.contains("maqet-guest: ready"), "{} bytes", read.len());
    // What was read and what was not are all that the guest wrote.
    let said = String::from_utf8_lossy(&output.stderr);
    let told =
        said.strip_prefix("maqet: ").and_then(|said| said.split_once(" bytes of the console"));
    let lost: u64 = told.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
    assert_eq!(read.len() as u64 + lost, size());
}

#[test]
fn a_reader_that_has_gone_never_stops_the_guest() {
    let host = Host::new();
    host.add_guest("web", &[]);
    let mut command = host.command(Host::binary());
    command.args(["run", "web"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    host.wait_for_guest("web");
    host.maqet(["stop", "web"]).exits(0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_killed_runner_leaves_no_qemu() {
    let host = Host::new();
    host.add_bare("web");
    let mut vm = Running::new(&host, &["web"]);
    eventually(BOOT, "running", || (host.state("web") == "running").then_some(()));
    let qemu = host.qemu_pid("web");
    send(vm.pid(), Signal::KILL);
    assert_eq!(vm.code(), None);
    eventually(Duration::from_secs(5), "QEMU's death", || (!is_alive(qemu)).then_some(()));
    assert_eq!(host.state("web"), "crashed");
}

#[test]
fn a_vm_of_run_rm_leaves_its_disk_and_everything_else_as_it_was() {
    let host = Host::new();
    let disk = host.root().join("a disk,.raw");
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let Guest { kernel, initrd, .. } = guest();
    let (kernel, initrd) = (kernel.to_str().unwrap(), initrd.to_str().unwrap());
    let temporary = host.root().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let words = [
        "--rm",
        disk.to_str().unwrap(),
        "--accel",
        "tcg",
        "--memory",
        "128M",
        "--kernel",
        kernel,
        "--initrd",
        initrd,
        "--append",
        "console=ttyS0 quiet",
    ];
    let variables = [("TMPDIR", temporary.to_str().unwrap())];
    let mut vm = Running::with(&host, &words, &variables);
    vm.wait_for("maqet-guest: ready");
    vm.say("sh echo it is written > /dev/vda; sync; head -c 13 /dev/vda");
    vm.wait_for("it is written");
    assert!(!host.data().exists(), "nothing is stored");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 1);
    // A killed one leaves something, which the next one removes.
    send(vm.pid(), Signal::KILL);
    vm.code();
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 1);
    let mut vm = Running::with(&host, &words, &variables);
    vm.wait_for("maqet-guest: ready");
    vm.say("sh head -c 2 /dev/vda | od -An -c");
    vm.wait_for("\\0  \\0");
    vm.say("poweroff");
    assert_eq!(vm.code(), Some(0), "{}", vm.errors());
    assert!(!host.data().exists());
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(host.runtime()).unwrap().count(), 0);
    assert_eq!(std::fs::read(&disk).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn a_vm_of_run_rm_can_be_kept_after_all() {
    let host = Host::new();
    let disk = host.root().join("disk.raw");
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let Guest { kernel, initrd, .. } = guest();
    let (kernel, initrd) = (kernel.to_str().unwrap(), initrd.to_str().unwrap());
    let words = [
        "--rm",
        disk.to_str().unwrap(),
        "--keep",
        "kept",
        "--accel",
        "tcg",
        "--memory",
        "128M",
        "--kernel",
        kernel,
        "--initrd",
        initrd,
        "--append",
        "console=ttyS0 quiet",
    ];
    let mut vm = Running::new(&host, &words);
    vm.wait_for("maqet-guest: ready");
    vm.say("sh echo it is written > /dev/vda; sync");
    vm.wait_for("done 0");
    vm.say("poweroff");
    assert_eq!(vm.code(), Some(0), "{}", vm.errors());
    assert_eq!(std::fs::read(&disk).unwrap(), vec![0; 1 << 20]);
    let mut vm = Running::new(&host, &["kept"]);
    vm.wait_for("maqet-guest: ready");
    vm.say("sh head -c 13 /dev/vda");
    vm.wait_for("it is written");
    send(vm.pid(), Signal::TERM);
    assert_eq!(vm.code(), Some(0));
    host.maqet(["run", "--rm", "--keep", "kept", "--machine", "none"]).exits(7);
    host.maqet(["run", "kept", "--memory", "1G"]).exits(2);
    host.maqet(["run"]).exits(2);
}

#[test]
fn vms_that_are_stored_nowhere_begin_and_end_side_by_side_and_none_removes_what_is_anothers() {
    let host = Host::new();
    let fake = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-qemu");
    let words = ["run", "--rm", "--accel", "tcg", "--arg", "-fake", "--arg", "exit-0", "--binary"];
    let words = [&words[..], &[fake.to_str().unwrap()]].concat();
    // Some are killed as they begin: their folders are what the others look for.
    let (killed, others) = (["signal=KILL"; 2], [""; 6]);
    std::thread::scope(|scope| {
        for how in killed.into_iter().chain(others) {
            let (host, words) = (&host, &words);
            scope.spawn(move || {
                for number in 1..=8 {
                    if how.is_empty() {
                        host.maqet(words).exits(0);
                    } else {
                        host.tampered(&[&format!("mkdir,symlink:{how}:when={number}")], words);
                    }
                }
            });
        }
    });
    // The QEMU of a killed one may still be dying.
    eventually(Duration::from_secs(10), "the next one has removed what was left", || {
        host.maqet(&words).exits(0);
        (std::fs::read_dir(host.runtime()).unwrap().count() == 0).then_some(())
    });
}
