//! Sockets: connecting without a wait, and who is at the other end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

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

/// Sends what a socket takes now; none where the descriptor is no socket.
pub(crate) fn send_now(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    use rustix::net::SendFlags;
    match rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(rustix::io::Errno::NOTSOCK) => Ok(None),
        sent => Ok(Some(sent?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::effective_uid;

    #[test]
    fn the_peer_of_our_own_pair_is_ourselves() {
        let (a, _b) = UnixStream::pair().unwrap();
        assert_eq!(peer(&a).unwrap(), (std::process::id() as i32, effective_uid()));
    }
}
