//! The rows of `vm`: one for each VM that is defined.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Refusal, Store};
use crate::error::{Error, Result, quote};

/// How many candidates an ambiguous prefix names.
const CANDIDATES: usize = 5;

pub(super) const COLUMNS: &str = "SELECT id, name, definition, created_at, updated_at FROM vm";

/// A VM as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// A UUID in lower case.
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON, as it was stored.
    pub(crate) definition: String,
    /// Unix time in milliseconds.
    pub(crate) created_at: i64,
    /// Unix time in milliseconds, of the last new name or definition.
    pub(crate) updated_at: i64,
}

impl Store {
    /// Stores a new VM.
    ///
    /// # Errors
    /// `Conflict` where the name or the id is taken.
    pub(crate) fn insert(&mut self, id: &str, name: &str, definition: &str) -> Result<()> {
        self.insert_with_files(id, name, definition, &[])
    }

    /// Stores a new VM together with the files that maqet has created for it, each with its kind.
    ///
    /// # Errors
    /// As of [`Store::insert`].
    pub(crate) fn insert_with_files(
        &mut self,
        id: &str,
        name: &str,
        definition: &str,
        files: &[(String, &str)],
    ) -> Result<()> {
        self.write(|tx| {
            let sql = "INSERT INTO vm (id, name, definition, created_at, updated_at)
                       VALUES (?1, ?2, ?3, ?4, ?4)";
            tx.execute(sql, params![id, name, definition, now()])
                .map_err(|error| taken(error, id, name))?;
            let sql = "INSERT INTO file (vm_id, path, kind) VALUES (?1, ?2, ?3)";
            for (path, kind) in files {
                tx.execute(sql, params![id, path, kind])?;
            }
            Ok(())
        })
    }

    pub(crate) fn by_name(&self, name: &str) -> Result<Option<Row>> {
        self.read(|db| db.query_row(&format!("{COLUMNS} WHERE name = ?1"), [name], row).optional())
    }

    pub(crate) fn by_id(&self, id: &str) -> Result<Option<Row>> {
        self.read(|db| db.query_row(&format!("{COLUMNS} WHERE id = ?1"), [id], row).optional())
    }

    /// The one VM whose id begins with `prefix`, characters of `[0-9a-f-]`.
    ///
    /// # Errors
    /// `Conflict` where several do: it names the first five.
    pub(crate) fn by_id_prefix(&self, prefix: &str) -> Result<Option<Row>> {
        // "g" is greater than all that an id is made of: a range, so that the index serves.
        let sql = format!("{COLUMNS} WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY name");
        let mut found = self.read(|db| rows(db, &sql, [prefix]))?;
        if found.len() < 2 {
            return Ok(found.pop());
        }
        let mut names: Vec<String> =
            found.iter().take(CANDIDATES).map(|row| quote(&row.name)).collect();
        if found.len() > CANDIDATES {
            names.push(format!("{} more", found.len() - CANDIDATES));
        }
        let several = format!("the id {} is ambiguous: {}", quote(prefix), names.join(", "));
        Err(Error::conflict(several).hint("give a name, or more of the id"))
    }

    /// Every VM, by name.
    pub(crate) fn all(&self) -> Result<Vec<Row>> {
        self.read(|db| rows(db, &format!("{COLUMNS} ORDER BY name"), []))
    }

    /// The VMs with `"labels": {KEY: VALUE}`, by name.
    pub(crate) fn labelled(&self, key: &str, value: &str) -> Result<Vec<Row>> {
        let sql = format!(
            "{COLUMNS} WHERE id IN (SELECT vm_id FROM label WHERE key = ?1 AND value = ?2)
             ORDER BY name"
        );
        self.read(|db| rows(db, &sql, [key, value]))
    }

    /// The VMs with `"autostart": true`, by name.
    pub(crate) fn autostarting(&self) -> Result<Vec<Row>> {
        let sql = "WHERE json_extract(definition, '$.autostart') = 1 ORDER BY name";
        self.read(|db| rows(db, &format!("{COLUMNS} {sql}"), []))
    }

    /// Gives a VM another name.
    ///
    /// # Errors
    /// `NotFound` without such a VM, `Conflict` where another one has the name.
    pub(crate) fn rename(&mut self, id: &str, name: &str) -> Result<()> {
        self.write(|tx| {
            let sql = "UPDATE vm SET name = ?2, updated_at = ?3 WHERE id = ?1";
            let changed = tx
                .execute(sql, params![id, name, now()])
                .map_err(|error| taken(error, id, name))?;
            if changed == 0 { Err(missing(id).into()) } else { Ok(()) }
        })
    }

    /// Stores `new` where the definition is still `expected`, to the byte.
    ///
    /// # Errors
    /// `NotFound` without such a VM, `Conflict` where another command has changed it meanwhile.
    pub(crate) fn update_definition(&mut self, id: &str, expected: &str, new: &str) -> Result<()> {
        self.write(|tx| replace_definition(tx, id, expected, new))
    }

    /// The same together with the note that maqet creates a file of this kind for the VM.
    ///
    /// # Errors
    /// As of [`Store::update_definition`].
    pub(crate) fn update_with_file(
        &mut self,
        id: &str,
        (expected, new): (&str, &str),
        (path, kind): (&str, &str),
    ) -> Result<()> {
        self.write(|tx| {
            replace_definition(tx, id, expected, new)?;
            let sql = "INSERT INTO file (vm_id, path, kind) VALUES (?1, ?2, ?3)
                       ON CONFLICT (vm_id, path) DO UPDATE SET kind = excluded.kind";
            tx.execute(sql, params![id, path, kind])?;
            Ok(())
        })
    }

    /// Forgets a VM and the files noted for it; touches no file.
    ///
    /// # Errors
    /// `NotFound` without such a VM.
    pub(crate) fn remove(&mut self, id: &str) -> Result<()> {
        self.write(|tx| match tx.execute("DELETE FROM vm WHERE id = ?1", [id])? {
            0 => Err(missing(id).into()),
            _ => Ok(()),
        })
    }
}

fn replace_definition(
    tx: &rusqlite::Transaction<'_>,
    id: &str,
    expected: &str,
    new: &str,
) -> Result<(), Refusal> {
    let sql = "UPDATE vm SET definition = ?3, updated_at = ?4 WHERE id = ?1 AND definition = ?2";
    if tx.execute(sql, params![id, expected, new, now()])? == 1 {
        return Ok(());
    }
    let name: Option<String> =
        tx.query_row("SELECT name FROM vm WHERE id = ?1", [id], |row| row.get(0)).optional()?;
    Err(name.map_or_else(|| missing(id), |name| overtaken(&name)).into())
}

/// No VM has this id.
pub(super) fn missing(id: &str) -> Error {
    Error::not_found(format!("no VM has the id {}", quote(id)))
}

fn overtaken(name: &str) -> Error {
    Error::conflict(format!("another command has changed {} meanwhile", quote(name)))
        .hint("run the command again")
}

/// A violated UNIQUE as the sentence for it; any other failure as it is.
fn taken(error: rusqlite::Error, id: &str, name: &str) -> Refusal {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(SQLITE_CONSTRAINT_UNIQUE) => {
            Error::conflict(format!("a VM named {} exists already", quote(name))).into()
        }
        Some(SQLITE_CONSTRAINT_PRIMARYKEY) => {
            Error::conflict(format!("a VM with the id {} exists already", quote(id))).into()
        }
        _ => error.into(),
    }
}

pub(super) fn rows(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Row>> {
    db.prepare(sql)?.query_map(values, row)?.collect()
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        name: row.get(1)?,
        definition: row.get(2)?,
        created_at: row.get(3)?,
        updated_at: row.get(4)?,
    })
}

fn now() -> i64 {
    // A clock before 1970 or after the year 292 million says nothing worth an error.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
