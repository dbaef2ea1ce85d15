//! A flag for each scalar key of a definition: `cpu_model` is typed `--cpu-model`.
//!
//! The keys, their help and their defaults belong to `definition`; here they only become flags.

use std::borrow::Cow;

use crate::definition::keys::{self, Key, Kind};

/// One key of a definition as a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefinitionFlag {
    /// The key as it stands in a definition.
    pub(crate) key: &'static str,
    /// The name of its value in help; none where it is true or false: `--rng`, `--rng=false`.
    pub(crate) value: Option<Cow<'static, str>>,
    pub(crate) help: &'static str,
    /// What holds without it, for a person.
    pub(crate) default: &'static str,
}

impl DefinitionFlag {
    /// The flag with its dashes.
    pub(crate) fn written(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }
}

/// Every scalar key that maqet obeys as a flag, in the order of the keys' own table.
pub(crate) fn definition_flags() -> impl Iterator<Item = DefinitionFlag> {
    keys::flags().map(|key| DefinitionFlag {
        key: key.name,
        value: value_name(key),
        help: key.help,
        default: key.default,
    })
}

fn value_name(key: &Key) -> Option<Cow<'static, str>> {
    match &key.kind {
        Kind::Bool => None,
        Kind::Choice(choice) => Some(choice.words.join("|").into()),
        _ => Some(key.value_name().into()),
    }
}
