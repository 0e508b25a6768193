//! A worker: one thread, one driver, its connections, its feeds. The only place where the wings
//! and the kernel meet.
//!
//! ```text
//!  turn:  sleep ▸ reap ▸ intake (accept, receive, answer) ▸ route ▸ catch up ▸ sweep ▸ timers
//! ```
//!
//! Every stage is bounded in count, so while one event goes to very many clients a new connection
//! is accepted and a publish is answered in between.
//!
//! | state | what is watched | who owns the descriptor |
//! |---|---|---|
//! | connection, reading | input | `connections` |
//! | connection, its answer stuck | room to write | `connections` |
//! | connection, lingering | input, for 2 s | `connections` |
//! | client | hang-up; room to write while blocked | `fanout` |
//!
//! Invariants:
//! 1. A descriptor has one owner, and is closed once.
//! 2. Before the worker sleeps it raises its bell's flag and looks at the log once more.
//! 3. A worker without clients does not read the log and is not woken by it.
//! 4. Nothing here depends on which driver or clock it runs on.

mod clients;
mod connections;
mod drain;
mod load;
#[cfg(test)]
mod tests;
mod timers;
mod turn;

pub use load::{AddressKey, Load, Refused};

use crate::base::chance::Chance;
use crate::base::slots::{Handle, Slots};
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::base::wheel::Wheel;
use crate::feed::{Batch, ClientId, Fanout, FanoutLimits, Until};
use crate::io::{Driver, Ready, Token};
use crate::log::{Bell, Reader};
use crate::metrics::Recorder;
use crate::session::Site;
use connections::Connection;
use drain::Drain;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes that one receive takes at most.
const INPUT_BYTES: usize = 64 * 1024;
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
    /// What the channel rings; its wake must end this driver's sleep.
    pub bell: Arc<Bell>,
    /// For jitter.
    pub chance: Chance,
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
    connections: Slots<Connection>,
    wheel: Wheel<Handle>,
    fanout: Fanout,
    reader: Option<Reader>,
    drain: Drain,
    /// The shortages of the process that this worker has answered.
    shortages: u32,
    /// When accepting goes on after a failure.
    accept_at: Option<Moment>,
    /// Connections that may have input, first in, first out.
    readable: VecDeque<Handle>,
    /// Connections whose time may be over.
    overdue: Vec<Handle>,
    /// Bytes of answers that the kernel has not taken.
    stuck_bytes: usize,
    /// Where the beat's scan stands, and when it was there.
    beat_slot: u32,
    beat_at: Moment,
    /// When the history was last rid of what is too old, and pages of those who caught up.
    swept_at: Moment,
    /// When the newest routed event was appended, in milliseconds of the Unix epoch.
    newest_millis: u64,
    scratch: Scratch,
}

/// Memory that is used again every turn.
#[derive(Debug, Default)]
struct Scratch {
    ready: Vec<Ready>,
    input: Box<[u8]>,
    answers: Vec<u8>,
    batch: Batch,
    due: Vec<(ClientId, Until)>,
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// A worker that does not accept yet: it starts to when the phase is `Serving`.
    #[must_use]
    pub fn new(driver: D, clock: C, parts: Parts) -> Self {
        let Parts { site, load, recorder, bell, chance } = parts;
        let now = clock.now();
        let limits = fanout_limits(&site);
        let fanout = Fanout::new(limits, site.channel().hasher());
        site.channel().hang(Arc::clone(&bell));
        Self {
            driver,
            clock,
            site,
            load,
            recorder,
            bell,
            chance,
            connections: Slots::with_generation_bits(GENERATION_BITS),
            wheel: Wheel::new(TICK, now),
            fanout,
            reader: None,
            drain: Drain::default(),
            shortages: 0,
            accept_at: Some(now),
            readable: VecDeque::new(),
            overdue: Vec::new(),
            stuck_bytes: 0,
            beat_slot: 0,
            beat_at: now,
            swept_at: now,
            newest_millis: 0,
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
        self.fanout.clients()
    }

    /// Connections now that are not subscribers.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Bytes held for peers that have not taken them.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.fanout.unsent_bytes() + self.stuck_bytes
    }

    /// Clients that have something to send and room for it: 0 whenever it sleeps.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.fanout.ready()
    }

    /// The driver, for who simulates it.
    #[must_use]
    pub fn driver(&self) -> &D {
        &self.driver
    }
}

fn fanout_limits(site: &Site) -> FanoutLimits {
    let (hub, limits) = (&site.config().hub, &site.config().limits);
    FanoutLimits {
        lag_bytes_max: hub.lag_bytes_max as u64,
        lag_policy: hub.lag_policy,
        unsent_bytes_max: limits.unsent_bytes_max,
        page_bytes: PAGE_BYTES,
        pages_bytes_max: PAGES_BYTES_MAX.min(limits.unsent_bytes_max / 4),
    }
}

/// Bytes of one page of history.
const PAGE_BYTES: usize = 256 * 1024;
/// Bytes of pages that a worker keeps for other clients.
const PAGES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Leaves a token's highest bit free. The fan-out's handles leave it too.
const GENERATION_BITS: u32 = 30;

/// Whose a token is: the highest bit tells clients from connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Connection(Handle),
    Client(ClientId),
}

const CLIENT: u64 = 1 << 63;

impl Owner {
    fn token(self) -> Token {
        match self {
            Self::Connection(handle) => Token(handle.pack()),
            Self::Client(id) => Token(id.pack() | CLIENT),
        }
    }

    fn of(token: Token) -> Self {
        let handle = Handle::unpack(token.0 & !CLIENT);
        if token.0 & CLIENT == 0 { Self::Connection(handle) } else { Self::Client(handle) }
    }
}
