//! `db`: a copy of the database, and the way back, while VMs run.

use crate::harness::Host;

#[test]
fn what_was_defined_comes_back_from_a_copy_while_a_vm_runs() {
    let host = Host::new();
    host.maqet(["db", "backup", "none.db"]).exits(4);
    host.add_bare("web");
    host.add_bare("mail");
    host.maqet(["start", "web"]).exits(0);
    let pid = host.qemu_pid("web");
    let copy = host.root().join("copy.db");
    let copy = copy.to_str().unwrap();
    let made = host.maqet(["db", "backup", copy, "--json"]).exits(0).json();
    assert_eq!(made["vms"], 2);
    host.maqet(["db", "backup", copy]).exits(7);
    let database = host.data().join("maqet.db");
    host.maqet(["db", "backup", "-"]).exits(2);

    host.maqet(["rm", "mail", "--force"]).exits(0);
    host.add_bare("new");
    host.maqet(["db", "restore", copy]).exits(2);
    assert_eq!(host.maqet(["ls", "-q"]).exits(0).stdout, "new\nweb\n");
    let restored = host.maqet(["db", "restore", copy, "-y", "--json"]).exits(0).json();
    assert_eq!(host.maqet(["ls", "-q"]).exits(0).stdout, "mail\nweb\n");
    assert!(std::path::Path::new(restored["kept"].as_str().unwrap()).exists());
    // What a definition without a VM's folder, and a folder without a definition, are is told.
    let found = host.maqet(["doctor"]);
    assert!(found.stdout.contains("mail has no folder"), "{}", found.stdout);
    assert!(found.stdout.contains("belongs to no VM"), "{}", found.stdout);

    // A damaged one does not cost control, and is put right.
    std::fs::write(&database, "nonsense".repeat(2000)).unwrap();
    host.maqet(["ls"]).exits(1);
    host.maqet(["status", "web"]).exits(0);
    host.maqet(["db", "restore", copy, "-y"]).exits(0);
    assert_eq!(host.maqet(["ls", "-q"]).exits(0).stdout, "mail\nweb\n");
    assert_eq!(host.qemu_pid("web"), pid);
    host.maqet(["stop", "web", "--force"]).exits(0);
    host.maqet(["db", "restore", host.root().join("nothing").to_str().unwrap(), "-y"]).exits(4);
}
