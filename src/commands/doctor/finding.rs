//! What `doctor` says of one thing that it has looked at. What is looked at, and where, is not known
//! here.

use std::path::PathBuf;

use serde::Serialize;

use crate::commands::context::Vm;
use crate::error::{Error, Result};
use crate::paths::Folders;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    /// False for what must be mended.
    pub(super) ok: bool,
    /// `ok`, `note` for what may be meant so, `wrong`, or `mended`.
    pub(super) result: &'static str,
    pub(super) found: String,
    pub(super) hint: Option<String>,
    #[serde(skip)]
    pub(super) mend: Option<Mend>,
}

/// What would put a thing right without harm to anything.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// The folder of the VM of this id is to be made anew.
    Folder(String),
    /// What a VM that is stored nowhere has left is to go.
    Scratch(Folders),
    /// The live link of this id is to go, for nobody holds that VM's lock.
    Link(String),
    /// A file of this VM that was cut short is to go.
    Unfinished { vm: Vm, path: PathBuf },
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, ok: true, result: "ok", found: found.into(), hint: None, mend: None }
    }

    pub(super) fn note(
        check: &'static str,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        let hint = Some(hint.into());
        Finding { check, ok: true, result: "note", found: found.into(), hint, mend: None }
    }

    pub(super) fn wrong(check: &'static str, error: &Error) -> Finding {
        let hint = error.hint.clone();
        Finding {
            check,
            ok: false,
            result: "wrong",
            found: error.message.clone(),
            hint,
            mend: None,
        }
    }

    pub(super) fn mended_by(self, mend: Mend) -> Finding {
        Finding { mend: Some(mend), ..self }
    }

    pub(super) fn of(check: &'static str, found: Result<String>) -> Finding {
        found.map_or_else(|error| Finding::wrong(check, &error), |found| Finding::ok(check, found))
    }
}
