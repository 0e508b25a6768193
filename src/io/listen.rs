//! Opening a listener, with all options that its connections inherit.
//!
//! Invariants: options are set here, once, on the listener; an accepted connection costs no
//! `setsockopt`. Each worker has a listener of its own on the same port (SO_REUSEPORT), and the
//! kernel spreads connections over them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::TcpKeepalive;
use socket2::Type;

use crate::io::sys;

/// What accepted connections inherit, and how many may queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
    /// Unsent bytes per connection above which the kernel takes no more: what a client that never
    /// reads costs. Bytes.
    pub notsent_lowat: u32,
    /// Bytes that a client may send ahead of our reading; the kernel doubles it for its own
    /// bookkeeping. Clients of an event stream have nothing to say after their request, but a
    /// publisher that pipelines does: over loopback, where a segment holds up to 64 KiB, a window
    /// smaller than two segments was seen to stall it for 200 ms at a time once it had been full.
    pub receive_buffer: u32,
    /// How long sent data may stay unacknowledged before the kernel gives the connection up.
    pub user_timeout: Duration,
    /// Silence after which the kernel probes the peer.
    pub keepalive_idle: Duration,
    /// Accept only once data has arrived, waiting this long for it; `None` accepts at once.
    pub defer_accept: Option<Duration>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 8192,
            notsent_lowat: 16 * 1024,
            receive_buffer: 128 * 1024,
            user_timeout: Duration::from_secs(60),
            keepalive_idle: Duration::from_secs(60),
            defer_accept: None,
        }
    }
}

/// An open listener. Not bound to a thread: bind on one, hand to a worker.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
}

impl Listener {
    pub(in crate::io) fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

/// Opens a listener on `addr` and returns it with the address it really has (port 0 means any).
/// More listeners may be bound to the address returned.
///
/// # Errors
/// The kernel's: address in use by somebody else, not ours, port not permitted, no descriptors.
pub fn bind(addr: SocketAddr, options: &ListenOptions) -> io::Result<(Listener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Restarts must not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Events are whole messages, coalesced by us; the kernel shall not hold them back.
    socket.set_tcp_nodelay(true)?;
    // Before listen: the window scale is chosen from it when a connection is made.
    socket.set_recv_buffer_size(options.receive_buffer as usize)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(options.keepalive_idle))?;
    let fd = socket.as_raw_fd();
    sys::set_option(fd, sys::IPPROTO_TCP, sys::TCP_NOTSENT_LOWAT, options.notsent_lowat)?;
    let timeout = u32::try_from(options.user_timeout.as_millis()).unwrap_or(u32::MAX);
    sys::set_option(fd, sys::IPPROTO_TCP, sys::TCP_USER_TIMEOUT, timeout)?;
    if let Some(defer) = options.defer_accept {
        let seconds = u32::try_from(defer.as_secs()).unwrap_or(u32::MAX).max(1);
        sys::set_option(fd, sys::IPPROTO_TCP, sys::TCP_DEFER_ACCEPT, seconds)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    let real = socket.local_addr()?.as_socket().unwrap_or(addr);
    Ok((Listener { socket }, real))
}

/// Raises the process's soft limit on open files to the hard one, as servers do: a shell's soft
/// limit is made for programs that use `select`. Returns the limit that holds; `None`: no limit.
#[must_use]
pub fn raise_files_limit() -> Option<u64> {
    sys::raise_files_limit()
}

/// Fails if somebody else listens on `addr`. With SO_REUSEPORT a second server of the same user
/// would share the port in silence and take half of the clients; ask before the first `bind`.
///
/// # Errors
/// `EADDRINUSE`, or another reason why it cannot be bound.
pub fn check_free(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())
}
