//! Processes: signals through pidfds, and what a process gives up or says of itself.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};

pub(crate) use rustix::process::Signal;

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

/// The bits that a new file of this process does not get.
pub(crate) fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    bits.and_then(|bits| u32::from_str_radix(bits.trim(), 8).ok()).unwrap_or(0o077)
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

/// Stops this process until somebody lets it go on (SIGSTOP).
pub(crate) fn stop_ourselves() -> io::Result<()> {
    Ok(rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)?)
}
