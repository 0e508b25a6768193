//! All taps of the process: who asks for the same gets the same.
//!
//! ```text
//!            lease: none there                    no lease for `linger`
//!   (none) ────────────────────▶ live ───────────────────────────────▶ (none)
//!                                  │ refused for good
//!                                  ▼            after REFUSED_FOR
//!                               refused ─────────────────────────────▶ (none)
//! ```
//!
//! Invariants:
//! 1. At most one live tap for one key; comparison is on full values.
//! 2. A lease and a close of one tap exclude each other: both decide under the family's lock. The
//!    topic of a new tap is opened under it, too; so the log's lock is taken inside, never around.
//! 3. Live taps of a family are at most `channels_max`, and so are remembered refusals: past that
//!    the oldest is forgotten. Refused requests cannot take the place of others.

use super::REFUSED_FOR;
use super::board::Phase;
use super::family::Family;
use super::tap::Birth;
use super::tap::Lease;
use super::tap::Tap;
use super::tap::TapState;
use super::wanted::Key;
use super::wanted::Wanted;
use crate::base::map::Hasher;
use crate::base::map::Map;
use crate::base::map::Set;
use crate::base::sync::AppendLock;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering;
use crate::base::time::Moment;
use crate::log::Channel;
use crate::log::Topic;
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The family has all the channels that it may have: answer with a soft refusal.
    #[error("the upstream has no room for another channel: raise its channels_max, or come back")]
    TooMany,
    /// The upstream refused this channel a moment ago: answer with its status.
    #[error("the upstream refused this channel with status {status}")]
    Refused {
        /// 204 or a 4xx.
        status: u16,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// Who asks for a lease, and when.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The worker that asks: it owns the connection if the tap is opened by this.
    pub worker: usize,
    /// Now.
    pub now: Moment,
    /// The family's log, in which the tap's topic is opened with it.
    pub log: &'a Channel,
}

/// A lease, and whether it opened the tap.
#[derive(Debug)]
pub struct Leased {
    /// Keeps the tap.
    pub lease: Lease,
    /// The asking worker has to make a [`super::Source`] of it.
    pub opened: bool,
    /// The upstream will be asked to go on after the client's last id: that id is no gap.
    pub seeded: bool,
}

/// A tap that is found by its key.
#[derive(Debug)]
struct Keyed(Arc<Tap>);

impl Borrow<Key> for Keyed {
    fn borrow(&self) -> &Key {
        &self.0.key
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Keyed {}

impl Hash for Keyed {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

#[derive(Debug)]
struct Taps {
    live: Set<Keyed>,
    /// Until when.
    refused: Map<Keyed, Moment>,
    /// The same, oldest first. A tap that has been replaced meanwhile is no longer in `refused`.
    refusals: VecDeque<Arc<Tap>>,
}

#[derive(Debug)]
struct Group {
    family: Arc<Family>,
    taps: AppendLock<Taps>,
    /// Refusals so far.
    refused: AtomicU64,
}

/// The taps of all families. Shared by workers and control.
#[derive(Debug)]
pub struct Registry {
    groups: Box<[Group]>,
    hasher: Hasher,
    /// The number of the newest tap.
    newest: AtomicU64,
}

impl Registry {
    /// A registry without taps. `hasher` is that of the families' logs.
    #[must_use]
    pub fn new(families: Vec<Family>, hasher: Hasher) -> Self {
        let group = |family| Group {
            family: Arc::new(family),
            // Several workers open and close taps of one family, and a lease must not fall between
            // a look at the count and the close: hence a lock, for the time of one look-up.
            taps: AppendLock::new(Taps {
                live: hasher.set(),
                refused: hasher.map(),
                refusals: VecDeque::new(),
            }),
            refused: AtomicU64::new(0),
        };
        let groups = families.into_iter().map(group).collect();
        Self { groups, hasher, newest: AtomicU64::new(0) }
    }

    /// The families, in the order of the configuration.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.groups.iter().map(|group| &*group.family)
    }

    /// One family.
    #[must_use]
    pub fn family(&self, group: usize) -> Option<&Family> {
        self.groups.get(group).map(|group| &*group.family)
    }

    /// A lease of the tap that is wanted, which is opened if there is none.
    ///
    /// # Errors
    /// No room, or the upstream refused the same a moment ago.
    pub fn lease(
        &self,
        group: usize,
        wanted: Wanted,
        at: Opening<'_>,
    ) -> Result<Leased, LeaseError> {
        let Some(home) = self.groups.get(group) else {
            debug_assert!(false, "checked by the configuration");
            return Err(LeaseError::TooMany);
        };
        let mut taps = home.lock();
        if let Some(Keyed(tap)) = taps.live.get(&wanted.key) {
            tap.joined(wanted.seed.as_deref());
            return Ok(Leased { lease: tap.lease(), opened: false, seeded: false });
        }
        if let Some((Keyed(tap), until)) = taps.refused.get_key_value(&wanted.key) {
            if *until > at.now {
                let retry_in = until.since(at.now);
                return Err(LeaseError::Refused { status: tap.refusal().unwrap_or(204), retry_in });
            }
            taps.refused.remove(&wanted.key);
        }
        if taps.live.len() >= home.family.definition.channels_max {
            return Err(LeaseError::TooMany);
        }
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let birth = Birth {
            number,
            group,
            family: Arc::clone(&home.family),
            topic: Topic::new(&format!("#{number}"), &self.hasher),
            owner: at.worker,
            now: at.now,
        };
        // Before anybody can find the tap: who resumes on it must hear what it may have missed.
        at.log.open(&birth.topic);
        let seeded = wanted.is_surely_theirs();
        let tap = Arc::new(Tap::new(birth, wanted.key, wanted.seed));
        let lease = tap.lease();
        taps.live.insert(Keyed(tap));
        Ok(Leased { lease, opened: true, seeded })
    }

    /// For the owner, every [`super::IDLE_CHECK`]: whether nobody has read the tap for its linger.
    /// It is out of the registry then; close its connection and forget it.
    #[must_use]
    pub fn close_if_idle(&self, tap: &Arc<Tap>, now: Moment) -> bool {
        let Some(home) = self.groups.get(tap.group) else { return true };
        let mut taps = home.lock();
        if !taps.has(tap) {
            return true;
        }
        let linger = home.family.definition.linger;
        let over = tap.idle_for(now).is_some_and(|idle| idle >= linger);
        if over {
            taps.live.remove(&tap.key);
            tap.board.enter(Phase::Closed, now);
        }
        over
    }

    /// For the owner: the upstream refused the tap for good. It is remembered for
    /// [`REFUSED_FOR`]; workers find it in [`Registry::refusals`].
    pub fn refuse(&self, tap: &Arc<Tap>, status: u16, now: Moment) {
        let Some(home) = self.groups.get(tap.group) else { return };
        let mut taps = home.lock();
        if !taps.has(tap) {
            return;
        }
        taps.live.remove(&tap.key);
        tap.refuse(status);
        taps.refused.insert(Keyed(Arc::clone(tap)), now.after(REFUSED_FOR));
        taps.refusals.push_back(Arc::clone(tap));
        taps.forget(home.family.definition.channels_max, now);
        // Pairs with the acquire in `refusal_count`.
        home.refused.fetch_add(1, Ordering::Release);
    }

    /// How many taps of a family were refused so far: a worker whose own number is smaller asks
    /// for [`Registry::refusals`], and ends the streams that read those taps.
    #[must_use]
    pub fn refusal_count(&self, group: usize) -> u64 {
        // Pairs with the release in `refuse`.
        self.groups.get(group).map_or(0, |home| home.refused.load(Ordering::Acquire))
    }

    /// The taps that were refused after the first `seen` refusals, and the new number. Those that
    /// are no longer remembered are left out: see [`Tap::refusal`] for a tap that is at hand.
    #[must_use]
    pub fn refusals(&self, group: usize, seen: u64) -> (u64, Vec<Arc<Tap>>) {
        let Some(home) = self.groups.get(group) else { return (0, Vec::new()) };
        let taps = home.lock();
        let count = home.refused.load(Ordering::Acquire);
        let new = usize::try_from(count.saturating_sub(seen)).unwrap_or(usize::MAX);
        let skip = taps.refusals.len().saturating_sub(new);
        (count, taps.refusals.iter().skip(skip).cloned().collect())
    }

    /// Live taps of a family.
    #[must_use]
    pub fn live(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |home| home.lock().live.len())
    }

    /// All taps, live and refused, by number.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> Vec<TapState> {
        let mut all: Vec<Arc<Tap>> = Vec::new();
        for home in &self.groups {
            let mut taps = home.lock();
            taps.forget(home.family.definition.channels_max, now);
            all.extend(taps.live.iter().map(|keyed| Arc::clone(&keyed.0)));
            all.extend(taps.refused.keys().map(|keyed| Arc::clone(&keyed.0)));
        }
        all.sort_unstable_by_key(|tap| tap.number);
        all.iter().map(|tap| tap.state(now)).collect()
    }
}

impl Group {
    /// A panic under the lock aborts the process, so a poisoned lock is only met in tests.
    fn lock(&self) -> MutexGuard<'_, Taps> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taps {
    /// Whether this very tap is live.
    fn has(&self, tap: &Arc<Tap>) -> bool {
        self.live.get(&tap.key).is_some_and(|keyed| Arc::ptr_eq(&keyed.0, tap))
    }

    /// Forgets refusals that are over, and the oldest past the limit. All last equally long, so the
    /// oldest is over first.
    fn forget(&mut self, max: usize, now: Moment) {
        while let Some(oldest) = self.refusals.front() {
            let (number, key) = (oldest.number, &oldest.key);
            let same =
                self.refused.get_key_value(key).filter(|(keyed, _)| keyed.0.number == number);
            let over = same.is_none_or(|(_, until)| *until <= now);
            if !over && self.refusals.len() <= max {
                return;
            }
            if same.is_some() {
                self.refused.remove(key);
            }
            self.refusals.pop_front();
        }
    }
}
