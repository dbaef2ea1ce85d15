//! The store as its callers see it. Here is what its tests share.

mod at_once;
mod journals;
mod migrating;
mod opening;
mod restoring;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use super::journal::{Journal, Place};
use super::{Row, Store, create, open, schema};
use crate::error::{Kind, Result};
use crate::testing::Folder;

const IDS: [&str; 3] = [
    "11111111-aaaa-4aaa-8aaa-000000000001",
    "11111111-aaaa-4aaa-8aaa-000000000002",
    "22222222-aaaa-4aaa-8aaa-000000000003",
];

fn empty() -> (Folder, PathBuf) {
    let folder = Folder::new();
    let path = folder.path().join("maqet.db");
    (folder, path)
}

/// A file system on which a database is to be journalled so.
fn on(journal: Journal) -> Place {
    Place { journal, read_only: false }
}

/// A store for writing as it would be on another file system, or in another version of maqet.
fn writer(path: &Path, place: Place, steps: &[&str]) -> Result<Store> {
    let db = create::for_writing(path, place, steps)?;
    Ok(Store { db, path: path.to_owned() })
}

/// The names that a reader finds on that file system.
fn read(path: &Path, place: Place, steps: &[&str]) -> Result<Vec<String>> {
    let Some(db) = open::for_reading(path, place, schema::version_after(steps))? else {
        return Ok(Vec::new());
    };
    let rows = Store { db, path: path.to_owned() }.all()?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

fn pragma(store: &Store, pragma: &str) -> String {
    let sql = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
    store.db.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// A store with `web` and `db`, whose ids share a prefix, and `mail`.
fn filled() -> (Folder, Store) {
    let (folder, path) = empty();
    let mut store = Store::open_to_write(&path).unwrap();
    for (id, name) in IDS.iter().zip(["web", "db", "mail"]) {
        store.insert(id, name, "{}").unwrap();
    }
    (folder, store)
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> Kind {
    outcome.unwrap_err().kind
}
