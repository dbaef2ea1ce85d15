//! What a person has decided: the VMs that are defined and the files that maqet made for them.
//!
//! One SQLite database, `<data>/maqet.db`, opened only by commands that need it, never by a
//! runner: a broken or busy database must not cost control of a running VM. What happened and what
//! is now (runs, logs, states) does not enter here, nor does any reading of a definition: it is
//! text to this room.

mod backup;
mod create;
mod disk;
mod failure;
mod files;
mod journal;
mod open;
mod restore;
mod schema;
#[cfg(test)]
mod tests;
mod vms;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{Error, Result};

pub(crate) use vms::Row;

/// An open database.
#[derive(Debug)]
pub(crate) struct Store {
    db: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens an existing database to read from; `None` where none has been made yet.
    ///
    /// # Errors
    /// A file that is foreign, newer, older, damaged or no database: [`Kind::Failed`]. No access:
    /// [`Kind::Permission`].
    ///
    /// [`Kind::Failed`]: crate::error::Kind::Failed
    /// [`Kind::Permission`]: crate::error::Kind::Permission
    pub(crate) fn open_to_read(path: &Path) -> Result<Option<Store>> {
        let db = open::for_reading(path, journal::place(path), schema::VERSION)?;
        Ok(db.map(|db| Store { db, path: path.to_owned() }))
    }

    /// Opens the database to change it; makes it (mode 0600) or migrates it where needed. Its
    /// folder must exist.
    ///
    /// # Errors
    /// As [`Store::open_to_read`]; [`Kind::Permission`](crate::error::Kind::Permission) on a
    /// read-only file system too, and [`Kind::Conflict`](crate::error::Kind::Conflict) where
    /// another process is still making it after 10 s. A migration whose backup fails is not begun.
    pub(crate) fn open_to_write(path: &Path) -> Result<Store> {
        let db = create::for_writing(path, journal::place(path), schema::STEPS)?;
        Ok(Store { db, path: path.to_owned() })
    }

    /// One short write: begun IMMEDIATE, so that it waits for another writer instead of failing
    /// half-way; rolled back unless `work` succeeds. No I/O and no wait belongs inside.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal>) -> Result<T> {
        let attempt = || {
            let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        };
        attempt().map_err(|refusal| match refusal {
            Refusal::Ours(error) => error,
            Refusal::Sqlite(error) => failure::failure("write to", &self.path, &error),
        })
    }

    /// Has SQLite look through the whole file (`PRAGMA quick_check`).
    ///
    /// # Errors
    /// `Failed` where something is damaged, in SQLite's words.
    pub(crate) fn check_integrity(&self) -> Result<()> {
        match self.read(open::quick_check)? {
            None => Ok(()),
            Some(said) => Err(open::damaged(&self.path, &said)),
        }
    }

    /// Makes a copy of the whole database in `target`, which must not be there yet, mode 0600. Who
    /// uses the database meanwhile is not held up.
    ///
    /// # Errors
    /// [`Kind::Conflict`](crate::error::Kind::Conflict) where something is there already; else no copy
    /// is there, nor a part of one.
    pub(crate) fn back_up(&self, target: &Path) -> Result<()> {
        backup::to(&self.path, &self.db, target)
    }

    /// Puts a backup in the place of the database, which commands may be using; what was there before
    /// is kept beside it: its path.
    ///
    /// # Errors
    /// For what is no backup of ours, or a damaged one; nothing has been changed then.
    pub(crate) fn restore(path: &Path, source: &Path) -> Result<Option<PathBuf>> {
        restore::restore(path, journal::place(path), source, schema::VERSION)
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.db).map_err(|error| failure::failure("read", &self.path, &error))
    }
}

/// Why a write was rolled back.
#[derive(Debug)]
enum Refusal {
    Sqlite(rusqlite::Error),
    Ours(Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        Refusal::Sqlite(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Ours(error)
    }
}
