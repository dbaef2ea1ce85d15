//! `doctor`: whether this host can run VMs, and whether what lies here is whole.

mod finding;
mod host;
mod mend;
mod running;
mod strays;

use super::context::Context;
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::table::Flag;
use crate::error::{Kind, Result};

pub(super) use self::strays::{entries, is_unfinished};

const SHAPE: Shape = Shape {
    list: false,
    columns: &[
        Column { title: "CHECK", path: "check", show: plain },
        Column { title: "RESULT", path: "result", show: plain },
        Column { title: "FOUND", path: "found", show: plain },
    ],
    fields: &["check", "ok", "result", "found", "hint"],
};

pub(super) fn doctor(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let mut findings = host::host(context);
    findings.extend(running::running(context));
    findings.extend(strays::strays(context));
    if context.invocation.has(Flag::Fix) {
        findings.iter_mut().for_each(|finding| mend::mend(context, finding));
    }
    let all_ok = findings.iter().all(|finding| finding.ok);
    for finding in &findings {
        output.object(finding)?;
    }
    output.finish()?;
    for finding in findings.iter().filter(|_| !context.invocation.quiet()) {
        if let Some(hint) = &finding.hint {
            context.note(&format!("{}: {hint}", finding.check));
        }
    }
    Ok(if all_ok { 0 } else { Kind::Failed.exit_code() })
}
