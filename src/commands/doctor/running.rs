//! What `doctor` finds of the VMs that run: those whose runner does not answer, and those that fell back
//! to slow emulation. Changes nothing.

use super::finding::Finding;
use crate::commands::context::Context;
use crate::control::life;
use crate::definition::types::Accel;
use crate::error::Error;

/// The findings about the VMs that run; none where all is well.
pub(super) fn running(context: &Context<'_>) -> Vec<Finding> {
    let Ok(vms) = context.every_vm() else { return Vec::new() };
    let names: Vec<_> = vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    let lives = life::look(&context.folders, &names);
    let mut findings = Vec::new();
    for (vm, life) in vms.iter().zip(lives).filter_map(|(vm, life)| Some((vm, life.ok()?))) {
        let name = &vm.name;
        if life.responding == Some(false) {
            let error = Error::failed(format!("the runner of {name} does not answer"))
                .hint(format!("\"maqet stop --force {name}\" ends it, and its QEMU with it"));
            findings.push(Finding::wrong("running", &error));
        }
        let is_auto = || context.definition(vm).is_ok_and(|vm| vm.accel == Accel::Auto);
        if life.accel.as_deref() == Some("tcg") && is_auto() {
            findings.push(Finding::note(
                "running",
                format!("{name} RUNS UNDER TCG, some ten times slower: KVM could not be had"),
                "make /dev/kvm usable and restart it; or say accel: tcg where that is meant",
            ));
        }
    }
    findings
}
