//! The workers' side of the network: listeners, descriptors, readiness, and what a turn reports.
//!
//! Invariants:
//! 1. A link is ripe if an armed interest is satisfied; it is reported once its delay is over, and
//!    what was reported is disarmed.
//! 2. After `close` a link is never ripe again, and its descriptor rests before it is reused.

use super::link::ECONNRESET;
use super::link::EPIPE;
use super::link::HANGUP;
use super::link::Piece;
use super::link::READ;
use super::link::WRITE;
use super::net::Due;
use super::net::Net;
use super::verdict::Law;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicBool;
use crate::base::sync::atomic::Ordering::SeqCst;
use crate::base::time::Moment;
use crate::io::Ready;
use crate::io::Recv;
use crate::io::Socket;
use crate::io::Token;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

/// The first descriptor given out.
const FIRST_FD: i32 = 3;
/// Out of descriptors, out of memory: what accepts fail with.
const ACCEPT_ERRNOS: [i32; 4] = [24, 23, 105, 12];
const ACCEPTS_MAX: usize = 16;

/// What a worker's thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It runs, or will when its thread gets the baton.
    Running,
    /// It sleeps in `turn` until then, at most.
    Asleep(Option<Moment>),
    /// It has returned.
    Gone,
}

/// One worker's door.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) wake: Arc<AtomicBool>,
    pub(super) backlog: VecDeque<(Moment, usize)>,
    pub(super) accepting: bool,
    pub(super) listening: bool,
    /// Links with something to report, and from when.
    pub(super) ripe: BTreeMap<usize, Moment>,
    pub(super) rest: Rest,
    /// Not scheduled before.
    pub(super) stalled_until: Moment,
}

impl Port {
    pub(super) fn new(wake: Arc<AtomicBool>) -> Self {
        Self {
            wake,
            backlog: VecDeque::new(),
            accepting: false,
            listening: true,
            ripe: BTreeMap::new(),
            rest: Rest::Asleep(Some(Moment::START)),
            stalled_until: Moment::START,
        }
    }

    /// When there is a reason to end the sleep; `None`: never, as things are.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        let Rest::Asleep(until) = self.rest else {
            return (self.rest == Rest::Running).then_some(now);
        };
        if self.wake.load(SeqCst) {
            return Some(now);
        }
        let ripe = self.ripe.values().min().copied();
        let accept = self.backlog.front().map(|(at, _)| *at).filter(|_| self.accepting);
        [until, ripe, accept].into_iter().flatten().min()
    }
}

impl Net {
    /// Adds a worker's port, whose driver is woken through `wake`.
    pub(super) fn add_port(&mut self, wake: Arc<AtomicBool>) -> usize {
        self.ports.push(Port::new(wake));
        self.ports.len() - 1
    }

    /// The link of an open descriptor; a stranger is a broken contract.
    pub(super) fn link_of(&mut self, port: usize, socket: Socket, what: &str) -> Option<usize> {
        let index = usize::try_from(socket.0 - FIRST_FD).ok();
        let link = index.and_then(|index| self.fds.get(index).copied().flatten());
        let own = link.filter(|id| self.links.get(*id).is_some_and(|link| link.port == port));
        if own.is_none() {
            self.verdict.fail(Law::Contract, format!("{what} on {socket:?}, which is not open"));
        }
        own
    }

    /// Looks whether a link has become ripe, or is ripe no more.
    pub(super) fn ripen(&mut self, id: usize) {
        let Some(link) = self.links.get(id) else { return };
        let (port, ripe) = (link.port, link.satisfied() != 0 && !link.closed);
        let known = self.ports.get(port).is_some_and(|port| port.ripe.contains_key(&id));
        if known == ripe {
            return;
        }
        let at = self.now().after(self.latency());
        let Some(port) = self.ports.get_mut(port) else { return };
        if ripe {
            port.ripe.insert(id, at);
        } else {
            port.ripe.remove(&id);
        }
    }

    /// Moves what has arrived on a link.
    pub(super) fn arrive(&mut self, id: usize) {
        let now = self.now();
        let Some(link) = self.links.get_mut(id) else { return };
        let before = link.peer_reset;
        if link.arrive(now) {
            let (peer, news) = (link.peer, link.peer_reset && !before && !link.peer_gone);
            self.ripen(id);
            if news {
                self.poke(peer, now);
            }
        }
    }

    /// The server sends; what the link took.
    pub(super) fn server_send(&mut self, id: usize, bytes: &[u8]) -> Result<usize, i32> {
        if self.chance.one_in(self.faults.reset)
            && let Some(link) = self.links.get_mut(id)
        {
            link.failed = Some(ECONNRESET);
            link.peer_reset = true;
            let peer = link.peer;
            self.poke(peer, self.now());
        }
        let (full, short) =
            (self.chance.one_in(self.faults.full), self.chance.one_in(self.faults.short));
        let Some(link) = self.links.get(id) else { return Err(EPIPE) };
        if let Some(errno) = link.failed {
            return Err(if errno == ECONNRESET { ECONNRESET } else { EPIPE });
        }
        if link.connecting {
            self.verdict.fail(Law::Contract, "a send before the connect has ended");
            return Err(EPIPE);
        }
        if link.finished {
            self.verdict.fail(Law::Contract, "a send after finish");
            return Err(EPIPE);
        }
        let (peer, gone) = (link.peer, link.peer_gone);
        if gone {
            // The kernel takes it; the answer of the peer's kernel is a reset.
            let at = self.now().after(self.latency());
            if let Some(link) = self.links.get_mut(id) {
                link.coming.push_back((at, Piece::Reset(EPIPE)));
            }
            self.due.insert((at, Due::Link(id)));
            return Ok(bytes.len());
        }
        let mut take = link.room().min(bytes.len());
        if full {
            take = 0;
        } else if short {
            take = self.below(take + 1);
        }
        if take > 0 {
            if let Some(link) = self.links.get_mut(id) {
                link.down.extend(bytes.iter().take(take));
            }
            let at = self.now().after(self.latency());
            self.poke(peer, at);
        }
        self.ripen(id);
        Ok(take)
    }

    /// The server reads.
    pub(super) fn server_recv(&mut self, id: usize, into: &mut [u8]) -> Recv {
        let most = if self.chance.one_in(4) { 3 } else { self.faults.piece_max * 8 };
        let most = 1 + self.below(most);
        let blind = self.chance.one_in(self.faults.empty);
        let Some(link) = self.links.get_mut(id) else { return Recv::Failed(ECONNRESET) };
        if let Some(errno) = link.failed {
            return Recv::Failed(errno);
        }
        if blind {
            return Recv::Empty;
        }
        if link.up.is_empty() {
            return if link.up_end { Recv::End } else { Recv::Empty };
        }
        let count = most.min(link.up.len()).min(into.len());
        for (slot, byte) in into.iter_mut().zip(link.up.drain(..count)) {
            *slot = byte;
        }
        self.ripen(id);
        Recv::Bytes(count)
    }

    /// The server asks whether there is anything to read, or an end.
    pub(super) fn server_is_idle(&self, id: usize) -> bool {
        let link = self.links.get(id);
        link.is_some_and(|link| link.failed.is_none() && link.up.is_empty() && !link.up_end)
    }

    /// The server closes; with unread input the peer sees a reset and may lose what was sent.
    pub(super) fn server_close(&mut self, id: usize) {
        let now = self.now();
        let later = now.after(self.latency());
        let cut = self.links.get(id).map_or(0, |link| link.down.len());
        let cut = self.below(cut + 1);
        let Some(link) = self.links.get_mut(id) else { return };
        if link.up.is_empty() {
            link.down_end = true;
        } else {
            link.peer_reset = true;
            link.down.truncate(cut);
        }
        link.closed = true;
        link.armed = 0;
        let (fd, peer, port) = (link.fd.take(), link.peer, link.port);
        if let Some(fd) = fd {
            if let Some(slot) =
                usize::try_from(fd - FIRST_FD).ok().and_then(|i| self.fds.get_mut(i))
            {
                *slot = None;
            }
            self.cooling.push_back((later, fd));
        }
        if let Some(port) = self.ports.get_mut(port) {
            port.ripe.remove(&id);
        }
        self.poke(peer, now);
    }

    /// The server resets: what the peer has not read is gone.
    pub(super) fn server_reset(&mut self, id: usize) {
        if let Some(link) = self.links.get_mut(id) {
            link.peer_reset = true;
            link.down.clear();
        }
        self.server_close(id);
    }

    pub(super) fn open(&mut self, id: usize) -> i32 {
        let now = self.now();
        while self.cooling.front().is_some_and(|(at, _)| *at <= now) {
            self.free.extend(self.cooling.pop_front().map(|(_, fd)| fd));
        }
        let fd = self.free.pop().unwrap_or_else(|| {
            self.fds.push(None);
            FIRST_FD + i32::try_from(self.fds.len()).unwrap_or(i32::MAX - FIRST_FD) - 1
        });
        if let Some(slot) = usize::try_from(fd - FIRST_FD).ok().and_then(|i| self.fds.get_mut(i)) {
            *slot = Some(id);
        }
        if let Some(link) = self.links.get_mut(id) {
            link.fd = Some(fd);
        }
        fd
    }

    /// The server shuts its writing side.
    pub(super) fn server_finish(&mut self, id: usize) {
        let at = self.now().after(self.latency());
        let Some(link) = self.links.get_mut(id) else { return };
        link.finished = true;
        link.down_end = true;
        let peer = link.peer;
        self.poke(peer, at);
    }

    /// Adds an interest.
    pub(super) fn arm(&mut self, id: usize, token: Token, bit: u8) {
        if let Some(link) = self.links.get_mut(id) {
            link.armed |= bit;
            link.token = Some(token);
        }
        self.ripen(id);
    }

    /// Starts or stops accepting.
    pub(super) fn accept(&mut self, port: usize, on: bool) {
        if let Some(port) = self.ports.get_mut(port) {
            port.accepting = on && port.listening;
        }
    }

    /// Resets some open connection of a port.
    pub(super) fn break_any(&mut self, port: usize) {
        let open: Vec<usize> = self.fds.iter().flatten().copied().collect();
        let Some(id) = open.get(self.below(open.len())).copied() else { return };
        if let Some(link) = self.links.get_mut(id).filter(|link| link.port == port) {
            link.failed = Some(ECONNRESET);
            link.peer_reset = true;
            let peer = link.peer;
            self.ripen(id);
            self.poke(peer, self.now());
        }
    }

    /// The listener is gone: who was not accepted yet is reset.
    pub(super) fn stop_listening(&mut self, port: usize) {
        let now = self.now();
        let Some(port) = self.ports.get_mut(port) else { return };
        port.listening = false;
        port.accepting = false;
        for (_, id) in std::mem::take(&mut port.backlog) {
            if let Some(link) = self.links.get_mut(id) {
                link.peer_reset = true;
                link.closed = true;
                let peer = link.peer;
                self.poke(peer, now);
            }
        }
    }

    /// Appends what a turn reports, in an order that chance picks.
    pub(super) fn report(&mut self, at: usize, out: &mut Vec<Ready>) {
        let from = out.len();
        if self.ports.get(at).is_some_and(|port| port.wake.swap(false, SeqCst)) {
            out.push(Ready::Woken);
        }
        self.report_accepts(at, out);
        self.report_watches(at, out);
        for index in (from + 1..out.len()).rev() {
            let other = from + self.below(index - from + 1);
            out.swap(index, other);
        }
    }

    fn report_accepts(&mut self, at: usize, out: &mut Vec<Ready>) {
        let now = self.now();
        for _ in 0..ACCEPTS_MAX {
            let Some(port) = self.ports.get_mut(at) else { return };
            if !port.accepting || port.backlog.front().is_none_or(|(time, _)| *time > now) {
                return;
            }
            if self.chance.one_in(self.faults.accept) {
                port.accepting = false;
                let errno = self.below(ACCEPT_ERRNOS.len());
                let errno = ACCEPT_ERRNOS.get(errno).copied().unwrap_or(24);
                out.push(Ready::AcceptFailed { errno });
                return;
            }
            let Some((_, id)) = port.backlog.pop_front() else { return };
            let socket = Socket(self.open(id));
            if let Some(link) = self.links.get(id) {
                out.push(Ready::Accepted { socket, peer: link.addr, listener: 0 });
            }
        }
    }

    fn report_watches(&mut self, at: usize, out: &mut Vec<Ready>) {
        let now = self.now();
        let Some(port) = self.ports.get(at) else { return };
        let ripe: Vec<usize> =
            port.ripe.iter().filter(|(_, time)| **time <= now).map(|(id, _)| *id).collect();
        for id in ripe {
            if self.chance.one_in(self.faults.partial_turn) {
                continue;
            }
            let Some(link) = self.links.get_mut(id) else { continue };
            let mut fired = link.satisfied();
            if fired & READ != 0 && fired & WRITE != 0 && self.chance.one_in(4) {
                fired &= !WRITE;
            }
            link.armed &= !fired;
            if let (Some(token), true) = (link.token, fired != 0) {
                out.push(Ready::Watched {
                    token,
                    readable: fired & READ != 0,
                    writable: fired & WRITE != 0,
                    hangup: link.hangup() && fired & (HANGUP | READ | WRITE) != 0,
                });
            }
            if let Some(port) = self.ports.get_mut(at) {
                port.ripe.remove(&id);
            }
            self.ripen(id);
        }
    }

    /// Time that work costs, so that bounded stages see it pass.
    pub(super) fn charge(&self, sends: usize) {
        let micros = u64::try_from(sends).unwrap_or(u64::MAX);
        self.clock.pass(Duration::from_micros(micros));
    }
}
