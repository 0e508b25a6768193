//! The ground under a worker in its unit tests: a driver and a clock that the test holds in hand.
//!
//! Invariants: a broken contract is a panic at the call that breaks it: a socket closed twice, used
//! after its close, or sent to twice in one flush. Time passes only in a sleep that nothing ends.

use crate::base::map::Hasher;
use crate::base::map::Map;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicBool;
use crate::base::sync::atomic::Ordering;
use crate::base::time::Clock;
use crate::base::time::Moment;
use crate::io::Driver;
use crate::io::Interest;
use crate::io::Outgoing;
use crate::io::Ready;
use crate::io::Recv;
use crate::io::Remote;
use crate::io::Short;
use crate::io::Socket;
use crate::io::Token;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Sockets that the worker has connected out count from here.
const CONNECTED_OUT: i32 = 1000;
const ECONNREFUSED: i32 = 111;
const ECONNRESET: i32 = 104;

/// How connects to a place end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Door {
    /// In a turn or two, well.
    #[default]
    Open,
    /// At once, refused.
    Shut,
    /// In a turn or two, refused.
    ShutLater,
    /// Never.
    Silent,
}

/// The far side of one connection.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// What it has sent and the worker has not read.
    pub(super) input: VecDeque<u8>,
    /// What the worker sent.
    pub(super) output: Vec<u8>,
    /// Bytes that it still takes.
    pub(super) room: usize,
    /// It has shut its side.
    pub(super) ended: bool,
    /// The worker has shut its side.
    pub(super) finished: bool,
    /// The worker has closed the connection.
    pub(super) closed: bool,
    /// The worker has closed it by a reset.
    pub(super) reset: bool,
    /// How often the worker asked to acknowledge late what it sends.
    pub(super) delays: usize,
    /// It has reset the connection: every call fails.
    pub(super) broken: bool,
    /// How the worker's connect to it ends.
    door: Door,
    token: Option<Token>,
    read: bool,
    write: bool,
    hangup: bool,
}

impl Peer {
    /// One that has sent this and takes everything.
    pub(super) fn with_input(input: &[u8]) -> Self {
        Self { room: usize::MAX, input: input.iter().copied().collect(), ..Self::default() }
    }

    fn report(&mut self) -> Option<Ready> {
        let token = self.token.filter(|_| !self.closed && self.door != Door::Silent)?;
        let over = self.ended || self.broken;
        let readable = self.read && (over || !self.input.is_empty());
        let writable = self.write && (self.broken || self.room > 0);
        let gone = over && (self.read || self.hangup);
        if !readable && !writable && !gone {
            return None;
        }
        self.read &= !readable;
        self.write &= !writable;
        self.hangup &= !gone;
        Some(Ready::Watched { token, readable, writable, hangup: over })
    }
}

/// What test, driver and clock share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) now: Cell<Moment>,
    /// Time does not pass beyond this by itself.
    pub(super) limit: Cell<Moment>,
    pub(super) woken: Arc<AtomicBool>,
    pub(super) peers: RefCell<Map<i32, Peer>>,
    /// What the next turn reports first.
    pub(super) news: RefCell<VecDeque<Ready>>,
    pub(super) accepting: Cell<bool>,
    pub(super) listening: Cell<bool>,
    /// Whether the last turn was a sleep that nothing ended.
    pub(super) slept: Cell<bool>,
    /// Sockets closed so far.
    pub(super) closes: Cell<usize>,
    /// How connects end, where not well.
    pub(super) doors: RefCell<BTreeMap<Remote, Door>>,
    /// The worker's connects, in order: whose socket, to where. Who failed at once has none.
    pub(super) dialled: RefCell<Vec<(Option<i32>, Remote)>>,
}

impl Ground {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Moment::START),
            limit: Cell::new(Moment::from_nanos(u64::MAX)),
            woken: Arc::new(AtomicBool::new(false)),
            peers: RefCell::new(Hasher::new(1).map()),
            news: RefCell::new(VecDeque::new()),
            accepting: Cell::new(false),
            listening: Cell::new(true),
            slept: Cell::new(false),
            closes: Cell::new(0),
            doors: RefCell::default(),
            dialled: RefCell::default(),
        })
    }

    /// Something of a peer.
    pub(super) fn with<T>(&self, socket: i32, use_it: impl FnOnce(&mut Peer) -> T) -> T {
        use_it(self.peers.borrow_mut().get_mut(&socket).expect("a peer of the test"))
    }
}

impl Clock for Rc<Ground> {
    fn now(&self) -> Moment {
        self.now.get()
    }

    fn unix_millis(&self) -> u64 {
        1_800_000_000_000 + self.now.get().millis()
    }
}

/// A driver over the ground.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) ground: Rc<Ground>,
    shorts: Vec<Short>,
}

impl Fake {
    pub(super) fn new(ground: &Rc<Ground>) -> Self {
        Self { ground: Rc::clone(ground), shorts: Vec::new() }
    }

    fn open<T>(&self, socket: Socket, use_it: impl FnOnce(&mut Peer) -> T) -> T {
        self.ground.with(socket.0, |peer| {
            assert!(!peer.closed, "socket {} is used after its close", socket.0);
            use_it(peer)
        })
    }
}

impl Driver for Fake {
    fn flush(&mut self, sends: &[Outgoing<'_>]) -> io::Result<&[Short]> {
        self.shorts.clear();
        let mut seen = Vec::new();
        for (index, send) in sends.iter().enumerate() {
            assert!(!send.bytes.is_empty(), "an empty send");
            assert!(!seen.contains(&send.socket), "two sends to one socket in one flush");
            seen.push(send.socket);
            let taken = self.open(send.socket, |peer| {
                assert!(!peer.finished, "a send after finish");
                if peer.broken {
                    return Err(ECONNRESET);
                }
                let taken = send.bytes.len().min(peer.room);
                peer.room -= taken;
                peer.output.extend_from_slice(&send.bytes[..taken]);
                Ok(taken)
            });
            if taken != Ok(send.bytes.len()) {
                self.shorts.push(Short { index, sent: taken });
            }
        }
        Ok(&self.shorts)
    }

    fn recv(&mut self, socket: Socket, into: &mut [u8]) -> Recv {
        self.open(socket, |peer| {
            let count = peer.input.len().min(into.len());
            for (to, from) in into.iter_mut().zip(peer.input.drain(..count)) {
                *to = from;
            }
            match count {
                _ if peer.broken => Recv::Failed(ECONNRESET),
                0 if peer.ended => Recv::End,
                0 => Recv::Empty,
                count => Recv::Bytes(count),
            }
        })
    }

    fn delay_acks(&mut self, socket: Socket) {
        self.open(socket, |peer| peer.delays += 1);
    }

    fn is_idle(&mut self, socket: Socket) -> bool {
        self.open(socket, |peer| peer.input.is_empty() && !peer.ended && !peer.broken)
    }

    fn watch(&mut self, socket: Socket, token: Token, interest: Interest) {
        self.open(socket, |peer| {
            peer.token = Some(token);
            match interest {
                Interest::Hangup => peer.hangup = true,
                Interest::Read => peer.read = true,
                Interest::Write => peer.write = true,
            }
        });
    }

    fn connect(&mut self, to: &Remote, token: Token) -> Result<Socket, i32> {
        let door = self.ground.doors.borrow().get(to).copied().unwrap_or_default();
        let mut peers = self.ground.peers.borrow_mut();
        let socket = CONNECTED_OUT + i32::try_from(peers.len()).expect("few peers");
        let made = Some(socket).filter(|_| door != Door::Shut);
        self.ground.dialled.borrow_mut().push((made, to.clone()));
        if made.is_none() {
            return Err(ECONNREFUSED);
        }
        let peer = Peer { token: Some(token), write: true, door, ..Peer::with_input(b"") };
        peers.insert(socket, peer);
        Ok(Socket(socket))
    }

    fn connected(&mut self, socket: Socket) -> Result<(), i32> {
        self.open(socket, |peer| match peer.door {
            Door::ShutLater => Err(ECONNREFUSED),
            _ => Ok(()),
        })
    }

    fn finish(&mut self, socket: Socket) {
        self.open(socket, |peer| peer.finished = true);
    }

    fn close(&mut self, socket: Socket) {
        self.open(socket, |peer| peer.closed = true);
        self.ground.closes.set(self.ground.closes.get() + 1);
    }

    fn reset(&mut self, socket: Socket) {
        self.open(socket, |peer| peer.reset = true);
        self.close(socket);
    }

    fn accept(&mut self, on: bool) {
        self.ground.accepting.set(on);
    }

    fn stop_listening(&mut self) {
        self.ground.listening.set(false);
    }

    fn turn(&mut self, wait: Option<Duration>, out: &mut Vec<Ready>) -> io::Result<()> {
        let ground = &self.ground;
        // Pairs with the store of whoever wakes; one thread, so any order does.
        if ground.woken.swap(false, Ordering::Relaxed) {
            out.push(Ready::Woken);
        }
        out.extend(ground.news.borrow_mut().drain(..));
        let mut peers = ground.peers.borrow_mut();
        let mut sockets: Vec<i32> = peers.keys().copied().collect();
        sockets.sort_unstable();
        out.extend(sockets.iter().filter_map(|s| peers.get_mut(s).and_then(Peer::report)));
        let sleeps = out.is_empty() && wait != Some(Duration::ZERO);
        ground.slept.set(sleeps);
        if let (true, Some(wait)) = (sleeps, wait) {
            let now = ground.now.get();
            ground.now.set(now.after(wait).min(ground.limit.get().max(now)));
        }
        Ok(())
    }

    fn watch_cost(&self) -> usize {
        0
    }

    fn name(&self) -> &'static str {
        "fake"
    }
}
