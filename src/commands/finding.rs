//! What `doctor` says of one thing that it has looked at. What is looked at, and where, is not known
//! here.

use serde::Serialize;

use crate::error::{Error, Result};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    /// False for what must be mended.
    pub(super) ok: bool,
    /// `ok`, `note` for what may be meant so, or `wrong`.
    pub(super) result: &'static str,
    pub(super) found: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, ok: true, result: "ok", found: found.into(), hint: None }
    }

    pub(super) fn note(
        check: &'static str,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        let hint = Some(hint.into());
        Finding { check, ok: true, result: "note", found: found.into(), hint }
    }

    pub(super) fn wrong(check: &'static str, error: &Error) -> Finding {
        let hint = error.hint.clone();
        Finding { check, ok: false, result: "wrong", found: error.message.clone(), hint }
    }

    pub(super) fn of(check: &'static str, found: Result<String>) -> Finding {
        found.map_or_else(|error| Finding::wrong(check, &error), |found| Finding::ok(check, found))
    }
}
