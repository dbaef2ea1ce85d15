//! A VM as a command knows it. How it is found is `context`'s.

use crate::store::Row;

/// A VM that a command works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vm {
    pub(super) id: String,
    pub(super) name: String,
    /// As stored; `None` where the database could not be read and only the runner is known.
    pub(super) definition: Option<String>,
}

impl From<Row> for Vm {
    fn from(row: Row) -> Vm {
        Vm { id: row.id, name: row.name, definition: Some(row.definition) }
    }
}
