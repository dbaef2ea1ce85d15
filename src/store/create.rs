//! Making `maqet.db`, and migrating it: under a lock file, so that of twenty first uses at once
//! one does the work and the others find it done.

use std::path::Path;

use rusqlite::Connection;

use super::backup;
use super::disk::{creation_lock, touch};
use super::failure::{failure, shown};
use super::journal::{self, Place};
use super::open::{self, Seen};
use super::schema;
use crate::error::{Error, Kind, Result};

/// A database for writing, made, migrated or journalled otherwise where needed: it has taken all of
/// `steps`, and is what its place asks for. Its folder must exist.
pub(super) fn for_writing(path: &Path, place: Place, steps: &[&str]) -> Result<Connection> {
    let newest = schema::version_after(steps);
    let ready = match open::look(path, newest)? {
        _ if place.read_only => return Err(read_only(path)),
        Seen::Nothing => None,
        Seen::Database => match open::connect(path, newest) {
            Err(error) if may_lack_memory(place, &error) => None,
            other => other?
                .filter(|(db, version)| *version == newest && journal::is_in(db, place.journal)),
        },
    };
    match ready {
        Some((db, _)) => {
            journal::set_synchronous(path, &db, place.journal)?;
            Ok(db)
        }
        None => make(path, place, steps),
    }
}

/// The same for a database that is missing, older, or in another journal mode.
///
/// A crash leaves an empty file, or a whole database that is not yet in its mode: the next writer
/// comes through here again.
fn make(path: &Path, place: Place, steps: &[&str]) -> Result<Connection> {
    let _held_until_done = creation_lock(path)?;
    let newest = schema::version_after(steps);
    let found = match open::look(path, newest)? {
        Seen::Nothing => None,
        Seen::Database => match open::connect(path, newest) {
            Err(error) if may_lack_memory(place, &error) => open::connect_alone(path, newest)?,
            other => other?,
        },
    };
    let (mut db, version) = match found {
        Some(found) => found,
        None => {
            let doing = || format!("create the database {}", shown(path));
            touch(path).map_err(|error| Error::io(doing(), &error))?;
            (open::configured(path)?, 0)
        }
    };
    journal::set_synchronous(path, &db, place.journal)?;
    if (1..newest).contains(&version) {
        backup::make(path, &db, version)?;
    }
    schema::migrate(&mut db, steps).map_err(|error| failure("migrate", path, &error))?;
    let now = schema::identity(&db).map_err(|error| failure("open", path, &error))?;
    open::accept(path, now, newest)?;
    journal::bring(path, &db, place.journal)?;
    journal::share(path, &db)?;
    open::settle(path, &db)?;
    Ok(db)
}

/// Whether this may be a database in WAL mode that has come to a file system which cannot map the
/// memory for it.
fn may_lack_memory(place: Place, error: &Error) -> bool {
    place.journal == journal::ANYWHERE && error.kind == Kind::Failed
}

/// The refusal to write where the file system forbids it.
pub(super) fn read_only(path: &Path) -> Error {
    let why = "its file system is read-only";
    Error::permission(format!("cannot write to the database {}: {why}", shown(path)))
        .hint("mount it writable, or name another folder with --data-dir")
}
