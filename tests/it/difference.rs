//! `show --diff`: what a running VM was started with, against what is stored.

use serde_json::json;

use crate::harness::Host;

#[test]
fn show_tells_what_the_next_start_changes_and_nothing_after_it() {
    let host = Host::new();
    // Neither the machine's version, which the first start finds out, nor a default is a difference.
    std::fs::create_dir(host.root().join("config")).unwrap();
    std::fs::write(host.root().join("config/maqet.json"), r#"{"defaults": {"cpu": 2}}"#).unwrap();
    let run =
        |line: &str| host.shell(&format!("export MAQET_CONFIG_DIR=\"$PWD/config\"; maqet {line}"));
    run("add web --machine q35 --accel tcg --memory 64M --disk name=root,size=1M --start").exits(0);
    assert_eq!(run("show web --diff").exits(0).stdout, "");
    let same = run("show web --diff --json").exits(0).json();
    let empty = json!({"name": "web", "definition": [], "argv": {"removed": [], "added": []}});
    assert_eq!(same, empty);

    run("apply web --memory 80M --disk name=data,size=2M --label env=test").exits(0);
    let text = run("show web --diff").exits(0).stdout;
    for line in [
        "- memory: \"64M\"\n",
        "+ memory: \"80M\"\n",
        "+ labels: {\"env\":\"test\"}\n",
        "+ storage.data: {\"size\":\"2M\"}\n",
        "- argv: -m 64M\n+ argv: -m 80M\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains("root") && !text.contains("cpu"), "{text}");
    let told = run("show web --diff --json").exits(0).json();
    assert_eq!(told["argv"]["removed"], json!(["-m", "64M"]));
    assert!(told["argv"]["added"].to_string().contains("/disks/data.qcow2"), "{told}");
    let memory = json!({"path": "memory", "running": "64M", "stored": "80M"});
    assert!(told["definition"].as_array().unwrap().contains(&memory), "{told}");

    // It is there after a SIGHUP, closed to others, and gone with the VM.
    let folder = host.runtime().join(host.maqet(["status", "web", "-o", "id"]).stdout.trim());
    std::fs::remove_file(folder.join("definition")).unwrap();
    let ran = run("show web --diff").exits(1);
    assert!(ran.stderr.contains("what it was started with is not known"), "{}", ran.stderr);
    let pid = host.runner_pid("web");
    crate::harness::send(pid, rustix::process::Signal::HUP);
    crate::harness::eventually(std::time::Duration::from_secs(10), "it is made anew", || {
        folder.join("definition").exists().then_some(())
    });
    crate::harness::eventually(std::time::Duration::from_secs(10), "it answers", || {
        (host.maqet(["show", "web", "--diff"]).code == 0).then_some(())
    });
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder.join("definition")), 0o600);

    run("rename web www").exits(0);
    let text = run("show www --diff").exits(0).stdout;
    assert!(text.contains("- name: \"web\"\n+ name: \"www\"\n"), "{text}");
    assert!(text.contains("+ argv: -name guest=www\n"), "{text}");

    run("restart www --force").exits(0);
    assert_eq!(run("show www --diff").exits(0).stdout, "");
    run("stop www --force").exits(0);
    assert!(!folder.exists());
    let ran = run("show www --diff").exits(3);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn several_vms_are_told_apart() {
    let host = Host::new();
    for name in ["a", "b", "c"] {
        host.add_bare(name);
    }
    host.shell("maqet start a b && maqet apply a b --memory 32M").exits(0);
    let both = host.shell("maqet show a b --diff").exits(0).stdout;
    assert!(both.starts_with("a:\n- memory: ") && both.contains("\nb:\n"), "{both}");
    let ran = host.shell("maqet show a c --diff -o name,definition.0.path").exits(3);
    assert_eq!(ran.stdout, "a\tmemory\n");
}
