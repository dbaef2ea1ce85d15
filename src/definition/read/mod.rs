//! Merged JSON to a `Definition`: defaults filled in, every value checked, once and for all.
//!
//! `fields` reads one object by its table, `storage` a disk and a share, `items` a card, `arguments`
//! an option of QEMU, `words` the words of a choice.
//! Each refusal begins with the JSON path of the key. Nothing is looked up: whether a file exists
//! and whether the machine has the device asked for is found out later.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use self::fields::{Fields, expected};
use self::storage::Item;
use super::keys::{self, Kind};
use super::name::{VmName, is_name_byte};
use super::types::{
    Accel, Boot, Cpu, CpuModel, Definition, DirectBoot, ItemName, MachineType, Restart,
};
use super::units::Limit;
use crate::error::{Error, Result, quote};

mod arguments;
mod fields;
mod firmware;
mod items;
mod screen;
mod storage;
#[cfg(test)]
mod tests;
mod words;

pub(super) use self::fields::at;

/// The memory of a VM that does not say, in bytes.
const MEMORY: u64 = 1 << 30;
/// The guest's time to shut down, in seconds, where a VM does not say.
const STOP_TIMEOUT: u64 = 60;

impl Definition {
    /// Reads a definition: merged, with absolute paths and with the formats of existing images
    /// filled in. All errors are of usage.
    pub(crate) fn read(map: &Map<String, Value>) -> Result<Definition> {
        Definition::read_keys(map).map_err(|error| error.or_hint("see \"maqet help definition\""))
    }

    fn read_keys(map: &Map<String, Value>) -> Result<Definition> {
        let fields = Fields::new("", map, keys::DEFINITION)?;
        let stop_timeout = match fields.duration("stop_timeout")? {
            Some(limit) => limit,
            None => Limit::seconds(STOP_TIMEOUT)?,
        };
        let items = list_of(&fields, "storage", Item::read, Item::name)?.unwrap_or_default();
        let (storage, shares) = Item::sorted(&fields, items)?;
        Ok(Definition {
            name: name(&fields)?,
            description: fields.text("description")?.map(str::to_owned),
            labels: labels(&fields)?,
            binary: fields.program("binary")?,
            machine: machine(&fields)?,
            accel: fields.choice("accel", words::accel)?.unwrap_or(Accel::Auto),
            cpu_model: cpu_model(&fields)?,
            cpu: cpu(&fields)?,
            memory: fields.size("memory")?.unwrap_or(MEMORY),
            firmware: firmware::firmware(&fields)?,
            direct_boot: direct_boot(&fields)?,
            boot: boot(&fields)?,
            display: screen::display(&fields)?,
            vga: fields.choice("vga", words::vga)?,
            storage,
            shares,
            network: list_of(&fields, "network", items::card, |card| &card.name)?,
            serial: fields.bool("serial")?.unwrap_or(true),
            agent: fields.bool("agent")?,
            rng: fields.bool("rng")?,
            hotplug_slots: fields.count("hotplug_slots")?,
            sandbox: fields.bool("sandbox")?.unwrap_or(true),
            stop_timeout,
            restart: fields.choice("restart", words::restart)?.unwrap_or(Restart::Never),
            autostart: fields.bool("autostart")?.unwrap_or(false),
            protect: fields.bool("protect")?.unwrap_or(false),
            template: fields.bool("template")?.unwrap_or(false),
            arguments: arguments::arguments(&fields)?,
            args: args(&fields)?,
        })
    }
}

fn name(fields: &Fields<'_>) -> Result<Option<VmName>> {
    let name = fields.text("name")?.map(VmName::parse).transpose();
    name.map_err(|error| fields::at("name", error))
}

fn labels(fields: &Fields<'_>) -> Result<BTreeMap<String, String>> {
    let Some(value) = fields.value("labels") else {
        return Ok(BTreeMap::new());
    };
    let map = value.as_object().ok_or_else(|| expected("labels", "an object", value))?;
    map.iter()
        .map(|(key, value)| {
            let path = format!("labels.{}", quote(key));
            Ok((key.clone(), fields::text(&path, value)?.to_owned()))
        })
        .collect()
}

fn machine(fields: &Fields<'_>) -> Result<Option<MachineType>> {
    let Some(machine) = fields.text("machine")? else {
        return Ok(None);
    };
    let is_name = machine.starts_with(|c: char| c.is_ascii_alphanumeric())
        && machine.bytes().all(|byte| is_name_byte(byte) || byte == b'+');
    match is_name {
        true => Ok(Some(MachineType(machine.to_owned()))),
        false => Err(fields
            .refuse("machine", format!("{} is not the name of a machine type", quote(machine)))
            .hint("properties of the machine go into \"args\", as \"-machine\" and a word of their own")),
    }
}

fn cpu_model(fields: &Fields<'_>) -> Result<Option<CpuModel>> {
    match fields.text("cpu_model")? {
        Some(model) if model.is_empty() || model.contains([',', '\n']) => Err(fields
            .refuse("cpu_model", format!("{} is not the name of a CPU model", quote(model)))
            .hint("features go into \"args\", as \"-cpu\" and \"host,-svm\"")),
        model => Ok(model.map(|model| CpuModel(model.to_owned()))),
    }
}

fn cpu(fields: &Fields<'_>) -> Result<Cpu> {
    let Some(value) = fields.value("cpu") else {
        return Ok(Cpu::Count(1));
    };
    if !value.is_object() {
        return Ok(Cpu::Count(fields.count("cpu")?.unwrap_or(1)));
    }
    let inner = Fields::of("cpu", value, keys::CPU)?;
    let part = |name| Ok::<u32, Error>(inner.count(name)?.unwrap_or(1));
    let (sockets, cores, threads) = (part("sockets")?, part("cores")?, part("threads")?);
    match u64::from(sockets) * u64::from(cores) * u64::from(threads) {
        ..=4096 => Ok(Cpu::Topology { sockets, cores, threads }),
        all => Err(fields.refuse("cpu", format!("{all} CPUs are more than 4096"))),
    }
}

fn direct_boot(fields: &Fields<'_>) -> Result<Option<DirectBoot>> {
    let initrd = fields.file("initrd")?;
    let append = fields.text("append")?.map(str::to_owned);
    match fields.file("kernel")? {
        Some(kernel) => Ok(Some(DirectBoot { kernel, initrd, append })),
        None if initrd.is_some() => Err(fields.refuse("initrd", "it needs a kernel")),
        None if append.is_some() => Err(fields.refuse("append", "it needs a kernel")),
        None => Ok(None),
    }
}

fn boot(fields: &Fields<'_>) -> Result<Boot> {
    let Some(value) = fields.value("boot") else {
        return Ok(Boot::default());
    };
    let inner = Fields::of("boot", value, keys::BOOT)?;
    let order = inner.text("order")?.map(str::to_owned);
    if let Some(letters) = &order {
        let each_once = letters.bytes().collect::<BTreeSet<_>>().len() == letters.len();
        let known = letters.bytes().all(|letter| matches!(letter, b'a'..=b'p'));
        if letters.is_empty() || !each_once || !known {
            let why = format!("expected letters a to p, each once, found {}", quote(letters));
            return Err(inner.refuse("order", why).hint("c is the disk, d the CD, n the network"));
        }
    }
    Ok(Boot { order, menu: inner.bool("menu")? })
}

fn args(fields: &Fields<'_>) -> Result<Vec<String>> {
    let words = fields.list("args")?.unwrap_or_default();
    words.iter().map(|(path, word)| Ok(fields::text(path, word)?.to_owned())).collect()
}

/// A list of items, none of which has the name of another.
fn list_of<T>(
    fields: &Fields<'_>,
    name: &str,
    read: impl Fn(&Fields<'_>, ItemName) -> Result<T>,
    name_of: impl Fn(&T) -> &ItemName,
) -> Result<Option<Vec<T>>> {
    let Some(Kind::Items { prefix, keys }) = keys::find(keys::DEFINITION, name).map(|key| key.kind)
    else {
        return Ok(None);
    };
    let Some(list) = fields.list(name)? else {
        return Ok(None);
    };
    let mut all: Vec<T> = Vec::new();
    for (place, (path, value)) in list.into_iter().enumerate() {
        let item = Fields::of(&path, value, keys)?;
        let item_name = match item.text("name")? {
            Some(given) => item_name(&item, given)?,
            None => ItemName(format!("{prefix}{place}")),
        };
        if all.iter().any(|other| *name_of(other) == item_name) {
            let why = format!("there are two of the name {}", quote(item_name.as_str()));
            return Err(item.refuse("name", why));
        }
        all.push(read(&item, item_name)?);
    }
    Ok(Some(all))
}

fn item_name(item: &Fields<'_>, given: &str) -> Result<ItemName> {
    let is_name = (1..=26).contains(&given.len())
        && given.as_bytes()[0].is_ascii_alphanumeric()
        && given.bytes().all(is_name_byte);
    match is_name {
        true => Ok(ItemName(given.to_owned())),
        false => Err(item.refuse("name", format!("{} cannot be a name here", quote(given))).hint(
            "a name is 1 to 26 letters, digits and _ . - and begins with a letter or a digit",
        )),
    }
}
