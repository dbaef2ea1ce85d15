//! The process of one VM.

mod home;
mod launch;
mod logs;
mod monitor;
mod session;
mod state;
