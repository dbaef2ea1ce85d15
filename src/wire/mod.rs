//! What travels between a command and a runner, and what a runner leaves for commands to read.
//!
//! Pure functions over bytes: the framing of lines, the authentication, the messages, the private
//! pair of a start, the lines of a VM's runs. No socket is opened here and no decision made; the
//! one effect is [`secret`], which reads and makes the key's file.

pub(crate) mod auth;
pub(crate) mod condition;
pub(crate) mod copied;
pub(crate) mod events;
pub(crate) mod expect;
pub(crate) mod guest;
pub(crate) mod handoff;
mod hex;
pub(crate) mod keyboard;
pub(crate) mod line;
pub(crate) mod message;
pub(crate) mod reply;
pub(crate) mod runs;
pub(crate) mod screen;
pub(crate) mod secret;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod talk;
