//! What every command needs: where things lie, the settings, the database, and the VMs that the
//! command line names.
//!
//! The database is opened when it is asked for and not before: a broken one never costs control of a
//! VM that runs.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};

use super::living::{is_meant, living};
use super::settings::Settings;
pub(super) use super::vm::Vm;
use crate::cli::Invocation;
use crate::cli::output::{Output, Shape};
use crate::cli::report::{note, report, shared_exit_code};
use crate::cli::table::{Flag, Verb};
use crate::definition::merge::merge;
use crate::definition::name::VmRef;
use crate::definition::set::label_pair;
use crate::definition::types::Definition;
use crate::definition::units::Limit;
use crate::error::{Error, Kind, Result, quote};
use crate::paths::{Choice, Environment, Folders};
use crate::private::check_private;
use crate::store::{Row, Store};
use crate::wire::status::State;

/// One command line and what it stands on.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) invocation: &'a Invocation,
    pub(super) folders: Folders,
    pub(super) settings: Settings,
}

/// What a command that changes a VM's state says of it, with `--json` and `-o`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) changed: bool,
}

impl Change {
    /// The shape of such results: without `--json` and `-o` there is nothing on stdout.
    pub(super) const SHAPE: Shape =
        Shape { list: false, columns: &[], fields: &["name", "state", "changed"] };
}

impl<'a> Context<'a> {
    pub(super) fn new(invocation: &'a Invocation) -> Result<Context<'a>> {
        let path = |flag| invocation.value(flag).map(Into::into);
        let flags = Choice {
            data: path(Flag::DataDir),
            runtime: path(Flag::RuntimeDir),
            config: path(Flag::ConfigDir),
        };
        let environment = Environment::read();
        let settings = Settings::load(environment.config(&flags).as_deref())?;
        let folders = Folders::resolve(&flags, &environment, &settings.folders)?;
        Ok(Context { invocation, folders, settings })
    }

    /// The database for what changes nothing; `None` where none was ever made. A command that will
    /// write to it anyway may migrate it now.
    pub(super) fn store_to_read(&self) -> Result<Option<Store>> {
        match check_private(self.folders.data()) {
            Ok(()) => match Store::open_to_read(&self.folders.database()) {
                Err(error) if self.writes() => {
                    Store::open_to_write(&self.folders.database()).map(Some).map_err(|_| error)
                }
                opened => opened,
            },
            Err(_) if is_missing(self.folders.data()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn writes(&self) -> bool {
        let verb = self.invocation.verb;
        let dry = self.invocation.has(Flag::DryRun);
        let writing = matches!(
            verb,
            Verb::Add
                | Verb::Apply
                | Verb::Clone
                | Verb::DiskAdd
                | Verb::DiskResize
                | Verb::DiskRm
                | Verb::Edit
                | Verb::Import
                | Verb::Rename
                | Verb::Rm
                | Verb::Start
        );
        writing && !dry
    }

    /// The database for a command that changes something, made where there is none.
    pub(super) fn store_to_write(&self) -> Result<Store> {
        self.folders.make_data()?;
        Store::open_to_write(&self.folders.database())
    }

    /// The VMs that the operands name, each once; with `--all` every VM, with `-l` those that have
    /// the labels, with `--autostart` those that are to start with the host. If one is unknown, that is all that is found out.
    pub(super) fn vms(&self) -> Result<Vec<Vm>> {
        if self.invocation.has(Flag::All) {
            return self.every_vm();
        }
        if self.invocation.has(Flag::Selector) {
            return self.labelled_vms();
        }
        if self.invocation.has(Flag::Autostart) {
            return self.autostarting_vms();
        }
        self.vms_named(&self.invocation.operands)
    }

    /// Whether the command line says which VMs it is about.
    pub(super) fn selects_vms(&self) -> bool {
        let invocation = self.invocation;
        !invocation.operands.is_empty()
            || invocation.has(Flag::All)
            || invocation.has(Flag::Selector)
    }

    /// Every VM there is. Where it is about what runs, those too that the database does not know.
    pub(super) fn every_vm(&self) -> Result<Vec<Vm>> {
        let rows = self.store_to_read()?.map(|store| store.all()).transpose()?;
        let mut vms: Vec<Vm> = rows.unwrap_or_default().into_iter().map(Vm::from).collect();
        if matches!(self.invocation.verb, Verb::Ls | Verb::Status | Verb::Stop) {
            let known: HashSet<String> = vms.iter().map(|vm| vm.id.clone()).collect();
            vms.extend(living(&self.folders, |id| !known.contains(id)));
        }
        Ok(vms)
    }

    /// The VMs that have every label of `-l`.
    fn labelled_vms(&self) -> Result<Vec<Vm>> {
        let Some(store) = self.store_to_read()? else { return Ok(Vec::new()) };
        let mut found: Option<Vec<Row>> = None;
        for label in self.invocation.values(Flag::Selector) {
            let (key, value) = label_pair(label)?;
            let these = store.labelled(key, value)?;
            found = Some(match found {
                None => these,
                Some(before) => before.into_iter().filter(|row| these.contains(row)).collect(),
            });
        }
        Ok(found.unwrap_or_default().into_iter().map(Vm::from).collect())
    }

    /// The VMs whose definition says `autostart`. Where the settings say it of all that say nothing,
    /// the database cannot tell them.
    fn autostarting_vms(&self) -> Result<Vec<Vm>> {
        if self.settings.defaults.contains_key("autostart") {
            let says = |vm: &Vm| self.definition(vm).is_ok_and(|definition| definition.autostart);
            return Ok(self.every_vm()?.into_iter().filter(says).collect());
        }
        let rows = self.store_to_read()?.map(|store| store.autostarting()).transpose()?;
        Ok(rows.unwrap_or_default().into_iter().map(Vm::from).collect())
    }

    /// The VM of the first operand.
    pub(super) fn vm(&self) -> Result<Vm> {
        let first = self.invocation.operands.first().cloned().into_iter().collect::<Vec<_>>();
        let none = || Error::usage("no VM is named");
        self.vms_named(&first)?.pop().ok_or_else(none)
    }

    /// The VMs that these words name, each once.
    pub(super) fn vms_named(&self, words: &[String]) -> Result<Vec<Vm>> {
        let references =
            words.iter().map(|word| VmRef::parse(word)).collect::<Result<Vec<VmRef>>>()?;
        match self.stored(words, &references) {
            // What VMs there are only the database knows; which run, their runners do, too.
            Err(error) if !matches!(error.kind, Kind::NotFound | Kind::Conflict) => {
                self.live_vms(&references, error)
            }
            other => other,
        }
    }

    fn stored(&self, words: &[String], references: &[VmRef]) -> Result<Vec<Vm>> {
        let store = self.store_to_read()?;
        let mut vms: Vec<Vm> = Vec::new();
        for (word, reference) in words.iter().zip(references) {
            let row = match (&store, reference) {
                (None, _) => None,
                (Some(store), VmRef::Name(name)) => store.by_name(name.as_str())?,
                (Some(store), VmRef::Id(id)) => store.by_id(&id.to_string())?,
                (Some(store), VmRef::IdPrefix(prefix)) => store.by_id_prefix(prefix)?,
            };
            let vm = match row {
                Some(row) => Vm::from(row),
                None => self.stranger(store.as_ref(), reference).ok_or_else(|| unknown(word))?,
            };
            if !vms.contains(&vm) {
                vms.push(vm);
            }
        }
        Ok(vms)
    }

    /// The VMs that live, for when the database cannot be read: their runners know their names. The
    /// database's error is told where that does not serve.
    fn live_vms(&self, references: &[VmRef], error: Error) -> Result<Vec<Vm>> {
        let live = living(&self.folders, |_| true);
        let found: Vec<Vm> = references
            .iter()
            .filter_map(|reference| live.iter().find(|vm| is_meant(vm, reference)))
            .cloned()
            .collect();
        if found.is_empty() || found.len() < references.len() {
            return Err(error);
        }
        self.note(&format!("{}; going by the VMs that run", error.message));
        Ok(found)
    }

    /// The VM that runs and is meant, where the database knows nothing of it.
    fn stranger(&self, store: Option<&Store>, reference: &VmRef) -> Option<Vm> {
        let is_known =
            |id: &str| store.is_some_and(|store| store.by_id(id).is_ok_and(|row| row.is_some()));
        let found = living(&self.folders, |id| !is_known(id));
        let found = found.into_iter().find(|vm| is_meant(vm, reference))?;
        self.note(&format!("{} runs, and the database does not know it", found.name));
        Some(found)
    }

    /// The definition that a VM would run: what is stored over the settings' defaults.
    pub(super) fn effective(&self, stored: &str) -> Result<Map<String, Value>> {
        let stored = parse_stored(stored)?;
        let mut effective = Map::new();
        merge(&mut effective, self.settings.defaults.clone());
        merge(&mut effective, stored);
        Ok(effective)
    }

    /// The same as a typed definition.
    pub(super) fn definition(&self, vm: &Vm) -> Result<Definition> {
        let stored = vm
            .definition
            .as_deref()
            .ok_or_else(|| Error::failed("its definition cannot be read"))?;
        Definition::read(&self.effective(stored)?)
    }

    /// How much a runner writes into its log.
    pub(super) fn runner_log_level(&self) -> log::LevelFilter {
        match self.invocation.times(Flag::Verbose) {
            0 | 1 => self.settings.log_level.unwrap_or(log::LevelFilter::Info),
            _ => log::LevelFilter::Debug,
        }
    }

    /// When the command's own time is over: `--timeout`, else `default` from now.
    pub(super) fn deadline(&self, default: Duration) -> Instant {
        let now = Instant::now();
        match self.invocation.limit(Flag::Timeout) {
            Some(Limit::After(limit)) => now + limit,
            // For ever, as far as a clock of this machine can tell.
            Some(Limit::Never) => now + Duration::from_secs(100 * 366 * 86_400),
            None => now + default,
        }
    }

    /// The results of a command that changes states; see [`Change`].
    pub(super) fn changes(&self) -> Result<Output> {
        Output::new(self.invocation, Change::SHAPE)
    }

    /// Prints one change where an object is wanted.
    pub(super) fn say_change(
        &self,
        output: &mut Output,
        vm: &Vm,
        state: State,
        changed: bool,
    ) -> Result<()> {
        if output.wants_objects() {
            output.object(&Change { name: vm.name.clone(), state, changed })?;
        }
        Ok(())
    }

    /// Says on stderr what is no error.
    pub(super) fn note(&self, text: &str) {
        note(self.invocation.quiet(), text);
    }

    /// Tells an error about one VM and gives its exit code.
    pub(super) fn tell(&self, doing: &str, vm: &Vm, error: Error) -> u8 {
        let error = error.about(doing, &vm.name);
        report(&error, self.invocation.has(Flag::Json));
        error.kind.exit_code()
    }

    /// Ends a command on several VMs: what was gathered is written, and their codes become one.
    pub(super) fn finish(&self, output: Output, codes: impl IntoIterator<Item = u8>) -> Result<u8> {
        output.finish()?;
        Ok(shared_exit_code(codes))
    }

    /// Has a person confirm what destroys something.
    ///
    /// # Errors
    /// [`Kind::Usage`] where there is nobody to ask, or the answer is no.
    pub(super) fn confirm(&self, question: &str) -> Result<()> {
        use std::io::{BufRead, IsTerminal, Write};
        if self.invocation.has(Flag::Yes) {
            return Ok(());
        }
        let refused =
            |why: &str| Err(Error::usage(format!("{question}: {why}")).hint("confirm it with -y"));
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return refused("nobody can be asked");
        }
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "maqet: {question}? [y/N] ");
        let _ = stderr.flush();
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => refused("not confirmed"),
        }
    }
}

/// A definition as it lies in the database.
pub(super) fn parse_stored(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text)
        .map_err(|error| Error::failed(format!("cannot read the stored definition: {error}")))
}

/// Whether there is nothing at a path, as opposed to something that we may not look at.
fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The refusal of a name that is not there.
fn unknown(word: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no VM {}", quote(word)))
        .hint("\"maqet ls\" shows those that there are")
}
