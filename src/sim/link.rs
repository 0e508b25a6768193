//! One simulated connection: two byte pipes, how they end, and what the server watches.
//!
//! Invariants:
//! 1. Bytes arrive in the order sent, or not at all: a reset cuts the rest off.
//! 2. The send window holds at most `window` bytes that the peer has not read.
//! 3. Everything here is plain state: time and chance come from [`super::net::Net`].

use crate::base::time::Moment;
use crate::io::Token;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// `EPIPE` on Linux.
pub const EPIPE: i32 = 32;
/// `ECONNRESET` on Linux.
pub const ECONNRESET: i32 = 104;

/// Something on its way to the server.
#[derive(Debug)]
pub(super) enum Piece {
    /// The connect that the server began has ended well.
    Open,
    Bytes(Vec<u8>),
    End,
    Reset(i32),
}

/// What a peer's read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerRead {
    /// So many bytes were appended.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// The server has shut its writing side; everything was read.
    End,
    /// The connection was reset.
    Reset,
}

/// Interests as bits.
pub(super) const HANGUP: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) port: usize,
    pub(super) peer: usize,
    pub(super) addr: SocketAddr,
    /// On its way to the server, with the time of arrival.
    pub(super) coming: VecDeque<(Moment, Piece)>,
    /// Arrived, not read by the server.
    pub(super) up: VecDeque<u8>,
    pub(super) up_end: bool,
    /// Sent by the server, not read by the peer.
    pub(super) down: VecDeque<u8>,
    pub(super) down_end: bool,
    pub(super) window: usize,
    /// Room at which the socket counts as writable again.
    pub(super) writable_from: usize,
    /// What every further call of the server gets.
    pub(super) failed: Option<i32>,
    /// What the peer's next read gets.
    pub(super) peer_reset: bool,
    /// The peer has closed both ways.
    pub(super) peer_gone: bool,
    /// The server's descriptor while it is open.
    pub(super) fd: Option<i32>,
    /// The server has closed it.
    pub(super) closed: bool,
    pub(super) finished: bool,
    pub(super) armed: u8,
    pub(super) token: Option<Token>,
    /// The server's connect has not ended.
    pub(super) connecting: bool,
    /// The server has made it.
    pub(super) dialled: bool,
}

impl Link {
    pub(super) fn new(port: usize, peer: usize, addr: SocketAddr, window: usize) -> Self {
        Self {
            port,
            peer,
            addr,
            coming: VecDeque::new(),
            up: VecDeque::new(),
            up_end: false,
            down: VecDeque::new(),
            down_end: false,
            window,
            writable_from: 1,
            failed: None,
            peer_reset: false,
            peer_gone: false,
            fd: None,
            closed: false,
            finished: false,
            armed: 0,
            token: None,
            connecting: false,
            dialled: false,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.down.len())
    }

    pub(super) fn hangup(&self) -> bool {
        self.up_end || self.failed.is_some()
    }

    /// The armed interests that are satisfied now.
    pub(super) fn satisfied(&self) -> u8 {
        let mut met = 0;
        if self.hangup() {
            met |= HANGUP | READ;
        }
        if !self.up.is_empty() {
            met |= READ;
        }
        let open = !self.connecting && self.room() >= self.writable_from;
        if self.failed.is_some() || open {
            met |= WRITE;
        }
        met & self.armed
    }

    /// Takes what has arrived by `now`; true if there was something.
    pub(super) fn arrive(&mut self, now: Moment) -> bool {
        let mut any = false;
        while self.coming.front().is_some_and(|(at, _)| *at <= now) {
            any = true;
            match self.coming.pop_front() {
                Some((_, Piece::Open)) => self.connecting = false,
                Some((_, Piece::Bytes(bytes))) if self.closed => {
                    // The server no longer reads: the kernel answers with a reset.
                    self.peer_reset |= !bytes.is_empty();
                }
                Some((_, Piece::Bytes(bytes))) => self.up.extend(bytes),
                Some((_, Piece::End)) => self.up_end = true,
                Some((_, Piece::Reset(errno))) => {
                    self.failed.get_or_insert(errno);
                    self.up.clear();
                    self.down.clear();
                    self.peer_reset = true;
                }
                None => {}
            }
        }
        any
    }

    /// The peer reads up to `most` bytes.
    pub(super) fn peer_read(&mut self, most: usize, into: &mut Vec<u8>) -> PeerRead {
        let count = most.min(self.down.len());
        if count > 0 {
            into.extend(self.down.drain(..count));
            PeerRead::Bytes(count)
        } else if self.peer_reset {
            PeerRead::Reset
        } else if self.down_end && self.down.is_empty() {
            PeerRead::End
        } else {
            PeerRead::Empty
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link::new(0, 0, SocketAddr::from(([10, 0, 0, 1], 5)), 10)
    }

    #[test]
    fn interests_follow_the_state() {
        let mut link = link();
        link.armed = HANGUP | READ | WRITE;
        assert_eq!(link.satisfied(), WRITE);
        link.down.extend([0; 10]);
        assert_eq!(link.satisfied(), 0);
        link.up.push_back(1);
        assert_eq!(link.satisfied(), READ);
        link.up_end = true;
        assert_eq!(link.satisfied(), READ | HANGUP);
        link.failed = Some(EPIPE);
        assert_eq!(link.satisfied(), READ | HANGUP | WRITE);
    }

    #[test]
    fn pieces_arrive_in_time_and_a_reset_cuts_the_rest_off() {
        let mut link = link();
        link.coming.push_back((Moment::from_nanos(5), Piece::Bytes(vec![1, 2])));
        link.coming.push_back((Moment::from_nanos(9), Piece::Reset(ECONNRESET)));
        assert!(!link.arrive(Moment::from_nanos(4)));
        assert!(link.arrive(Moment::from_nanos(8)));
        assert_eq!(link.up, [1, 2]);
        link.down.extend([7, 8]);
        assert!(link.arrive(Moment::from_nanos(9)));
        let mut read = Vec::new();
        assert_eq!(link.peer_read(9, &mut read), PeerRead::Reset);
        assert_eq!((link.failed, link.up.len(), read.len()), (Some(ECONNRESET), 0, 0));
    }

    #[test]
    fn the_end_comes_after_the_last_byte() {
        let mut link = link();
        link.down.extend([1, 2, 3]);
        link.down_end = true;
        let mut read = Vec::new();
        assert_eq!(link.peer_read(2, &mut read), PeerRead::Bytes(2));
        assert_eq!(link.peer_read(2, &mut read), PeerRead::Bytes(1));
        assert_eq!(link.peer_read(2, &mut read), PeerRead::End);
        assert_eq!(read, [1, 2, 3]);
    }
}
