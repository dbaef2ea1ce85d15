//! From a command to a runner: who runs, how to ask it, how to start and to stop one.
//!
//! It is the other half of `runner`, and the two never import each other: they meet in `wire`.
//! Nothing here opens the database, prints, or knows a command line.

pub(crate) mod agent;
pub(crate) mod ask;
pub(crate) mod fleet;
pub(crate) mod life;
pub(crate) mod link;
pub(crate) mod qmp;
pub(crate) mod readiness;
pub(crate) mod schema;
pub(crate) mod spawn;
pub(crate) mod stop;
mod talk;
pub(crate) mod usage;
