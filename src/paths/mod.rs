//! Where everything lies.
//!
//! Environment and flags become [`Folders`] here, once. Nothing here reads a file's content.

mod vm;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::private::{check_private, make_private};
use crate::sys;

pub(crate) use self::vm::{Log, RuntimeFolder, VARIABLES, VmFolder, rotated};

/// What of the environment decides where files lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) uid: u32,
    pub(crate) home: Option<PathBuf>,
    pub(crate) xdg_data_home: Option<PathBuf>,
    pub(crate) xdg_config_home: Option<PathBuf>,
    pub(crate) xdg_runtime_dir: Option<PathBuf>,
    /// MAQET_DATA_DIR, MAQET_RUNTIME_DIR, MAQET_CONFIG_DIR.
    pub(crate) maqet: Choice,
}

/// One place's wishes for the three folders: the flags', the environment's or the settings'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) data: Option<PathBuf>,
    pub(crate) runtime: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's environment. An empty variable counts as unset, and so does a relative
    /// XDG path, as the XDG base directory specification demands.
    pub(crate) fn read() -> Environment {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let absolute =
            |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
        let xdg = |name: &str| variable(name).and_then(absolute);
        let chosen = |name: &str| variable(name).map(PathBuf::from);
        Environment {
            uid: sys::effective_uid(),
            home: xdg("HOME"),
            xdg_data_home: xdg("XDG_DATA_HOME"),
            xdg_config_home: xdg("XDG_CONFIG_HOME"),
            xdg_runtime_dir: xdg("XDG_RUNTIME_DIR"),
            maqet: Choice {
                data: chosen("MAQET_DATA_DIR"),
                runtime: chosen("MAQET_RUNTIME_DIR"),
                config: chosen("MAQET_CONFIG_DIR"),
            },
        }
    }

    /// The folder of the settings: `None` without a HOME, and that is no error.
    pub(crate) fn config(&self, flags: &Choice) -> Option<PathBuf> {
        flags
            .config
            .clone()
            .or_else(|| self.maqet.config.clone())
            .or_else(|| self.xdg_config_home.as_ref().map(|path| path.join("maqet")))
            .or_else(|| self.home.as_ref().map(|home| home.join(".config/maqet")))
    }
}

/// What the folder of a VM that is stored nowhere ends in: no id and no name does.
const SCRATCH: &str = ".rm";

/// The folders of this invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folders {
    data: PathBuf,
    /// Candidates for the runtime folder of a VM being started, best first.
    runtime: Vec<PathBuf>,
}

impl Folders {
    /// Decides where things lie: flags, then environment, then settings, then the defaults.
    ///
    /// # Errors
    /// Without a HOME only root has a default for data (`/var/lib/maqet`): else [`Kind::Usage`].
    ///
    /// [`Kind::Usage`]: crate::error::Kind::Usage
    pub(crate) fn resolve(
        flags: &Choice,
        environment: &Environment,
        settings: &Choice,
    ) -> Result<Folders> {
        let chosen = [flags, &environment.maqet, settings];
        let data = chosen
            .iter()
            .find_map(|choice| choice.data.clone())
            .or_else(|| environment.xdg_data_home.as_ref().map(|path| path.join("maqet")))
            .or_else(|| environment.home.as_ref().map(|home| home.join(".local/share/maqet")))
            .or_else(|| (environment.uid == 0).then(|| PathBuf::from("/var/lib/maqet")))
            .ok_or_else(|| {
                Error::usage("cannot tell where the VMs are defined: HOME is not set")
                    .hint("set HOME, or name a folder with --data-dir or MAQET_DATA_DIR")
            })?;
        let runtime = match chosen.iter().find_map(|choice| choice.runtime.clone()) {
            Some(path) => vec![absolute(&path)?],
            None => default_runtime_folders(environment),
        };
        Ok(Folders { data: absolute(&data)?, runtime })
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("maqet.db")
    }

    /// What can be found out anew at any time.
    pub(crate) fn cache(&self) -> PathBuf {
        self.data.join("cache")
    }

    /// One symlink for each VM that may be alive, to its runtime folder.
    pub(crate) fn live(&self) -> PathBuf {
        self.data.join("live")
    }

    pub(crate) fn live_link(&self, id: &str) -> PathBuf {
        self.live().join(id)
    }

    /// The runtime folder of the VM that may be alive, as its runner recorded it.
    pub(crate) fn live_runtime(&self, id: &str) -> Option<RuntimeFolder> {
        std::fs::read_link(self.live_link(id)).ok().filter(|to| to.is_absolute()).map(RuntimeFolder)
    }

    /// Removes what a runner left of its runtime: the link last, for whoever is killed before that
    /// leaves something that the next one finds. Only a holder of the VM's lock calls this.
    ///
    /// # Errors
    /// What cannot be removed; the link is still there then.
    pub(crate) fn clear_live(&self, id: &str) -> Result<()> {
        use std::io::ErrorKind::{InvalidInput, NotFound};
        let link = self.live_link(id);
        match std::fs::read_link(&link) {
            Ok(to) if to.is_absolute() => RuntimeFolder(to).remove()?,
            Err(error) if !matches!(error.kind(), NotFound | InvalidInput) => {
                return Err(Error::io(format_args!("read {}", link.display()), &error));
            }
            _ => {}
        }
        remove_file(&link)
    }

    pub(crate) fn vm(&self, id: &str) -> VmFolder {
        VmFolder(self.data.join("vms").join(id))
    }

    /// Makes the data folder and what stands in it, for a command that stores something.
    pub(crate) fn make_data(&self) -> Result<()> {
        make_private(&self.data)?;
        make_private(&self.live())?;
        make_private(&self.data.join("vms"))
    }

    /// Makes the runtime folder of a VM being started, under the first candidate that serves.
    /// `announce` is told of each before it is made, so that none is ever there unknown.
    ///
    /// # Errors
    /// Where none does: that of the first one that is not to be trusted, before that of one that is
    /// merely not there.
    pub(crate) fn make_runtime(
        &self,
        id: &str,
        announce: impl Fn(&RuntimeFolder) -> Result<()>,
    ) -> Result<RuntimeFolder> {
        let mut refusal = None::<Error>;
        for base in &self.runtime {
            let folder = RuntimeFolder(base.join(id));
            let made = make_private(base)
                .and_then(|()| announce(&folder))
                .and_then(|()| make_private(folder.path()));
            match made {
                Ok(()) => return Ok(folder),
                Err(error) => {
                    let told = refusal.as_ref().map(|first| first.kind);
                    let graver = error.kind == Kind::Permission && told != Some(Kind::Permission);
                    if told.is_none() || graver {
                        refusal = Some(error);
                    }
                }
            }
        }
        Err(refusal.unwrap_or_else(|| {
            Error::failed("there is no folder for sockets").hint("name one with --runtime-dir")
        }))
    }

    /// Folders for a VM that is stored nowhere: its own lies where its socket does, in `NAME.rm`
    /// under the first runtime folder that serves. That one alone is made: its maker is to hold it
    /// before there is anything in it.
    ///
    /// # Errors
    /// As of `make_runtime`.
    pub(crate) fn make_scratch(&self, name: &str) -> Result<Folders> {
        let made = self.make_runtime(&format!("{name}{SCRATCH}"), |_| Ok(()))?;
        Ok(Folders { data: made.0, runtime: self.runtime.clone() })
    }

    /// The scratch folders that there are, those of VMs that run among them. What another user has
    /// put where ours would lie is none, however much it looks like one.
    pub(crate) fn scratches(&self) -> Vec<Folders> {
        let is_ours = |path: &PathBuf| check_private(path).is_ok();
        let is_scratch = |path: &PathBuf| path.to_string_lossy().ends_with(SCRATCH);
        let bases = self.runtime.iter().filter(|base| is_ours(base));
        let entries = bases.filter_map(|base| std::fs::read_dir(base).ok()).flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(is_scratch).filter(is_ours);
        paths.map(|data| Folders { data, runtime: self.runtime.clone() }).collect()
    }

    /// The same folders as a runner is told them: its candidates in order.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        std::iter::once(&self.data).chain(&self.runtime).map(|path| path.clone().into()).collect()
    }

    /// The inverse of [`Folders::to_arguments`].
    pub(crate) fn from_arguments(mut words: impl Iterator<Item = OsString>) -> Option<Folders> {
        let data = PathBuf::from(words.next()?);
        let runtime: Vec<PathBuf> = words.map(PathBuf::from).collect();
        (!runtime.is_empty()).then_some(Folders { data, runtime })
    }
}

/// `$XDG_RUNTIME_DIR/maqet`, `/run/user/UID/maqet`, `/run/maqet` for root, `/tmp/maqet-UID`.
fn default_runtime_folders(environment: &Environment) -> Vec<PathBuf> {
    let uid = environment.uid;
    let mut candidates: Vec<PathBuf> = Vec::new();
    candidates.extend(environment.xdg_runtime_dir.as_ref().map(|path| path.join("maqet")));
    candidates.push(format!("/run/user/{uid}/maqet").into());
    if uid == 0 {
        candidates.push("/run/maqet".into());
    }
    candidates.push(format!("/tmp/maqet-{uid}").into());
    candidates.dedup();
    candidates
}

/// Removes a file that may be gone already.
fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format_args!("remove {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::io(format_args!("tell where {} lies", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn choice(data: &str, runtime: &str) -> Choice {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        Choice { data: path(data), runtime: path(runtime), config: None }
    }

    #[test]
    fn flags_go_before_environment_before_settings_before_defaults() {
        let mut environment = Environment { uid: 7, home: Some("/h".into()), ..Default::default() };
        let none = Choice::default();
        let data = |flags: &Choice, environment: &Environment, settings: &Choice| {
            Folders::resolve(flags, environment, settings).unwrap().data
        };
        assert_eq!(data(&none, &environment, &none), Path::new("/h/.local/share/maqet"));
        environment.xdg_data_home = Some("/x".into());
        assert_eq!(data(&none, &environment, &none), Path::new("/x/maqet"));
        let settings = choice("/s", "");
        assert_eq!(data(&none, &environment, &settings), Path::new("/s"));
        environment.maqet = choice("/e", "");
        assert_eq!(data(&none, &environment, &settings), Path::new("/e"));
        assert_eq!(data(&choice("/f", ""), &environment, &settings), Path::new("/f"));
    }

    #[test]
    fn without_a_home_root_has_a_place_and_others_are_asked_for_one() {
        let none = Choice::default();
        let root = Folders::resolve(&none, &Environment::default(), &none).unwrap();
        assert_eq!(root.data, Path::new("/var/lib/maqet"));
        let other = Environment { uid: 7, ..Environment::default() };
        let error = Folders::resolve(&none, &other, &none).unwrap_err();
        assert!(error.kind == Kind::Usage && error.hint.is_some());
    }

    #[test]
    fn the_runtime_folder_has_its_order_of_candidates() {
        let environment =
            Environment { uid: 7, xdg_runtime_dir: Some("/x".into()), ..Default::default() };
        let candidates = default_runtime_folders(&environment);
        assert_eq!(
            candidates,
            ["/x/maqet", "/run/user/7/maqet", "/tmp/maqet-7"].map(PathBuf::from)
        );
        let root = default_runtime_folders(&Environment::default());
        assert_eq!(root, ["/run/user/0/maqet", "/run/maqet", "/tmp/maqet-0"].map(PathBuf::from));
        let folders =
            Folders::resolve(&choice("/d", "/r"), &environment, &Choice::default()).unwrap();
        assert_eq!(folders.runtime, [PathBuf::from("/r")]);
    }

    #[test]
    fn folders_pass_through_a_runners_arguments_unchanged() {
        let folders = Folders { data: "/d".into(), runtime: vec!["/a".into(), "/b c".into()] };
        let words = folders.to_arguments().into_iter();
        assert_eq!(Folders::from_arguments(words), Some(folders));
        assert_eq!(Folders::from_arguments(std::iter::empty()), None);
    }

    #[test]
    fn the_next_candidate_serves_where_the_first_cannot() {
        let root = Folder::new();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let runtime = vec![file.join("maqet"), root.path().join("second")];
        let folders = Folders { data: root.path().into(), runtime };
        let made = folders.make_runtime("id", |_| Ok(())).unwrap();
        assert_eq!(made.path(), root.path().join("second/id"));
        made.remove().unwrap();
        assert!(!made.path().exists());
    }
}
