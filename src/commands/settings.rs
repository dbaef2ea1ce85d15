//! The settings of a host and of a user: where things lie, what every definition begins with.
//!
//! Two files, both of which may be missing: `/etc/maqet/maqet.json`, then `maqet.json` in the user's
//! configuration folder, which goes before it. They are read here and nowhere written.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::definition::json;
use crate::definition::merge::merge;
use crate::definition::nearest::nearest;
use crate::error::{Error, Result, quote};
use crate::paths::Choice;

/// The file of the whole host.
const HOST_FILE: &str = "/etc/maqet/maqet.json";
/// The file in a user's configuration folder.
const USER_FILE: &str = "maqet.json";

const KEYS: [&str; 4] = ["data_dir", "runtime_dir", "log_level", "defaults"];

/// What the settings say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(super) folders: Choice,
    /// How much a runner writes into its log.
    pub(super) log_level: Option<log::LevelFilter>,
    /// Merged under every definition.
    pub(super) defaults: Map<String, Value>,
}

impl Settings {
    /// Reads both files, `config` being the user's folder.
    ///
    /// # Errors
    /// [`Kind::Usage`] names the file and the key that is wrong.
    ///
    /// [`Kind::Usage`]: crate::error::Kind::Usage
    pub(super) fn load(config: Option<&Path>) -> Result<Settings> {
        let mut settings = Settings::default();
        let user = config.map(|folder| folder.join(USER_FILE));
        for path in [Some(PathBuf::from(HOST_FILE)), user].into_iter().flatten() {
            if let Some(bytes) = read(&path)? {
                settings.add(&bytes, &path.display().to_string())?;
            }
        }
        Ok(settings)
    }

    /// Takes what one file says, `source` being its name.
    ///
    /// # Errors
    /// As of [`Settings::load`].
    pub(crate) fn add(&mut self, bytes: &[u8], source: &str) -> Result<()> {
        let mut documents = json::documents(bytes, source)?;
        let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
            return Err(Error::usage(format!("{source}: settings are one object")));
        };
        for (key, value) in document {
            let wrong = |expected: &str| {
                Error::usage(format!("{source}: {key}: {expected} is expected, not {value}"))
            };
            let folder = || {
                let path = value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
                path.ok_or_else(|| wrong("an absolute path"))
            };
            match key.as_str() {
                "data_dir" => self.folders.data = Some(folder()?),
                "runtime_dir" => self.folders.runtime = Some(folder()?),
                "log_level" => {
                    let level = value.as_str().and_then(|text| text.parse().ok());
                    let words = "off, error, warn, info, debug or trace";
                    self.log_level = Some(level.ok_or_else(|| wrong(words))?);
                }
                "defaults" => match value {
                    Value::Object(defaults) => merge(&mut self.defaults, defaults),
                    _ => return Err(wrong("an object")),
                },
                _ => {
                    let error =
                        Error::usage(format!("{source}: there is no setting {}", quote(&key)));
                    return Err(match nearest(&key, KEYS) {
                        Some(known) => error.hint(format!("did you mean {}?", quote(known))),
                        None => error.hint(format!("the settings are {}", KEYS.join(", "))),
                    });
                }
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let cannot = |error| Error::io(format_args!("read {}", path.display()), &error);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(cannot(error)),
    };
    let mut bytes = Vec::new();
    file.take(json::LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn missing_files_are_no_settings() {
        let folder = Folder::new();
        assert_eq!(Settings::load(Some(folder.path())).unwrap(), Settings::default());
    }

    #[test]
    fn settings_are_read_with_comments_and_later_ones_go_before() {
        let mut settings = Settings::default();
        let host = br#"{"data_dir": "/a", "defaults": {"memory": "1G", "cpu": 2}} // the host's"#;
        settings.add(host, "host").unwrap();
        settings.add(br#"{"log_level": "debug", "defaults": {"cpu": 4}}"#, "user").unwrap();
        assert_eq!(settings.folders.data, Some("/a".into()));
        assert_eq!(settings.log_level, Some(log::LevelFilter::Debug));
        assert_eq!(Value::Object(settings.defaults), json!({"memory": "1G", "cpu": 4}));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        for (text, words) in [
            (r#"{"data-dir": "/a"}"#, "data-dir"),
            (r#"{"data_dir": "a"}"#, "absolute"),
            (r#"{"log_level": 3}"#, "log_level"),
            (r#"{"defaults": []}"#, "object"),
            ("{} {}", "one object"),
        ] {
            let error = Settings::default().add(text.as_bytes(), "/etc/x.json").unwrap_err();
            assert!(error.message.contains("/etc/x.json"), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
