//! QEMU's firmware descriptors (docs/interop/firmware.json): what one says, and which fits a machine.
//!
//! Pure: the files are read by `super`.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Flash, Image};
use crate::definition::types::Format;
use crate::qemu::machine;

/// Features without which a plain VM does not have what the firmware wants, or that would keep it from
/// starting what nobody has signed.
const UNFIT: [&str; 3] = ["requires-smm", "secure-boot", "enrolled-keys"];

/// A descriptor, as much of it as tells a UEFI in flash.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    executable: Option<File>,
    #[serde(default)]
    nvram_template: Option<File>,
}

#[derive(Debug, Deserialize)]
struct File {
    filename: PathBuf,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

impl Descriptor {
    /// What stands in a file; `None` for what is no descriptor.
    pub(super) fn read(bytes: &[u8]) -> Option<Descriptor> {
        serde_json::from_slice(bytes).ok()
    }

    /// The files of a UEFI for this architecture and machine type; `None` where this is none for it.
    pub(super) fn fits(&self, architecture: &str, machine_type: &str) -> Option<Flash> {
        let is_uefi = self.interface_types.iter().any(|kind| kind == "uefi");
        let is_split = matches!(self.mapping.mode.as_deref(), None | Some("split"));
        let is_unfit = self.features.iter().any(|feature| UNFIT.contains(&feature.as_str()));
        // An alias has no pattern of its own: any version of it stands for it.
        let version = machine::versions_of(machine_type).map(|prefix| format!("{prefix}1"));
        let is_for = |target: &Target| {
            let mut names = std::iter::once(machine_type).chain(version.as_deref());
            target.architecture == architecture
                && names.any(|name| target.machines.iter().any(|pattern| matches(pattern, name)))
        };
        if !is_uefi
            || !is_split
            || is_unfit
            || self.mapping.device != "flash"
            || !self.targets.iter().any(is_for)
        {
            return None;
        }
        let code = self.mapping.executable.as_ref()?.image()?;
        Some(Flash { code, vars: self.mapping.nvram_template.as_ref()?.image()? })
    }
}

impl File {
    fn image(&self) -> Option<Image> {
        let format = match self.format.as_str() {
            "raw" => Format::Raw,
            "qcow2" => Format::Qcow2,
            _ => return None,
        };
        self.filename.is_absolute().then(|| Image { path: self.filename.clone(), format })
    }
}

/// Whether a pattern of glob(7) without brackets matches the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut letters = pattern.chars();
    let rest = text.chars().next().map_or("", |first| &text[first.len_utf8()..]);
    match letters.next() {
        None => text.is_empty(),
        Some('*') => {
            let after = letters.as_str();
            let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            places.any(|at| matches(after, &text[at..]))
        }
        Some(letter) => {
            let same = text.starts_with(letter) || (letter == '?' && !text.is_empty());
            same && matches(letters.as_str(), rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(change: &dyn Fn(&mut Value)) -> Descriptor {
        let mut value = json!({
            "description": "x", "interface-types": ["bios", "uefi"],
            "mapping": {
                "device": "flash",
                "executable": {"filename": "/f/code.fd", "format": "raw"},
                "nvram-template": {"filename": "/f/vars.qcow2", "format": "qcow2"},
            },
            "targets": [
                {"architecture": "i386", "machines": ["isapc"]},
                {"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]},
            ],
            "features": ["acpi-s3", "verbose-dynamic"], "tags": [],
        });
        change(&mut value);
        Descriptor::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn one_fits_the_machines_that_it_names_and_their_aliases() {
        let one = descriptor(&|_| {});
        for (architecture, machine, fits) in [
            ("x86_64", "q35", true),
            ("x86_64", "pc", true),
            ("x86_64", "pc-q35-7.2", true),
            ("i386", "isapc", true),
            ("i386", "q35", false),
            ("aarch64", "virt", false),
            ("x86_64", "microvm", false),
            ("x86_64", "q35-", false),
        ] {
            let found = one.fits(architecture, machine);
            assert_eq!(found.is_some(), fits, "{architecture} {machine}");
            if let Some(Flash { code, vars }) = found {
                assert_eq!((code.path, code.format), ("/f/code.fd".into(), Format::Raw));
                assert_eq!((vars.path, vars.format), ("/f/vars.qcow2".into(), Format::Qcow2));
            }
        }
    }

    #[test]
    fn what_a_plain_vm_cannot_start_is_passed_over() {
        type Change = &'static dyn Fn(&mut Value);
        let changes: [Change; 9] = [
            &|it| it["interface-types"] = json!(["bios"]),
            &|it| it["features"] = json!(["requires-smm"]),
            &|it| it["features"] = json!(["acpi-s4", "secure-boot"]),
            &|it| it["features"] = json!(["enrolled-keys"]),
            &|it| it["mapping"]["device"] = json!("memory"),
            &|it| it["mapping"]["mode"] = json!("combined"),
            &|it| it["mapping"]["executable"]["format"] = json!("vmdk"),
            &|it| it["mapping"]["nvram-template"] = Value::Null,
            &|it| it["mapping"]["executable"]["filename"] = json!("code.fd"),
        ];
        for (place, change) in changes.into_iter().enumerate() {
            assert!(descriptor(change).fits("x86_64", "q35").is_none(), "{place}");
        }
        let split = descriptor(&|it| it["mapping"]["mode"] = json!("split"));
        assert!(split.fits("x86_64", "q35").is_some());
        for nonsense in ["", "[]", "{}", "{\"mapping\": 1}"] {
            assert!(Descriptor::read(nonsense.as_bytes()).is_none(), "{nonsense}");
        }
    }
}
