//! What starts the guest, where that is not QEMU's own: code and variables in the machine's flash.

use serde_json::{Value, json};

use super::words::{Words, utf8};
use super::{Host, Vm};
use crate::definition::types::VARIABLES;
use crate::error::{Error, Result, quote};
use crate::paths;
use crate::qemu::machine::Machine;

const CODE: &str = "firmware-code";

/// Adds the nodes. What the machine is told of them.
pub(super) fn add(
    words: &mut Words,
    vm: &Vm<'_>,
    host: &Host,
    machine_type: &str,
) -> Result<Vec<(&'static str, &'static str)>> {
    if !vm.definition.firmware.has_variables() {
        return Ok(Vec::new());
    }
    let code = match &host.firmware {
        Some(code) if Machine::of(machine_type).flash => code,
        _ => {
            let machine = quote(machine_type);
            return Err(Error::usage(format!("firmware: the machine {machine} cannot take it"))
                .hint("leave firmware out, or choose another machine"));
        }
    };
    let variables = vm.folder.join(paths::VARIABLES);
    let mut node = json!({
        "node-name": CODE,
        "driver": code.format.as_str(),
        "read-only": true,
        "file": {"driver": "file", "filename": utf8(&code.path)?, "read-only": true},
    });
    if code.format == crate::definition::types::Format::Qcow2 {
        node["backing"] = Value::Null;
    }
    words.json("-blockdev", &node);
    words.json(
        "-blockdev",
        &json!({
            "node-name": VARIABLES,
            "driver": "qcow2",
            "file": {"driver": "file", "filename": utf8(&variables)?},
            "backing": null,
        }),
    );
    Ok(vec![("pflash0", CODE), ("pflash1", VARIABLES)])
}
