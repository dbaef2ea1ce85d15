//! An item of `arguments`: an option of QEMU as a structured value.

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Without its dash: `[A-Za-z0-9][A-Za-z0-9_.-]*`.
    pub(crate) option: String,
    /// Empty: the option takes no value.
    pub(crate) parts: Vec<Part>,
}

/// A part of an option's value. A key is `[A-Za-z0-9_.-]+`; no text holds a zero byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of the value, of an option that takes a text and not a list of parts.
    Text(String),
    /// A word whose key is implied: the first one, without `=`; behind it one like a key.
    Word(String),
    /// `KEY=VALUE`.
    Pair(String, String),
}
