//! `logs`: what the console, QEMU or the runner wrote.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::context::Context;
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::error::{Error, Result};
use crate::paths::Log;

/// How much is read at once, in bytes.
const BLOCK: u64 = 64 << 10;

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
    let mut say = |bytes: &[u8]| match invocation.has(Flag::Raw) {
        true => output.raw(bytes),
        false => output.guest(bytes),
    };
    match invocation.count(Flag::Lines) {
        Some(lines) => match last_lines(&path, lines as usize) {
            Ok(bytes) => say(&bytes)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(error)),
        },
        None => match File::open(&path) {
            Ok(mut file) => {
                let mut block = vec![0; BLOCK as usize];
                loop {
                    match file.read(&mut block).map_err(cannot)? {
                        0 => break,
                        count => say(&block[..count])?,
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                context.note(&format!("{} has not written that log yet", vm.name));
            }
            Err(error) => return Err(cannot(error)),
        },
    }
    output.finish()?;
    Ok(0)
}

/// The last lines of a file, at most 1 MiB of them.
pub(super) fn last_lines(path: &Path, lines: usize) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut from = length;
    let mut bytes = Vec::new();
    while from > 0 && (bytes.len() as u64) < 16 * BLOCK {
        let step = from.min(BLOCK);
        from -= step;
        file.seek(SeekFrom::Start(from))?;
        let mut block = Vec::new();
        (&file).take(step).read_to_end(&mut block)?;
        block.extend(bytes);
        bytes = block;
        if count_lines(&bytes) > lines {
            break;
        }
    }
    let surplus = count_lines(&bytes).saturating_sub(lines);
    let start = match surplus {
        0 => 0,
        surplus => {
            let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            ends.map(|(at, _)| at + 1).nth(surplus - 1).unwrap_or(0)
        }
    };
    Ok(bytes.split_off(start))
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
