//! A worker: one thread, one driver, its connections, its groups of clients. The only place where
//! the wings and the kernel meet.
//!
//! ```text
//!  turn:  sleep ▸ reap ▸ intake (accept, receive, answer) ▸ route ▸ catch up ▸ sweep ▸ timers
//! ```
//!
//! Every stage is bounded in count, so while one event goes to very many clients a new connection
//! is accepted and a publish is answered in between. Route, catch up and sweep serve those groups
//! that have clients (the hub, and each upstream definition) in turn.
//!
//! | state | what is watched | who owns the descriptor |
//! |---|---|---|
//! | connection, reading | input | `connections` |
//! | connection, its answer stuck | room to write | `connections` |
//! | connection, lingering | input, for 2 s | `connections` |
//! | connection, its request passed on | input, or hang-up; room while stuck | `connections` |
//! | connection to a backend or upstream | input; room while stuck | `outbounds` |
//! | client | hang-up; room to write while blocked | the fan-out of its group |
//!
//! Invariants:
//! 1. A descriptor has one owner, and is closed once.
//! 2. Before the worker sleeps it raises its bell's flag and looks at the logs once more.
//! 3. A worker without clients of a group does not read its log and is not woken by it.
//! 4. Nothing here depends on which driver or clock it runs on.

mod answers;
mod arrivals;
mod attempts;
mod claims;
mod clients;
mod closings;
mod connections;
mod drain;
mod groups;
mod left;
mod load;
mod mirrors;
mod outbound;
mod pool;
mod relays;
mod sources;
#[cfg(test)]
mod tests;
mod timers;
mod turn;
mod warnings;

pub use load::{AddressKey, Load, Refused};

use crate::backend::{Backends, View};
use crate::base::chance::Chance;
use crate::base::slots::{Handle, Slots};
use crate::base::sync::Arc;
use crate::base::time::{Calendar, Clock, Moment};
use crate::base::wheel::Wheel;
use crate::feed::{CLIENT_GENERATION_BITS, ClientId, Until};
use crate::io::{Driver, Ready, Token};
use crate::log::Bell;
use crate::metrics::Recorder;
use crate::metrics::log::{Log, Throttle};
use crate::session::{GROUPS_MAX, Site};
use crate::tls::ClientSettings;
use crate::upstream::{Lease, Notice, Tap};
use connections::Connection;
use drain::Drain;
use groups::Groups;
use left::Left;
use mirrors::Mirror;
use outbound::Outbound;
use pool::Pool;
use relays::Passed;
use sources::Feeding;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;
use warnings::Warnings;

/// Bytes that one receive takes at most.
const INPUT_BYTES: usize = 64 * 1024;
/// The least time between two warnings about upstreams, or about one endpoint.
const WARN_INTERVAL: Duration = Duration::from_secs(10);
/// Resolution of the connections' deadlines.
const TICK: Duration = Duration::from_millis(50);

/// What a worker is made of, apart from its driver and clock.
#[derive(Debug)]
pub struct Parts {
    /// What it serves.
    pub site: Arc<Site>,
    /// The connections of the process.
    pub load: Arc<Load>,
    /// Where it counts.
    pub recorder: Recorder,
    /// What the channels ring; its wake must end this driver's sleep.
    pub bell: Arc<Bell>,
    /// For jitter.
    pub chance: Chance,
    /// Its number among the workers.
    pub index: usize,
    /// How many there are.
    pub workers: usize,
    /// Where requests are passed on to.
    pub backends: Arc<Backends>,
    /// TLS to each of the backends, where there is any.
    pub tls: Arc<[Option<ClientSettings>]>,
    /// Where it tells what an operator may want to know of its upstreams.
    pub log: Log,
}

/// Whether the worker has more to do in this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    Running,
    /// Everything is closed: the process ends.
    Done,
}

/// One worker.
#[derive(Debug)]
pub struct Worker<D, C> {
    driver: D,
    clock: C,
    site: Arc<Site>,
    load: Arc<Load>,
    recorder: Recorder,
    bell: Arc<Bell>,
    chance: Chance,
    index: usize,
    workers: usize,
    /// Leases of the upstream streams that are always on; `None`: not started yet.
    always: Option<Vec<Lease>>,
    tls: Arc<[Option<ClientSettings>]>,
    log: Log,
    connections: Slots<Connection>,
    /// Connections that this worker opened.
    outbounds: Slots<Outbound>,
    pool: Pool,
    view: View,
    mirrors: Slots<Mirror>,
    /// Upstream streams that this worker feeds.
    sources: Slots<Feeding>,
    /// Upstream streams that a request has opened, until they are sources.
    opened: RefCell<Vec<Arc<Tap>>>,
    /// Refusals of each upstream that were acted on.
    refusals: Box<[u64]>,
    /// Relays and sources whose backend's names are being looked up.
    nameless: Vec<Handle>,
    nameless_sources: Vec<Handle>,
    /// Warnings about upstreams: a flapping one must not fill the log.
    throttle: Throttle,
    /// The same, about upstreams that answer again.
    recovered: Throttle,
    /// The same, about refusals, which clients can bring about.
    refused: Throttle,
    /// The same, about endpoints.
    troubles: Warnings,
    wheel: Wheel<Timer>,
    groups: Groups,
    drain: Drain,
    /// The shortages of the process that this worker has answered.
    shortages: u32,
    /// When accepting goes on after a failure.
    accept_at: Option<Moment>,
    /// Connections that may have input, first in, first out.
    readable: VecDeque<Handle>,
    /// Connections that this worker opened and that may have input, first in, first out.
    arrived: VecDeque<Handle>,
    /// What may be due.
    overdue: Vec<Timer>,
    /// Bytes of answers that the kernel has not taken.
    stuck_bytes: usize,
    /// Those of them that are of relays.
    relayed_bytes: usize,
    /// When the last turn ended.
    turned_at: Moment,
    calendar: Calendar,
    /// When the beat's scan last went on.
    beat_at: Moment,
    /// When the history was last rid of what is too old, and pages of those who caught up.
    swept_at: Moment,
    /// What is to be sent with the next sleep.
    left: Left,
    scratch: Scratch,
}

/// Memory that is used again every turn.
#[derive(Default)]
struct Scratch {
    ready: Vec<Ready>,
    input: Box<[u8]>,
    answers: Vec<u8>,
    due: Vec<(ClientId, Until)>,
    /// Of backends, on its way to clients.
    passed: Passed,
    /// What TLS made of bytes, on their way out and in.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    notices: Vec<Notice>,
}

/// Without what is in it: credentials may be among its bytes.
impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// Whose deadline the wheel reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Connection(Handle),
    Source(Handle),
    Mirror(Handle),
    /// A connection of the pool.
    Idle(Handle),
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// A worker that does not accept yet: it starts to when the phase is `Serving`.
    #[must_use]
    pub fn new(driver: D, clock: C, parts: Parts) -> Self {
        let Parts { site, load, recorder, bell, chance, index, workers, backends, tls, log } =
            parts;
        let now = clock.now();
        let groups = Groups::new(&site);
        let hasher = site.channel().hasher().clone();
        Self {
            index,
            workers,
            always: None,
            tls,
            log,
            outbounds: Slots::with_generation_bits(GENERATION_BITS),
            pool: Pool::new(&hasher),
            view: View::new(backends),
            mirrors: Slots::with_generation_bits(GENERATION_BITS),
            sources: Slots::with_generation_bits(GENERATION_BITS),
            opened: RefCell::default(),
            refusals: vec![0; site.config().gateway.upstreams.len()].into(),
            nameless: Vec::new(),
            nameless_sources: Vec::new(),
            throttle: Throttle::new(WARN_INTERVAL),
            recovered: Throttle::new(WARN_INTERVAL),
            refused: Throttle::new(WARN_INTERVAL),
            troubles: Warnings::new(&hasher),
            arrived: VecDeque::new(),
            driver,
            clock,
            site,
            load,
            recorder,
            bell,
            chance,
            connections: Slots::with_generation_bits(GENERATION_BITS),
            wheel: Wheel::new(TICK, now),
            groups,
            drain: Drain::default(),
            shortages: 0,
            accept_at: Some(now),
            readable: VecDeque::new(),
            overdue: Vec::new(),
            stuck_bytes: 0,
            relayed_bytes: 0,
            turned_at: now,
            calendar: Calendar::default(),
            beat_at: now,
            swept_at: now,
            left: Left::default(),
            scratch: Scratch { input: vec![0; INPUT_BYTES].into(), ..Scratch::default() },
        }
    }

    /// Turns until everything is closed.
    ///
    /// # Errors
    /// The driver is broken; the process must not go on with it.
    pub fn run(mut self) -> std::io::Result<()> {
        while self.turn()? == Progress::Running {}
        Ok(())
    }

    /// Subscribers now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.groups.clients()
    }

    /// Connections now that are not subscribers.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Bytes held for peers that have not taken them.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.groups.unsent_bytes() + self.stuck_bytes
    }

    /// Connections that it opened, those of the pool included.
    #[must_use]
    pub fn outbounds(&self) -> usize {
        self.outbounds.len()
    }

    /// Clients that have something to send and room for it: 0 whenever it sleeps.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.groups.ready()
    }

    /// The driver, for who simulates it.
    #[must_use]
    pub fn driver(&self) -> &D {
        &self.driver
    }
}

/// Leaves a token's two highest bits free.
const GENERATION_BITS: u32 = 30;

/// Whose a token is.
///
/// | bits | 63 | 62 | 61 … 54 | 53 … 32 | 31 … 0 |
/// |---|---|---|---|---|---|
/// | connection | 0 | 0 | generation | generation | slot |
/// | outbound | 0 | 1 | generation | generation | slot |
/// | client | 1 | 0 | group | generation | slot |
///
/// A token outlives its owner within one turn only, among what the kernel had ready before the
/// owner went: the driver forgets it with the socket. So generations may be short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Connection(Handle),
    /// A connection that this worker opened.
    Outbound(Handle),
    /// Of the group of this number.
    Client(usize, ClientId),
}

const CLIENT: u64 = 1 << 63;
const OUTBOUND: u64 = 1 << 62;
const GROUP_SHIFT: u32 = 32 + CLIENT_GENERATION_BITS;
const _: () = assert!(GROUPS_MAX as u64 <= CLIENT >> 1 >> GROUP_SHIFT);

impl Owner {
    fn token(self) -> Token {
        match self {
            Self::Connection(handle) => Token(handle.pack()),
            Self::Outbound(handle) => Token(OUTBOUND | handle.pack()),
            Self::Client(group, id) => {
                debug_assert!(group < GROUPS_MAX, "the configuration bounds the groups");
                Token(CLIENT | (group as u64) << GROUP_SHIFT | id.pack())
            }
        }
    }

    fn of(token: Token) -> Self {
        if token.0 & CLIENT == 0 {
            let handle = Handle::unpack(token.0 & !OUTBOUND);
            let is_ours = token.0 & OUTBOUND != 0;
            return if is_ours { Self::Outbound(handle) } else { Self::Connection(handle) };
        }
        let group = usize::try_from((token.0 & !CLIENT) >> GROUP_SHIFT).unwrap_or(usize::MAX);
        Self::Client(group, Handle::unpack(token.0 & ((1 << GROUP_SHIFT) - 1)))
    }
}
