//! The tables, and the steps that bring an older database to them.
//!
//! A step that has been released is never edited; a change is a new step at the end. Nothing here
//! opens a file or knows where one lies.

use rusqlite::{Connection, TransactionBehavior};

/// `maqet.db` says by this number (SQLite's `application_id`, "MQET") that it is ours.
pub(super) const APPLICATION_ID: i32 = 0x4D51_4554;

/// What takes a database from version N, the index, to N + 1.
pub(super) const STEPS: &[&str] = &[
    // `label` is the index by label: kept by the triggers, from the definition alone, so that it
    // cannot drift from it. Times are Unix milliseconds.
    "CREATE TABLE vm (
         id TEXT NOT NULL PRIMARY KEY,
         name TEXT NOT NULL UNIQUE,
         definition TEXT NOT NULL CHECK (json_valid(definition)),
         created_at INTEGER NOT NULL,
         updated_at INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX vm_autostart ON vm (name) WHERE json_extract(definition, '$.autostart') = 1;

     CREATE TABLE file (
         vm_id TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
         path TEXT NOT NULL,
         kind TEXT NOT NULL,
         PRIMARY KEY (vm_id, path)
     ) STRICT, WITHOUT ROWID;

     CREATE TABLE label (
         key TEXT NOT NULL,
         value TEXT NOT NULL,
         vm_id TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
         PRIMARY KEY (key, value, vm_id)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX label_vm ON label (vm_id);
     CREATE TRIGGER label_of_new AFTER INSERT ON vm BEGIN
         INSERT OR IGNORE INTO label SELECT key, value, new.id
         FROM json_each(new.definition, '$.labels') WHERE type = 'text' AND key IS NOT NULL;
     END;
     CREATE TRIGGER label_of_changed AFTER UPDATE OF definition ON vm BEGIN
         DELETE FROM label WHERE vm_id = new.id;
         INSERT OR IGNORE INTO label SELECT key, value, new.id
         FROM json_each(new.definition, '$.labels') WHERE type = 'text' AND key IS NOT NULL;
     END;",
];

/// The version that this program reads and writes (SQLite's `user_version`).
pub(super) const VERSION: i64 = version_after(STEPS);

/// The version of a database that has taken these steps.
pub(super) const fn version_after(steps: &[&str]) -> i64 {
    steps.len() as i64
}

/// Who made the database, and which schema it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) application_id: i32,
    /// 0 is a database in which nothing has been made yet, never a failed read.
    pub(super) version: i64,
    /// There is not one page in it.
    pub(super) empty: bool,
}

pub(super) fn identity(db: &Connection) -> rusqlite::Result<Identity> {
    // One look: between two, another process may make the database.
    let _look = db.is_autocommit().then(|| db.unchecked_transaction()).transpose()?;
    let application_id = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // This one alone has SQLite read the schema, which in a newer database may be beyond it.
    let pages = |db: &Connection| db.pragma_query_value(None, "page_count", |row| row.get(0));
    let empty = application_id == 0 && version == 0 && pages(db) == Ok(0);
    Ok(Identity { application_id, version, empty })
}

/// Brings an empty or older database to the version after `steps`, wholly or not at all.
///
/// The caller holds the creation lock, has checked that the database is ours or empty, and has
/// copied one that holds something. The version is read again inside the transaction: what was
/// seen before it may be old.
pub(super) fn migrate(db: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let from = usize::try_from(identity(&transaction)?.version).unwrap_or(usize::MAX);
    if from >= steps.len() {
        return Ok(());
    }
    for step in &steps[from..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version_after(steps))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steps: &[&str]) -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, steps).unwrap();
        db
    }

    #[test]
    fn migrating_twice_is_migrating_once() {
        let mut db = at(STEPS);
        db.execute("INSERT INTO vm VALUES ('i', 'n', '{}', 1, 1)", []).unwrap();
        migrate(&mut db, STEPS).unwrap();
        let rows: i64 = db.query_row("SELECT count(*) FROM vm", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
        let ours = Identity { application_id: APPLICATION_ID, version: VERSION, empty: false };
        assert_eq!(identity(&db).unwrap(), ours);
    }

    #[test]
    fn only_the_missing_steps_are_taken() {
        let first = "CREATE TABLE a (x INTEGER) STRICT";
        let second = "ALTER TABLE a ADD COLUMN y INTEGER";
        let mut db = at(&[first]);
        migrate(&mut db, &[first, second]).unwrap();
        db.execute("INSERT INTO a (x, y) VALUES (1, 2)", []).unwrap();
        assert_eq!(identity(&db).unwrap().version, 2);
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_and_the_tables_as_they_were() {
        let first = "CREATE TABLE a (x INTEGER) STRICT";
        let mut db = at(&[first]);
        migrate(&mut db, &[first, "CREATE TABLE b (x INTEGER) STRICT; CREATE nonsense"])
            .unwrap_err();
        assert_eq!(identity(&db).unwrap().version, 1);
        assert!(!db.table_exists(None, "b").unwrap());
    }

    #[test]
    fn a_newer_version_is_left_alone() {
        let mut db = at(STEPS);
        db.pragma_update(None, "user_version", VERSION + 1).unwrap();
        migrate(&mut db, STEPS).unwrap();
        assert_eq!(identity(&db).unwrap().version, VERSION + 1);
    }
}
