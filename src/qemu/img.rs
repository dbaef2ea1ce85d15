//! Runs qemu-img: the only place that does. It has a deadline, and limits on its memory and its time
//! on the CPU, for it reads images that anybody may have made.
//!
//! It begins in a step of the same binary, as QEMU does: only so can it be tied to our own life, so
//! that no qemu-img goes on writing for a command that was killed. What an image says is not judged
//! here.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::program;
use crate::error::{Error, Kind, Result};
use crate::sys::{self, Interest};

/// The hidden word by which the binary knows that it is to become qemu-img.
pub(crate) const WORD: &str = "__img";
/// Address space of a qemu-img that looks at an image or makes an empty one: it takes some 300 MB.
const MEMORY: u64 = 1 << 30;
/// Address space of one that copies, with its threads and buffers.
const MEMORY_TO_COPY: u64 = 4 << 30;
/// For qemu-img to look at an image or to make an empty one, which takes it some 6 ms.
const SHORT: Duration = Duration::from_secs(20);
/// The longest standard output that [`Img::output`] takes, in bytes.
const OUTPUT_LIMIT: usize = 1 << 20;
/// How much of its complaints is kept, in bytes.
const COMPLAINT_LIMIT: usize = 4096;
/// The longest read at once, in bytes.
const BLOCK: usize = 16 << 10;

/// One run of qemu-img.
#[derive(Debug)]
pub(crate) struct Img<'a> {
    words: Vec<OsString>,
    limit: Duration,
    memory: u64,
    interrupt: Option<BorrowedFd<'a>>,
}

impl<'a> Img<'a> {
    /// qemu-img with these words, for at most 20 s.
    pub(crate) fn new<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Img<'a> {
        let words = words.into_iter().map(Into::into).collect();
        Img { words, limit: SHORT, memory: MEMORY, interrupt: None }
    }

    /// One more word.
    pub(crate) fn word(mut self, word: impl Into<OsString>) -> Img<'a> {
        self.words.push(word.into());
        self
    }

    /// It may take this long, and as much memory as copying takes. `interrupt` ends it when it can
    /// be read.
    pub(crate) fn copying(self, limit: Duration, interrupt: Option<BorrowedFd<'a>>) -> Img<'a> {
        Img { limit, memory: MEMORY_TO_COPY, interrupt, ..self }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// `Kind::Failed` in qemu-img's own words; `Kind::Timeout` where its time was over, or it was
    /// interrupted.
    pub(crate) fn run(self) -> Result<()> {
        self.hear(|_| Ok(()))
    }

    /// Runs it to its end and gives what it printed, at most 1 MiB.
    ///
    /// # Errors
    /// As of [`Img::run`], and for a longer output.
    pub(crate) fn output(self) -> Result<Vec<u8>> {
        let mut printed = Vec::new();
        self.hear(|bytes| {
            printed.extend_from_slice(bytes);
            match printed.len() {
                ..=OUTPUT_LIMIT => Ok(()),
                _ => Err(Error::failed("qemu-img does not stop talking")),
            }
        })?;
        Ok(printed)
    }

    /// Runs it to its end and gives `heard` what it prints, piece by piece: progress, with `-p`. An
    /// error of `heard` ends it.
    ///
    /// # Errors
    /// As of [`Img::run`], and those of `heard`.
    pub(crate) fn hear(self, mut heard: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let cannot = |error| Error::io("run qemu-img", &error);
        log::debug!("qemu-img {:?}", self.words);
        let deadline = Instant::now() + self.limit;
        let mut child = Running(self.command(&find()?).spawn().map_err(cannot)?);
        let said = listen(&mut child.0, deadline, self.interrupt, &mut heard)?;
        let status = child.0.wait().map_err(cannot)?;
        match (status.success(), status.code()) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(Error::failed("qemu-img failed").quoting(&said)),
            (false, None) => {
                Err(Error::failed(format!("qemu-img was ended ({status})")).quoting(&said))
            }
        }
    }

    fn command(&self, program: &PathBuf) -> Command {
        // What runs the unit tests is not maqet: it has no such step.
        let mut command = if cfg!(test) {
            Command::new(program)
        } else {
            let mut step = Command::new("/proc/self/exe");
            let seconds = self.limit.as_secs() + 1;
            step.arg0("maqet").args([WORD, &std::process::id().to_string()]);
            step.args([self.memory.to_string(), seconds.to_string()]).arg(program);
            step
        };
        command.args(&self.words).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        command
    }
}

/// The step itself: `__img PARENT_PID MEMORY SECONDS PROGRAM ARGV…`. It returns only where qemu-img
/// could not be started.
pub(crate) fn step(mut words: impl Iterator<Item = OsString>) -> Error {
    let mut number = || words.next()?.to_str()?.parse::<u64>().ok();
    let (Some(parent), Some(memory), Some(seconds)) = (number(), number(), number()) else {
        return Error::usage("this step belongs to work on an image");
    };
    let Some(program) = words.next() else {
        return Error::usage("this step belongs to work on an image");
    };
    let shed = || -> std::io::Result<()> {
        sys::die_with_parent()?;
        sys::no_new_privileges()?;
        sys::no_core_dumps()?;
        sys::limit_memory(memory)?;
        sys::limit_cpu(seconds)
    };
    if let Err(error) = shed() {
        return Error::io("limit qemu-img", &error);
    }
    // The parent may have died before its death could be told.
    if u64::try_from(sys::parent_pid()) != Ok(parent) {
        return Error::failed("the command that wanted qemu-img is gone");
    }
    let error = Command::new(&program).args(words).exec();
    Error::io(format_args!("execute {}", program.display()), &error)
}

/// A child that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has been waited for already nothing is left to be done.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn find() -> Result<PathBuf> {
    program::find(OsStr::new("qemu-img")).map_err(|error| match error.kind {
        Kind::Failed => {
            error.hint("install it: it comes with QEMU, or in a package such as qemu-utils")
        }
        _ => error,
    })
}

/// Hears both outputs to their ends; the beginning of standard error is the result.
fn listen(
    child: &mut Child,
    deadline: Instant,
    interrupt: Option<BorrowedFd<'_>>,
    heard: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<String> {
    let cannot = |error| Error::io("listen to qemu-img", &error);
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let mut said = Vec::new();
    let mut block = vec![0; BLOCK];
    while stdout.is_some() || stderr.is_some() {
        let out = stdout.as_ref().map(|pipe| (0, pipe.as_fd()));
        let err = stderr.as_ref().map(|pipe| (1, pipe.as_fd()));
        let sources: Vec<_> =
            out.into_iter().chain(err).chain(interrupt.map(|fd| (2, fd))).collect();
        let fds: Vec<_> = sources.iter().map(|(_, fd)| (*fd, Interest::Read)).collect();
        let ready = sys::poll(&fds, Some(deadline)).map_err(cannot)?;
        let ready: Vec<u8> =
            sources.iter().zip(ready).filter(|(_, ready)| *ready).map(|((n, _), _)| *n).collect();
        if ready.contains(&2) {
            return Err(Error::timeout("it was interrupted"));
        }
        if ready.contains(&0)
            && let Some(pipe) = &mut stdout
        {
            match pipe.read(&mut block).map_err(cannot)? {
                0 => stdout = None,
                count => heard(&block[..count])?,
            }
        }
        if ready.contains(&1)
            && let Some(pipe) = &mut stderr
        {
            match pipe.read(&mut block).map_err(cannot)? {
                0 => stderr = None,
                count => {
                    let room = COMPLAINT_LIMIT - said.len();
                    said.extend_from_slice(&block[..count.min(room)]);
                }
            }
        }
        if ready.is_empty() && Instant::now() >= deadline {
            return Err(Error::timeout("qemu-img took too long"));
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::testing::Folder;

    fn image(folder: &Folder) -> PathBuf {
        let path = folder.path().join("a.qcow2");
        Img::new(["create", "-q", "-f", "qcow2"]).word(&path).word("1M").run().unwrap();
        path
    }

    #[test]
    fn what_it_prints_is_given_back_and_its_complaints_are_quoted() {
        let folder = Folder::new();
        let path = image(&folder);
        let info = Img::new(["info", "--output=json", "-f", "qcow2"]).word(&path);
        let info: serde_json::Value = serde_json::from_slice(&info.output().unwrap()).unwrap();
        assert_eq!(info["virtual-size"], 1 << 20);
        let error = Img::new(["info", "-f", "qcow2", "/nonexistent/x"]).run().unwrap_err();
        assert!(error.message.contains("/nonexistent/x"), "{error}");
        assert_eq!(error.kind, Kind::Failed);
    }

    #[test]
    fn it_ends_when_it_is_interrupted() {
        let folder = Folder::new();
        let path = image(&folder);
        let (mut writer, reader) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        let begun = Instant::now();
        let copy = Img::new(["bench", "-c", "100000000", "-f", "qcow2"]).word(&path);
        let limit = Duration::from_secs(60);
        let error = copy.copying(limit, Some(reader.as_fd())).run().unwrap_err();
        assert_eq!(error.kind, Kind::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn its_time_is_limited() {
        let folder = Folder::new();
        let bench = Img::new(["bench", "-c", "100000000", "-f", "qcow2"]).word(image(&folder));
        let error = bench.copying(Duration::from_millis(200), None).run().unwrap_err();
        assert_eq!(error.message, "qemu-img took too long");
    }
}
