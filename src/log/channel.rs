//! The channel: one door in (append), lock-free readers, bounded history, positions as ids.
//!
//! Invariants:
//! 1. Appends have one order; an append that returned an event is seen by every reader.
//! 2. What is accepted is kept for the slowest reader: when one is behind by more than the
//!    backlog limit, appends are refused before anything was taken.
//! 3. An id of this epoch's form is only made here: publishers cannot forge positions. The sources
//!    of a log with bounds for each topic may say what they like: their ids are looked up first.

use super::bell::{Bell, Rope};
use super::event::{Draft, Event, EventId, Topic};
use super::history::{History, Page, TopicLimits};
use super::segment::{Reader, Writer};
use super::subscription::Subscription;
use crate::base::digits::Room;
use crate::base::digits::digits;
use crate::base::map::Hasher;
use crate::base::sync::AppendLock;
use crate::base::sync::Arc;
use crate::base::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};

/// How every made id starts.
pub(super) const MADE: &str = "urn:tide:";

/// What a channel keeps at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Events kept.
    pub events_max: usize,
    /// Bytes kept, bookkeeping included ([`Event::cost`]).
    pub bytes_max: usize,
    /// Age up to which events are kept, in milliseconds; 0: no limit.
    pub age_max_millis: u64,
    /// Wire bytes that the slowest worker may be behind before appends are refused.
    pub backlog_bytes_max: u64,
    /// Topics are sources of their own: each event has one, each topic has these bounds besides
    /// those of the whole, and the ids of one topic say nothing in another. When the whole is over
    /// its bounds, the oldest events go, whatever their topic.
    pub per_topic: Option<TopicLimits>,
}

/// Why an append was refused; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The id has the form of this channel's own positions.
    #[error("the id has the form of this hub's own positions: leave it out or choose another")]
    IdReserved,
    /// A worker is too far behind.
    #[error("the workers are behind by more than the backlog limit: publish again a little later")]
    Backlog,
}

#[derive(Debug)]
pub(super) struct Inner {
    writer: Writer,
    pub(super) history: History,
    ropes: Vec<Arc<Rope>>,
    /// Wire bytes ever appended.
    total: u64,
    scratch: Vec<u8>,
    id: String,
}

impl Inner {
    fn lag(&self) -> u64 {
        let slowest = self.ropes.iter().map(|rope| rope.read()).min().unwrap_or(u64::MAX);
        self.total.saturating_sub(slowest)
    }
}

/// An ordered log of events with one source.
#[derive(Debug)]
pub struct Channel {
    inner: AppendLock<Inner>,
    /// The newest sequence number, for those who only want to know that.
    tail: AtomicU64,
    epoch: u64,
    /// What the ids of this epoch begin with.
    epoch_name: Box<str>,
    limits: Limits,
    hasher: Hasher,
}

impl Channel {
    /// An empty channel. The epoch must differ from those of earlier runs: draw it.
    #[must_use]
    pub fn new(limits: Limits, epoch: u64, hasher: Hasher) -> Self {
        let inner = Inner {
            writer: Writer::new(),
            history: History::new(hasher.clone(), limits.per_topic),
            ropes: Vec::new(),
            total: 0,
            scratch: Vec::new(),
            id: String::new(),
        };
        let (inner, tail) = (AppendLock::new(inner), AtomicU64::new(0));
        let epoch_name = format!("{MADE}{epoch:016x}:").into();
        Self { inner, tail, epoch, epoch_name, limits, hasher }
    }

    /// The hasher of its topics.
    #[must_use]
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Appends an event. `encode` writes the wire form of the event with the id it is given.
    ///
    /// # Errors
    /// The id is reserved, or a worker is too far behind; nothing was taken.
    pub fn append(
        &self,
        draft: Draft,
        unix_millis: u64,
        encode: impl FnOnce(&str, &mut Vec<u8>),
    ) -> Result<Arc<Event>, AppendError> {
        let reserved = |id: &str| self.limits.per_topic.is_none() && self.position(id).is_some();
        if draft.id.as_deref().is_some_and(reserved) {
            return Err(AppendError::IdReserved);
        }
        let mut guard = self.lock();
        let inner = &mut *guard;
        if inner.lag() > self.limits.backlog_bytes_max {
            return Err(AppendError::Backlog);
        }
        let seq = inner.history.tail() + 1;
        inner.scratch.clear();
        let id = if let Some(id) = draft.id {
            encode(&id, &mut inner.scratch);
            EventId::Given(id)
        } else {
            inner.id.clear();
            self.write_id(seq, &mut inner.id);
            encode(&inner.id, &mut inner.scratch);
            EventId::Made
        };
        let wire: Box<[u8]> = inner.scratch.as_slice().into();
        if inner.scratch.capacity() > 64 * 1024 {
            inner.scratch = Vec::new();
        }
        debug_assert!(wire.ends_with(b"\n\n"), "the wire form ends with a blank line");
        inner.total += wire.len() as u64;
        let event = Arc::new(Event {
            seq,
            unix_millis,
            private: draft.private,
            topics: draft.topics,
            id,
            wire,
            total: inner.total,
        });
        inner.history.push(Arc::clone(&event));
        self.trim(&mut inner.history, unix_millis);
        inner.writer.put(Arc::clone(&event));
        self.tail.store(seq, Ordering::Release);
        for rope in &inner.ropes {
            rope.ring();
        }
        Ok(event)
    }

    /// Wire bytes that the slowest worker is behind.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.lock().lag()
    }

    /// Drops what is too old.
    pub fn expire(&self, unix_millis: u64) {
        self.trim(&mut self.lock().history, unix_millis);
    }

    /// A topic's source starts. Positions from before count as expired for who reads it: events
    /// may have been missed. Again on an open topic: nothing. Without bounds for each topic:
    /// nothing.
    pub fn open(&self, topic: &Topic) {
        self.lock().history.open(topic);
    }

    /// A topic's source has ended: its events go, and what they take. Readers who are behind still
    /// get from the live chain what was appended before.
    pub fn forget(&self, topic: &Topic) {
        self.lock().history.forget(topic);
    }

    /// A reader that sees every event after the returned sequence number. After an append `bell`
    /// is rung while its worker is parked, as long as the reader lives.
    #[must_use]
    pub fn reader(&self, bell: &Arc<Bell>) -> (Reader, u64) {
        let mut inner = self.lock();
        let reader = inner.writer.reader(Arc::clone(bell), inner.total);
        inner.ropes.retain(|rope| !rope.is_cut());
        inner.ropes.push(Arc::clone(reader.rope()));
        (reader, inner.history.tail())
    }

    /// The newest sequence number; 0 before the first event.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// The oldest sequence number that is kept; one past the newest if none is.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.lock().history.head()
    }

    /// Number of events kept, and their bytes.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.history.len(), inner.history.bytes())
    }

    /// The subscription's events after `after` (0: the oldest kept) and up to `upto`, about
    /// `bytes_max` wire bytes of them; see [`Page`].
    #[must_use]
    pub fn page(&self, wish: &Subscription, after: u64, upto: u64, bytes_max: usize) -> Page {
        self.lock().history.page(wish, after, upto, bytes_max)
    }

    /// The id of a position: what a client that has seen everything up to `seq` sends back.
    #[must_use]
    pub fn id(&self, seq: u64) -> String {
        let mut id = String::new();
        self.write_id(seq, &mut id);
        id
    }

    fn write_id(&self, seq: u64, out: &mut String) {
        out.push_str(&self.epoch_name);
        let mut room = Room::default();
        out.extend(digits(seq, 10, &mut room).iter().map(|digit| char::from(*digit)));
    }

    /// The position that an id of this epoch stands for. Only the form that `id` writes counts.
    pub(super) fn position(&self, id: &str) -> Option<u64> {
        let (epoch, seq) = id.strip_prefix(MADE)?.split_once(':')?;
        let canonical = epoch.len() == 16
            && !epoch.bytes().any(|b| b.is_ascii_uppercase() || b == b'+')
            && seq.bytes().all(|b| b.is_ascii_digit())
            && (seq == "0" || !seq.starts_with('0'));
        if !canonical || u64::from_str_radix(epoch, 16).ok()? != self.epoch {
            return None;
        }
        // The largest number is no position: what follows it must still be countable.
        seq.parse().ok().filter(|seq| *seq < u64::MAX)
    }

    fn trim(&self, history: &mut History, unix_millis: u64) {
        let limits = &self.limits;
        let aged = |event: &Event| {
            limits.age_max_millis != 0
                && unix_millis.saturating_sub(event.unix_millis) > limits.age_max_millis
        };
        history.trim(|oldest, len, bytes| {
            len > limits.events_max || bytes > limits.bytes_max || aged(oldest)
        });
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A panic under the lock aborts the process, so a poisoned lock is only met in tests.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
