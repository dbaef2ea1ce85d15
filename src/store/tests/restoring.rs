//! Backups that are made by hand, and put back.

use super::*;

fn copy_of(store: &Store, folder: &Path) -> PathBuf {
    let copy = folder.join("copy.db");
    store.back_up(&copy).unwrap();
    copy
}

fn all(path: &Path) -> Vec<String> {
    let store = Store::open_to_read(path).unwrap().unwrap();
    store.all().unwrap().into_iter().map(|row| row.name).collect()
}

#[test]
fn a_backup_is_for_its_owner_alone_and_never_written_over() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, store) = filled();
    let copy = copy_of(&store, folder.path());
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&copy).unwrap();
    assert_eq!(kind(store.back_up(&copy)), Kind::Conflict);
    assert_eq!(fs::read(&copy).unwrap(), before);
    assert!(!listing(folder.path()).iter().any(|name| name.contains(".tmp")));
}

#[test]
fn a_backup_comes_back_under_a_database_that_is_in_use_and_what_was_there_is_kept() {
    let (folder, mut store) = filled();
    let path = folder.path().join("maqet.db");
    let copy = copy_of(&store, folder.path());
    store.remove(IDS[0]).unwrap();
    store.insert(IDS[0], "new", "{}").unwrap();
    // Its last changes are in the `-wal` file, and it stays open.
    assert!(fs::metadata(folder.path().join("maqet.db-wal")).unwrap().len() > 0);
    let kept = Store::restore(&path, &copy).unwrap().unwrap();
    assert_eq!(all(&path), ["db", "mail", "web"]);
    assert_eq!(names(&store.all().unwrap()), ["db", "mail", "web"]);
    assert_eq!(all(&kept), ["db", "mail", "new"]);
    store.insert("33333333-aaaa-4aaa-8aaa-000000000004", "later", "{}").unwrap();
    drop(store);
    assert_eq!(all(&path), ["db", "later", "mail", "web"]);
}

#[test]
fn a_damaged_database_is_set_aside_and_one_that_is_missing_is_made() {
    let (folder, store) = filled();
    let path = folder.path().join("maqet.db");
    let copy = copy_of(&store, folder.path());
    drop(store);
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[5000..9000].fill(0xaa);
    for damaged in [torn, b"no database at all".repeat(50), whole[..whole.len() / 2].to_vec()] {
        fs::write(&path, &damaged).unwrap();
        let kept = Store::restore(&path, &copy).unwrap().unwrap();
        assert!(kept.to_string_lossy().contains(".damaged-"), "{kept:?}");
        assert_eq!(fs::read(&kept).unwrap(), damaged);
        assert_eq!(all(&path), ["db", "mail", "web"]);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(Store::restore(&path, &copy).unwrap(), None);
    assert_eq!(all(&path), ["db", "mail", "web"]);
}

#[test]
fn what_is_no_backup_of_ours_and_what_is_no_database_of_ours_stay_as_they_are() {
    let (folder, store) = filled();
    let path = folder.path().join("maqet.db");
    let copy = copy_of(&store, folder.path());
    drop(store);
    let foreign = folder.path().join("foreign.db");
    let db = rusqlite::Connection::open(&foreign).unwrap();
    db.execute_batch("CREATE TABLE x (y)").unwrap();
    drop(db);
    let torn = folder.path().join("torn.db");
    let mut bytes = fs::read(&copy).unwrap();
    bytes[4096..].fill(0x55);
    fs::write(&torn, bytes).unwrap();
    for (source, expected) in [
        (&foreign, Kind::Failed),
        (&torn, Kind::Failed),
        (&path, Kind::Usage),
        (&folder.path().join("nothing.db"), Kind::NotFound),
    ] {
        assert_eq!(kind(Store::restore(&path, source)), expected, "{source:?}");
        assert_eq!(all(&path), ["db", "mail", "web"]);
    }
    let before = fs::read(&foreign).unwrap();
    assert_eq!(kind(Store::restore(&foreign, &copy)), Kind::Failed);
    assert_eq!(fs::read(&foreign).unwrap(), before);
}
