//! What `rm` leaves and what it deletes: an image that another VM needs is never among that.

use crate::harness::Host;

/// Two VMs: `web`, for which maqet made an image, and `db`, which names the same image by `path`
/// from the host's root, `ID` in it being the id of `web`.
fn sharing(path: &str) -> Host {
    let host = Host::new();
    let add = ["add", "web", "--accel", "tcg", "--machine", "q35", "--memory", "64M"];
    host.maqet(add.into_iter().chain(["--disk", "8M"])).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    std::os::unix::fs::symlink(host.data(), host.root().join("link")).unwrap();
    let folder = host.vm_folder("web");
    std::fs::hard_link(folder.join("disks/disk0.qcow2"), host.root().join("hard.qcow2")).unwrap();
    let id = folder.file_name().unwrap().to_str().unwrap();
    let path = host.root().join(path.replace("ID", id));
    host.maqet(["add", "db", "--accel", "tcg", "--disk", path.to_str().unwrap()]).exits(0);
    host
}

/// Changes the database behind maqet's back.
fn execute(host: &Host, statement: &str) {
    let script = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute(sys.argv[2])
db.commit()";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script]).arg(host.data().join("maqet.db")).arg(statement);
    assert!(python.status().unwrap().success());
}

#[test]
fn an_image_that_another_vm_knows_by_another_path_is_kept() {
    for path in
        ["link/vms/ID/disks/disk0.qcow2", "hard.qcow2", "data/vms/ID/../ID/disks/disk0.qcow2"]
    {
        let host = sharing(path);
        let image = host.vm_folder("web").join("disks/disk0.qcow2");
        let ran = host.maqet(["rm", "web", "--delete-storage", "-y"]).exits(0);
        assert!(image.exists(), "{path}: the image is gone");
        assert!(ran.stderr.contains("db uses it"), "{path}: {}", ran.stderr);
        host.maqet(["start", "db"]).exits(0);
    }
}

#[test]
fn nothing_is_deleted_while_it_is_unknown_what_another_vm_uses() {
    let host = sharing("hard.qcow2");
    let image = host.vm_folder("web").join("disks/disk0.qcow2");
    execute(&host, r#"UPDATE vm SET definition = '{"of": "tomorrow"}' WHERE name = 'db'"#);
    let ran = host.maqet(["rm", "web", "--delete-storage", "-y"]).exits(7);
    assert!(ran.stderr.contains("\"db\"") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert!(image.exists() && host.state("web") == "stopped");
    // What cannot be read can be removed, and then nothing stands in the way.
    host.maqet(["rm", "db"]).exits(0);
    host.maqet(["rm", "web", "--delete-storage", "-y"]).exits(0);
    assert!(!image.exists());
}

#[test]
fn each_image_that_is_kept_is_named_with_its_size() {
    let host = Host::new();
    let image = host.root().join("mine.raw");
    std::fs::write(&image, vec![0; 3 << 20]).unwrap();
    let add = ["add", "web", "--accel", "tcg", "--disk", image.to_str().unwrap()];
    host.maqet(add).exits(0);
    let ran = host.maqet(["rm", "web"]).exits(0);
    assert_eq!(ran.stderr, format!("maqet: web: kept {} (3 MiB)\n", image.display()));
    assert!(image.exists() && ran.stdout.is_empty());
    host.maqet(["add", "web", "--accel", "tcg", "--disk", image.to_str().unwrap()]).exits(0);
    let ran = host.maqet(["rm", "web", "--delete-storage", "-y", "--json"]).exits(0);
    assert_eq!(ran.json(), serde_json::json!({"name": "web", "state": "stopped", "changed": true}));
    assert!(image.exists(), "an image that maqet has not made");
}

#[test]
fn a_file_that_somebody_put_beside_the_images_is_kept_and_what_a_failed_start_made_is_not() {
    let host = Host::new();
    let add = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", "8M", "--arg"];
    host.maqet(add.into_iter().chain(["-nonsense"])).exits(0);
    host.maqet(["start", "web"]).exits(1);
    let disks = host.vm_folder("web").join("disks");
    assert!(disks.join("disk0.qcow2").exists(), "made before QEMU refused to start");
    let mine = disks.join("mine.raw");
    std::fs::write(&mine, "precious").unwrap();
    let ran = host.maqet(["rm", "web", "--delete-storage", "-y"]).exits(0);
    assert!(ran.stderr.contains("mine.raw") && !ran.stderr.contains("disk0"), "{}", ran.stderr);
    let left = std::fs::read_dir(&disks).unwrap().flatten().map(|entry| entry.path());
    assert_eq!(left.collect::<Vec<_>>(), [mine]);
}

#[test]
fn an_image_of_which_another_vm_is_to_be_a_copy_is_named_and_kept() {
    let host = Host::new();
    let add = ["add", "web", "--accel", "tcg", "--machine", "q35", "--memory", "64M"];
    host.maqet(add.into_iter().chain(["--disk", "8M"])).exits(0);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    let image = host.vm_folder("web").join("disks/disk0.qcow2");
    let copy = format!("from={}", image.display());
    host.maqet(["add", "db", "--accel", "tcg", "--machine", "q35", "--disk", &copy]).exits(0);
    let ran = host.maqet(["rm", "web", "--delete-storage", "-y"]).exits(0);
    assert_eq!(ran.stderr, format!("maqet: web: kept {}: db uses it\n", image.display()));
    host.maqet(["start", "db", "--paused"]).exits(0);
}

#[test]
fn an_image_without_a_size_of_its_own_that_a_failed_start_made_is_deleted_and_a_given_one_is_not() {
    let host = Host::new();
    let file = |name: &str| host.root().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("base.raw"), vec![0; 8 << 20]).unwrap();
    let stands = format!("name=top,backing_file={},backing_format=raw", file("base.raw"));
    let copy = format!("name=copy,from={}", file("base.raw"));
    let add = ["add", "web", "--accel", "tcg", "--memory", "64M", "--disk", &stands, "--disk"];
    host.maqet(add.into_iter().chain([&copy, "--arg", "-nonsense"])).exits(0);
    let disks = host.vm_folder("web").join("disks");
    std::fs::create_dir(&disks).unwrap();
    std::fs::set_permissions(&disks, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mine = disks.join("mine.qcow2");
    let make =
        format!("qemu-img create -q -f qcow2 -b {} -F raw {}", file("base.raw"), mine.display());
    host.shell(&make).exits(0);
    let given = format!("{},file={}", stands.replace("top", "mine"), mine.display());
    host.maqet(["apply", "web", "--disk", &given]).exits(0);
    host.maqet(["start", "web"]).exits(1);
    assert!(disks.join("top.qcow2").exists() && disks.join("copy.qcow2").exists());
    let ran = host.maqet(["rm", "web", "--delete-storage", "-y"]).exits(0);
    let left = std::fs::read_dir(&disks).unwrap().flatten().map(|entry| entry.path());
    assert_eq!(left.collect::<Vec<_>>(), [mine], "{}", ran.stderr);
}

#[test]
fn a_command_that_works_on_the_vm_is_waited_for() {
    use rustix::fs::{FlockOperation, fcntl_lock};
    let host = Host::new();
    host.add_bare("web");
    let lock = host.vm_folder("web").join("lock");
    let held = std::fs::File::options().read(true).write(true).open(lock).unwrap();
    fcntl_lock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut rm = host.command(Host::binary()).args(["rm", "web"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(rm.try_wait().unwrap().is_none(), "it did not wait");
    drop(held);
    assert!(rm.wait().unwrap().success());
}

#[test]
fn what_a_start_made_is_noted_by_a_later_one_where_its_command_was_killed_before_it_could() {
    let host = Host::new();
    let add = ["add", "web", "--accel", "tcg", "--memory", "64M", "--net", "none", "--disk"];
    host.maqet(add.into_iter().chain(["name=a,size=8M", "--disk", "name=b,size=8M"])).exits(0);
    host.maqet(["start", "web", "--paused"]).exits(0);
    host.maqet(["stop", "web", "--force"]).exits(0);
    let disks = host.vm_folder("web").join("disks");
    execute(&host, "DELETE FROM file");
    // What the definition would not make any more may be somebody else's by now.
    let given = disks.join("b.qcow2");
    let given = format!(r#"storage=[{{"name":"b","file":"{}","size":null}}]"#, given.display());
    host.maqet(["apply", "web", "--set", &given]).exits(0);
    for _ in 0..2 {
        host.maqet(["start", "web", "--paused"]).exits(0);
        host.maqet(["stop", "web", "--force"]).exits(0);
    }
    for (disk, there) in [("a", false), ("b", true)] {
        host.maqet(["disk", "rm", "web", disk, "--delete-storage", "-y"]).exits(0);
        assert_eq!(disks.join(format!("{disk}.qcow2")).exists(), there, "{disk}");
    }
}
