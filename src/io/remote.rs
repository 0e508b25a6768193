//! Connecting out: where to, with which options, and how a connect stands.
//!
//! Invariants: a socket is made non-blocking and closed on exec, its options are set before it
//! connects, and nothing here waits. A socket that could not begin to connect is closed.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use socket2::Domain;
use socket2::Protocol;
use socket2::SockAddr;
use socket2::Socket;
use socket2::TcpKeepalive;
use socket2::Type;

use crate::io::sys;

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remote {
    /// An address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Unsent bytes above which the kernel takes no more: what a backend that does not read costs. As
/// much as one receive takes in, so that it usually goes on whole.
const NOTSENT_LOWAT: u32 = 64 * 1024;
/// Bytes that a backend may send ahead of our reading; the kernel doubles it for its own
/// bookkeeping. Fixed, since a stream that is held back for a slow client would otherwise grow to
/// megabytes. At a round trip of 1 ms, usual for backends, it allows some 250 MB/s.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// How long sent data may stay unacknowledged before the kernel gives the connection up. A backend
/// whose host has died sends no reset.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence after which the kernel probes the backend: an event stream may be silent for hours, and
/// we send nothing on it that could find out.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// From one probe to the next. `USER_TIMEOUT` counts for probes too, so that the death of a host is
/// found within a minute.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Makes a socket and starts to connect it.
///
/// # Errors
/// The errno of what failed at once: no descriptors, no route, no such socket file, a full backlog
/// of a Unix socket (`EAGAIN`), a path that does not fit an address (`ENAMETOOLONG`).
pub(super) fn start(to: &Remote) -> Result<OwnedFd, i32> {
    let socket = match to {
        Remote::Tcp(addr) => tcp(*addr)?,
        Remote::Unix(path) => unix(path)?,
    };
    Ok(socket.into())
}

fn tcp(addr: SocketAddr) -> Result<Socket, i32> {
    let kind = Type::STREAM.nonblocking();
    let socket =
        Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP)).map_err(errno)?;
    // A request or a piece of a body is sent as one range: nothing is gained by holding it back.
    socket.set_tcp_nodelay(true).map_err(errno)?;
    // Before the connect: the window scale is chosen from it.
    socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(errno)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive).map_err(errno)?;
    let millis = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    for (name, value) in [(sys::TCP_NOTSENT_LOWAT, NOTSENT_LOWAT), (sys::TCP_USER_TIMEOUT, millis)]
    {
        sys::set_option(socket.as_raw_fd(), sys::IPPROTO_TCP, name, value).map_err(errno)?;
    }
    match socket.connect(&addr.into()).map_err(errno) {
        // An interrupted connect goes on too.
        Ok(()) | Err(sys::EINPROGRESS | sys::EINTR) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// The options of a TCP socket have no meaning here: the peer is on this host, and the kernel tells
/// when it dies. A connect is over at once, or fails.
fn unix(path: &Path) -> Result<Socket, i32> {
    // The one reason why a path is no address, and it carries no errno.
    let addr = SockAddr::unix(path).map_err(|_| sys::ENAMETOOLONG)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(errno)?;
    socket.connect(&addr).map_err(errno)?;
    Ok(socket)
}

fn errno(error: std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(sys::EINVAL)
}

/// How the connect of a socket stands: made, under way (`EINPROGRESS`), or failed, by errno.
///
/// `SO_ERROR` alone does not tell: it is 0 while a connect is under way, and again once a failure
/// was read. A socket with a peer is connected; one without has failed if the kernel has any
/// news of it, for of a connect that is under way there is none.
pub(super) fn connected(fd: i32) -> Result<(), i32> {
    sys::pending_error(fd)?;
    match sys::peer(fd) {
        // On one host, a connect to a port that nobody listens on may be given this very port as
        // its own and so meet itself. Nobody is there.
        Ok(peer) if sys::local(fd) == Ok(peer) => Err(sys::ECONNREFUSED),
        // A Unix socket has a peer too, though no address that we read.
        Ok(_) | Err(sys::EAFNOSUPPORT) => Ok(()),
        Err(sys::ENOTCONN) if !sys::has_news(fd) => Err(sys::EINPROGRESS),
        // It may have failed since the first look.
        Err(errno) => sys::pending_error(fd).and(Err(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::net::TcpListener;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::UnixListener;

    fn settled(fd: i32) -> Result<(), i32> {
        loop {
            match connected(fd) {
                Err(sys::EINPROGRESS) => std::thread::yield_now(),
                settled => return settled,
            }
        }
    }

    /// A place of this process where nobody listens.
    fn nobody() -> SocketAddr {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
    }

    #[test]
    fn a_failure_that_was_read_is_not_taken_for_a_connect_under_way() {
        let Ok(socket) = start(&Remote::Tcp(nobody())) else { return };
        assert_eq!(settled(socket.as_raw_fd()), Err(sys::ECONNREFUSED));
        assert_eq!(connected(socket.as_raw_fd()), Err(sys::ENOTCONN));
    }

    #[test]
    fn a_socket_that_met_itself_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        assert_eq!(connected(socket.as_raw_fd()), Err(sys::ECONNREFUSED));
    }

    #[test]
    fn options_hold() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = start(&Remote::Tcp(listener.local_addr().unwrap())).unwrap();
        assert_eq!(settled(socket.as_raw_fd()), Ok(()));
        let socket = Socket::from(socket);
        let info = format!("/proc/self/fdinfo/{}", socket.as_raw_fd());
        let info = std::fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & libc::O_CLOEXEC, libc::O_CLOEXEC);
        assert!(socket.nonblocking().unwrap());
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert!(socket.recv_buffer_size().unwrap() >= 128 * 1024);
    }

    #[test]
    fn paths_that_are_no_sockets_are_errnos() {
        let long = PathBuf::from("x".repeat(200));
        assert_eq!(start(&Remote::Unix(long)).unwrap_err(), sys::ENAMETOOLONG);
        let none = PathBuf::from("/no/such/socket");
        assert_eq!(start(&Remote::Unix(none)).unwrap_err(), libc::ENOENT);
    }

    #[test]
    fn a_full_backlog_of_a_unix_socket_is_an_error() {
        // Of the abstract space: no file is left behind.
        let name = format!("\0tidegate-backlog-{}", std::process::id());
        let to = Remote::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes())));
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&name).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let first = start(&to).unwrap();
        assert_eq!(connected(first.as_raw_fd()), Ok(()));
        assert_eq!(start(&to).unwrap_err(), sys::EAGAIN);
        let listener = UnixListener::from(OwnedFd::from(listener));
        let _accepted = listener.accept().unwrap();
        assert!(start(&to).is_ok());
    }
}
