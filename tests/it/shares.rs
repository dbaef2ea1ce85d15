//! Folders of the host in the real guest, which mounts them by 9p.

use crate::harness::{Guest, Host, guest_with_9p};

/// A host with a guest that has mounted its folder `src` at /mnt, with this more in the definition.
fn mounted(more: &str) -> Host {
    let host = Host::new();
    let src = host.root().join("a src,dir");
    std::fs::create_dir(&src).unwrap();
    std::fs::write(src.join("greeting"), "hello from the host\n").unwrap();
    let Guest { kernel, initrd, .. } = guest_with_9p();
    let words = ["add", "web", "--accel", "tcg", "--memory", "256M", "--append"];
    let share = format!(r#"storage=[{{"type":"virtfs","path":"./a src,dir","tag":"src"{more}}}]"#);
    let more = ["console=ttyS0 quiet mitigations=off", "--set", "network=[]", "--set", &share];
    let words = words.into_iter().chain(more).chain(["--disk", "name=root,size=8M"]);
    let boot = [("--kernel", kernel), ("--initrd", initrd)];
    let boot = boot.iter().flat_map(|(flag, path)| [*flag, path.to_str().unwrap()]);
    host.maqet(words.chain(boot)).exits(0);
    host.maqet(["start", "web"]).exits(0);
    // The general kernel takes its time under TCG, more where other tests run.
    let wait = ["wait", "web", "--for", "console:maqet-guest: ready", "--timeout", "3m"];
    host.maqet(wait).exits(0);
    says(&host, "mkdir /mnt", "done 0");
    says(&host, "mount -t 9p -o trans=virtio,version=9p2000.L src /mnt", "done 0");
    host
}

/// Has the guest run a command, and waits for its end and for this on its console.
fn says(host: &Host, command: &str, expected: &str) {
    let (line, expected) = (format!("sh {command}"), format!("console:{expected}"));
    let done = ["--for", "console:maqet-guest: done", "--timeout", "1m"];
    let words = ["send", "web", &line, "--line", "--for", &expected].into_iter().chain(done);
    host.maqet(words).exits(0);
}

#[test]
fn the_guest_reads_and_writes_a_folder_and_while_it_does_no_snapshot_is_made() {
    let host = mounted("");
    says(&host, "cat /mnt/greeting", "hello from the host");
    says(&host, "echo hello from the guest > /mnt/answer", "done 0");
    let answer = std::fs::read_to_string(host.root().join("a src,dir/answer")).unwrap();
    assert_eq!(answer, "hello from the guest\n");
    // What is mounted cannot be carried over.
    let refused = host.maqet(["snapshot", "create", "web", "one"]).exits(1).stderr;
    assert!(refused.contains("maqet: cannot make a snapshot of \"web\""), "{refused}");
    assert!(refused.contains("VirtFS") && refused.contains("src"), "{refused}");
    let why = host.maqet(["why", "web", "--json"]).stdout;
    assert!(!why.contains("STOP"), "{why}");
    assert_eq!(host.maqet(["snapshot", "ls", "web", "-q"]).exits(0).stdout, "");
    // Once it is unmounted, nothing is in the way.
    says(&host, "umount /mnt", "done 0");
    host.maqet(["snapshot", "create", "web", "one"]).exits(0);
    assert_eq!(host.state("web"), "running");
}

#[test]
fn a_folder_that_is_readonly_is_only_read() {
    let host = mounted(r#","readonly":true"#);
    says(&host, "cat /mnt/greeting", "hello from the host");
    says(&host, "echo no > /mnt/answer", "Read-only file system");
    says(&host, "echo no > /mnt/greeting", "Read-only file system");
    let src = host.root().join("a src,dir");
    assert!(!src.join("answer").exists());
    assert_eq!(std::fs::read_to_string(src.join("greeting")).unwrap(), "hello from the host\n");
}
