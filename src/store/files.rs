//! The rows of `file`: what maqet itself created for a VM, and so may delete with it.

use rusqlite::{ErrorCode, OptionalExtension as _, params};

use super::vms::missing;
use super::{Refusal, Store};
use crate::error::Result;

/// A file that maqet created for a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnFile {
    /// Absolute.
    pub(crate) path: String,
    /// What it is to the VM: `disk`, `nvram`, …
    pub(crate) kind: String,
}

impl Store {
    /// Notes that maqet created a file for a VM; noting it again sets its kind.
    ///
    /// # Errors
    /// `NotFound` without such a VM.
    pub(crate) fn add_file(&mut self, id: &str, path: &str, kind: &str) -> Result<()> {
        self.write(|tx| {
            let sql = "INSERT INTO file (vm_id, path, kind) VALUES (?1, ?2, ?3)
                       ON CONFLICT (vm_id, path) DO UPDATE SET kind = excluded.kind";
            match tx.execute(sql, params![id, path, kind]) {
                // The foreign key: nothing else is constrained here.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    Err(missing(id).into())
                }
                other => other.map(|_| ()).map_err(Refusal::from),
            }
        })
    }

    /// Forgets that maqet created a file for a VM; touches no file.
    pub(crate) fn forget_file(&mut self, id: &str, path: &str) -> Result<()> {
        self.write(|tx| {
            tx.execute("DELETE FROM file WHERE vm_id = ?1 AND path = ?2", params![id, path])?;
            Ok(())
        })
    }

    /// The files that maqet created for a VM, by path.
    ///
    /// # Errors
    /// `NotFound` without such a VM.
    pub(crate) fn files(&self, id: &str) -> Result<Vec<OwnFile>> {
        let known = self.read(|db| {
            db.query_row("SELECT 1 FROM vm WHERE id = ?1", [id], |_| Ok(())).optional()
        })?;
        known.ok_or_else(|| missing(id))?;
        self.read(|db| {
            db.prepare("SELECT path, kind FROM file WHERE vm_id = ?1 ORDER BY path")?
                .query_map([id], |row| Ok(OwnFile { path: row.get(0)?, kind: row.get(1)? }))?
                .collect()
        })
    }
}
