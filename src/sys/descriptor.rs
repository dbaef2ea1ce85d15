//! Descriptors, whatever they lead to: their flags, pipes, and the standard streams.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::FdFlags;

/// Descriptors 3 and above are closed at the next exec: what the user's shell left open is not ours
/// to keep open for the life of a VM.
pub(crate) fn close_inherited_on_exec() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// Lets a descriptor pass an exec, or not.
pub(crate) fn set_inheritable(fd: impl AsFd, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { FdFlags::empty() } else { FdFlags::CLOEXEC };
    Ok(rustix::io::fcntl_setfd(fd, flags)?)
}

/// Standard input and output become /dev/null.
pub(crate) fn detach_standard_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// Standard error becomes `file`.
pub(crate) fn redirect_stderr(file: &File) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(file)?)
}

/// Reads and writes on this descriptor no longer wait. It is a flag of the open file, which every
/// process that shares it then sees.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?)
}

/// Asks for a larger pipe buffer (F_SETPIPE_SZ); what the kernel refuses is no loss.
pub(crate) fn enlarge_pipe(fd: impl AsFd, bytes: usize) {
    let _ = rustix::pipe::fcntl_setpipe_size(fd, bytes);
}

/// The folder as `/proc/self/fd/N`, short enough for a socket address whatever its real path is.
pub(crate) fn short_path(folder: &File) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
}

/// The number of a descriptor, for a command line that names it.
pub(crate) fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// A pipe, both ends closed on exec: where to read, where to write.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Standard input as a descriptor, past the standard library's buffer.
pub(crate) fn standard_input() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// Standard output as a descriptor, past the standard library's buffer.
pub(crate) fn standard_output() -> BorrowedFd<'static> {
    rustix::stdio::stdout()
}

/// read(2).
pub(crate) fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd, buffer)?)
}

/// write(2).
pub(crate) fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(fd, bytes)?)
}
