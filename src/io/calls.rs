//! What results of system calls mean, the same for both kernel drivers.

use crate::io::Recv;
use crate::io::Socket;
use crate::io::sys;

/// Unread input thrown away at a close, at most.
const DISCARD_MAX: usize = 1 << 20;

/// Reads what has arrived. Never waits.
pub(super) fn recv(socket: Socket, into: &mut [u8]) -> Recv {
    if into.is_empty() {
        return Recv::Empty;
    }
    loop {
        match sys::recv(socket.0, into) {
            Ok(0) => return Recv::End,
            Ok(bytes) => return Recv::Bytes(bytes),
            Err(sys::EINTR) => {}
            Err(sys::EAGAIN) => return Recv::Empty,
            Err(errno) => return Recv::Failed(errno),
        }
    }
}

/// Stops acknowledging at once. Only TCP can; others refuse, and stay as they are.
pub(super) fn delay_acks(socket: Socket) {
    let _ = sys::set_option(socket.0, sys::IPPROTO_TCP, sys::TCP_QUICKACK, 0);
}

/// Whether there is nothing to read, and no end.
pub(super) fn has_nothing(socket: Socket) -> bool {
    loop {
        match sys::peek(socket.0) {
            Err(sys::EINTR) => {}
            found => return found == Err(sys::EAGAIN),
        }
    }
}

/// What a failed send means: the socket is full (or the kernel out of memory, which passes), or
/// the connection is over.
pub(super) fn unsent(errno: i32) -> Result<usize, i32> {
    match errno {
        sys::EAGAIN | sys::EINTR | sys::ENOBUFS | sys::ENOMEM => Ok(0),
        errno => Err(errno),
    }
}

/// Frees a descriptor. What has arrived unread is thrown away first, so that the peer gets an end
/// and not a reset.
pub(super) fn free(fd: i32) {
    sys::discard(fd, DISCARD_MAX);
    sys::close(fd);
}

/// What an accept that failed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The queue is empty.
    Empty,
    /// This one connection is lost; the next may be fine.
    Passing,
    /// No more can be accepted for now.
    Pause,
}

/// Sorts the errnos of accept(2). Linux passes pending network errors of the new connection
/// through it.
pub(super) fn refusal(errno: i32) -> Refusal {
    match errno {
        sys::EAGAIN => Refusal::Empty,
        sys::EINTR
        | libc::ECONNABORTED
        | libc::EPROTO
        | libc::EPERM
        | libc::ENETDOWN
        | libc::ENETUNREACH
        | libc::ENONET
        | libc::EHOSTDOWN
        | libc::EHOSTUNREACH
        | libc::ENOTCONN => Refusal::Passing,
        _ => Refusal::Pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhaustion_pauses_and_lost_connections_do_not() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(refusal(errno), Refusal::Pause);
        }
        assert_eq!(refusal(libc::ECONNABORTED), Refusal::Passing);
        assert_eq!(refusal(libc::EAGAIN), Refusal::Empty);
    }

    #[test]
    fn a_full_socket_is_no_error() {
        assert_eq!(unsent(libc::EAGAIN), Ok(0));
        assert_eq!(unsent(libc::EPIPE), Err(libc::EPIPE));
    }
}
