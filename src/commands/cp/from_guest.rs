//! A file comes out of a guest.

use std::path::Path;

use serde::de::IgnoredAny;

use super::CLEAN_LIMIT;
use crate::cli::progress::Progress;
use crate::commands::sink::{Ended, Sink};
use crate::control::agent::Agent;
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::qemu::agent::command::{Handle, Position, Read, close, file_read, open, seek};

/// Prints the permission bits of a file in octal, where the guest has a tool for that.
const MODE: &str = r#"stat -c %a "$1""#;

/// Copies `path` of the guest's to `file`, `-` being standard output.
pub(super) fn copy(
    agent: &mut Agent<'_>,
    path: &str,
    file: &str,
    interrupt: &Interrupt,
    progress: impl FnOnce(Option<u64>) -> Progress,
) -> Result<()> {
    let handle: Handle = agent.ask(open(path, "r"))?;
    let copied = pour(agent, handle, &target(path, file)?, interrupt, progress);
    if copied.is_err() {
        agent.clean_up(CLEAN_LIMIT);
    }
    let closed = agent.ask::<IgnoredAny>(close(handle));
    let Some(sink) = copied? else { return Ok(()) };
    closed?;
    if let Some(mode) = mode(agent, path) {
        sink.set_mode(mode)?;
    }
    sink.finish(true)
}

/// Where it goes: into a folder under its own name.
fn target(path: &str, file: &str) -> Result<String> {
    if file == "-" || !Path::new(file).is_dir() {
        return Ok(file.to_owned());
    }
    let name = path.rsplit(['/', '\\']).next().filter(|name| !matches!(*name, "" | "." | ".."));
    let name = name.ok_or_else(|| {
        Error::usage(format!("{} is a folder, and {} has no name", quote(file), quote(path)))
    })?;
    let whole = Path::new(file).join(name);
    whole.into_os_string().into_string().map_err(|_| Error::usage("the name is not UTF-8"))
}

/// All that the file holds; `None` where nobody reads standard output any more.
fn pour<'a>(
    agent: &mut Agent<'_>,
    handle: Handle,
    file: &str,
    interrupt: &'a Interrupt,
    progress: impl FnOnce(Option<u64>) -> Progress,
) -> Result<Option<Sink<'a>>> {
    let total = size(agent, handle);
    let mut sink = Sink::to(file, interrupt)?;
    let mut progress = progress(total);
    loop {
        let read: Read = agent.ask(file_read(handle))?;
        let bytes = read.bytes().ok_or_else(|| Error::failed("the agent sent no base64"))?;
        if bytes.is_empty() {
            return Ok(Some(sink));
        }
        match sink.write(&bytes) {
            Ok(()) => progress.add(bytes.len() as u64),
            Err(Ended::ReaderGone) => return Ok(None),
            Err(Ended::Failed(error)) => return Err(error),
        }
    }
}

/// How long it is, where that can be known beforehand.
fn size(agent: &mut Agent<'_>, handle: Handle) -> Option<u64> {
    let end: Position = agent.ask(seek(handle, 0, "end")).ok()?;
    agent.ask::<Position>(seek(handle, 0, "set")).ok()?;
    // A file of /proc says 0.
    (end.position > 0).then_some(end.position)
}

fn mode(agent: &mut Agent<'_>, path: &str) -> Option<u32> {
    let ran = agent.run(MODE, &[path]).ok().filter(|ran| ran.code == 0)?;
    u32::from_str_radix(&ran.stdout, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_folder_takes_a_file_under_its_name() {
        let folder = Folder::new();
        let here = folder.path().to_str().unwrap();
        assert_eq!(target("/etc/a b", here).unwrap(), format!("{here}/a b"));
        assert_eq!(target(r"C:\x\y.txt", here).unwrap(), format!("{here}/y.txt"));
        assert_eq!(target("/etc/a", "-").unwrap(), "-");
        assert_eq!(target("/etc/a", "b").unwrap(), "b");
        for path in ["/", "/etc/", "..", "/etc/.."] {
            assert!(target(path, here).is_err(), "{path}");
        }
    }
}
