//! The disks of VMs: what there is, and one file for each way to change it.
//!
//! Definitions are changed through the store and images through `qemu`; what a running QEMU is asked
//! is `plug`'s.

mod add;
mod list;
mod plug;
mod resize;
mod rm;

use serde_json::{Map, Value};

use super::context::{Context, Vm, parse_stored};
use crate::control::life::{self, Life};
use crate::definition::types::Disk;
use crate::error::{Error, Result, quote};

pub(super) use self::add::add;
pub(super) use self::list::ls;
pub(super) use self::resize::resize;
pub(super) use self::rm::rm;

/// What the `file` table calls an image.
const KIND: &str = "disk";

/// A VM whose disks are to be changed: what is stored of it, and what is true of it now.
#[derive(Debug)]
struct Target {
    vm: Vm,
    /// The text as it lies in the database.
    text: String,
    stored: Map<String, Value>,
    life: Life,
}

impl Target {
    fn of(context: &Context<'_>) -> Result<Target> {
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
    fn is_running(&self) -> Result<bool> {
        use crate::wire::status::State;
        match (self.life.state, self.life.responding) {
            (state, _) if !state.is_live() => Ok(false),
            (_, Some(false)) => Err(super::button::silent(&self.life)),
            (State::Running | State::Paused, _) => Ok(true),
            (state, _) => {
                Err(Error::conflict(format!("it is {state}")).hint("try again in a moment"))
            }
        }
    }

    /// The items of `storage` as they are stored.
    fn items(&self) -> &[Value] {
        self.stored.get("storage").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// The disk of this name in a definition.
fn named<'a>(storage: &'a [Disk], name: &str) -> Result<&'a Disk> {
    storage.iter().find(|disk| disk.name.as_str() == name).ok_or_else(|| {
        Error::not_found(format!("it has no disk {}", quote(name)))
            .hint("\"maqet disk ls\" shows those that it has")
    })
}
