//! A VM whose runner is this process.
//!
//! The VM's lock is opened once, by taking it, and never looked at before: to close any descriptor of
//! it would free it.

use super::context::{Context, Vm};
use super::{noted, start};
use crate::cli::report::report;
use crate::cli::table::Flag;
use crate::error::Result;
use crate::runner::{self, Exit, Readiness};
use crate::wire::handoff::{Mission, Order};

/// Runs a stored VM, and stores what the run found out about it.
pub(super) fn stored(context: &Context<'_>, vm: &Vm, readiness: Readiness) -> Result<u8> {
    start::refuse_template(context.definition(vm).as_ref().ok())
        .map_err(|error| error.about("cannot run", &vm.name))?;
    start::warn_of_tcg(context, vm);
    let mission = start::mission(context, vm)?;
    let code = foreground(context, &vm.name, &mission, readiness, || start::order(context, vm));
    noted::remember(context, vm);
    code
}

/// Runs a VM in this process, and tells what was wrong with its end.
pub(super) fn foreground(
    context: &Context<'_>,
    name: &str,
    mission: &Mission,
    readiness: Readiness,
    order: impl FnOnce() -> Result<Option<Order>>,
) -> Result<u8> {
    let Exit { code, error } = runner::foreground(mission, readiness, order)
        .map_err(|error| error.about("cannot run", name))?;
    if let Some(error) = error {
        report(
            &error.about("there was no orderly end of", name),
            context.invocation.has(Flag::Json),
        );
    }
    Ok(code)
}
