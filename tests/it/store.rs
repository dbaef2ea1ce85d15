//! Databases and folders that cannot be trusted: refused by name, never written, and no VM that runs
//! is lost to them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::Host;

fn with_web() -> Host {
    let host = Host::new();
    host.add_bare("web");
    host
}

/// What a database may have become, and a word of the refusal.
fn spoil(path: &Path, how: &str) {
    let sql = |text: &str| {
        let script =
            "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1]); d.executescript(sys.argv[2])";
        let mut python = std::process::Command::new("python3");
        assert!(python.args(["-c", script]).arg(path).arg(text).status().unwrap().success());
    };
    match how {
        "text" => std::fs::write(
            path,
            "not a database, but rather longer than a hundred bytes. ".repeat(9),
        )
        .unwrap(),
        "newer" => sql("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)"),
        "foreign" => sql("PRAGMA application_id = 7; PRAGMA wal_checkpoint(TRUNCATE)"),
        _ => {
            sql("PRAGMA wal_checkpoint(TRUNCATE)");
            let bytes = std::fs::read(path).unwrap();
            let half = match how {
                "truncated" => bytes[..bytes.len() / 2].to_vec(),
                _ => bytes
                    .iter()
                    .enumerate()
                    .map(|(at, byte)| if at > 200 { !byte } else { *byte })
                    .collect(),
            };
            std::fs::write(path, half).unwrap();
        }
    }
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{beside}", path.display()));
    }
}

#[test]
fn a_database_that_is_not_ours_is_refused_untouched_and_costs_no_running_vm() {
    for how in ["text", "newer", "foreign", "truncated", "damaged"] {
        let host = with_web();
        host.maqet(["start", "web"]).exits(0);
        let path = host.data().join("maqet.db");
        spoil(&path, how);
        let before = std::fs::read(&path).unwrap();
        for words in [&["ls"][..], &["add", "db", "--accel", "tcg"]] {
            let ran = host.maqet(words).exits(1);
            assert!(ran.stderr.contains("maqet.db"), "{how} {words:?}: {}", ran.stderr);
        }
        let stopped = host.maqet(["stop", "web", "--force"]).exits(0);
        assert!(stopped.stderr.contains("maqet.db"), "{how}: {}", stopped.stderr);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{how}: it was written");
        host.maqet(["start", "web"]).exits(1);
    }
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
