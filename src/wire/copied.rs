//! How far the copy of an image is, in the words in which a runner answers a ping meanwhile: a version
//! 1 client reads them as any error, ours reads the figures out of them.
//!
//! How it is shown to a person is not decided here.

use std::fmt;

/// What such an answer begins with.
const COPYING: &str = "an image is being copied";

/// A copy that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// In bytes of the original's file, as is `total`; it begins anew with each image.
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl Copied {
    /// Reads an answer; `None` for one that speaks of something else.
    pub(crate) fn parse(message: &str) -> Option<Copied> {
        let figures = message.strip_prefix(COPYING)?.strip_prefix(", ")?;
        let (done, total) = figures.strip_suffix(" bytes so far")?.split_once(" of ")?;
        Some(Copied { done: done.parse().ok()?, total: total.parse().ok()? })
    }
}

impl fmt::Display for Copied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{COPYING}, {} of {} bytes so far", self.done, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_back_and_nothing_else_is() {
        for copied in [Copied { done: 0, total: 0 }, Copied { done: 7, total: u64::MAX }] {
            assert_eq!(Copied::parse(&copied.to_string()), Some(copied));
        }
        for other in ["", "the VM is still starting", COPYING, "an image is being copied, 1 of"] {
            assert_eq!(Copied::parse(other), None);
        }
    }
}
