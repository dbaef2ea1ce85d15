//! A file goes into a guest.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::de::IgnoredAny;

use super::CLEAN_LIMIT;
use crate::cli::progress::Progress;
use crate::control::agent::Agent;
use crate::error::{Error, Result, quote};
use crate::qemu::agent::command::{Handle, PIECE, Written, close, file_write, open};

/// Arguments: where to, and the file's name for a folder. Makes an empty file for the owner alone
/// beside the place, and prints its path, a line each: of the place, too.
const BEGIN: &str = r#"
t=$1
[ ! -d "$t" ] || t=${t%/}/$2
case $t in
*/*) d=${t%/*}/ ;;
*) d= ;;
esac
umask 077
n=$d.maqet-$$-${t##*/}
: > "$n" || exit
echo "$n"
echo "$t"
"#;

/// Arguments: the two paths, and the mode of a new file in octal. What is there keeps its owner and
/// its mode.
const FINISH: &str = r#"
if [ -e "$2" ]; then
    chown "$(stat -c %u:%g "$2")" "$1" 2>/dev/null
    m=$(stat -c %a "$2") || m=600
else
    m=$(printf %o $((0$3 & ~0$(umask))))
fi
chmod "$m" "$1" && mv -f "$1" "$2"
"#;

const REMOVE: &str = r#"rm -f "$1""#;

/// Copies `file`, `-` being standard input, to `path` of the guest's.
pub(super) fn copy(
    agent: &mut Agent<'_>,
    file: &str,
    path: &str,
    progress: impl FnOnce(Option<u64>) -> Progress,
) -> Result<()> {
    let mut source = Source::open(file)?;
    let begun = agent.run(BEGIN, &[path, source.name])?;
    let (beside, place) = match begun.stdout.split_once('\n') {
        Some((beside, place)) if begun.code == 0 => (beside.to_owned(), place.to_owned()),
        _ => return Err(cannot(path, &begun.stderr)),
    };
    let copied = pour(agent, &mut source, &beside, progress).and_then(|()| {
        let mode = format!("{:o}", source.mode);
        let finished = agent.run(FINISH, &[&beside, &place, &mode])?;
        if finished.code == 0 { Ok(()) } else { Err(cannot(path, &finished.stderr)) }
    });
    if copied.is_err() {
        agent.clean_up(CLEAN_LIMIT);
        let _ = agent.run(REMOVE, &[&beside]);
    }
    copied
}

fn cannot(path: &str, why: &str) -> Error {
    Error::failed(format!("the guest cannot write {}: {why}", quote(path)))
}

/// What is copied.
#[derive(Debug)]
struct Source<'a> {
    reader: Box<dyn Reader>,
    name: &'a str,
    mode: u32,
    /// `None` where nobody knows.
    size: Option<u64>,
}

trait Reader: Read + std::fmt::Debug {}
impl<T: Read + std::fmt::Debug> Reader for T {}

impl Source<'_> {
    fn open(file: &str) -> Result<Source<'_>> {
        if file == "-" {
            let reader = Box::new(std::io::stdin());
            return Ok(Source { reader, name: "stdin", mode: 0o666, size: None });
        }
        let cannot = |error| Error::io(format_args!("read {}", quote(file)), &error);
        let opened = File::open(file).map_err(cannot)?;
        let found = opened.metadata().map_err(cannot)?;
        if found.is_dir() {
            return Err(Error::usage(format!("{} is a folder", quote(file)))
                .hint("tar packs a folder: tar -c DIR | maqet exec VM -- tar -x"));
        }
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or("file");
        let mode = found.permissions().mode() & 0o777;
        let size = found.is_file().then_some(found.len()).filter(|size| *size > 0);
        Ok(Source { reader: Box::new(opened), name, mode, size })
    }
}

fn pour(
    agent: &mut Agent<'_>,
    source: &mut Source<'_>,
    beside: &str,
    progress: impl FnOnce(Option<u64>) -> Progress,
) -> Result<()> {
    let handle: Handle = agent.ask(open(beside, "w"))?;
    let poured = write_all(agent, source, handle, &mut progress(source.size));
    if poured.is_err() {
        agent.clean_up(CLEAN_LIMIT);
    }
    // What was written reaches the disk here, or does not.
    let closed = agent.ask::<IgnoredAny>(close(handle)).map(drop);
    poured.and(closed)
}

fn write_all(
    agent: &mut Agent<'_>,
    source: &mut Source<'_>,
    handle: Handle,
    progress: &mut Progress,
) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = match source.reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read what is to be copied", &error)),
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let Written { count } = agent.ask(file_write(handle, rest))?;
            if count == 0 || count > rest.len() {
                return Err(Error::failed("the guest's agent wrote nothing"));
            }
            rest = &rest[count..];
            progress.add(count as u64);
        }
    }
}
