//! `run`: a VM in the foreground, one that is stored or, with `--rm`, one that is not.

use super::context::Context;
use super::{ephemeral, foreground};
use crate::cli::table::Flag;
use crate::error::{Error, Result};
use crate::runner::Readiness;

pub(super) fn run(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let readiness =
        Readiness::new(std::env::var_os("NOTIFY_SOCKET"), invocation.count(Flag::ReadyFd))?;
    if invocation.has(Flag::Rm) {
        return ephemeral::run(context, readiness);
    }
    let wants_rm = |what: &str| {
        Err(Error::usage(format!("\"run\" of a stored VM has no use for {what}"))
            .hint("with --rm the VM is described here; \"maqet apply\" changes a stored one"))
    };
    if !invocation.sources.is_empty() {
        return wants_rm("a definition");
    }
    if invocation.has(Flag::Keep) {
        return wants_rm("\"--keep\"");
    }
    if invocation.operands.is_empty() {
        return Err(Error::usage("\"run\" needs VM, or --rm and a definition")
            .hint("maqet run VM, or maqet run --rm --disk ./x.qcow2"));
    }
    foreground::stored(context, &context.vm()?, readiness)
}
