//! What is on the guest's screen: a picture as QEMU writes it, and the characters of VGA's text mode.
//!
//! Pure: bytes in, pictures and characters out. Who asks QEMU for them is the caller's.

mod picture;
mod text;

pub(crate) use picture::{Picture, Pixel};
pub(crate) use text::{MEMORY, MEMORY_SIZE, characters};
