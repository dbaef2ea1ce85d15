//! Where a live VM is to be found: its runtime folder with the secret, the socket, the status file
//! and what the VM was started with, and the `live` link that leads there.
//!
//! Only a runner that holds the VM's lock makes or removes these. Nothing is read from clients here.

use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::error::{Error, Result};
use crate::paths::{Folders, RuntimeFolder};
use crate::wire::secret::Key;
use crate::wire::status::Status;

/// The runtime folder of one VM, removed by [`Home::remove`].
#[derive(Debug)]
pub(super) struct Home {
    folders: Folders,
    id: String,
    runtime: RuntimeFolder,
    /// As JSON, for those who ask what runs.
    definition: String,
}

impl Home {
    /// Makes everything for a VM being started. What a killed runner left, here or where its link
    /// leads, goes first.
    pub(super) fn make(
        folders: &Folders,
        id: &str,
        definition: String,
    ) -> Result<(Home, UnixListener, Key)> {
        if let Err(error) = folders.clear_live(id) {
            log::warn!("{error}");
        }
        let made = folders
            .make_runtime(id, |runtime| link(folders, id, runtime))
            .and_then(|runtime| furnish(&runtime).map(|furnished| (runtime, furnished)));
        let (runtime, (listener, key)) = made.inspect_err(|_| {
            let _ = folders.clear_live(id);
        })?;
        let home = Home { folders: folders.clone(), id: id.to_owned(), runtime, definition };
        replace(&home.runtime.definition(), &home.definition);
        Ok((home, listener, key))
    }

    /// Makes everything anew at the recorded path, or where a VM being started would have it.
    pub(super) fn renew(&mut self) -> Result<(UnixListener, Key)> {
        let there = self.runtime.remake().map(|()| self.runtime.clone());
        let runtime = there.or_else(|_| self.folders.make_runtime(&self.id, |_| Ok(())))?;
        link(&self.folders, &self.id, &runtime)?;
        self.runtime = runtime;
        let furnished = furnish(&self.runtime)?;
        replace(&self.runtime.definition(), &self.definition);
        Ok(furnished)
    }

    pub(super) fn socket_path(&self) -> String {
        self.runtime.socket().to_string_lossy().into_owned()
    }

    pub(super) fn write_status(&self, status: &Status) {
        let text = serde_json::to_string(status).unwrap_or_default();
        replace(&self.runtime.status(), &text);
    }

    /// Removes the folder and the link.
    pub(super) fn remove(self) {
        // Where the link could not be changed it leads elsewhere.
        let removed = self.runtime.remove().and_then(|()| self.folders.clear_live(&self.id));
        if let Err(error) = removed {
            log::warn!("{error}");
        }
    }
}

/// Replaces a file by rename; a failure is nobody's loss while the runner answers.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    let written =
        std::fs::write(&new, format!("{text}\n")).and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        log::warn!("cannot write {}: {error}", path.display());
    }
}

/// Puts a new secret and a new socket into the folder.
fn furnish(runtime: &RuntimeFolder) -> Result<(UnixListener, Key)> {
    for stale in [runtime.secret(), runtime.socket(), runtime.status()] {
        match std::fs::remove_file(&stale) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(format_args!("remove {}", stale.display()), &error));
            }
            _ => {}
        }
    }
    let key = Key::random()?;
    key.write(&runtime.secret())?;
    Ok((listen(runtime)?, key))
}

/// Points the VM's `live` link at its runtime folder.
fn link(folders: &Folders, id: &str, runtime: &RuntimeFolder) -> Result<()> {
    let link = folders.live_link(id);
    let cannot = |error| Error::io(format_args!("make {}", link.display()), &error);
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    std::os::unix::fs::symlink(runtime.path(), &link).map_err(cannot)
}

/// Binds the socket, through the folder's descriptor where its path is too long for an address.
fn listen(runtime: &RuntimeFolder) -> Result<UnixListener> {
    let path = runtime.socket();
    let cannot = |error| Error::io(format_args!("listen on {}", path.display()), &error);
    let listener =
        runtime.with_socket_address(|address| UnixListener::bind(address)).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    Ok(listener)
}
