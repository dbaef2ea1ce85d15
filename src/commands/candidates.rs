//! Definitions that a command looks at and does not store: those of VMs with DEF merged onto them,
//! or those in files, as VMs that there are not.

use serde_json::{Map, Value};

use super::context::{Context, Vm, parse_stored};
use super::sources;
use crate::cli::Source;
use crate::definition::merge::{merged, onto};
use crate::definition::name::{VmId, VmName};
use crate::error::{Error, Result};

/// What a VM without a name is called.
const UNNAMED: &str = "unnamed";

/// A VM, there or imagined, and the definition that it would have.
pub(super) type Candidate = (Vm, Result<Map<String, Value>>);

/// What the command line is about. `doing` stands in the sentence for one that names nothing.
///
/// # Errors
/// Those of the command line and of files; what is wrong with one definition stands in its place.
pub(super) fn candidates(context: &Context<'_>, doing: &str) -> Result<Vec<Candidate>> {
    let sources = &context.invocation.sources;
    if context.selects_vms() {
        let parts = sources::one(sources)?;
        let changed =
            |vm: &Vm| onto(parse_stored(vm.definition.as_deref().unwrap_or("{}"))?, &parts);
        return Ok(context.vms()?.into_iter().map(|vm| (vm.clone(), changed(&vm))).collect());
    }
    if sources.is_empty() {
        return Err(
            Error::usage(format!("nothing to {doing} is given")).hint("name a VM, or give -f FILE")
        );
    }
    from_sources(sources)
}

/// The definitions in files. One alone need not have a name.
fn from_sources(sources: &[Source]) -> Result<Vec<Candidate>> {
    let imagined = |name: &VmName| -> Result<Vm> {
        Ok(Vm { id: VmId::random()?.to_string(), name: name.to_string(), definition: None })
    };
    if let Ok(parts) = sources::one(sources) {
        let whole = merged(&parts)?;
        let name = whole.get("name").and_then(Value::as_str).unwrap_or(UNNAMED);
        return Ok(vec![(imagined(&VmName::parse(name)?)?, Ok(whole))]);
    }
    let all = sources::by_name(sources)?;
    all.iter().map(|(name, parts)| Ok((imagined(name)?, merged(parts)))).collect()
}
