//! `edit`: a definition as `show` prints it, in an editor, and stored as it comes back.
//!
//! The file is private and goes in every case. What is wrong with it is the editor's to show: the
//! message stands on top of it as comments when it opens again.

use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

use super::context::{Context, Vm, parse_stored};
use super::show::pretty;
use super::sources;
use crate::control::life;
use crate::definition::name::{VmId, VmName};
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::sys::effective_uid;

/// The editor of a person who has not said which.
const EDITOR: &str = "vi";
/// How the name of the file begins; its editor's pid follows.
const DRAFT: &str = "maqet-edit-";
/// How a message begins that stands on top of the file; such lines go when it opens again.
const MARK: &str = "// maqet:";

pub(super) fn edit(context: &Context<'_>) -> Result<u8> {
    let mut output = context.changes()?;
    let vm = context.vm()?;
    let changed = edited(context, &vm).map_err(|error| error.about("cannot edit", &vm.name))?;
    let state = life::look_at(&context.folders, &vm.id, &vm.name)?.state;
    context.note(&match changed {
        false => format!("{}: nothing changes", vm.name),
        true if state.is_live() => format!("{}: changed, from its next start on", vm.name),
        true => format!("{}: changed", vm.name),
    });
    context.say_change(&mut output, &vm, state, changed)?;
    output.finish()?;
    Ok(0)
}

/// Whether something else is stored now.
fn edited(context: &Context<'_>, vm: &Vm) -> Result<bool> {
    let stored = vm.definition.as_deref();
    let stored = stored.ok_or_else(|| Error::failed("the database cannot be read"))?;
    let first = pretty(&vm.name, parse_stored(stored)?)?;
    let file = Draft::make(&first)?;
    // The editor has the terminal: what is typed there for it must not end us before the file goes.
    let interrupt = Interrupt::heed()?;
    loop {
        run_editor(file.path())?;
        interrupt.check().map_err(discarded)?;
        let text = std::fs::read_to_string(file.path())
            .map_err(|error| Error::io("read what was edited", &error))?;
        if without_message(&text) == first {
            return Ok(false);
        }
        match ready(context, vm, &text) {
            Ok(new) if parse_stored(&new)? == parse_stored(stored)? => return Ok(false),
            Ok(new) => {
                context
                    .store_to_write()
                    .and_then(|mut store| store.update_definition(&vm.id, stored, &new))
                    .map_err(discarded)?;
                return Ok(true);
            }
            Err(error) if asked_to_go_on(&error) => file.write(&with_message(&error, &text))?,
            Err(error) => return Err(discarded(error)),
        }
    }
}

/// What was saved, as it is to be stored.
fn ready(context: &Context<'_>, vm: &Vm, text: &str) -> Result<String> {
    let definition: Map<String, Value> = sources::from_text(text.as_bytes())?;
    match definition.get("name") {
        None => {}
        Some(Value::String(name)) if *name == vm.name => {}
        Some(_) => {
            return Err(Error::usage("name: an edit does not rename")
                .hint(format!("use \"maqet rename {} NEW\"", vm.name)));
        }
    }
    sources::checked(context, definition, &VmId::parse(&vm.id)?, &VmName::parse(&vm.name)?)
}

/// The editor's words are a shell's, as git and crontab take them.
fn run_editor(path: &Path) -> Result<()> {
    let given = |name| std::env::var(name).ok().filter(|words| !words.trim().is_empty());
    let editor = given("VISUAL").or_else(|| given("EDITOR")).unwrap_or_else(|| EDITOR.to_owned());
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(path)
        .status()
        .map_err(|error| Error::io(format_args!("run the editor {}", quote(&editor)), &error))?;
    if status.success() {
        return Ok(());
    }
    let error = Error::failed(format!("the editor {} failed ({status})", quote(&editor)));
    Err(discarded(error.hint("name another one with VISUAL or EDITOR")))
}

/// Says that nothing is stored of what was typed.
fn discarded(mut error: Error) -> Error {
    error.message.push_str("; what was edited is discarded");
    error
}

/// Shows what is wrong and asks whether the file is to be opened again. Nobody there: no.
fn asked_to_go_on(error: &Error) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "maqet: {error}\nmaqet: edit it again? [Y/n] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(0) | Err(_) => false,
        Ok(_) => !matches!(answer.trim(), "n" | "N" | "no"),
    }
}

fn with_message(error: &Error, text: &str) -> String {
    let lines: String = error.to_string().lines().map(|line| format!("{MARK} {line}\n")).collect();
    lines + without_message(text)
}

fn without_message(mut text: &str) -> &str {
    while text.starts_with(MARK) {
        text = text.split_once('\n').map_or("", |(_, rest)| rest);
    }
    text
}

/// The file that is edited, gone when it is dropped.
#[derive(Debug)]
struct Draft(PathBuf);

impl Draft {
    fn make(text: &str) -> Result<Draft> {
        let folder = std::env::temp_dir();
        // The name ends in .json, by which editors know what it holds.
        let name = format!("{DRAFT}{}-{}.json", std::process::id(), VmId::random()?);
        let path = folder.join(name);
        let cannot = |error| Error::io(format_args!("make a file in {}", folder.display()), &error);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                let draft = Draft(path.clone());
                file.write_all(text.as_bytes()).map(|()| draft)
            })
            .map_err(cannot)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, text: &str) -> Result<()> {
        std::fs::write(&self.0, text).map_err(|error| Error::io("write the file again", &error))
    }
}

/// The files of commands that were killed: what somebody wrote is in them.
pub(super) fn left() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let is_left = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let pid = name.strip_prefix(DRAFT).and_then(|rest| rest.split('-').next());
        let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
        let is_ours = || path.symlink_metadata().is_ok_and(|it| it.uid() == effective_uid());
        pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) && is_ours()
    };
    entries.map(|entry| entry.path()).filter(is_left).collect()
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stands_on_top_once() {
        let error = Error::usage("cpu: no").hint("a number");
        let once = with_message(&error, "{}\n// mine\n");
        assert_eq!(once, "// maqet: cpu: no\n// maqet: hint: a number\n{}\n// mine\n");
        assert_eq!(with_message(&error, &once), once);
        assert_eq!(without_message(&once), "{}\n// mine\n");
    }
}
