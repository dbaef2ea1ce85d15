//! SIGINT, SIGTERM and SIGHUP as something to look at, for a command that makes files: it looks
//! between two pieces of its work, takes away what is half made, and ends with the signal's exit
//! code. What is taken away is not known here.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::error::{Error, Kind, Result};

/// The signals that have come since it was made.
#[derive(Debug)]
pub(crate) struct Interrupt {
    /// The last of them; 0 is none.
    signal: Arc<AtomicUsize>,
    /// Can be read when one has come.
    pipe: UnixStream,
}

impl Interrupt {
    /// From here on these signals no longer end the process.
    ///
    /// # Errors
    /// Only where the kernel has no descriptor left.
    pub(crate) fn heed() -> Result<Interrupt> {
        Interrupt::by(&[SIGINT, SIGTERM, SIGHUP])
    }

    /// The same with SIGQUIT, for who must leave a terminal as it was.
    ///
    /// # Errors
    /// As of [`Interrupt::heed`].
    pub(crate) fn heed_all() -> Result<Interrupt> {
        Interrupt::by(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT])
    }

    fn by(signals: &[i32]) -> Result<Interrupt> {
        let cannot = |error| Error::io("heed signals", &error);
        let signal = Arc::new(AtomicUsize::new(0));
        let (pipe, write) = UnixStream::pair().map_err(cannot)?;
        for &number in signals {
            let value = usize::try_from(number).unwrap_or_default();
            // The number first: who is woken by the pipe finds it.
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)
                .map_err(cannot)?;
            let write = write.try_clone().map_err(cannot)?;
            signal_hook::low_level::pipe::register(number, write).map_err(cannot)?;
        }
        Ok(Interrupt { signal, pipe })
    }

    /// Fails when a signal has come.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] or [`Kind::Terminated`].
    pub(crate) fn check(&self) -> Result<()> {
        match i32::try_from(self.signal.load(Ordering::SeqCst)).unwrap_or_default() {
            0 => Ok(()),
            SIGINT => Err(Error::new(Kind::Interrupted, "it was interrupted")),
            _ => Err(Error::new(Kind::Terminated, "it was told to end")),
        }
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
