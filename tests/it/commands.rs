//! The command line end to end: forms of output, exit codes, converging, what is kept and what goes.

use crate::crash::assert_nothing_left;
use crate::harness::Host;

/// Three VMs, of which the first runs.
fn three() -> Host {
    let host = Host::new();
    for name in ["web", "db", "mail"] {
        host.add_bare(name);
    }
    host.maqet(["start", "web"]).exits(0);
    host
}

#[test]
fn each_result_has_its_three_forms() {
    let host = three();
    let table = host.maqet(["ls"]).exits(0).stdout;
    assert!(table.lines().count() == 4 && table.starts_with("NAME"), "{table}");
    assert_eq!(host.maqet(["ls", "-q"]).stdout, "db\nmail\nweb\n");
    let columns = host.maqet(["ls", "-o", "name,state,last_exit.signal"]).exits(0).stdout;
    assert_eq!(columns, "db\tstopped\t-\nmail\tstopped\t-\nweb\trunning\t-\n");
    let sorted = host.maqet(["ls", "--sort", "state", "-q"]).stdout;
    assert!(sorted.starts_with("web\n"), "{sorted}");
    let list = host.maqet(["ls", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!(host.maqet(["ls", "--state", "saved"]).code, 2);
    // One array for one VM and for none, too: the shape is the command's.
    assert_eq!(host.maqet(["ls", "web", "--json"]).json().as_array().unwrap().len(), 1);
    assert_eq!(host.maqet(["ls", "--state", "crashed", "--json"]).stdout, "[]\n");
    let status = host.maqet(["status", "web", "db", "--json"]).exits(3).stdout;
    assert_eq!(status.lines().count(), 2, "an object a line: {status}");
    let shown = host.maqet(["show", "web", "--json"]).json();
    assert_eq!((shown["name"].as_str(), shown["machine"].as_str()), (Some("web"), Some("none")));
    let wrong = host.maqet(["ls", "-o", "nmae"]).exits(2);
    assert!(wrong.stderr.contains("nmae") && wrong.stderr.contains("hint: "), "{}", wrong.stderr);
}

#[test]
fn errors_are_two_lines_or_one_object() {
    let host = Host::new();
    let ran = host.maqet(["status", "nobody"]).exits(4);
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    let ran = host.maqet(["status", "nobody", "--json"]).exits(4);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "not-found");
    assert!(error["error"]["hint"].is_string());
}

#[test]
fn every_command_names_a_state_and_repeating_it_changes_nothing() {
    let host = three();
    for (words, note) in [
        (&["start", "web"][..], "running already"),
        (&["pause", "web"], ""),
        (&["pause", "web"], "paused already"),
        (&["start", "web"], "goes on"),
        (&["resume", "web"], "running already"),
        (&["stop", "web", "--force"], ""),
        (&["stop", "web"], "not running"),
    ] {
        let ran = host.maqet(words).exits(0);
        assert_eq!(ran.stdout, "", "{words:?}");
        assert!(
            ran.stderr.contains(note) && note.is_empty() == ran.stderr.is_empty(),
            "{words:?}: {}",
            ran.stderr
        );
        let quiet = host.maqet([&["-q"], words].concat()).exits(0).stderr;
        assert!(!quiet.contains("already"), "{quiet}");
    }
    let changed = |words: &[&str]| host.maqet(words).exits(0).json()["changed"].as_bool().unwrap();
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert!(changed(&["start", "web", "--json"]) && !changed(&["start", "web", "--json"]));
    assert!(changed(&["stop", "web", "--force", "--json"]));
    assert!(!changed(&["stop", "web", "--json"]));
    host.maqet(["start", "web", "--paused"]).exits(0);
    assert_eq!(host.state("web"), "paused");
}

#[test]
fn a_list_that_qemu_answers_gives_one_line_of_columns_for_each_item() {
    let host = three();
    let ask = |form: &[&str]| {
        host.maqet([&["qmp", "web", "query-chardev"], form].concat()).exits(0).stdout
    };
    let labels = ask(&["-o", "label"]);
    let one_a_line = |label: &str| labels.lines().any(|line| line == label);
    assert!(one_a_line("qmp") && one_a_line("console"), "{labels}");
    assert!(ask(&["--json"]).starts_with("[{"), "in JSON the list as it is");
}

#[test]
fn exit_codes_are_as_the_manual_says() {
    let host = three();
    for (words, code) in [
        (&["status", "web"][..], 0),
        (&["status", "db"], 3),
        (&["status", "web", "db"], 3),
        (&["qmp", "web", "nonsense"], 1),
        (&["qmp", "db", "query-status"], 3),
        (&["pause", "db"], 3),
        (&["resume", "db"], 3),
        (&["qmp", "nobody", "query-status"], 4),
        (&["stop", "web", "nobody"], 4),
        (&["add", "web", "--accel", "tcg"], 7),
        (&["rm", "web"], 7),
        (&["rename", "web", "db"], 7),
        (&["rename", "web", "x.json"], 2),
        (&["strat", "web"], 2),
        (&["start", "--nonsense", "web"], 2),
        (&["start"], 2),
        (&["add", "new", "--memory", "lots"], 2),
        (&["add"], 2),
        (&["nonsense"], 2),
        (&[], 2),
        (&["help", "start"], 0),
        (&["-V"], 0),
    ] {
        let ran = host.maqet(words);
        assert_eq!(ran.code, code, "{words:?}: {}", ran.stderr);
        assert_eq!(
            ran.stderr.is_empty(),
            code == 0 || words.first() == Some(&"status"),
            "{words:?}"
        );
    }
    assert_eq!(host.state("web"), "running", "nothing of all that has changed it");
}

#[test]
fn mistakes_are_answered_with_what_was_meant() {
    let host = Host::new();
    for (words, hint) in [
        (&["strat"][..], "start"),
        (&["list"], "ls"),
        (&["destroy", "web"], "stop"),
        (&["create", "web"], "add"),
        (&["add", "web", "--memroy", "1G"], "--memory"),
    ] {
        let ran = host.maqet(words).exits(2);
        let second = ran.stderr.lines().nth(1).unwrap_or_default().to_owned();
        assert!(second.starts_with("hint: ") && second.contains(hint), "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn bad_names_are_refused_and_create_nothing() {
    let host = Host::new();
    let long = "x".repeat(65);
    for name in ["-x", "../x", "x\n", &long, "x.json", "deadbeef", "", "a b", "x..y", ".x", "ä"] {
        host.maqet(["add", "--accel", "tcg", "--", name]).exits(2);
    }
    for words in [&["ls"][..], &["status", "x"], &["stop", "x"], &["rm", "x"], &["why", "x"]] {
        host.maqet(words);
    }
    let left: Vec<_> = std::fs::read_dir(host.root()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn bad_definitions_are_refused_by_the_place_of_the_mistake() {
    let host = Host::new();
    for (text, words) in [
        (r#"{"memroy": "1G"}"#, "memory"),
        (r#"{"memory": true}"#, "memory"),
        (r#"{"storage": [{"size": "1G", "interface": "floppy"}]}"#, "storage[0].interface"),
        (r#"{"firmware": {"code": "/c"}}"#, "firmware.vars"),
        (r#"{"network": [{"type": "socket"}]}"#, "needs to know where"),
        ("[1, 2]", "line 1"),
        ("{", "line 1"),
        ("", "no definition"),
    ] {
        let path = host.root().join("vm.json");
        std::fs::write(&path, text).unwrap();
        let ran = host.maqet(["add", "web", "-f", path.to_str().unwrap()]).exits(2);
        assert!(ran.stderr.contains(words), "{text}: {}", ran.stderr);
    }
    for (text, size) in [("[", 200), ("{\"description\":\"x", 2 << 20)] {
        let path = host.root().join("vm.json");
        std::fs::write(&path, text.repeat(size / text.len())).unwrap();
        host.maqet(["add", "web", "-f", path.to_str().unwrap()]).exits(2);
    }
    assert!(!host.data().exists());
}

#[test]
fn a_definition_is_merged_from_files_standard_input_and_flags() {
    let host = Host::new();
    std::fs::write(
        host.root().join("a.json"),
        "{\"name\": \"web\", // mine\n \"accel\": \"tcg\", \"cpu\": 2, \"kernel\": \"k\"}",
    )
    .unwrap();
    let script = "echo '{\"memory\": \"512M\", \"cpu\": 3}' | maqet add -f a.json -f - --cpu 4 --label-less=1";
    host.shell(script).exits(2);
    let script = "echo '{\"memory\": \"512M\", \"cpu\": 3}' | maqet add -f a.json -f - --cpu 4 --arg=-snapshot";
    let id = host.shell(script).exits(0).stdout;
    assert_eq!(id.trim().len(), 36, "the id is printed: {id}");
    let shown = host.maqet(["show", "web", "--json"]).json();
    assert_eq!((shown["cpu"].as_u64(), shown["memory"].as_str()), (Some(4), Some("512M")));
    assert_eq!(shown["kernel"], host.root().join("k").to_str().unwrap());
    assert_eq!(shown["args"][0], "-snapshot");
}

#[test]
fn a_rename_keeps_the_vm_and_its_runner() {
    let host = three();
    let id = host.status("web")["id"].clone();
    host.maqet(["rename", "web", "www"]).exits(0);
    assert_eq!((host.status("www")["id"].clone(), host.state("www").as_str()), (id, "running"));
    host.maqet(["status", "web"]).exits(4);
    host.maqet(["stop", "www", "--force"]).exits(0);
}

#[test]
fn a_running_vm_is_removed_only_by_force_and_a_protected_one_not_at_all() {
    let host = three();
    host.maqet(["rm", "web"]).exits(7);
    host.maqet(["rm", "web", "--force"]).exits(0);
    host.maqet(["rm", "web"]).exits(4);
    host.maqet(["rm", "web", "--if-exists"]).exits(0);
    host.maqet(["add", "kept", "--protect", "--accel", "tcg"]).exits(0);
    host.maqet(["rm", "kept", "--force"]).exits(7);
    host.maqet(["rm", "--all"]).exits(2);
    assert_eq!(host.maqet(["ls", "-q"]).stdout, "db\nkept\nmail\n", "without -y nothing was done");
    assert_nothing_left(&host);
}

#[test]
fn storage_is_deleted_only_when_asked_only_ours_and_not_what_another_uses() {
    let host = Host::new();
    let foreign = host.root().join("foreign.raw");
    std::fs::write(&foreign, vec![0; 4096]).unwrap();
    let add = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "8M", "--disk", "8M"];
    host.maqet(add.into_iter().chain(["--disk", foreign.to_str().unwrap()])).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    let disks = host.vm_folder("web").join("disks");
    let shared = disks.join("disk1.qcow2");
    host.maqet(["add", "db", "--accel", "tcg", "--disk", shared.to_str().unwrap()]).exits(0);

    let refused = host.maqet(["rm", "web", "--delete-storage"]).exits(2);
    assert!(refused.stderr.contains("-y"), "{}", refused.stderr);
    assert!(disks.join("disk0.qcow2").exists());
    let ran = host.maqet(["rm", "web", "--delete-storage", "-y"]).exits(0);
    assert!(!disks.join("disk0.qcow2").exists(), "ours is gone");
    assert!(shared.exists() && ran.stderr.contains("db uses it"), "{}", ran.stderr);
    assert!(foreign.exists() && ran.stderr.contains("foreign.raw"), "{}", ran.stderr);

    host.maqet(["add", "mail", "--accel", "tcg", "--memory", "64M", "--disk", "8M"]).exits(0);
    host.maqet(["start", "mail"]).exits(0);
    let kept = host.vm_folder("mail").join("disks/disk0.qcow2");
    let ran = host.maqet(["rm", "mail", "--force"]).exits(0);
    assert!(kept.exists() && ran.stderr.contains("kept"), "{}", ran.stderr);
}

#[test]
fn the_command_line_of_a_running_vm_is_the_one_that_runs() {
    let host = three();
    let running = host.maqet(["cmdline", "web", "--json"]).exits(0).json();
    let bytes = std::fs::read(format!("/proc/{}/cmdline", host.qemu_pid("web"))).unwrap();
    let words: Vec<&str> =
        std::str::from_utf8(&bytes).unwrap().trim_end_matches('\0').split('\0').collect();
    assert_eq!(running, serde_json::json!(words));
    assert!(words[0].starts_with('/'), "the binary's path first");
    let stopped = host.maqet(["cmdline", "db"]).exits(0).stdout;
    assert!(stopped.contains("-machine") && stopped.lines().count() == 1, "{stopped}");
}

#[test]
fn logs_give_the_log_that_is_named() {
    let host = Host::new();
    host.add_fake("web", &["die-after-greeting"]);
    assert!(
        host.maqet(["logs", "web"]).exits(0).stderr.contains("not written"),
        "before the first run"
    );
    host.maqet(["start", "web"]).exits(1);
    assert_eq!(host.maqet(["logs", "web", "--qemu"]).exits(0).stdout.lines().count(), 2);
    let last = host.maqet(["logs", "web", "--qemu", "-n", "1"]).exits(0).stdout;
    assert!(last.contains("not a valid device model name"), "{last}");
    assert!(host.maqet(["logs", "web", "--runner"]).exits(0).stdout.contains("ended"));
    host.maqet(["logs", "web", "--qemu", "--runner"]).exits(2);
}

#[test]
fn a_log_is_followed_over_its_rotation_until_the_vm_has_ended() {
    let host = Host::new();
    host.add_guest("web", &[]);
    // Without a run there is nothing to wait for.
    assert_eq!(host.maqet(["logs", "web", "-f"]).exits(0).stdout, "");
    host.maqet(["start", "web"]).exits(0);
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| host.maqet(["logs", "web", "-f"]).exits(0).stdout);
        host.wait_for_guest("web");
        let ran = host.maqet(["logs", "web", "-f", "-n", "1", "--timeout", "300ms"]).exits(5);
        assert_eq!(ran.stdout.trim_end(), "maqet-guest: ready");
        let log = host.vm_folder("web").join("console.log");
        std::fs::rename(&log, log.with_extension("log.1")).unwrap();
        std::fs::write(&log, "behind the rotation\n").unwrap();
        host.maqet(["stop", "web"]).exits(0);
        follower.join().unwrap()
    });
    assert!(followed.contains("maqet-guest: ready"), "{followed}");
    assert!(followed.ends_with("behind the rotation\n"), "{followed}");
}

#[test]
fn the_predecessors_spellings_work_and_a_vm_of_such_a_name_comes_first() {
    let host = three();
    host.maqet(["inspect", "web"]).exits(0);
    let ran = host.maqet(["cleanup"]).exits(0);
    assert!(ran.stderr.contains("nothing to clean up"), "{}", ran.stderr);
    host.maqet(["qmp", "pause", "web"]).exits(0);
    assert_eq!(host.state("web"), "paused");
    host.maqet(["qmp", "resume", "web"]).exits(0);
    assert_eq!(host.state("web"), "running");
    let status = host.maqet(["qmp", "run", "web", "query-status", "-o", "status"]).exits(0);
    assert_eq!(status.stdout, "running\n");
    host.add_bare("pause");
    // Now it is a VM that does not run, and "web" a command for its QEMU.
    host.maqet(["qmp", "pause", "web"]).exits(3);
    assert_eq!(host.state("web"), "running");
}
