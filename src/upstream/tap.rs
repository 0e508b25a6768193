//! A tap: one upstream stream as all threads see it, and the lease that keeps it.
//!
//! Invariants:
//! 1. Leases are only made under the registry's lock, so that an owner that sees none under the
//!    same lock may close; they are given back without it.
//! 2. A tap that is refused or closed is never leased again: a new one takes its place.
//! 3. Its number is unique in the process, so its topic is never another's, whatever is still kept.

use super::board::Board;
use super::board::Health;
use super::family::Family;
use super::wanted::Key;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicBool;
use crate::base::sync::atomic::AtomicU16;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::AtomicUsize;
use crate::base::sync::atomic::Ordering;
use crate::base::time::Moment;
use crate::log::Topic;
use crate::metrics::log;
use std::fmt;

/// What `idle_since` holds while somebody reads.
const IN_USE: u64 = u64::MAX;

/// One upstream stream.
#[derive(Debug)]
pub struct Tap {
    pub(super) number: u64,
    pub(super) group: usize,
    pub(super) family: Arc<Family>,
    pub(super) key: Key,
    pub(super) topic: Topic,
    /// The upstream's id to begin after, by the word of the client that opened it.
    pub(super) seed: Option<Box<str>>,
    /// Somebody reads it who did not bring that id.
    strangers: AtomicBool,
    owner: usize,
    leases: AtomicUsize,
    /// Clients that read it: many may share one lease.
    readers: AtomicUsize,
    /// When the owner first saw that there are no leases; written under the registry's lock.
    idle_since: AtomicU64,
    /// The status of a definitive refusal; 0: none.
    refusal: AtomicU16,
    pub(super) board: Board,
}

/// What opens a tap, besides what is wanted.
pub(super) struct Birth {
    pub(super) number: u64,
    pub(super) group: usize,
    pub(super) family: Arc<Family>,
    pub(super) topic: Topic,
    pub(super) owner: usize,
    pub(super) now: Moment,
}

impl Tap {
    pub(super) fn new(birth: Birth, key: Key, seed: Option<Box<str>>) -> Self {
        Self {
            number: birth.number,
            group: birth.group,
            family: birth.family,
            key,
            topic: birth.topic,
            seed,
            strangers: AtomicBool::new(false),
            owner: birth.owner,
            leases: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            idle_since: AtomicU64::new(IN_USE),
            refusal: AtomicU16::new(0),
            board: Board::new(birth.now),
        }
    }

    /// Its number, unique in the process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Which `[[upstream]]` it belongs to.
    #[must_use]
    pub fn group(&self) -> usize {
        self.group
    }

    /// What it has in common with others.
    #[must_use]
    pub fn family(&self) -> &Family {
        &self.family
    }

    /// Its topic in the log of its family: `#` and its number.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The worker that owns its connection.
    #[must_use]
    pub fn owner(&self) -> usize {
        self.owner
    }

    /// The status that the upstream refused it with for good: its clients' streams end.
    #[must_use]
    pub fn refusal(&self) -> Option<u16> {
        // Pairs with the store in `refuse`.
        Some(self.refusal.load(Ordering::Acquire)).filter(|status| *status != 0)
    }

    pub(super) fn refuse(&self, status: u16) {
        self.refusal.store(status, Ordering::Release);
    }

    /// Events taken in so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.board.events()
    }

    /// Subscriptions that read it.
    #[must_use]
    pub fn leases(&self) -> usize {
        // Pairs with the release in `Lease::drop`.
        self.leases.load(Ordering::Acquire)
    }

    /// Clients that read it, on all workers.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    /// Somebody joins it with this id of the upstream's.
    pub(super) fn joined(&self, id: Option<&str>) {
        if self.seed.is_some() && self.seed.as_deref() != id {
            self.strangers.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody has joined who did not bring the id that it was opened with.
    pub(super) fn has_strangers(&self) -> bool {
        self.strangers.load(Ordering::Relaxed)
    }

    /// One more lease. Only under the registry's lock.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.leases.fetch_add(1, Ordering::Relaxed);
        self.idle_since.store(IN_USE, Ordering::Relaxed);
        Lease { tap: Arc::clone(self) }
    }

    /// For how long nobody has read, as far as was seen. Only under the registry's lock.
    pub(super) fn idle_for(&self, now: Moment) -> Option<std::time::Duration> {
        if self.leases() > 0 {
            self.idle_since.store(IN_USE, Ordering::Relaxed);
            return None;
        }
        let seen = self.idle_since.load(Ordering::Relaxed).min(now.nanos());
        self.idle_since.store(seen, Ordering::Relaxed);
        Some(now.since(Moment::from_nanos(seen)))
    }

    pub(super) fn state(&self, now: Moment) -> TapState {
        TapState {
            number: self.number,
            upstream: self.family.definition.name.clone(),
            host: self.family.definition.host.clone(),
            target: String::from(&*self.key.target),
            credentials: self.key.has_credentials(),
            owner: self.owner,
            subscribers: self.readers(),
            refusal: self.refusal(),
            health: self.board.read(now),
        }
    }
}

/// Keeps a tap: while one lives, the upstream stays connected.
#[derive(Debug)]
pub struct Lease {
    tap: Arc<Tap>,
}

impl Lease {
    /// What it keeps.
    #[must_use]
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// One more client reads by it.
    pub fn join(&self) {
        self.tap.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// One of those has gone.
    pub fn leave(&self) {
        self.tap.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A subscription carries its leases to whatever worker and thread.
const _: fn() = || {
    fn shared<T: Send + Sync + fmt::Debug>() {}
    shared::<Lease>();
};

impl Drop for Lease {
    fn drop(&mut self) {
        // Pairs with the acquire in `Tap::leases`.
        self.tap.leases.fetch_sub(1, Ordering::Release);
    }
}

/// One tap for the admin page.
#[derive(Clone, Debug, PartialEq)]
pub struct TapState {
    /// Its number, as in the log's lines.
    pub number: u64,
    /// The name of its `[[upstream]]`.
    pub upstream: String,
    /// The host of its URL.
    pub host: String,
    /// Path and query of its URL.
    pub target: String,
    /// Whether credentials are passed on with its requests.
    pub credentials: bool,
    /// The worker that owns its connection.
    pub owner: usize,
    /// Clients that read it.
    pub subscribers: usize,
    /// The status of a definitive refusal.
    pub refusal: Option<u16>,
    /// How it is.
    pub health: Health,
}

impl fmt::Display for TapState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = &self.health;
        let mut target = self.target.clone();
        if target.contains(['"', '\\']) {
            target.clear();
            log::append(&mut target, &self.target);
        }
        write!(
            f,
            "channel=#{} upstream={} host={} target={} credentials={} worker={} state={} \
             state_seconds={} subscribers={} events={} bytes={} events_per_second={:.1} \
             bytes_per_second={:.0} silent_seconds={} reconnects={} failures={}",
            self.number,
            self.upstream,
            self.host,
            target,
            if self.credentials { "yes" } else { "no" },
            self.owner,
            health.phase.name(),
            health.phase_age.as_secs(),
            self.subscribers,
            health.events,
            health.bytes,
            health.events_per_second,
            health.bytes_per_second,
            health.silent_for.as_secs(),
            health.reconnects,
            health.failures,
        )?;
        if let Some(trouble) = health.trouble {
            write!(f, " last_error={trouble}")?;
        }
        Ok(())
    }
}
