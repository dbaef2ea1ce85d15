//! `device add`: one more device for a VM that runs.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{LIMIT, card};
use crate::cli::Source;
use crate::cli::output::{Output, Shape};
use crate::commands::context::{Context, Vm};
use crate::commands::hotplug;
use crate::control::qmp::Qmp;
use crate::error::{Error, Kind, Result, quote};
use crate::qemu::properties::Properties;

const SHAPE: Shape = Shape { list: false, columns: &[], fields: &["name", "id", "changed"] };

#[derive(Debug, Serialize)]
struct Added<'a> {
    name: &'a str,
    id: String,
    changed: bool,
}

pub(in crate::commands) fn add(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, SHAPE)?;
    let words = context.invocation.operands.get(1..).unwrap_or_default();
    let vm = context.vm()?;
    let about = |error: Error| error.about("cannot add a device to", &vm.name);
    let id = match &context.invocation.sources[..] {
        [] => plug(context, &vm, &Wanted::read(words)?).map_err(about)?,
        [Source::Net(card)] if words.is_empty() => card::plug(context, &vm, card).map_err(about)?,
        _ => return Err(Error::usage("one device at a time: a driver, or --net")),
    };
    if output.wants_objects() {
        output.object(&Added { name: &vm.name, id, changed: true })?;
    } else {
        output.text(&format!("{id}\n"))?;
    }
    output.finish()?;
    Ok(0)
}

/// A device as the command line has it.
#[derive(Debug, PartialEq)]
struct Wanted {
    driver: String,
    id: Option<String>,
    /// Properties in their order; JSON where it was given as such.
    properties: Vec<(String, Given)>,
}

#[derive(Debug, PartialEq)]
enum Given {
    Text(String),
    Json(Value),
}

impl Wanted {
    fn read(words: &[String]) -> Result<Wanted> {
        let (driver, rest) = match words {
            [driver, ..] if driver.contains('=') || driver.is_empty() => {
                return Err(Error::usage(format!("{} is no driver", quote(driver)))
                    .hint("the driver comes first: device add VM DRIVER KEY=VALUE"));
            }
            [driver, rest @ ..] => (driver.clone(), rest),
            [] => return Err(Error::usage("no driver is given").hint("or a card: --net user")),
        };
        let mut wanted = Wanted { driver, id: None, properties: Vec::new() };
        for word in rest {
            let Some((key, text)) = word.split_once('=') else {
                return Err(Error::usage(format!("{} is no property", quote(word)))
                    .hint("properties are KEY=VALUE, or KEY:=JSON"));
            };
            let (key, given) = match key.strip_suffix(':') {
                Some(key) => (
                    key,
                    Given::Json(serde_json::from_str(text).map_err(|error| {
                        Error::usage(format!("{} is not JSON: {error}", quote(text)))
                    })?),
                ),
                None => (key, Given::Text(text.to_owned())),
            };
            let is_known = wanted.properties.iter().any(|(known, _)| known == key);
            match given {
                _ if is_known || key.is_empty() || key == "driver" => {
                    return Err(Error::usage(format!(
                        "{} is given twice, or is no property",
                        quote(key)
                    )));
                }
                Given::Text(id) if key == "id" && wanted.id.is_none() => wanted.id = Some(id),
                _ if key == "id" => return Err(Error::usage("the id is one text")),
                given => wanted.properties.push((key.to_owned(), given)),
            }
        }
        Ok(wanted)
    }

    /// As `device_add` takes it, under this id.
    fn device(&self, id: &str, properties: &Properties<'_>) -> Value {
        let mut device = Map::new();
        device.insert("driver".to_owned(), self.driver.as_str().into());
        device.insert("id".to_owned(), id.into());
        for (key, given) in &self.properties {
            let value = match given {
                Given::Json(value) => value.clone(),
                Given::Text(text) => properties.value(key, text),
            };
            device.insert(key.clone(), value);
        }
        device.into()
    }
}

/// Plugs it in; the id that it has.
fn plug(context: &Context<'_>, vm: &Vm, wanted: &Wanted) -> Result<String> {
    let qmp = Qmp::of(&context.folders, &vm.id, context.deadline(LIMIT));
    let typename = json!({ "typename": wanted.driver });
    let answer =
        qmp.execute("device-list-properties", &typename).map_err(|error| match error.kind {
            Kind::Failed => error
                .of_kind(Kind::NotFound)
                .hint("\"QEMU -device help\" lists the drivers that it has"),
            _ => error,
        })?;
    let properties = Properties::of(&answer);
    let there = hotplug::ids(&qmp)?;
    let id = match &wanted.id {
        Some(id) if there.contains(id) => {
            return Err(
                Error::conflict(format!("it has a device {}", quote(id))).hint("choose another id")
            );
        }
        Some(id) => id.clone(),
        None => free_id(&there),
    };
    let mut device = wanted.device(&id, &properties);
    if properties.is_pci() && device.get("bus").is_none() {
        device = hotplug::on_a_port(&qmp, &device)?;
    }
    qmp.execute("device_add", &device)?;
    Ok(id)
}

/// The first id `dev0`, `dev1`, … that no device has.
fn free_id(there: &[String]) -> String {
    let mut ids = (0..).map(|number| format!("dev{number}"));
    ids.find(|id| !there.contains(id)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Wanted> {
        Wanted::read(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_a_device() {
        let wanted = read(&["virtio-rng-pci", "max-bytes=7", "id=r", "x:=[1]", "y=a=b"]).unwrap();
        let answer = json!([{"name": "max-bytes", "type": "uint64"}]);
        let device = wanted.device("r", &Properties::of(&answer));
        let expected = json!({
            "driver": "virtio-rng-pci", "id": "r", "max-bytes": 7, "x": [1], "y": "a=b",
        });
        assert_eq!((device, wanted.id.as_deref()), (expected, Some("r")));
        assert_eq!(free_id(&["dev0".into(), "dev2".into()]), "dev1");
        for wrong in [
            &[][..],
            &["id=r"],
            &[""],
            &["x", "y"],
            &["x", "=1"],
            &["x", "a=1", "a=2"],
            &["x", "driver=y"],
            &["x", "id=1", "id=2"],
            &["x", "id:=1"],
            &["x", "a:=nope"],
        ] {
            assert_eq!(read(wrong).unwrap_err().kind, Kind::Usage, "{wrong:?}");
        }
    }
}
