//! QEMU's command line as it is printed: of a definition, of a VM that runs, and as a script that
//! starts the same VM without maqet.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, eventually, send};

fn words(host: &Host, line: &str) -> Vec<String> {
    let ran = host.shell(&format!("maqet cmdline {line} --json")).exits(0);
    serde_json::from_value(ran.json()).unwrap()
}

#[test]
fn a_definition_has_a_command_line_without_being_a_vm() {
    let host = Host::new();
    std::fs::write(host.root().join("a.json"), r#"{"accel": "tcg", "machine": "q35"}"#).unwrap();
    let argv = words(&host, "-f a.json --memory 2G");
    assert!(argv[0].starts_with('/') && argv.windows(2).any(|pair| pair == ["-m", "2048M"]));
    assert!(words(&host, "--memory 3G").contains(&"3072M".to_owned()));
    assert_eq!(host.maqet(["ls", "-q"]).stdout, "");
    host.shell("maqet cmdline").exits(2);
    let ran = host.shell("maqet cmdline --set storage.x.file=/nowhere").exits(2);
    assert!(ran.stderr.contains("storage[0].type"), "{}", ran.stderr);
    host.add_bare("web");
    assert!(words(&host, "web --memory 48M").contains(&"48M".to_owned()));
    std::fs::write(host.root().join("b.json"), r#"[{"name": "a"}, {"name": "b"}]"#).unwrap();
    host.shell("maqet cmdline -f b.json").exits(2);
}

/// A script that runs, ended with its owner.
struct Script(Child);

impl Script {
    fn start(host: &Host, file: &Path, sockets: &Path) -> Script {
        let mut command = host.command("sh");
        let console = std::fs::File::create(sockets.join("console")).unwrap();
        command.arg(file).arg(sockets).stdout(console).stderr(Stdio::null());
        Script(command.stdin(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(socket: &Path, command: &str) -> Value {
    let stream =
        eventually(Duration::from_secs(30), "QMP listens", || UnixStream::connect(socket).ok());
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut answer = |request: &str| -> Value {
        if !request.is_empty() {
            (&stream).write_all(format!("{{\"execute\":\"{request}\"}}\n").as_bytes()).unwrap();
        }
        let mut all =
            lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        all.find(|line| line.get("event").is_none()).unwrap()
    };
    assert!(answer("")["QMP"].is_object());
    answer("qmp_capabilities");
    answer(command)["return"].clone()
}

#[test]
fn a_script_starts_the_same_vm_without_maqet() {
    let host = Host::new();
    host.shell(
        "maqet add 'web' --accel tcg --machine q35 --memory 64M --disk 1M \
         --disk \"$PWD/it's,, \\$HOME.raw,,x,size=1M,type=raw\"",
    )
    .exits(0);
    let file = host.root().join("web.sh");
    let script =
        host.shell("maqet cmdline web --script > web.sh; sh -n web.sh && cat web.sh").exits(0);
    assert!(!script.stdout.contains("fd=") && !script.stdout.contains("-S "), "{}", script.stdout);
    // Of a VM that never ran: the script makes its disks.
    let sockets = host.root().join("a");
    std::fs::create_dir(&sockets).unwrap();
    let qemu = Script::start(&host, &file, &sockets);
    let status = ask(&sockets.join("qmp"), "query-status");
    assert_eq!(status["status"], "running", "it is not held by -S");
    assert!(sockets.join("agent").exists());
    assert_eq!(ask(&sockets.join("qmp"), "query-name")["name"], "web");
    drop(qemu);
    assert!(host.root().join("it's, $HOME.raw,x").exists());
    // Of one that runs.
    host.maqet(["start", "web"]).exits(0);
    host.shell("maqet cmdline web --script > web.sh && maqet stop web --force").exits(0);
    let sockets = host.root().join("b");
    std::fs::create_dir(&sockets).unwrap();
    let mut qemu = Script::start(&host, &file, &sockets);
    let block = ask(&sockets.join("qmp"), "query-block");
    assert_eq!(block.as_array().unwrap().len(), 2, "{block}");
    send(i32::try_from(qemu.0.id()).unwrap(), rustix::process::Signal::TERM);
    eventually(Duration::from_secs(30), "QEMU ends", || qemu.0.try_wait().unwrap());
    host.shell("maqet cmdline web --script --json").exits(2);
}

#[test]
fn a_script_of_a_vm_with_uefi_has_its_firmware_and_its_own_variables() {
    let host = Host::new();
    host.shell(
        "maqet add efi --accel tcg --machine q35 --memory 128M --firmware uefi --set network=[]",
    )
    .exits(0);
    let file = host.root().join("efi.sh");
    let variables = host.vm_folder("efi").join("firmware-vars.qcow2");
    // Before the first start, when the script makes the variables, and after it.
    for (round, first) in [("a", "true"), ("b", "maqet start efi && maqet stop efi --force")] {
        host.shell(&format!("{first} && maqet cmdline efi --script > efi.sh")).exits(0);
        let sockets = host.root().join(round);
        std::fs::create_dir(&sockets).unwrap();
        let mut qemu = Script::start(&host, &file, &sockets);
        let block = ask(&sockets.join("qmp"), "query-block").to_string();
        assert!(block.contains("firmware-code") && block.contains("firmware-vars"), "{block}");
        assert!(std::fs::read(&variables).unwrap().starts_with(b"QFI\xfb"));
        eventually(Duration::from_secs(60), "the firmware speaks", || {
            let said = std::fs::read(sockets.join("console")).ok()?;
            String::from_utf8_lossy(&said).contains("BdsDxe").then_some(())
        });
        send(i32::try_from(qemu.0.id()).unwrap(), rustix::process::Signal::TERM);
        eventually(Duration::from_secs(30), "QEMU ends", || qemu.0.try_wait().unwrap());
    }
}
