//! The simulated network: links between peers and ports, virtual time, chance, who is due when.
//! This file is the peers' side; `port` is the workers'.
//!
//! Invariants:
//! 1. A link is never removed and its number never reused; descriptors are reused, and soon.
//! 2. What is due is in `due` once, with its time; time moves on only when nothing is due.

use super::clock::SimClock;
use super::dial::Services;
use super::faults::Canary;
use super::faults::Faults;
use super::link::ECONNRESET;
use super::link::Link;
use super::link::PeerRead;
use super::link::Piece;
use super::port::Port;
use super::verdict::Verdict;
use crate::base::chance::Chance;
use crate::base::time::Clock;
use crate::base::time::Moment;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections that wait for an accept, at most, per port.
const BACKLOG_MAX: usize = 64;

/// A connection, as its peer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub(super) usize);

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Link(usize),
    Peer(usize),
}

/// What the script wants of the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orders {
    /// Publish, subscribe, misbehave.
    Work,
    /// Publish no more, behave well, read everything.
    Settle,
    /// The server drains: read to the end, do not come back.
    Drain,
    /// Go away.
    Leave,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    /// The world's clock.
    pub clock: SimClock,
    /// The world's chance.
    pub chance: Chance,
    /// What goes wrong now.
    pub faults: Faults,
    /// The planted bug, if any.
    pub canary: Option<Canary>,
    /// What the peers shall do.
    pub orders: Orders,
    /// Where failures go.
    pub verdict: Verdict,
    pub(super) links: Vec<Link>,
    pub(super) ports: Vec<Port>,
    /// Which link a descriptor stands for.
    pub(super) fds: Vec<Option<usize>>,
    /// Descriptors that the kernel frees a little later.
    pub(super) cooling: VecDeque<(Moment, i32)>,
    pub(super) free: Vec<i32>,
    pub(super) due: BTreeSet<(Moment, Due)>,
    /// When each peer acts next.
    pub(super) peer_due: Vec<Option<Moment>>,
    pub(super) services: Services,
    /// The last one who acted was a peer of this number, or a worker.
    windows: (usize, usize),
}

impl Net {
    /// A network without ports.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            clock: SimClock::new(),
            chance: Chance::new(seed),
            faults,
            canary: None,
            orders: Orders::Work,
            verdict: Verdict::default(),
            links: Vec::new(),
            ports: Vec::new(),
            fds: Vec::new(),
            cooling: VecDeque::new(),
            free: Vec::new(),
            due: BTreeSet::new(),
            peer_due: Vec::new(),
            services: Services::default(),
            windows: (200, 6000),
        }
    }

    /// Send windows of new links: drawn from `from` to `to` bytes.
    pub fn set_windows(&mut self, from: usize, to: usize) {
        self.windows = (from, to.max(from + 1));
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        let drawn = self.chance.below(u64::try_from(bound).unwrap_or(u64::MAX));
        usize::try_from(drawn).unwrap_or(0)
    }

    /// A duration below `bound`.
    pub fn span(&mut self, bound: Duration) -> Duration {
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.chance.below(nanos))
    }

    /// A latency of the network, right now.
    pub(super) fn latency(&mut self) -> Duration {
        if self.chance.one_in(3) {
            return Duration::ZERO;
        }
        self.span(self.faults.latency_max)
    }

    /// Makes a peer act at `at`, or earlier if it was to act earlier.
    pub(super) fn poke(&mut self, peer: usize, at: Moment) {
        if self.peer_due.get(peer).copied().flatten().is_some_and(|due| due <= at) {
            return;
        }
        self.schedule_peer(peer, Some(at));
    }

    /// Sets when a peer acts next.
    pub(super) fn schedule_peer(&mut self, peer: usize, at: Option<Moment>) {
        if let Some(slot) = self.peer_due.get_mut(peer) {
            if let Some(old) = std::mem::replace(slot, at) {
                self.due.remove(&(old, Due::Peer(peer)));
            }
            if let Some(at) = at {
                self.due.insert((at, Due::Peer(peer)));
            }
        }
    }

    /// Opens a connection for a peer, to a port that chance picks; `None`: refused.
    pub fn connect(&mut self, peer: usize) -> Option<LinkId> {
        let open: Vec<usize> = (0..self.ports.len())
            .filter(|p| self.ports.get(*p).is_some_and(|port| port.listening))
            .collect();
        let port = *open.get(self.below(open.len()))?;
        if self.ports.get(port).is_none_or(|port| port.backlog.len() >= BACKLOG_MAX) {
            return None;
        }
        let id = self.links.len();
        let host = u8::try_from(peer % 250).unwrap_or(0);
        let local = 1024 + u16::try_from(id % 60_000).unwrap_or(0);
        let window = self.draw_window();
        let mut link = Link::new(port, peer, SocketAddr::from(([10, 0, 0, host], local)), window);
        if self.chance.one_in(2) {
            link.writable_from = (window / 3).max(1);
        }
        self.links.push(link);
        let at = self.now().after(self.latency());
        self.ports.get_mut(port)?.backlog.push_back((at, id));
        Some(LinkId(id))
    }

    pub(super) fn draw_window(&mut self) -> usize {
        let (from, to) = self.windows;
        from + self.below(to - from)
    }

    fn send_piece(&mut self, id: LinkId, piece: Piece) {
        let mut at = self.now().after(self.latency());
        let Some(link) = self.links.get_mut(id.0) else { return };
        if let Some((last, _)) = link.coming.back() {
            at = at.max(*last);
        }
        link.coming.push_back((at, piece));
        self.due.insert((at, Due::Link(id.0)));
    }

    /// The peer sends bytes: they arrive later, in pieces.
    pub fn send(&mut self, id: LinkId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if self.chance.one_in(4) { 2 } else { self.faults.piece_max };
            let (piece, tail) = rest.split_at((1 + self.below(most)).min(rest.len()));
            self.send_piece(id, Piece::Bytes(piece.to_vec()));
            rest = tail;
        }
    }

    /// The peer shuts its writing side.
    pub fn shut(&mut self, id: LinkId) {
        self.send_piece(id, Piece::End);
    }

    /// The peer closes: what comes later is answered with a reset.
    pub fn hang_up(&mut self, id: LinkId) {
        self.send_piece(id, Piece::End);
        let Some(link) = self.links.get_mut(id.0) else { return };
        link.peer_gone = true;
        if !link.down.is_empty() {
            self.send_piece(id, Piece::Reset(ECONNRESET));
        }
    }

    /// The peer resets the connection.
    pub fn reset(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id.0) {
            link.peer_gone = true;
        }
        self.send_piece(id, Piece::Reset(ECONNRESET));
    }

    /// The peer reads up to `most` bytes.
    pub fn read(&mut self, id: LinkId, most: usize, into: &mut Vec<u8>) -> PeerRead {
        let Some(link) = self.links.get_mut(id.0) else { return PeerRead::Reset };
        let read = link.peer_read(most, into);
        if matches!(read, PeerRead::Bytes(_)) {
            self.ripen(id.0);
        }
        read
    }

    /// Whether everything that the peer sent was read by the server, everything that the server
    /// sent was read by the peer, and the driver owes the server no report of writability.
    #[must_use]
    pub fn is_quiet(&self, id: LinkId) -> bool {
        self.links.get(id.0).is_some_and(|link| {
            link.coming.is_empty()
                && link.up.is_empty()
                && link.down.is_empty()
                && link.armed & super::link::WRITE == 0
                && link.fd.is_some()
                && !(link.finished || link.hangup())
        })
    }

    /// Whether the server has read everything that the peer sent, on a connection that neither has
    /// ended.
    #[must_use]
    pub fn has_read(&self, id: LinkId) -> bool {
        self.links.get(id.0).is_some_and(|link| {
            link.coming.is_empty() && link.up.is_empty() && !link.hangup() && !link.closed
        })
    }

    /// Whether the server could know that the peer has gone, and has not closed the connection: the
    /// driver does not owe it the news.
    #[must_use]
    pub fn has_noticed(&self, id: LinkId) -> bool {
        self.is_left(id) && self.links.get(id.0).is_some_and(Link::hangup)
    }

    /// Whether there is something to read on an open connection, of which the driver owes the
    /// server no report: it has had one, or does not want to know.
    #[must_use]
    pub fn is_left(&self, id: LinkId) -> bool {
        self.links.get(id.0).is_some_and(|link| {
            let ripe = self.ports.get(link.port).is_some_and(|p| p.ripe.contains_key(&id.0));
            let news = link.hangup() || !link.up.is_empty();
            news && !link.closed && link.fd.is_some() && !ripe
        })
    }

    /// Whether the worker of this connection makes others, or has bytes on their way there or back.
    #[must_use]
    pub fn reaches_out(&self, id: LinkId) -> bool {
        let Some(port) = self.links.get(id.0).map(|link| link.port) else { return false };
        let open = self.fds.iter().flatten().filter_map(|id| self.links.get(*id));
        let mut own = open.filter(|link| link.port == port && link.dialled);
        own.any(|link| {
            let waits = link.armed & super::link::WRITE != 0;
            let news = link.hangup() || !link.coming.is_empty();
            link.connecting || waits || news || !link.down.is_empty()
        })
    }

    /// Whether neither side has ended the connection.
    #[must_use]
    pub fn is_up(&self, id: LinkId) -> bool {
        self.links.get(id.0).is_some_and(|link| {
            !(link.closed || link.finished || link.peer_gone || link.peer_reset)
                && link.failed.is_none()
        })
    }

    /// Whether the worker of this connection is asleep, with nothing to wake it for `span`.
    #[must_use]
    pub fn sleeps_for(&self, id: LinkId, span: Duration) -> bool {
        let port = self.links.get(id.0).and_then(|link| self.ports.get(link.port));
        port.is_some_and(|port| port.next(self.now()).is_none_or(|at| at > self.now().after(span)))
    }

    /// Descriptors that are open.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.fds.iter().flatten().count()
    }
}
