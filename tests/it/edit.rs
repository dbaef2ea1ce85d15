//! `edit` with editors that are scripts, with and without a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::harness::{Host, Ran, eventually, run};

/// Makes a script an editor; `$1` is the file.
fn editor(host: &Host, script: &str) -> String {
    let path = host.root().join("editor");
    std::fs::write(&path, format!("ls -l \"$1\" >> {0}/seen\n{script}\n", host.root().display()))
        .unwrap();
    format!("sh {}", path.display())
}

fn edit(host: &Host, script: &str) -> Ran {
    let editor = editor(host, script);
    let folder = host.root().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = host.command(Host::binary());
    let ran = run(command.args(["edit", "web"]).env("EDITOR", editor).env("TMPDIR", &folder));
    assert!(is_empty(&folder), "the file is gone");
    ran
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

fn memory(host: &Host) -> String {
    host.maqet(["show", "web", "-o", "memory"]).exits(0).stdout.trim().to_owned()
}

#[test]
fn what_an_editor_saves_is_stored_and_a_mistake_is_not() {
    let host = Host::new();
    host.add_bare("web");
    let before = memory(&host);
    let ran = edit(&host, "true").exits(0);
    assert!(ran.stderr.contains("nothing changes"), "{}", ran.stderr);
    let seen = std::fs::read_to_string(host.root().join("seen")).unwrap();
    assert!(seen.starts_with("-rw-------"), "{seen}");
    edit(&host, "touch \"$1\"; { echo '// a comment'; cat \"$1\"; } > x; mv x \"$1\"").exits(0);
    assert_eq!(memory(&host), before);

    let ran = edit(&host, "sed -i 's/\"memory\": \"[^\"]*\"/\"memory\": \"48M\"/' \"$1\"").exits(0);
    assert!(ran.stderr.contains("web: changed"), "{}", ran.stderr);
    assert_eq!(memory(&host), "48M");

    // A mistake, with nobody to ask.
    let ran = edit(&host, "sed -i 's/48M/48X/' \"$1\"").exits(2);
    assert!(
        ran.stderr.contains("memory: \"48X\"") && ran.stderr.contains("discarded"),
        "{}",
        ran.stderr
    );
    for (script, code) in [
        ("echo '{\"memory\": ' > \"$1\"", 2),
        ("echo '[]' > \"$1\"", 2),
        ("sed -i 's/web/db/' \"$1\"", 2),
        ("sed -i s/48M/49M/ \"$1\"; exit 3", 1),
        ("sed -i s/48M/49M/ \"$1\"; kill -9 $$", 1),
        ("rm \"$1\"", 1),
    ] {
        let ran = edit(&host, script).exits(code);
        assert!(ran.stderr.contains("maqet: cannot edit \"web\": "), "{}", ran.stderr);
        assert_eq!(memory(&host), "48M", "{script}");
    }
    host.shell("EDITOR=/nowhere maqet edit web").exits(1);
    host.maqet(["edit", "nobody"]).exits(4);
    // VISUAL goes before EDITOR, and both are words of a shell.
    let visual = editor(&host, "sed -i \"s/48M/$2/\" \"$3\"");
    let mut command = host.command(Host::binary());
    let command = command.args(["edit", "web", "--json"]);
    let ran = run(command.env("EDITOR", "false").env("VISUAL", format!("{visual} -e '50M'")));
    assert_eq!(ran.exits(0).json(), json!({"name": "web", "state": "stopped", "changed": true}));
    assert_eq!(memory(&host), "50M");
}

#[test]
fn a_definition_that_was_changed_meanwhile_is_not_written_over() {
    let host = Host::new();
    host.add_bare("web");
    let other = format!("{} apply web --set memory=40M", Host::binary().display());
    let ran = edit(&host, &format!("sed -i 's/{{/{{\"cpu\":2,/' \"$1\"; {other}")).exits(7);
    assert!(ran.stderr.contains("meanwhile"), "{}", ran.stderr);
    assert_eq!(host.maqet(["show", "web", "-o", "memory,cpu"]).stdout, "40M\t-\n");
    host.maqet(["start", "web"]).exits(0);
    let ran = edit(&host, "sed -i s/40M/41M/ \"$1\"").exits(0);
    assert!(ran.stderr.contains("from its next start on"), "{}", ran.stderr);
}

#[test]
fn at_a_terminal_a_mistake_opens_the_file_again_with_the_message_on_top() {
    let host = Host::new();
    host.add_bare("web");
    let folder = host.root().join("tmp");
    std::fs::create_dir(&folder).unwrap();
    // The first time a mistake, the second time what stood there then is kept and it is mended.
    let script = "if grep -q '\"48X\"' \"$1\"; then cp \"$1\" again; sed -i 's/48X/48M/' \"$1\"
         else sed -i 's/\"memory\": \"[^\"]*\"/\"memory\": \"48X\"/' \"$1\"; fi";
    let editor = editor(&host, script);
    for (answer, expected, code) in [("n\n", None, 2), ("\n", Some("48M"), 0)] {
        let before = memory(&host);
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs =
            rustix::fs::open(ptsname(&ours, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = host.command("setsid");
        command.args(["--ctty", "--wait"]).arg(Host::binary()).args(["edit", "web"]);
        command.env("EDITOR", &editor).env("TMPDIR", &folder);
        let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop((command, theirs));
        let mut terminal = File::from(ours);
        let mut drawn = String::new();
        while !drawn.contains("[Y/n]") {
            let mut bytes = [0; 4096];
            let count = terminal.read(&mut bytes).unwrap();
            drawn.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        assert!(drawn.contains("memory: \"48X\" is not a size"), "{drawn}");
        terminal.write_all(answer.as_bytes()).unwrap();
        let status = eventually(Duration::from_secs(30), "edit ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code));
        assert_eq!(memory(&host), expected.unwrap_or(&before));
        assert!(is_empty(&folder));
    }
    let again = std::fs::read_to_string(host.root().join("again")).unwrap();
    assert!(again.starts_with("// maqet: memory: \"48X\" is not a size"), "{again}");
}
