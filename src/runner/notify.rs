//! Who is told that a VM in the foreground runs.
//!
//! Service managers are told in their own ways: a datagram for systemd and those like it
//! (sd_notify(3)), a newline on a descriptor for s6. The console is `front`'s.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::error::{Error, Result};

/// Who waits for a VM to run.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    /// The socket of `NOTIFY_SOCKET`.
    notify: Option<SocketAddr>,
    /// What `--ready-fd` names, opened.
    ready: Option<File>,
}

impl Readiness {
    /// `notify` is the value of `NOTIFY_SOCKET`, a path or, after `@`, an abstract name; `ready_fd`
    /// that of `--ready-fd`.
    ///
    /// # Errors
    /// `Kind::Usage` for a descriptor that is not open for writing, and for a socket that has no
    /// address: better now than a service manager that waits for ever.
    pub(crate) fn new(notify: Option<OsString>, ready_fd: Option<u32>) -> Result<Readiness> {
        let notify = notify.filter(|name| !name.is_empty()).map(|name| {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            address.map_err(|error| {
                let name = name.display();
                Error::usage(format!("cannot tell readiness to NOTIFY_SOCKET {name}: {error}"))
                    .hint("it is a path or, after @, an abstract name; unset it if nobody listens")
            })
        });
        let ready = ready_fd.map(|number| {
            // The descriptor itself cannot be taken from the kernel by its number without unsafe
            // code; the same pipe opened once more serves as well.
            let opened = File::options().write(true).open(format!("/proc/self/fd/{number}"));
            opened.map_err(|error| {
                Error::usage(format!("cannot write to descriptor {number} of --ready-fd: {error}"))
                    .hint("the caller opens it, as in \"maqet run VM --ready-fd 3 3>FILE\"")
            })
        });
        Ok(Readiness { notify: notify.transpose()?, ready: ready.transpose()? })
    }

    /// The guest runs.
    pub(super) fn ready(&mut self) {
        self.notify("READY=1\nSTATUS=running\n");
        if let Some(mut file) = self.ready.take()
            && let Err(error) = file.write_all(b"\n")
        {
            log::warn!("cannot tell readiness on --ready-fd: {error}");
        }
    }

    /// The guest was asked to shut down, or is about to be ended.
    pub(super) fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=stopping\n");
    }

    fn notify(&self, words: &str) {
        let Some(address) = &self.notify else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            // A listener that does not read must not hold up the VM.
            socket.set_nonblocking(true)?;
            socket.send_to_addr(words.as_bytes(), address)
        });
        if let Err(error) = sent {
            log::warn!("cannot tell NOTIFY_SOCKET {words:?}: {error}");
        }
    }
}
