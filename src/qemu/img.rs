//! Runs qemu-img: the only place that does. It has a deadline, and limits on its memory and its time
//! on the CPU, for it reads images that anybody may have made.
//!
//! It begins in a step of the same binary, as QEMU does: only so can it be tied to our own life, so
//! that no qemu-img goes on writing for a command that was killed. What an image says is not judged
//! here.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
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
/// How long the listener of one that prints nothing is left alone.
const SILENCE: Duration = Duration::from_millis(100);
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

    /// The same, ended when `interrupt` can be read.
    pub(crate) fn interrupted_by(self, interrupt: BorrowedFd<'_>) -> Img<'_> {
        Img {
            words: self.words,
            limit: self.limit,
            memory: self.memory,
            interrupt: Some(interrupt),
        }
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

    /// Runs it to its end and gives `heard` what it prints, piece by piece: progress, with `-p`. Where
    /// it prints nothing for a while, `heard` gets nothing, that it may look at the time. An error of
    /// `heard` ends it.
    ///
    /// # Errors
    /// As of [`Img::run`], and those of `heard`.
    pub(crate) fn hear(self, mut heard: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let interrupt = self.interrupt;
        let mut run = self.begin()?;
        while !run.is_over() {
            let fds: Vec<_> =
                run.sources().chain(interrupt).map(|fd| (fd, Interest::Read)).collect();
            let ready = sys::poll(&fds, Some(run.deadline().min(Instant::now() + SILENCE)))
                .map_err(|error| Error::io("listen to qemu-img", &error))?;
            let own = run.sources().count();
            if ready.get(own).is_some_and(|interrupted| *interrupted) {
                return Err(Error::timeout("it was interrupted"));
            }
            run.turn(&mut heard)?;
            heard(&[])?;
        }
        run.end()
    }

    /// Begins it, for a caller that has more to do meanwhile than to wait for an interrupt.
    ///
    /// # Errors
    /// Where there is no qemu-img, or it cannot be started.
    pub(crate) fn begin(self) -> Result<Run> {
        let cannot = |error| Error::io("run qemu-img", &error);
        log::debug!("qemu-img {:?}", self.words);
        let deadline = Instant::now() + self.limit;
        let mut child = Running(self.command(&find()?).spawn().map_err(cannot)?);
        let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
        for pipe in [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)] {
            pipe.map(sys::set_nonblocking).transpose().map_err(cannot)?;
        }
        Ok(Run { child, stdout, stderr, said: Vec::new(), deadline })
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

/// A qemu-img at work; it ends with its owner.
#[derive(Debug)]
pub(crate) struct Run {
    child: Running,
    /// `None` once it has been heard to its end, as is the next.
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// The beginning of standard error.
    said: Vec<u8>,
    deadline: Instant,
}

impl Run {
    /// What can be read when there is something to take.
    pub(crate) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let out = self.stdout.as_ref().map(AsFd::as_fd);
        out.into_iter().chain(self.stderr.as_ref().map(AsFd::as_fd))
    }

    /// When its time is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it has closed both outputs, and so is ending.
    pub(crate) fn is_over(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Takes what there is, without waiting; `heard` gets what came on standard output.
    ///
    /// # Errors
    /// `Kind::Timeout` where its time is over; those of `heard`.
    pub(crate) fn turn(&mut self, heard: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let cannot = |error| Error::io("listen to qemu-img", &error);
        let mut block = vec![0; BLOCK];
        match read_some(&mut self.stdout, &mut block).map_err(cannot)? {
            0 => {}
            count => heard(&block[..count])?,
        }
        let count = read_some(&mut self.stderr, &mut block).map_err(cannot)?;
        let room = COMPLAINT_LIMIT - self.said.len();
        self.said.extend_from_slice(&block[..count.min(room)]);
        match self.is_over() || Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(Error::timeout("qemu-img took too long")),
        }
    }

    /// How it ended, once it is over.
    ///
    /// # Errors
    /// `Kind::Failed`, in its own words.
    pub(crate) fn end(mut self) -> Result<()> {
        let cannot = |error| Error::io("run qemu-img", &error);
        let status = self.child.0.wait().map_err(cannot)?;
        let said = String::from_utf8_lossy(&self.said);
        match (status.success(), status.code()) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(Error::failed("qemu-img failed").quoting(&said)),
            (false, None) => {
                Err(Error::failed(format!("qemu-img was ended ({status})")).quoting(&said))
            }
        }
    }
}

/// Reads once, and closes the pipe at its end; 0 where there is nothing now.
fn read_some(pipe: &mut Option<impl Read>, block: &mut [u8]) -> std::io::Result<usize> {
    let Some(open) = pipe else { return Ok(0) };
    match open.read(block) {
        Ok(0) => *pipe = None,
        Ok(count) => return Ok(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(error) => return Err(error),
    }
    Ok(0)
}

/// A child that does not outlive its owner.
#[derive(Debug)]
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
