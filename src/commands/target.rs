//! A VM of which a part is to be changed, while it runs and while it does not: what is stored of it,
//! and what is true of it now.
//!
//! What the part is, and how it is changed, is not known here.

use serde_json::{Map, Value};

use super::button;
use super::context::{Context, Vm, parse_stored};
use crate::control::life::{self, Life};
use crate::error::{Error, Result};
use crate::wire::status::State;

/// A VM of which a part is to be changed: what is stored of it, and what is true of it now.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) vm: Vm,
    /// The text as it lies in the database.
    pub(super) text: String,
    pub(super) stored: Map<String, Value>,
    pub(super) life: Life,
}

impl Target {
    /// The one VM that the command line names.
    ///
    /// # Errors
    /// `Kind::NotFound`; a definition that cannot be read.
    pub(super) fn of(context: &Context<'_>) -> Result<Target> {
        let vm = context.vm()?;
        let unknown = || Error::failed("its definition cannot be read");
        let text = vm.definition.clone().ok_or_else(unknown)?;
        let stored = parse_stored(&text)?;
        let life = life::look_at(&context.folders, &vm.id, &vm.name)?;
        Ok(Target { vm, text, stored, life })
    }

    /// Whether it runs, and its runner can be asked.
    ///
    /// # Errors
    /// `Kind::Timeout` for a runner that does not answer; `Kind::Conflict` on its way up or down.
    pub(super) fn is_running(&self) -> Result<bool> {
        match (self.life.state, self.life.responding) {
            (state, _) if !state.is_live() => Ok(false),
            (_, Some(false)) => Err(button::silent(&self.life)),
            (State::Running | State::Paused, _) => Ok(true),
            (state, _) => {
                Err(Error::conflict(format!("it is {state}")).hint("try again in a moment"))
            }
        }
    }

    /// The items of `key` as they are stored.
    pub(super) fn items(&self, key: &str) -> &[Value] {
        self.stored.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}
