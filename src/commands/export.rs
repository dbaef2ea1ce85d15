//! `export`: one tar of a stopped VM, its definition first, then each disk of its own.
//!
//! The VM's locks are held all the time. A file is written under another name beside the one that
//! was asked for, and renamed when it is whole.

use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::context::{Context, Vm, parse_stored};
use super::newcomer::data_bytes;
use super::own_disks::{Own, own_disks, stored_now};
use super::sink::{Ended, Sink};
use super::stopped::Stopped;
use crate::cli::progress::Progress;
use crate::cli::table::Flag;
use crate::copy;
use crate::definition::copied::{self, Fate};
use crate::definition::trust;
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;
use crate::paths::{VARIABLES, VmFolder};
use crate::qemu::firmware;
use crate::qemu::image::Header;
use crate::qemu::img::Img;
use crate::sys;
use crate::tar::{self, Segment};

/// The name of the definition in an archive; it comes first.
pub(super) const DEFINITION: &str = "definition.json";
/// The folder of the images in an archive, as in a VM's own.
pub(super) const DISKS: &str = "disks";
/// How much is written between two looks at the world, in bytes.
const PIECE: usize = 1 << 20;
/// A hole shorter than this is written as zeros, so that the map of a sparse file stays short.
const SHORTEST_HOLE: u64 = 64 << 10;
/// Making one image of two may take as long as copying.
const FLATTEN_LIMIT: Duration = Duration::from_secs(24 * 3600);

pub(super) fn export(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let vm = context.vm()?;
    let to = invocation.operands.get(1).map_or("", String::as_str);
    let about = |error: Error| error.about("cannot export", &vm.name);
    if to == "-" && std::io::stdout().is_terminal() {
        return Err(about(
            Error::usage("an archive is nothing for a terminal").hint("name a file, or use a pipe"),
        ));
    }
    if to != "-" && !invocation.has(Flag::Force) && Path::new(to).symlink_metadata().is_ok() {
        return Err(about(exists(to)));
    }
    let notes = exported(context, &vm, to).map_err(about)?;
    notes.iter().for_each(|note| context.note(note));
    Ok(0)
}

fn exists(path: &str) -> Error {
    Error::conflict(format!("{} exists already", quote(path)))
        .hint("name another file, or let --force write over it")
}

fn exported(context: &Context<'_>, vm: &Vm, to: &str) -> Result<Vec<String>> {
    // Before anything is made a signal may end us as it does anybody, also while we wait.
    let _stopped = Stopped::take(context, vm)?;
    let interrupt = &Interrupt::heed()?;
    let vm = stored_now(context, vm)?;
    let typed = context.definition(&vm)?;
    let folder = context.folders.vm(&vm.id);
    let own = own_disks(&typed, &folder)?;
    let mut definition = parse_stored(vm.definition.as_deref().unwrap_or("{}"))?;
    let mut images = Vec::new();
    let mut notes = Vec::new();
    for own in &own {
        let (name, is_flat) = (own.disk.name.as_str(), own.disk.backing.is_none());
        let member = format!("{DISKS}/{name}.{}", own.disk.format.as_str());
        let fate = match (&own.header, is_flat) {
            (None, _) => Fate::Unmade,
            (Some(_), true) => Fate::Copied(PathBuf::from(&member)),
            (Some(_), false) => Fate::Flattened(PathBuf::from(&member)),
        };
        copied::move_disk(&mut definition, name, &fate);
        if own.header.is_some() {
            if !is_flat {
                notes
                    .push(format!("{}: the disk {name} is packed with what it stands on", vm.name));
            }
            images.push(Image {
                member,
                flat: flat(own, &folder, interrupt)?,
                path: own.path.clone(),
            });
        }
    }
    if let Some(path) = firmware::variables(&typed, &folder)? {
        images.push(Image { member: VARIABLES.to_owned(), path, flat: None });
    }
    definition.insert("name".into(), vm.name.clone().into());
    let outside = trust::reached(&definition);
    if !outside.is_empty() {
        let all = outside.join(", ");
        notes.push(format!("{}: not in the archive, an import wants --trust: {all}", vm.name));
    }
    let what = format!("packing {}", vm.name);
    let total = data_bytes(images.iter().map(Image::path));
    let mut progress = Progress::new(context.invocation.quiet(), what, Some(total));
    let force = context.invocation.has(Flag::Force);
    let mut sink = Sink::to(to, interrupt)?;
    let written = archive(&mut sink, &definition, &images, &mut progress);
    drop(progress);
    match written {
        Ok(()) => sink.finish(force).map(|()| notes),
        // Who reads has what it wanted.
        Err(Ended::ReaderGone) => Ok(Vec::new()),
        Err(Ended::Failed(error)) => Err(error),
    }
}

/// An image to be packed.
struct Image {
    member: String,
    path: PathBuf,
    /// One that was made for this, since the image itself stands on another.
    flat: Option<Unfinished>,
}

impl Image {
    fn path(&self) -> &PathBuf {
        self.flat.as_ref().map_or(&self.path, |flat| &flat.0)
    }
}

/// A file that is removed with its owner.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One image of two, in the VM's own folder: there is no archive without it.
fn flat(own: &Own<'_>, folder: &VmFolder, interrupt: &Interrupt) -> Result<Option<Unfinished>> {
    if own.disk.backing.is_none() || !matches!(own.header, Some(Header::Qcow2 { .. })) {
        return Ok(None);
    }
    crate::private::make_private(&folder.disks())?;
    let flat = Unfinished(folder.disks().join(format!(".maqet-{}.export", own.disk.name)));
    let _ = std::fs::remove_file(&flat.0);
    use std::os::fd::AsFd;
    let words = ["convert", "-f", "qcow2", "-O", "qcow2"];
    let convert = Img::new(words).word(&own.path).word(&flat.0);
    let done = convert.copying(FLATTEN_LIMIT, Some(interrupt.as_fd())).run();
    interrupt.check()?;
    done.map(|()| Some(flat))
}

fn archive(
    sink: &mut Sink<'_>,
    definition: &Map<String, Value>,
    images: &[Image],
    progress: &mut Progress,
) -> Result<(), Ended> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let text = format!("{:#}\n", Value::Object(definition.clone()));
    sink.write(&tar::plain(DEFINITION, text.len() as u64, now))?;
    sink.write(text.as_bytes())?;
    sink.write(&vec![0; tar::padding(text.len() as u64)])?;
    for image in images {
        pack(sink, image, now, progress)?;
    }
    sink.write(&tar::END)
}

fn pack(
    sink: &mut Sink<'_>,
    image: &Image,
    now: u64,
    progress: &mut Progress,
) -> Result<(), Ended> {
    let path = image.path();
    let cannot =
        |error| Ended::Failed(Error::io(format_args!("read the image {}", path.display()), &error));
    let file = File::open(path).map_err(cannot)?;
    let length = copy::length(&file).map_err(cannot)?;
    let segments = segments(&file, length).map_err(cannot)?;
    let data: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
    sink.write(&match data == length {
        true => tar::plain(&image.member, length, now),
        false => tar::sparse(&image.member, length, &segments, now),
    })?;
    let mut buffer = vec![0; PIECE];
    for (begin, bytes) in segments {
        let mut at = begin;
        while at < begin + bytes {
            let piece = usize::try_from(begin + bytes - at).unwrap_or(PIECE).min(PIECE);
            file.read_exact_at(&mut buffer[..piece], at).map_err(cannot)?;
            sink.write(&buffer[..piece])?;
            progress.add(piece as u64);
            at += piece as u64;
        }
    }
    sink.write(&vec![0; tar::padding(data)])
}

/// What of a file is data, in whole blocks of an archive and without short holes.
fn segments(file: &File, length: u64) -> std::io::Result<Vec<Segment>> {
    let block = tar::BLOCK as u64;
    let mut all: Vec<Segment> = Vec::new();
    let mut at = 0;
    while let Some((begin, end)) = sys::next_data(file, at)? {
        at = end;
        let begin = begin / block * block;
        let end = end.next_multiple_of(block).min(length);
        match all.last_mut() {
            Some(last) if begin < last.0 + last.1 + SHORTEST_HOLE => last.1 = end - last.0,
            _ if begin < end => all.push((begin, end - begin)),
            _ => {}
        }
    }
    Ok(all)
}
