//! A running VM whose runtime folder is gone, moved, or not ours any more: the next command gets
//! through, and the guest never notices.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crash::assert_nothing_left;
use crate::harness::{Host, Ran, eventually, not_here, run};

/// A host with one running VM, whose folder lies two folders deep.
fn with_web() -> Host {
    let host = Host::new();
    host.add_bare("web");
    start(&host);
    host
}

fn parent(host: &Host) -> PathBuf {
    host.root().join("parent")
}

fn base(host: &Host) -> PathBuf {
    parent(host).join("run")
}

fn start(host: &Host) {
    let base = base(host);
    host.maqet(["--runtime-dir", base.to_str().unwrap(), "start", "web"]).exits(0);
}

/// Runs maqet where no flag and no variable of ours names a runtime folder.
fn by_default(host: &Host, xdg: &Path, words: &[&str]) -> Ran {
    let mut command = host.command(Host::binary());
    command.env_remove("MAQET_RUNTIME_DIR").env("XDG_RUNTIME_DIR", xdg).args(words);
    run(&mut command)
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn whatever_is_removed_the_next_command_gets_through_and_the_guest_is_unharmed() {
    let host = Host::new();
    host.add_guest("web", &[]);
    start(&host);
    host.wait_for_guest("web");
    let (runner, qemu) = (host.runner_pid("web"), host.qemu_pid("web"));
    let id = host.status("web")["id"].as_str().unwrap().to_owned();
    let folder = base(&host).join(&id);
    for gone in [
        folder.join("ipc.sock"),
        folder.join("secret"),
        folder.join("status"),
        folder.clone(),
        base(&host),
        parent(&host),
    ] {
        if gone.is_dir() {
            std::fs::remove_dir_all(&gone).unwrap();
        } else {
            std::fs::remove_file(&gone).unwrap();
        }
        let state = host.maqet(["qmp", "web", "query-status", "-o", "status"]).exits(0);
        assert_eq!(state.stdout, "running\n", "{}", gone.display());
        let status = host.status("web");
        assert_eq!(status["responding"], true);
        assert_eq!(status["socket_path"], folder.join("ipc.sock").to_str().unwrap());
        assert_eq!((host.runner_pid("web"), host.qemu_pid("web")), (runner, qemu));
        assert!(folder.join("ipc.sock").exists() && folder.join("secret").exists());
    }
    for path in [parent(&host), base(&host), folder] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    // The first command after a removal may be the stop itself, and the guest still hears it.
    std::fs::remove_dir_all(parent(&host)).unwrap();
    host.maqet(["stop", "web"]).exits(0);
    let last = host.maqet(["status", "web", "-o", "state,last_exit.by"]).stdout;
    assert_eq!(last, "stopped\tguest\n");
    assert_nothing_left(&host);
}

#[test]
fn a_folder_that_was_moved_away_is_made_anew_and_what_was_moved_is_left_alone() {
    let host = with_web();
    let moved = host.root().join("moved");
    std::fs::rename(base(&host), &moved).unwrap();
    let qemu = host.qemu_pid("web");
    assert_eq!(host.state("web"), "running");
    assert_eq!(host.qemu_pid("web"), qemu);
    assert_eq!(std::fs::read_dir(&moved).unwrap().count(), 1);
    host.maqet(["stop", "web", "--force"]).exits(0);
}

#[test]
fn a_secret_that_was_altered_or_a_foreign_one_is_made_anew() {
    let host = with_web();
    let id = host.status("web")["id"].as_str().unwrap().to_owned();
    let (runner, qemu) = (host.runner_pid("web"), host.qemu_pid("web"));
    let secret = base(&host).join(id).join("secret");
    for altered in ["0".repeat(64), String::new(), "nonsense".into()] {
        std::fs::write(&secret, &altered).unwrap();
        let ran = host.maqet(["status", "web", "-o", "state,runner_pid,qemu_pid"]).exits(0);
        assert_eq!(ran.stdout, format!("running\t{runner}\t{qemu}\n"), "{altered:?}");
        assert_ne!(std::fs::read_to_string(&secret).unwrap(), altered);
    }
    std::fs::write(&secret, "0".repeat(64)).unwrap();
    host.maqet(["stop", "web", "--force"]).exits(0);
    assert_nothing_left(&host);
}

#[test]
fn where_the_recorded_place_is_not_safe_any_more_the_first_usable_default_serves() {
    if !rustix::process::geteuid().is_root() {
        not_here("only root can give a folder to another user");
        return;
    }
    let other = 65_534;
    // What has become of the place in which the VM's folder was.
    type Spoil = fn(&Path, u32);
    let ways: [(&str, Spoil); 4] = [
        ("open to others", |place, _| {
            std::fs::create_dir(place).unwrap();
            mode(place, 0o755);
        }),
        ("of another user", |place, other| {
            std::fs::create_dir(place).unwrap();
            chown(place, Some(other), Some(other)).unwrap();
        }),
        ("a file", |place, _| std::fs::write(place, "").unwrap()),
        ("a link", |place, _| std::os::unix::fs::symlink("/tmp", place).unwrap()),
    ];
    for (what, spoil) in ways {
        let host = Host::new();
        host.add_bare("web");
        let xdg = host.root().join("xdg");
        std::fs::create_dir(&xdg).unwrap();
        mode(&xdg, 0o700);
        by_default(&host, &xdg, &["start", "web"]).exits(0);
        let qemu = host.qemu_pid("web");
        let place = xdg.join("maqet");
        std::fs::remove_dir_all(&place).unwrap();
        spoil(&place, other);
        let status = by_default(&host, &xdg, &["status", "web", "--json"]).exits(0).json();
        assert_eq!(status["state"], "running", "{what}");
        assert_eq!(status["qemu_pid"].as_i64(), Some(i64::from(qemu)), "{what}");
        let socket = PathBuf::from(status["socket_path"].as_str().unwrap());
        assert!(!socket.starts_with(&place) && socket.exists(), "{what}: {}", socket.display());
        let id = status["id"].as_str().unwrap();
        let link = std::fs::read_link(host.data().join("live").join(id)).unwrap();
        assert_eq!(link, socket.parent().unwrap(), "{what}");
        by_default(&host, &xdg, &["stop", "web", "--force"]).exits(0);
        assert!(!link.exists(), "{what}");
    }
}

#[test]
fn a_start_refuses_a_folder_of_another_owner_or_open_to_others_and_changes_nothing() {
    let host = Host::new();
    host.add_bare("web");
    let folder = host.root().join("shared");
    let refused = |why: &str| {
        let before = listing(host.root());
        let ran = host.maqet(["--runtime-dir", folder.to_str().unwrap(), "start", "web"]).exits(6);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{}", ran.stderr);
        assert!(lines[0].starts_with("maqet: cannot start \"web\": refusing to use "));
        assert!(lines[0].contains(why) && lines[1].starts_with("hint: "), "{}", ran.stderr);
        assert_eq!(host.state("web"), "failed");
        // Only what tells of the run is new.
        let new: Vec<String> =
            listing(host.root()).into_iter().filter(|line| !before.contains(line)).collect();
        assert!(new.iter().all(|line| line.contains("/vms/")), "{new:?}");
    };
    std::fs::create_dir(&folder).unwrap();
    mode(&folder, 0o755);
    refused("its mode 0755 lets others in");
    mode(&folder, 0o700);
    if rustix::process::geteuid().is_root() {
        chown(&folder, Some(65_534), None).unwrap();
        refused("it belongs to uid 65534");
        chown(&folder, Some(0), None).unwrap();
    }
    std::fs::remove_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/tmp", &folder).unwrap();
    refused("it is not a directory");
    std::fs::remove_file(&folder).unwrap();
    host.maqet(["--runtime-dir", folder.to_str().unwrap(), "start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    eventually(Duration::from_secs(2), "an empty folder", || {
        (std::fs::read_dir(&folder).unwrap().count() == 0).then_some(())
    });
}

/// Every file below a folder with its mode and its owner, a line each.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let found = std::fs::symlink_metadata(&path).unwrap();
            all.push(format!("{} {:o} {}", path.display(), found.mode(), found.uid()));
            if found.is_dir() {
                folders.push(path);
            }
        }
    }
    all.sort();
    all
}
