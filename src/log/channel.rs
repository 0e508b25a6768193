//! The channel: one door in (append), lock-free readers, bounded history, positions as ids.
//!
//! Invariants:
//! 1. Appends have one order; an append that returned an event is seen by every reader.
//! 2. What is accepted is kept for the slowest reader: when one is behind by more than the
//!    backlog limit, appends are refused before anything was taken.
//! 3. An id of this epoch's form is only made here: publishers cannot forge positions.

use super::bell::Bell;
use super::event::{Draft, Event, EventId};
use super::history::{History, Page};
use super::segment::{Reader, Writer};
use super::subscription::Subscription;
use crate::base::map::Hasher;
use crate::base::sync::AppendLock;
use crate::base::sync::Arc;
use crate::base::sync::atomic::{AtomicU64, Ordering};
use std::fmt::Write;
use std::sync::{MutexGuard, PoisonError};

/// How every made id starts.
const MADE: &str = "urn:tide:";

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

/// Why events may be missing after a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The id is not, or no longer, known.
    Unknown,
    /// The position is older than the history, or of an earlier epoch.
    Expired,
}

/// What a `Last-Event-ID` means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Continue after this sequence number: nothing is missing.
    After(u64),
    /// `earliest`: everything kept.
    Earliest,
    /// A gap: everything kept, announced.
    Lost(Loss),
}

impl Resumption {
    /// The sequence number to continue after; 0 stands for everything kept.
    #[must_use]
    pub fn after(self) -> u64 {
        if let Self::After(seq) = self { seq } else { 0 }
    }
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    history: History,
    bells: Vec<Arc<Bell>>,
    /// Wire bytes ever appended.
    total: u64,
    scratch: Vec<u8>,
    id: String,
}

/// An ordered log of events with one source.
#[derive(Debug)]
pub struct Channel {
    inner: AppendLock<Inner>,
    /// The newest sequence number, for those who only want to know that.
    tail: AtomicU64,
    epoch: u64,
    limits: Limits,
    hasher: Hasher,
}

impl Channel {
    /// An empty channel. The epoch must differ from those of earlier runs: draw it.
    #[must_use]
    pub fn new(limits: Limits, epoch: u64, hasher: Hasher) -> Self {
        let inner = Inner {
            writer: Writer::new(),
            history: History::new(hasher.clone()),
            bells: Vec::new(),
            total: 0,
            scratch: Vec::new(),
            id: String::new(),
        };
        Self { inner: AppendLock::new(inner), tail: AtomicU64::new(0), epoch, limits, hasher }
    }

    /// The hasher of its topics.
    #[must_use]
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Hangs a worker's bell: it is rung after every append while its worker is parked.
    pub fn hang(&self, bell: Arc<Bell>) {
        self.lock().bells.push(bell);
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
        if draft.id.as_deref().is_some_and(|id| self.position(id).is_some()) {
            return Err(AppendError::IdReserved);
        }
        let mut guard = self.lock();
        let inner = &mut *guard;
        let slowest = inner.bells.iter().map(|bell| bell.read()).min().unwrap_or(u64::MAX);
        if inner.total.saturating_sub(slowest) > self.limits.backlog_bytes_max {
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
        for bell in &inner.bells {
            bell.ring();
        }
        Ok(event)
    }

    /// Drops what is too old.
    pub fn expire(&self, unix_millis: u64) {
        self.trim(&mut self.lock().history, unix_millis);
    }

    /// A reader that sees every event after the returned sequence number.
    #[must_use]
    pub fn reader(&self, bell: &Arc<Bell>) -> (Reader, u64) {
        let inner = self.lock();
        (inner.writer.reader(Arc::clone(bell), inner.total), inner.history.tail())
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

    /// What a client's `Last-Event-ID` means.
    #[must_use]
    pub fn resolve(&self, id: &str) -> Resumption {
        if id == "earliest" {
            return Resumption::Earliest;
        }
        let inner = self.lock();
        match self.position(id) {
            Some(seq) if seq > inner.history.tail() => Resumption::Lost(Loss::Unknown),
            Some(seq) if seq + 1 < inner.history.head() => Resumption::Lost(Loss::Expired),
            Some(seq) => Resumption::After(seq),
            None => match inner.history.find(id) {
                Some(seq) => Resumption::After(seq),
                None if id.starts_with(MADE) => Resumption::Lost(Loss::Expired),
                None => Resumption::Lost(Loss::Unknown),
            },
        }
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
        let written = write!(out, "{MADE}{:016x}:{seq}", self.epoch);
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }

    /// The position that an id of this epoch stands for. Only the form that `id` writes counts.
    fn position(&self, id: &str) -> Option<u64> {
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

    /// A panic under the lock aborts the process, so a poisoned lock is only met in tests.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
