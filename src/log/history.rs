//! What the log keeps for clients that come back: bounded, indexed by topic and by given id.
//!
//! Invariants:
//! 1. Kept events are consecutive: the head is `tail + 1 - len`.
//! 2. Every kept event is in the index of each of its topics, and of its id if that was given.
//! 3. A page costs what it returns (and the private events that it must pass over), not what is
//!    stored.

use super::event::{Event, EventId, Topic};
use super::subscription::{Selector, Subscription};
use crate::base::map::{Hasher, Map};
use crate::base::sync::Arc;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Events looked at for one page at most, so that the lock is held briefly.
const LOOKS: usize = 4096;

/// A run of a subscription's events, in order.
#[derive(Debug, Default)]
pub struct Page {
    /// The events: all that the subscription selects and may read, after the asked position and
    /// up to `upto`.
    pub events: Vec<Arc<Event>>,
    /// Where the page starts: the asked position, or the end of what has left the history, if that
    /// is later.
    pub after: u64,
    /// How far the page reaches: the next one starts after this sequence number.
    pub upto: u64,
    /// Events after the asked position had already left the history.
    pub missed: bool,
}

/// The kept events.
#[derive(Debug)]
pub(super) struct History {
    events: VecDeque<Arc<Event>>,
    by_topic: Map<Topic, VecDeque<u64>>,
    by_id: Map<u64, VecDeque<u64>>,
    hasher: Hasher,
    bytes: usize,
    tail: u64,
}

impl History {
    pub(super) fn new(hasher: Hasher) -> Self {
        Self {
            events: VecDeque::new(),
            by_topic: hasher.map(),
            by_id: hasher.map(),
            hasher,
            bytes: 0,
            tail: 0,
        }
    }

    /// The newest sequence number ever kept; 0 before the first.
    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// The oldest kept sequence number; one past the tail when nothing is kept.
    pub(super) fn head(&self) -> u64 {
        self.tail + 1 - self.events.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// What the kept events cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps one more event.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        debug_assert_eq!(event.seq, self.tail + 1, "events are consecutive");
        self.tail = event.seq;
        self.bytes += event.cost();
        for topic in &event.topics {
            let seqs = self.by_topic.entry(topic.clone()).or_default();
            if seqs.back() != Some(&event.seq) {
                seqs.push_back(event.seq);
            }
        }
        if let EventId::Given(id) = &event.id {
            self.by_id.entry(self.hasher.hash(id)).or_default().push_back(event.seq);
        }
        self.events.push_back(event);
    }

    /// Drops the oldest events while `excess` says so of (oldest, count, bytes).
    pub(super) fn trim(&mut self, excess: impl Fn(&Event, usize, usize) -> bool) {
        while let Some(oldest) = self.events.front() {
            if !excess(oldest, self.events.len(), self.bytes) {
                return;
            }
            if let Some(event) = self.events.pop_front() {
                self.forget(&event);
            }
        }
    }

    fn forget(&mut self, event: &Event) {
        self.bytes -= event.cost();
        for topic in &event.topics {
            if let Some(seqs) = self.by_topic.get_mut(topic) {
                if seqs.front() == Some(&event.seq) {
                    seqs.pop_front();
                }
                if seqs.is_empty() {
                    self.by_topic.remove(topic);
                }
            }
        }
        if let EventId::Given(id) = &event.id {
            let hash = self.hasher.hash(id);
            if let Some(seqs) = self.by_id.get_mut(&hash) {
                seqs.pop_front();
                if seqs.is_empty() {
                    self.by_id.remove(&hash);
                }
            }
        }
    }

    /// The position of a given id: of its earliest occurrence, as the Mercure protocol asks.
    pub(super) fn find(&self, id: &str) -> Option<u64> {
        let seqs = self.by_id.get(&self.hasher.hash(id))?;
        let is = |seq: &u64| {
            self.at(*seq).is_some_and(|e| matches!(&e.id, EventId::Given(own) if **own == *id))
        };
        seqs.iter().copied().find(is)
    }

    /// The subscription's events after `after` and up to `upto`, of `bytes_max` wire bytes or a
    /// little more (at least one event, if there is one). `after` 0 means the oldest kept.
    pub(super) fn page(
        &self,
        subscription: &Subscription,
        after: u64,
        upto: u64,
        bytes_max: usize,
    ) -> Page {
        let missed = after != 0 && after + 1 < self.head();
        let after = after.max(self.head() - 1);
        let upto = upto.min(self.tail);
        let mut page = Page { events: Vec::new(), after, upto: upto.max(after), missed };
        let mut bytes = 0;
        let mut looks = 0;
        let mut look = |seq: u64| {
            let Some(event) = self.at(seq).filter(|e| e.seq <= upto) else { return false };
            if subscription.permits(event) {
                bytes += event.wire.len();
                page.events.push(Arc::clone(event));
            }
            looks += 1;
            if bytes >= bytes_max || looks >= LOOKS {
                page.upto = seq;
                return false;
            }
            true
        };
        if subscription.selectors().first() == Some(&Selector::Any) {
            let mut seq = after + 1;
            while look(seq) {
                seq += 1;
            }
        } else {
            let mut merge = Merge::new(self, subscription, after);
            while merge.next().is_some_and(&mut look) {}
        }
        page
    }

    fn at(&self, seq: u64) -> Option<&Arc<Event>> {
        let index = seq.checked_sub(self.head())?;
        self.events.get(usize::try_from(index).ok()?)
    }
}

/// The sequence numbers of several topics, merged, without twins.
struct Merge<'a> {
    lists: Vec<&'a VecDeque<u64>>,
    heap: BinaryHeap<Reverse<(u64, usize, usize)>>,
    last: u64,
}

impl<'a> Merge<'a> {
    fn new(history: &'a History, subscription: &Subscription, after: u64) -> Self {
        let mut merge = Self { lists: Vec::new(), heap: BinaryHeap::new(), last: after };
        for selector in subscription.selectors() {
            let Selector::Exact(topic) = selector else { continue };
            let Some(seqs) = history.by_topic.get(topic) else { continue };
            let at = seqs.partition_point(|seq| *seq <= after);
            if let Some(seq) = seqs.get(at) {
                merge.heap.push(Reverse((*seq, merge.lists.len(), at)));
                merge.lists.push(seqs);
            }
        }
        merge
    }
}

impl Iterator for Merge<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let Reverse((seq, list, at)) = self.heap.pop()?;
            if let Some(next) = self.lists.get(list).and_then(|seqs| seqs.get(at + 1)) {
                self.heap.push(Reverse((*next, list, at + 1)));
            }
            if seq != self.last {
                self.last = seq;
                return Some(seq);
            }
        }
    }
}
