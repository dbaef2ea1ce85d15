//! `device ls`: the devices of running VMs that have an id.

use serde::Serialize;
use serde_json::json;

use super::LIMIT;
use crate::cli::output::{Column, Output, Shape, plain};
use crate::commands::context::{Context, Vm};
use crate::commands::hotplug;
use crate::control::qmp::Qmp;
use crate::error::Result;
use crate::qemu::pci;

const SHAPE: Shape = Shape {
    list: true,
    columns: &[
        Column { title: "VM", path: "vm", show: plain },
        Column { title: "ID", path: "name", show: plain },
        Column { title: "DRIVER", path: "driver", show: plain },
        Column { title: "PORT", path: "port", show: plain },
        Column { title: "ADDRESS", path: "address", show: plain },
    ],
    fields: &["vm", "name", "driver", "port", "address"],
};

#[derive(Debug, Serialize)]
struct Listed {
    vm: String,
    /// Its id.
    name: String,
    driver: String,
    /// The root port behind which it sits.
    port: Option<String>,
    /// On PCI: BUS:SLOT.FUNCTION, as the guest may number it.
    address: Option<String>,
}

pub(in crate::commands) fn ls(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let mut codes = Vec::new();
    for vm in &context.vms()? {
        codes.push(match listed(context, vm) {
            Ok(all) => {
                all.iter().try_for_each(|one| output.object(one))?;
                0
            }
            Err(error) => context.tell("cannot list the devices of", vm, error),
        });
    }
    context.finish(output, codes)
}

fn listed(context: &Context<'_>, vm: &Vm) -> Result<Vec<Listed>> {
    let qmp = Qmp::of(&context.folders, &vm.id, context.deadline(LIMIT));
    let places = match qmp.execute("query-pci", &json!({})) {
        Ok(buses) => pci::places(&buses),
        // A machine without PCI does not have the question either.
        Err(error) => {
            log::debug!("{}: {error}", vm.name);
            Vec::new()
        }
    };
    let row = |one: hotplug::Peripheral| {
        let place = places.iter().find(|place| place.id == one.id);
        Listed {
            vm: vm.name.clone(),
            name: one.id,
            driver: one.driver,
            port: place.and_then(|place| place.port.clone()),
            address: place.map(|place| place.address.clone()),
        }
    };
    Ok(hotplug::peripherals(&qmp)?.into_iter().map(row).collect())
}
