//! `-n`: what a command would do to VMs, told and not done.

use super::context::{Context, Vm};
use crate::cli::output::Output;
use crate::cli::report::shared_exit_code;
use crate::control::life::{self, Life};
use crate::error::Result;
use crate::wire::status::State;

/// Says for each VM whether the command named `word` would change it. `outcome` gives the state in
/// which the VM would then be, none where it would stay as it is, or the error that there would be.
///
/// # Errors
/// Those of writing; what is wrong with a VM is told, and in the exit code.
pub(super) fn rehearse(
    context: &Context<'_>,
    output: &mut Output,
    word: &str,
    vms: &[Vm],
    outcome: impl Fn(&Life) -> Result<Option<State>>,
) -> Result<u8> {
    let mut codes = Vec::new();
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    for (vm, life) in vms.iter().zip(life::look(&context.folders, &names)) {
        let found = life.and_then(|life| Ok((life.state, outcome(&life)?)));
        codes.push(match found {
            Ok((_, Some(state))) => {
                context.note(&format!("would {word} {}", vm.name));
                context.say_change(output, vm, state, true)?;
                0
            }
            Ok((state, None)) => {
                context.note(&format!("{} is {state}: nothing to do", vm.name));
                context.say_change(output, vm, state, false)?;
                0
            }
            Err(error) => context.tell(&format!("cannot {word}"), vm, error),
        });
    }
    Ok(shared_exit_code(codes))
}
