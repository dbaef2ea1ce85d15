//! `screen`: what the guest shows, as a file, as a picture on the terminal, or as text.
//!
//! The runner has QEMU write it into the VM's folder, where it lies while we are connected; here it
//! is read, and becomes what was asked for.

mod draw;

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::draw::draw;
use super::context::{Context, Vm};
use super::sink::{Ended, Sink};
use crate::backoff::Backoff;
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::control::link::Link;
use crate::error::{Error, Kind, Result, quote};
use crate::interrupt::Interrupt;
use crate::qemu::screen::{Picture, characters};
use crate::sys;
use crate::wire::message::Call;
use crate::wire::screen::{Format, ScreenCall};
use crate::wire::stream::Frame;

/// For QEMU to write a picture, where --timeout says nothing.
const LIMIT: Duration = Duration::from_secs(30);
/// For how long a screen that changes is looked at again, for its text.
const RESTLESS: Duration = Duration::from_secs(2);
/// The largest file that is read, in bytes.
const LARGEST: u64 = 256 << 20;
/// A terminal that does not tell its size.
const USUAL_SIZE: (usize, usize) = (80, 24);

pub(super) fn screen(context: &Context<'_>) -> Result<u8> {
    let file = context.invocation.operands.get(1).map(String::as_str);
    let wants_ppm = file.is_some_and(|name| name.to_ascii_lowercase().ends_with(".ppm"));
    show(context, file, if wants_ppm { Format::Ppm } else { Format::Png })
}

/// The same as the predecessor spelled it: its files were PPM.
pub(super) fn screendump(context: &Context<'_>) -> Result<u8> {
    let file = context.invocation.operands.get(1).map(String::as_str);
    let file = file.ok_or_else(|| Error::usage("\"screendump\" needs FILE"))?;
    show(context, Some(file), Format::Ppm)
}

fn show(context: &Context<'_>, file: Option<&str>, format: Format) -> Result<u8> {
    let is_terminal = std::io::stdout().is_terminal();
    let wants_text = context.invocation.has(Flag::Text);
    match file {
        Some(_) if wants_text => {
            return Err(Error::usage("the text of a screen is printed, and no file is made"));
        }
        Some("-") if is_terminal => {
            return Err(Error::usage("a picture is no text for a terminal")
                .hint("without \"-\" it is drawn, and in a pipe \"-\" is the file"));
        }
        None if !wants_text && !is_terminal => {
            return Err(Error::usage("standard output is no terminal to draw on")
                .hint("name a FILE or -, or use --text"));
        }
        _ => {}
    }
    let interrupt = Interrupt::heed()?;
    let vm = context.vm()?;
    let done = match (file, wants_text) {
        (Some(name), _) => save(context, &vm, name, format, &interrupt),
        (None, true) => text(context, &vm, &interrupt),
        (None, false) => paint(context, &vm, &interrupt),
    };
    done.map(|()| 0).map_err(|error| error.about("cannot show the screen of", &vm.name))
}

/// A connection whose files lie there while it lasts.
struct Camera<'a> {
    link: Link,
    deadline: Instant,
    interrupt: &'a Interrupt,
}

impl<'a> Camera<'a> {
    fn of(context: &Context<'_>, vm: &Vm, interrupt: &'a Interrupt) -> Result<Camera<'a>> {
        let deadline = context.deadline(LIMIT);
        let link = Link::open(&context.folders, &vm.id, deadline)?;
        Ok(Camera { link, deadline, interrupt })
    }

    /// Has a file written: what the runner says of it.
    fn shoot(&mut self, format: Format) -> Result<Value> {
        use std::os::fd::AsFd;
        self.link.ask(&json!(1), Call::Screen(ScreenCall { format }));
        loop {
            if let Some(said) = self.link.hear()? {
                if let Frame::Answer(answer) = said.frame {
                    return answer;
                }
                continue;
            }
            if !self.link.is_open() {
                return Err(Error::new(Kind::NotRunning, "the VM has ended"));
            }
            if Instant::now() >= self.deadline {
                return Err(Error::timeout("QEMU has not written it in time")
                    .hint("--timeout gives it more"));
            }
            let signals = [(self.interrupt.as_fd(), sys::Interest::Read)];
            self.link.wait(&signals, Some(self.deadline))?;
            self.interrupt.check()?;
        }
    }

    fn picture(&mut self) -> Result<Picture> {
        let told = self.shoot(Format::Ppm)?;
        Picture::read(&read(&told["file"])?)
    }
}

/// The bytes of a file that the runner told of.
fn read(told: &Value) -> Result<Vec<u8>> {
    let path = told.as_str().ok_or_else(|| Error::failed("the runner told of no file"))?;
    let cannot = |error| Error::io(format_args!("read {path}"), &error);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)).map_err(cannot)?;
    Ok(bytes)
}

fn save(
    context: &Context<'_>,
    vm: &Vm,
    name: &str,
    format: Format,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut camera = Camera::of(context, vm, interrupt)?;
    let told = camera.shoot(format)?;
    if format == Format::Png && told["format"] != "png" {
        context.note("this QEMU writes no PNG; it is a PPM");
    }
    let bytes = read(&told["file"])?;
    // A link is followed, and what is no file is written to, never replaced.
    let there = std::fs::canonicalize(name).ok().filter(|_| name != "-");
    if let Some(path) = there.as_deref().filter(|path| !path.is_file()) {
        return write_into(path, &bytes);
    }
    let place = there.as_deref().and_then(Path::to_str).unwrap_or(name);
    let mut sink = Sink::to(place, interrupt)?;
    match sink.write(&bytes) {
        Ok(()) => sink.finish(true),
        Err(Ended::ReaderGone) => Ok(()),
        Err(Ended::Failed(error)) => Err(error),
    }
}

fn write_into(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = |error| {
        let path = quote(&path.to_string_lossy());
        Error::io(format_args!("write {path}"), &error)
    };
    File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(cannot)
}

fn paint(context: &Context<'_>, vm: &Vm, interrupt: &Interrupt) -> Result<()> {
    let picture = Camera::of(context, vm, interrupt)?.picture()?;
    let (columns, rows) = sys::terminal_size(std::io::stdout()).unwrap_or(USUAL_SIZE);
    let mut output = Output::new(context.invocation, Shape::TEXT)?;
    // The last row is the prompt's.
    output.raw(draw(&picture, columns, rows.max(2) - 1).as_bytes())?;
    output.finish()
}

fn text(context: &Context<'_>, vm: &Vm, interrupt: &Interrupt) -> Result<()> {
    let mut camera = Camera::of(context, vm, interrupt)?;
    let mut again = Backoff::until(Instant::now() + RESTLESS);
    let lines = loop {
        let told = camera.shoot(Format::Text)?;
        let picture = Picture::read(&read(&told["file"])?)?;
        if let Some(lines) = characters(&picture, &read(&told["memory"])?) {
            break lines;
        }
        // What changes between the picture and the memory is looked at again.
        if !again.wait() {
            let (width, height) = (picture.width, picture.height);
            return Err(Error::failed(format!("it is no text, but a picture of {width}x{height}"))
                .hint("without --text it is drawn, with FILE it is stored"));
        }
        interrupt.check()?;
    };
    let mut output = Output::new(context.invocation, Shape::TEXT)?;
    for line in lines {
        output.guest(format!("{line}\n").as_bytes())?;
    }
    output.finish()
}
