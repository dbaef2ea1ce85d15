//! `doctor --fix`: what puts a thing right without harm to anything, under the locks of its VM.

use super::finding::{Finding, Mend};
use crate::commands::context::Context;
use crate::commands::ephemeral;
use crate::commands::stopped::Stopped;
use crate::error::{Error, Result};
use crate::lock::{self, Holder};
use crate::private::make_private;

/// Puts right what can be, and says so in the finding.
pub(super) fn mend(context: &Context<'_>, finding: &mut Finding) {
    let Some(mend) = &finding.mend else { return };
    match carry_out(context, mend) {
        Ok(done) => {
            finding.ok = true;
            finding.result = "mended";
            finding.hint = Some(done.to_owned());
        }
        Err(error) => finding.hint = Some(format!("it stays: {error}")),
    }
}

fn carry_out(context: &Context<'_>, mend: &Mend) -> Result<&'static str> {
    match mend {
        Mend::Folder(id) => {
            let folder = context.folders.vm(id);
            make_private(folder.path())?;
            make_private(&folder.disks())?;
            lock::create(&folder.lock())?;
            Ok("its folder was made anew; the images that lay in it are made at its next start")
        }
        Mend::Scratch(folders) => {
            ephemeral::clear(folders)?;
            Ok("it was removed")
        }
        Mend::Link(id) => {
            let path = context.folders.vm(id).lock();
            // Held for as long as the link is being removed; without a lock file there is no VM.
            let _lock = match lock::take(&path)? {
                lock::Attempt::Taken(lock) => Some(lock),
                lock::Attempt::Gone if lock::holder(&path)? == Holder::Nobody => None,
                _ => return Err(Error::conflict("somebody holds its lock now")),
            };
            context.folders.clear_live(id)?;
            Ok("the link was removed")
        }
        Mend::Unfinished { vm, path } => {
            let _stopped = Stopped::take(context, vm)?;
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io(format_args!("remove {}", path.display()), &error))
                }
                _ => Ok("the file was removed"),
            }
        }
    }
}
