//! The few libc calls that both kernel drivers share, behind safe functions.
//!
//! # Safety
//! Safe code cannot do it: these are system calls. What the blocks below rely on:
//! 1. A slice is passed with its own length, and the kernel keeps no pointer after the call.
//! 2. A structure handed to the kernel lives on this stack, with its true size beside it.
//! 3. A call with only integers cannot break memory; a wrong descriptor is an errno.
//! 4. A descriptor that the kernel has just returned is owned by nobody else.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::ptr;
use std::time::Duration;

use socket2::SockAddr;
use socket2::SockAddrStorage;

pub(super) use libc::{
    EAFNOSUPPORT, EAGAIN, EBUSY, ECANCELED, ECONNREFUSED, EINPROGRESS, EINTR, EINVAL, EMFILE,
    ENAMETOOLONG, ENFILE, ENOBUFS, ENOMEM, ENOSYS, ENOTCONN, EPERM, EPOLLERR, EPOLLET, EPOLLHUP,
    EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLRDHUP, ETIME, IPPROTO_TCP, SHUT_RDWR, SHUT_WR,
    SOCK_CLOEXEC, SOCK_NONBLOCK, TCP_DEFER_ACCEPT, TCP_NOTSENT_LOWAT, TCP_QUICKACK,
    TCP_USER_TIMEOUT,
};

/// How a send must behave for `flush`: never wait, take all or say how much, raise no signal.
pub(super) const HOW: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// One readiness report, or one request for it.
pub(super) type Event = libc::epoll_event;

/// The errno of the last call.
fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn check(result: libc::c_int) -> Result<i32, i32> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn check_size(result: isize) -> Result<usize, i32> {
    usize::try_from(result).map_err(|_| errno())
}

/// `send(2)` with [`HOW`].
pub(super) fn send(fd: i32, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: (1).
    check_size(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), HOW) })
}

/// `recv(2)`, never waiting. Zero is the end of the stream.
pub(super) fn recv(fd: i32, into: &mut [u8]) -> Result<usize, i32> {
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: (1).
    check_size(unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), flags) })
}

/// As `recv` of one byte, which stays.
pub(super) fn peek(fd: i32) -> Result<usize, i32> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK;
    let mut byte = 0_u8;
    // SAFETY: (1).
    check_size(unsafe { libc::recv(fd, ptr::from_mut(&mut byte).cast(), 1, flags) })
}

/// Throws away what has arrived, up to about `bytes_max`; without copying it, where the socket is a
/// TCP one.
///
/// `close(2)` with unread input resets the connection, and a reset makes the peer drop what it has
/// not read yet, for instance the answer that says why it is being closed.
pub(super) fn discard(fd: i32, bytes_max: usize) {
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: (3): TCP with MSG_TRUNC writes nothing, so the null buffer is never touched. Any
    // other socket that has something to copy finds that no memory is there, and says so.
    let done = check_size(unsafe { libc::recv(fd, ptr::null_mut(), bytes_max, flags) });
    if done != Err(libc::EFAULT) {
        return;
    }
    let (mut sink, mut left) = ([0; 4096], bytes_max);
    while let Ok(bytes @ 1..) = recv(fd, &mut sink) {
        left = left.saturating_sub(bytes);
        if left == 0 {
            break;
        }
    }
}

/// `shutdown(2)`. A connection that is gone already is no news.
pub(super) fn shutdown(fd: i32, how: i32) {
    // SAFETY: (3).
    let _ = unsafe { libc::shutdown(fd, how) };
}

/// `close(2)`. Linux frees the descriptor whatever the answer is.
pub(super) fn close(fd: i32) {
    // SAFETY: (3).
    let _ = unsafe { libc::close(fd) };
}

/// `accept4(2)`: the connection, non-blocking, and its peer.
pub(super) fn accept(listener: i32) -> Result<(i32, SocketAddr), i32> {
    let flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    let mut fd = Err(libc::EIO);
    let peer = address(|storage, len| {
        // SAFETY: (2).
        fd = check(unsafe { libc::accept4(listener, storage, len, flags) });
        fd.map(|_| ())
    });
    let fd = fd?;
    peer.map(|peer| (fd, peer)).inspect_err(|_| close(fd))
}

/// `getpeername(2)`: `ENOTCONN` if there is no peer, yet or any more; `EAFNOSUPPORT` if its address
/// is not an IP one.
pub(super) fn peer(fd: i32) -> Result<SocketAddr, i32> {
    address(|storage, len| {
        // SAFETY: (2).
        check(unsafe { libc::getpeername(fd, storage, len) }).map(|_| ())
    })
}

/// `getsockname(2)`: our own address.
pub(super) fn local(fd: i32) -> Result<SocketAddr, i32> {
    address(|storage, len| {
        // SAFETY: (2).
        check(unsafe { libc::getsockname(fd, storage, len) }).map(|_| ())
    })
}

/// Reads and clears `SO_ERROR`.
pub(super) fn pending_error(fd: i32) -> Result<(), i32> {
    let error = option(fd, libc::SO_ERROR)?;
    if error == 0 { Ok(()) } else { Err(error) }
}

/// Whether it is a Unix socket.
pub(super) fn is_unix(fd: i32) -> bool {
    option(fd, libc::SO_DOMAIN) == Ok(libc::AF_UNIX)
}

/// A number at the level of sockets.
fn option(fd: i32, name: libc::c_int) -> Result<i32, i32> {
    let (mut value, mut size) = (0_i32, 4);
    let at = ptr::from_mut(&mut value).cast();
    // SAFETY: (2).
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, at, &raw mut size) })?;
    Ok(value)
}

/// `poll(2)` without waiting: whether there is anything to read, room to write, or an end.
pub(super) fn has_news(fd: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    // SAFETY: (2): one structure.
    let count = check(unsafe { libc::poll(&raw mut poll, 1, 0) });
    count.is_ok_and(|count| count > 0)
}

/// Lets `fill` write a socket address, and reads it.
fn address(
    fill: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> Result<(), i32>,
) -> Result<SocketAddr, i32> {
    let mut filled = Ok(());
    let wrapped = |storage: *mut SockAddrStorage, len: *mut libc::socklen_t| {
        filled = fill(storage.cast(), len);
        Ok(())
    };
    // SAFETY: (2): storage and length come as a pair, zeroed, and the kernel writes within.
    let parsed = unsafe { SockAddr::try_init(wrapped) };
    filled?;
    parsed.ok().and_then(|((), addr)| addr.as_socket()).ok_or(EAFNOSUPPORT)
}

/// Sets an integer socket option.
///
/// # Errors
/// The kernel's.
pub(super) fn set_option(fd: i32, level: i32, name: i32, value: u32) -> io::Result<()> {
    let size = 4;
    let at = ptr::from_ref(&value).cast();
    // SAFETY: (2).
    check(unsafe { libc::setsockopt(fd, level, name, at, size) })
        .map(|_| ())
        .map_err(io::Error::from_raw_os_error)
}

/// When the socket is closed, what its peer has not taken is thrown away and the peer reads a
/// reset. A failure is of no consequence: the socket then closes in order.
pub(super) fn discard_on_close(fd: i32) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of_val(&linger)).unwrap_or(0);
    let at = ptr::from_ref(&linger).cast();
    // SAFETY: (2).
    let _ = check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, at, size) });
}

/// Ends a TCP connection by a reset, now: what has not been taken is gone, a connect that is under
/// way is given up, and polls answer. Other sockets refuse, and stay as they are.
pub(super) fn disconnect(fd: i32) {
    let nowhere = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
    let size = libc::socklen_t::try_from(size_of_val(&nowhere)).unwrap_or(0);
    // SAFETY: (2): the family 0 is `AF_UNSPEC`.
    let _ = unsafe { libc::connect(fd, &raw const nowhere, size) };
}

fn own(fd: Result<i32, i32>) -> io::Result<OwnedFd> {
    let fd = fd.map_err(io::Error::from_raw_os_error)?;
    // SAFETY: (4).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A new eventfd: non-blocking, closed on exec.
///
/// # Errors
/// Out of descriptors or memory.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: (3).
    own(check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) }))
}

/// Adds one to an eventfd. Never waits.
pub(super) fn signal(eventfd: i32) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: (1). A full counter is an errno, and then the reader is awake anyway.
    let _ = unsafe { libc::write(eventfd, one.as_ptr().cast(), one.len()) };
}

/// A new epoll instance.
///
/// # Errors
/// Out of descriptors or memory.
pub(super) fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: (3).
    own(check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }))
}

/// What to do with a registration.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ctl {
    Add,
    Modify,
    Delete,
}

/// `epoll_ctl(2)`.
pub(super) fn control(epoll: i32, ctl: Ctl, fd: i32, events: u32, data: u64) -> Result<(), i32> {
    let op = match ctl {
        Ctl::Add => libc::EPOLL_CTL_ADD,
        Ctl::Modify => libc::EPOLL_CTL_MOD,
        Ctl::Delete => libc::EPOLL_CTL_DEL,
    };
    let mut event = Event { events, u64: data };
    // SAFETY: (2).
    check(unsafe { libc::epoll_ctl(epoll, op, fd, &raw mut event) }).map(|_| ())
}

/// `epoll_wait(2)`: how many of `into` were filled. Waits up to `wait`, rounded up to milliseconds.
pub(super) fn wait(epoll: i32, into: &mut [Event], wait: Option<Duration>) -> Result<usize, i32> {
    let millis = wait
        .map_or(-1, |wait| i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    let len = i32::try_from(into.len()).unwrap_or(i32::MAX);
    // SAFETY: (1).
    let count = check(unsafe { libc::epoll_wait(epoll, into.as_mut_ptr(), len, millis) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The soft limit on locked memory in bytes; `None` if there is none, or it cannot be read.
pub(super) fn memlock_limit() -> Option<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: (2).
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, limit.as_mut_ptr()) }).ok()?;
    // SAFETY: (2): the call above succeeded, so it wrote the structure.
    let limit = unsafe { limit.assume_init() };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Raises the soft limit on open files to the hard one. Returns the limit that holds then; `None`
/// if there is none, or it cannot be read.
pub(super) fn raise_files_limit() -> Option<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: (2).
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) }).ok()?;
    // SAFETY: (2): the call above succeeded, so it wrote the structure.
    let limit = unsafe { limit.assume_init() };
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: (2): the structure is only read.
    let done = check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) });
    let holds = if done.is_ok() { limit.rlim_max } else { limit.rlim_cur };
    (holds != libc::RLIM_INFINITY).then_some(holds)
}
