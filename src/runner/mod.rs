//! The process of one VM.

mod state;
