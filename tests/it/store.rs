//! Databases and folders that cannot be trusted: refused by name, never written, and no VM that runs
//! is lost to them. Databases on media of every kind: a disk, a network, what is read-only.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Host, Ran, not_here, run};

fn with_web() -> Host {
    let host = Host::new();
    host.add_bare("web");
    host
}

/// Runs Python on the database; it may kill itself.
fn python(path: &Path, script: &str) {
    let mut python = Command::new("python3");
    let script = format!("import os, sqlite3, sys\nd = sqlite3.connect(sys.argv[1])\n{script}");
    assert!(python.args(["-c", &script]).arg(path).status().unwrap().code().is_none_or(|c| c == 0));
}

/// What a database may have become.
fn spoil(path: &Path, how: &str) {
    let sql = |text: &str| python(path, &format!("d.executescript('{text}')"));
    sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let bytes = std::fs::read(path).unwrap();
    match how {
        "text" => std::fs::write(
            path,
            "not a database, but rather longer than a hundred bytes. ".repeat(9),
        )
        .unwrap(),
        "newer" => sql("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)"),
        "foreign" => sql("PRAGMA application_id = 7; PRAGMA wal_checkpoint(TRUNCATE)"),
        "a cut header" => std::fs::write(path, &bytes[..60]).unwrap(),
        "truncated" => std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        "an overwritten page" => std::fs::write(path, with_page_overwritten(&bytes, 1)).unwrap(),
        _ => {
            let invert = |(at, byte): (usize, &u8)| if at > 200 { !byte } else { *byte };
            let damaged: Vec<u8> = bytes.iter().enumerate().map(invert).collect();
            std::fs::write(path, damaged).unwrap();
        }
    }
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{beside}", path.display()));
    }
}

fn with_page_overwritten(bytes: &[u8], page: usize) -> Vec<u8> {
    let mut bytes = bytes.to_owned();
    bytes[page * 4096..][..4096].fill(0x5a);
    bytes
}

#[test]
fn a_database_that_is_not_ours_is_refused_untouched_and_costs_no_running_vm() {
    for (how, why) in [
        ("text", "not a database"),
        ("a cut header", "not a database"),
        ("newer", "its version is 99"),
        ("foreign", "belongs to another program"),
        ("truncated", "damaged"),
        ("an overwritten page", "damaged"),
        ("damaged", "damaged"),
    ] {
        let host = with_web();
        host.maqet(["start", "web"]).exits(0);
        let path = host.data().join("maqet.db");
        spoil(&path, how);
        let before = std::fs::read(&path).unwrap();
        for words in [&["ls"][..], &["add", "db", "--accel", "tcg"]] {
            let told = host.maqet(words).exits(1).stderr;
            assert!(told.contains("maqet.db") && told.contains(why), "{how} {words:?}: {told}");
            assert!(told.contains("\nhint: "), "{how} {words:?}: {told}");
        }
        let stopped = host.maqet(["stop", "web", "--force"]).exits(0);
        assert!(stopped.stderr.contains("maqet.db"), "{how}: {}", stopped.stderr);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{how}: it was written");
        host.maqet(["start", "web"]).exits(1);
    }
}

#[test]
fn whichever_page_is_overwritten_a_listing_is_whole_or_refused() {
    let host = with_web();
    let path = host.data().join("maqet.db");
    let bytes = std::fs::read(&path).unwrap();
    let whole = host.maqet(["ls"]).exits(0).stdout;
    for page in 0..bytes.len() / 4096 {
        std::fs::write(&path, with_page_overwritten(&bytes, page)).unwrap();
        let listed = host.maqet(["ls"]);
        if listed.code == 0 {
            assert_eq!(listed.stdout, whole, "page {page}");
        } else {
            let told = listed.exits(1).stderr;
            assert!(told.contains("maqet.db") && told.contains("\nhint: "), "page {page}: {told}");
        }
    }
    std::fs::write(&path, &bytes).unwrap();
    host.maqet(["ls"]).exits(0);
}

/// Has statfs tell of a file system of this type: NFS.
const NETWORK: &str = "statfs:poke_exit=@arg2=6969000000000000";
const ADD: [&str; 6] = ["add", "db", "--accel", "tcg", "--machine", "none"];

/// Bytes 18 and 19 of a database: 2 is WAL, 1 the rollback journal.
fn is_wal(host: &Host) -> bool {
    let bytes = std::fs::read(host.data().join("maqet.db")).unwrap();
    assert!([[1, 1], [2, 2]].contains(&[bytes[18], bytes[19]]), "{:?}", &bytes[18..20]);
    bytes[18] == 2
}

#[test]
fn on_a_network_a_database_has_no_memory_to_share_and_the_next_writer_sees_to_it() {
    let host = Host::new();
    host.tampered(&[NETWORK], &ADD).exits(0);
    assert!(!is_wal(&host));
    assert_eq!(host.tampered(&[NETWORK], &["ls", "-o", "name"]).exits(0).stdout, "db\n");
    assert_eq!(host.maqet(["ls", "-o", "name"]).exits(0).stdout, "db\n");
    assert!(!is_wal(&host), "a reader has switched it");
    host.add_bare("web");
    let local = is_wal(&host);
    host.tampered(&[NETWORK], &["ls"]).exits(0);
    assert_eq!(is_wal(&host), local, "a reader has switched it");
    host.tampered(&[NETWORK], &["rm", "db", "-y"]).exits(0);
    assert!(!is_wal(&host));
    assert_eq!(host.maqet(["ls", "-o", "name"]).exits(0).stdout, "web\n");
}

#[test]
fn a_first_use_that_is_killed_at_any_of_its_writes_is_in_nobodys_way() {
    for network in [false, true] {
        for call in ["pwrite64", "fsync", "unlink"] {
            for at in 1.. {
                let host = Host::new();
                let kill = format!("{call}:signal=KILL:when={at}");
                let tampering = [kill.as_str(), NETWORK];
                let added = host.tampered(&tampering[..1 + usize::from(network)], &ADD);
                let listed = host.maqet(["ls", "-o", "name"]).exits(0).stdout;
                if added.code == 0 {
                    assert_eq!(listed, "db\n");
                    assert!(at > 1, "there was no {call}");
                    break;
                }
                assert!(["", "db\n"].contains(&listed.as_str()), "{listed:?}");
                host.add_bare("web");
                assert_eq!(
                    host.maqet(["ls", "-o", "name"]).exits(0).stdout,
                    format!("{listed}web\n")
                );
            }
        }
    }
}

/// Runs a shell script in a mount namespace of its own, with `$D` the data folder; nothing where
/// nobody may mount.
fn mounting(host: &Host, script: &str) -> Option<Ran> {
    let tried = run(host.command("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]));
    if tried.code != 0 {
        not_here(&format!("nothing can be mounted: {}", tried.stderr.trim()));
        return None;
    }
    let script = format!("D={}; set -e; {script}", host.data().display());
    let inner = script.replace('\'', "'\\''");
    Some(host.shell(&format!("exec unshare -m sh -c '{inner}'")))
}

const READ_ONLY: &str = "mount --bind $D $D; mount -o remount,ro,bind $D;";

#[test]
fn on_read_only_media_everything_can_be_read_and_a_write_says_why_not() {
    for network in [false, true] {
        let host = Host::new();
        host.tampered(&[NETWORK][..usize::from(network)], &ADD).exits(0);
        let before = std::fs::read(host.data().join("maqet.db")).unwrap();
        let script = format!("{READ_ONLY} maqet show db");
        let Some(ran) = mounting(&host, &script) else { return };
        assert_eq!(ran.exits(0).stdout, host.maqet(["show", "db"]).stdout);
        let looked = mounting(&host, &format!("{READ_ONLY} maqet ls -o name,state")).unwrap();
        assert_eq!(looked.exits(0).stdout, "db\tstopped\n");
        let add = format!("{READ_ONLY} maqet add web --accel tcg --machine none");
        let told = mounting(&host, &add).unwrap().exits(6).stderr;
        assert!(told.contains("maqet.db\": its file system is read-only\nhint: "), "{told}");
        let told = mounting(&host, &format!("{READ_ONLY} maqet rm db -y")).unwrap().exits(6).stderr;
        assert!(told.contains("Read-only file system"), "{told}");
        assert_eq!(std::fs::read(host.data().join("maqet.db")).unwrap(), before);
    }
}

#[test]
fn what_a_killed_writer_left_beside_the_database_is_not_passed_over_on_read_only_media() {
    for with_shm in [true, false] {
        let host = Host::new();
        host.maqet(ADD).exits(0);
        let path = host.data().join("maqet.db");
        python(
            &path,
            "d.execute(\"UPDATE vm SET name = 'mail'\"); d.commit(); os.kill(os.getpid(), 9)",
        );
        let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
        assert!(std::fs::metadata(beside("-wal")).unwrap().len() > 0);
        if !with_shm {
            std::fs::remove_file(beside("-shm")).unwrap();
        }
        let Some(ran) = mounting(&host, &format!("{READ_ONLY} maqet ls")) else { return };
        let told = ran.exits(6).stderr;
        assert!(told.contains("maqet.db") && told.contains("-wal file"), "{told}");
        assert!(told.contains("hint: mount it writable once and run \"maqet ls\""), "{told}");
        assert_eq!(host.maqet(["ls", "-o", "name"]).exits(0).stdout, "mail\n");
        // As the hint has it.
        mounting(&host, &format!("{READ_ONLY} maqet show mail")).unwrap().exits(0);
    }
}

#[test]
fn a_tmpfs_is_a_place_for_a_database_until_it_is_full_or_read_only() {
    let host = Host::new();
    let script = "mkdir -m 700 $D; mount -t tmpfs -o mode=700,size=256k none $D
        maqet add web --accel tcg --machine none > /dev/null
        head -c 1M /dev/zero > $D/filler 2> /dev/null || true
        maqet add db --accel tcg --machine none && exit 99 || echo $?
        rm $D/filler; maqet add db --accel tcg --machine none > /dev/null
        mount -o remount,ro $D; maqet show web > /dev/null; cat $D/maqet.db > $D/../copy";
    let Some(ran) = mounting(&host, script) else { return };
    let ran = ran.exits(0);
    assert_eq!(ran.stdout, "1\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("maqet.db\": no space is left\nhint: "), "{}", ran.stderr);
    assert_eq!(std::fs::read(host.root().join("copy")).unwrap()[18], 2, "it is in WAL mode");
}

#[test]
fn folders_that_others_may_enter_are_refused_and_left_as_they_are() {
    let host = with_web();
    for folder in [host.data(), host.data().join("vms")] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let ran = host.maqet(["add", "db", "--accel", "tcg"]).exits(6);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    std::fs::create_dir(host.runtime()).unwrap();
    std::fs::set_permissions(host.runtime(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = host.maqet(["start", "web"]).exits(6);
    assert!(ran.stderr.contains("lets others in"), "{}", ran.stderr);
    assert_eq!(host.state("web"), "failed");
}

#[test]
fn a_data_folder_behind_a_link_or_of_another_user_is_refused() {
    let host = Host::new();
    let real = host.root().join("real");
    std::fs::create_dir(&real).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(&real, host.data()).unwrap();
    let ran = host.maqet(["add", "web", "--accel", "tcg"]).exits(6);
    assert!(ran.stderr.contains("not a directory"), "{}", ran.stderr);
    if rustix::process::geteuid().is_root() {
        std::fs::remove_file(host.data()).unwrap();
        std::fs::create_dir(host.data()).unwrap();
        std::fs::set_permissions(host.data(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(host.data(), Some(65534), None).unwrap();
        let ran = host.maqet(["add", "web", "--accel", "tcg"]).exits(6);
        assert!(ran.stderr.contains("belongs to uid 65534"), "{}", ran.stderr);
    }
    assert_eq!(std::fs::read_dir(&real).unwrap().count(), 0);
}
