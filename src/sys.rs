//! Every system call that std does not offer, by its own name, through rustix.
//!
//! Nothing here decides anything: a function is one call, or a call and its retry on EINTR. Other
//! rooms import from here and never from rustix, so that this list is all that maqet asks of Linux.

mod terminal;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, Mode};
use rustix::io::FdFlags;
use rustix::process::{Flock, FlockType, Pid, PidfdFlags, Resource, Rlimit};

pub(crate) use rustix::process::Signal;

pub(crate) use self::terminal::{Modes, NOT_OURS, owns_terminal, terminal_size};

/// O_NOFOLLOW as std's `custom_flags` takes it.
pub(crate) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// O_NONBLOCK as std's `custom_flags` takes it.
pub(crate) const NON_BLOCKING: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// What one descriptor is asked for in a turn of `poll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Only hang-up and error, which poll(2) always tells.
    Nothing,
    Read,
    Write,
    ReadWrite,
}

/// Waits until one of `sources` is ready or `deadline` passes, and says which are: any nonempty
/// revents counts, for a bare HUP that nobody acts upon would spin. A signal ends the wait early
/// with nothing ready.
pub(crate) fn poll(
    sources: &[(BorrowedFd<'_>, Interest)],
    deadline: Option<Instant>,
) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> =
        sources.iter().map(|(fd, interest)| PollFd::new(fd, flags(*interest))).collect();
    let timeout = deadline.map(|at| round_up(at.saturating_duration_since(Instant::now())));
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; sources.len()]),
        Err(error) => Err(error.into()),
    }
}

/// Waits for one descriptor; false when `deadline` has passed first.
pub(crate) fn wait_readable(fd: impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        if poll(&[(fd.as_fd(), Interest::Read)], Some(deadline))?[0] {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}

fn flags(interest: Interest) -> PollFlags {
    match interest {
        Interest::Nothing => PollFlags::empty(),
        Interest::Read => PollFlags::IN,
        Interest::Write => PollFlags::OUT,
        Interest::ReadWrite => PollFlags::IN | PollFlags::OUT,
    }
}

/// A wait rounded up to the next millisecond never ends just before its deadline.
fn round_up(wait: Duration) -> Timespec {
    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2_000).saturating_add(1);
    let millis = if wait.is_zero() { 0 } else { millis };
    Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000) * 1_000_000 }
}

/// Tries to take the POSIX record lock on the whole file (fcntl F_SETLK); false when it is held.
pub(crate) fn try_record_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The process that holds the record lock (fcntl F_GETLK): `None` when it is free, 0 or less when
/// the holder lives in another pid namespace or on another host.
pub(crate) fn record_lock_holder(file: &File) -> io::Result<Option<i32>> {
    let held = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?;
    Ok(held.map(|lock| Pid::as_raw(lock.pid)))
}

/// Tries to take the flock(2) of a file, alone or shared; false when it is held.
pub(crate) fn try_flock(file: &File, shared: bool) -> io::Result<bool> {
    let operation = if shared {
        FlockOperation::NonBlockingLockShared
    } else {
        FlockOperation::NonBlockingLockExclusive
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A descriptor that stands for one process whatever becomes of its number (pidfd_open, Linux 5.3).
/// It polls readable at that process's exit.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid.max(0)).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal through a pidfd; a process that has ended already is no error.
pub(crate) fn pidfd_send(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a Unix socket without ever waiting: a server whose queue is full is an error
/// (EAGAIN) like one that is not there.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Begins to connect to an address of this host and never waits for an answer.
pub(crate) fn begin_to_connect(address: std::net::SocketAddrV4) -> io::Result<std::net::TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// Who is at the other end of a Unix socket (SO_PEERCRED): its pid and uid when it connected.
pub(crate) fn peer(stream: &UnixStream) -> io::Result<(i32, u32)> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    Ok((credentials.pid.as_raw_nonzero().get(), credentials.uid.as_raw()))
}

pub(crate) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The parent's pid; 0 when it lies outside this pid namespace.
pub(crate) fn parent_pid() -> i32 {
    Pid::as_raw(rustix::process::getppid())
}

pub(crate) fn new_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// From here on files are made 0600 and folders 0700.
pub(crate) fn private_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}

/// The kernel sends SIGKILL to this process when its parent *thread* ends (prctl PR_SET_PDEATHSIG).
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

pub(crate) fn no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

pub(crate) fn no_core_dumps() -> io::Result<()> {
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// The most address space that this process may have, in bytes (RLIMIT_AS).
pub(crate) fn limit_memory(bytes: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    Ok(rustix::process::setrlimit(Resource::As, limit)?)
}

/// The most time on the CPU that this process may have; past it the kernel ends it (RLIMIT_CPU).
pub(crate) fn limit_cpu(seconds: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(seconds), maximum: Some(seconds) };
    Ok(rustix::process::setrlimit(Resource::Cpu, limit)?)
}

/// The process name of `ps` and /proc/PID/comm; the kernel keeps its first 15 bytes.
pub(crate) fn set_process_name(name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(rustix::thread::set_name(&name)?)
}

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

/// Whether executing this file would grant privileges: set-user-id, set-group-id or file
/// capabilities. Such a program sheds its parent-death signal (prctl(2)).
pub(crate) fn grants_privileges(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o6000 != 0 {
        return Ok(true);
    }
    let mut value = [0_u8; 64];
    match rustix::fs::getxattr(path, "security.capability", &mut value[..]) {
        Ok(length) => Ok(length > 0),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The number of a descriptor, for a command line that names it.
pub(crate) fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// What tells one boot of this host from another (random(4)).
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// A pipe, both ends closed on exec: where to read, where to write.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Renames a file, unless one of the new name is there already (renameat2 RENAME_NOREPLACE).
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Makes `to` share all blocks of `from` (ioctl FICLONE); false where the file system cannot.
pub(crate) fn share_blocks(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Copies within the kernel (copy_file_range(2)), at the same offset in both files: how many bytes
/// were copied, `None` where these two files do not allow it.
pub(crate) fn copy_range(
    from: &File,
    to: &File,
    at: u64,
    bytes: usize,
) -> io::Result<Option<usize>> {
    use rustix::io::Errno;
    let (mut read_at, mut write_at) = (at, at);
    let copied =
        rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), bytes);
    match copied {
        Ok(count) => Ok(Some(count)),
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::TXTBSY) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The next bytes of a file from `at` on that are no hole, as begin and end (SEEK_DATA, SEEK_HOLE);
/// `None` behind the last of them. Where the file system knows no holes all is data.
pub(crate) fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let end = seek(file, SeekFrom::End(0))?;
    if at >= end {
        return Ok(None);
    }
    match seek(file, SeekFrom::Data(at)) {
        Ok(begin) => Ok(Some((begin, seek(file, SeekFrom::Hole(begin))?))),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some((at, end))),
        Err(error) => Err(error.into()),
    }
}

/// What a path lies on (statfs): the file system's magic number, and whether it is mounted
/// read-only (ST_RDONLY).
pub(crate) fn file_system(path: &Path) -> io::Result<(u32, bool)> {
    let found = rustix::fs::statfs(path)?;
    // Its width differs by architecture; the magic numbers have 32 bits.
    Ok((found.f_type as u32, found.f_flags & 1 != 0))
}

/// Whether we may use KVM: /dev/kvm opens.
pub(crate) fn kvm_opens() -> bool {
    File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// How many bytes an unprivileged process may still write to the file system of this path.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Tells, by becoming readable, that a file in this folder was written, made or renamed (inotify(7)).
pub(crate) fn watch_folder(folder: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&watch, folder, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    Ok(watch)
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

/// Sends what a socket takes now; none where the descriptor is no socket.
pub(crate) fn send_now(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    use rustix::net::SendFlags;
    match rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(rustix::io::Errno::NOTSOCK) => Ok(None),
        sent => Ok(Some(sent?)),
    }
}

/// Stops this process until somebody lets it go on (SIGSTOP).
pub(crate) fn stop_ourselves() -> io::Result<()> {
    Ok(rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_no_wait_is_none() {
        assert_eq!(round_up(Duration::ZERO).tv_nsec, 0);
        assert_eq!(round_up(Duration::from_micros(1)).tv_nsec, 1_000_000);
        let long = round_up(Duration::from_millis(1500));
        assert_eq!((long.tv_sec, long.tv_nsec), (1, 501_000_000));
    }

    #[test]
    fn a_poll_with_nothing_ready_ends_at_its_deadline() {
        let (_a, b) = UnixStream::pair().unwrap();
        let before = Instant::now();
        assert!(!wait_readable(&b, before + Duration::from_millis(20)).unwrap());
        assert!(before.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn the_peer_of_our_own_pair_is_ourselves() {
        let (a, _b) = UnixStream::pair().unwrap();
        assert_eq!(peer(&a).unwrap(), (std::process::id() as i32, effective_uid()));
    }
}
