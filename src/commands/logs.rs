//! `logs`: what the console, QEMU or the runner wrote, and with `-f` what they go on to write.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::context::{Context, Vm};
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::error::{Error, Kind, Result};
use crate::lock;
use crate::paths::Log;
use crate::sys::{self, Interest};

/// How much is read at once, in bytes.
const BLOCK: u64 = 64 << 10;
/// For as long as anybody will follow.
const FOR_EVER: Duration = Duration::from_secs(100 * 366 * 86_400);

pub(super) fn logs(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let mut output = Output::new(invocation, Shape::TEXT)?;
    let log = match () {
        () if invocation.has(Flag::Qemu) => Log::Qemu,
        () if invocation.has(Flag::Runner) => Log::Runner,
        () => Log::Console,
    };
    let vm = context.vm()?;
    let path = context.folders.vm(&vm.id).log(log);
    let cannot = |error| Error::io(format_args!("read {}", path.display()), &error);
    let file = match File::open(&path) {
        Ok(mut file) => {
            if let Some(lines) = invocation.count(Flag::Lines) {
                to_last_lines(&mut file, lines as usize).map_err(cannot)?;
            }
            Some(file)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(cannot(error)),
    };
    let mut page = Page { output: &mut output, raw: invocation.has(Flag::Raw) };
    let code = if invocation.has(Flag::Follow) {
        follow(context, &vm, &path, file, &mut page)?
    } else {
        match file {
            Some(mut file) => page.rest_of(&mut file).map_err(cannot)??,
            None => context.note(&format!("{} has not written that log yet", vm.name)),
        }
        0
    };
    output.finish()?;
    Ok(code)
}

/// Where the log is printed.
struct Page<'a> {
    output: &'a mut Output,
    /// Control characters as they are, on a terminal too.
    raw: bool,
}

impl Page<'_> {
    /// Prints what there is behind the file's position. The outer error is of reading.
    fn rest_of(&mut self, file: &mut File) -> std::io::Result<Result<()>> {
        let mut block = vec![0; BLOCK as usize];
        loop {
            let bytes = match file.read(&mut block)? {
                0 => return Ok(Ok(())),
                count => &block[..count],
            };
            let said = if self.raw { self.output.raw(bytes) } else { self.output.guest(bytes) };
            if said.is_err() {
                return Ok(said);
            }
        }
    }
}

/// Prints the log as it grows, over its rotations, until the VM has ended, nobody reads any more, or
/// the command's own time is over.
fn follow(
    context: &Context<'_>,
    vm: &Vm,
    path: &Path,
    mut file: Option<File>,
    page: &mut Page<'_>,
) -> Result<u8> {
    let cannot = |error| Error::io(format_args!("read {}", path.display()), &error);
    let folder = context.folders.vm(&vm.id);
    // Watched before it is read: nothing is missed in between.
    let changes = sys::watch_folder(folder.path()).map_err(cannot)?;
    let runner = lock::holder_pidfd(&folder.lock())?;
    let deadline = context.deadline(FOR_EVER);
    let mut ended = runner.is_none();
    loop {
        loop {
            if let Some(file) = &mut file {
                page.rest_of(file).map_err(cannot)??;
            }
            // What stood in the old one has been read: now the one that took its place.
            match next_log(path, file.as_ref()).map_err(cannot)? {
                Some(next) => file = Some(next),
                None => break,
            }
        }
        page.output.flush()?;
        if ended || page.output.is_closed() {
            return Ok(0);
        }
        if std::time::Instant::now() >= deadline {
            return Ok(Kind::Timeout.exit_code());
        }
        let runner = runner.as_ref().map(|(_, pidfd)| (pidfd.as_fd(), Interest::Read));
        let sources: Vec<_> =
            std::iter::once((changes.as_fd(), Interest::Read)).chain(runner).collect();
        let ready = sys::poll(&sources, Some(deadline)).map_err(cannot)?;
        ended = ready.get(1).copied().unwrap_or(false);
        // Which file it was is of no use: the log is looked at in any case.
        while sys::read(&changes, &mut [0; 4096]).is_ok_and(|count| count > 0) {}
    }
}

/// The file at the path, where it is not the one that is open.
fn next_log(path: &Path, open: Option<&File>) -> std::io::Result<Option<File>> {
    let next = match File::open(path) {
        Ok(next) => next,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let there = next.metadata()?;
    let same = match open {
        Some(open) => {
            let open = open.metadata()?;
            (open.dev(), open.ino()) == (there.dev(), there.ino())
        }
        None => false,
    };
    Ok((!same).then_some(next))
}

/// The last lines of a file, at most 1 MiB of them.
pub(super) fn last_lines(path: &Path, lines: usize) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    to_last_lines(&mut file, lines)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sets the file's position to the beginning of its last lines, at most 1 MiB before its end.
fn to_last_lines(file: &mut File, lines: usize) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    let mut from = length;
    let mut bytes = Vec::new();
    while from > 0 && (bytes.len() as u64) < 16 * BLOCK {
        let step = from.min(BLOCK);
        from -= step;
        file.seek(SeekFrom::Start(from))?;
        let mut block = Vec::new();
        (&*file).take(step).read_to_end(&mut block)?;
        block.extend(bytes);
        bytes = block;
        if count_lines(&bytes) > lines {
            break;
        }
    }
    let surplus = count_lines(&bytes).saturating_sub(lines);
    let mut ends =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = match surplus {
        0 => 0,
        surplus => ends.nth(surplus - 1).unwrap_or(0),
    };
    file.seek(SeekFrom::Start(from + start as u64)).map(drop)
}

/// Lines, the last one counted whether or not it has ended.
fn count_lines(bytes: &[u8]) -> usize {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    ends + usize::from(!bytes.is_empty() && !bytes.ends_with(b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let folder = Folder::new();
        let path = folder.path().join("log");
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\nb\n", 0, ""),
            ("", 3, ""),
            ("\n\n\n", 2, "\n\n"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(last_lines(&path, lines).unwrap(), expected.as_bytes(), "{text:?} {lines}");
        }
    }

    #[test]
    fn a_long_file_is_read_from_its_end_alone() {
        let folder = Folder::new();
        let path = folder.path().join("log");
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let last = last_lines(&path, 3).unwrap();
        assert_eq!(last, b"line 99997\nline 99998\nline 99999\n");
    }
}
