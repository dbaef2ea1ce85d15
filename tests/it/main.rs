//! Drives the binary as its users do: a real shell, a real QEMU, a real guest.
//!
//! Each test has a [`harness::Host`] of its own, whose processes and folders end with it, also when
//! the test fails. Nothing here knows the insides of maqet.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod check;
mod client;
mod guest;
mod harness;
mod pty;
mod terminal;

mod agent;
mod answers;
mod archive;
mod bad_input;
mod batch;
mod cards;
mod cmdline;
mod commands;
mod completion;
mod console;
mod copy;
mod crash;
mod db;
mod define;
mod device;
mod difference;
mod disk;
mod disk_from;
mod doctor;
mod edit;
mod events;
mod expect;
mod failures;
mod firmware;
mod foreground;
mod full_disk;
mod homeless;
mod hostile_qmp;
mod hygiene;
mod images;
mod impostors;
mod keyboard;
mod launcher;
mod life;
mod limits;
mod linked;
mod misbehaving;
mod moving;
mod neighbours;
mod originals;
mod pictures;
mod port;
mod protocol;
mod qmp;
mod races;
mod removal;
mod restart;
mod screens;
mod servers;
mod shared_blocks;
mod shares;
mod snapshot;
mod snapshot_stopped;
mod speed;
mod stats;
mod store;
mod supervised;
mod surroundings;
mod together;
mod torture;
mod unattended;
mod whole;
