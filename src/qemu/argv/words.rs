//! The words of a command line that grows. The only place that writes QEMU's option syntax, so that
//! no value can become an option of its own.

use std::path::Path;

use serde_json::Value;

use crate::definition::types::Part;
use crate::error::{Error, Result, quote};

/// argv, the program first.
#[derive(Debug)]
pub(super) struct Words(Vec<String>);

impl Words {
    pub(super) fn new(program: &Path) -> Result<Words> {
        Ok(Words(vec![utf8(program)?.to_owned()]))
    }

    /// A word by itself, or an option and words that QEMU takes as they are.
    pub(super) fn verbatim<const N: usize>(&mut self, words: [&str; N]) {
        self.0.extend(words.map(str::to_owned));
    }

    /// `-name [FIRST,]KEY=VALUE,…`.
    pub(super) fn option(&mut self, name: &str, first: Option<&str>, pairs: &[(&str, &str)]) {
        let first = first.map(str::to_owned);
        let pairs = pairs.iter().map(|(key, value)| pair(key, value));
        let parts: Vec<String> = first.into_iter().chain(pairs).collect();
        self.verbatim([name, &parts.join(",")]);
    }

    /// The same of parts that a definition gives.
    pub(super) fn parts(&mut self, name: &str, parts: &[Part]) {
        let all: Vec<String> = parts
            .iter()
            .map(|part| match part {
                Part::Text(text) | Part::Word(text) => doubled(text),
                Part::Pair(key, value) => pair(key, value),
            })
            .collect();
        self.verbatim([name, &all.join(",")]);
    }

    /// `-name {JSON}`, for -blockdev and -device, which take it from QEMU 6.2 on.
    pub(super) fn json(&mut self, name: &str, value: &Value) {
        self.verbatim([name, &value.to_string()]);
    }

    pub(super) fn into_argv(self, last: &[String]) -> Vec<String> {
        let mut argv = self.0;
        argv.extend_from_slice(last);
        argv
    }
}

fn pair(key: &str, value: &str) -> String {
    format!("{key}={}", doubled(value))
}

/// A value in option syntax: QEMU takes a single comma for its end (`get_opt_value` in its
/// util/qemu-option.c), and two for one.
fn doubled(value: &str) -> String {
    value.replace(',', ",,")
}

/// A path as QEMU gets it. Paths of a definition are UTF-8 already; a folder of the host need not be.
pub(super) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::usage(format!(
            "the path {} is not UTF-8, and QEMU takes no other in JSON",
            quote(&path.to_string_lossy())
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_comma_in_a_value_is_doubled_and_nothing_else_is_touched() {
        let mut words = Words::new(Path::new("/q")).unwrap();
        words.option("-x", Some("user"), &[("id", "a,b=c \"d\"\né"), ("e", "")]);
        assert_eq!(words.into_argv(&[])[2], "user,id=a,,b=c \"d\"\né,e=");
    }

    #[test]
    fn a_path_that_is_not_utf8_is_an_error() {
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
        assert!(Words::new(path).unwrap_err().message.contains("not UTF-8"));
    }
}
