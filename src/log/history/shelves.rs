//! A history in which each topic has bounds of its own: for logs whose topics are sources of their
//! own, with ids of their own.
//!
//! ```text
//!   order:   1 a · 2 b · 3 a · 4 a · 5 a …        oldest first, entries of events that left
//!                                                 their shelf included, until they are many
//!   shelves: a ▸ 4 5      b ▸ 2                   own the events
//! ```
//!
//! Invariants:
//! 1. A shelf holds the newest events of its topic: what leaves it is its oldest.
//! 2. The first entry of `order` is the oldest event that is kept; the others' events may be gone.
//!    There are at most twice as many entries as events, and a few.
//! 3. A shelf that is neither open nor holds an event is not there; `gone` remembers for all of
//!    those together what they lost. An open shelf without events is one entry of a map.

use super::{Draught, Merge, Page};
use crate::base::map::{Hasher, Map};
use crate::base::sync::Arc;
use crate::log::event::{Event, EventId, Topic};
use crate::log::subscription::{Selector, Subscription};
use std::collections::VecDeque;

/// Entries of `order` beyond twice the number of events before it is cleared of the dead.
const SLACK: usize = 64;
/// Places of a shelf that are not worth giving back.
const PLACES: usize = 16;

/// No number of an event.
const NEVER: u64 = u64::MAX;

/// What is kept of each topic at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Events kept; 0: none.
    pub events_max: usize,
    /// Bytes kept, bookkeeping included ([`Event::cost`]).
    pub bytes_max: usize,
}

/// One topic.
#[derive(Debug)]
struct Shelf {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Nothing after this number is missing.
    lost: u64,
    /// The tail when its source came; [`NEVER`]: it has none, and goes with its last event.
    opened: u64,
}

const _: () = assert!(size_of::<(Topic, Shelf)>() <= 88, "a topic without events is small");

impl Shelf {
    fn new(lost: u64) -> Self {
        Self { events: VecDeque::new(), bytes: 0, lost, opened: NEVER }
    }

    fn is_open(&self) -> bool {
        self.opened != NEVER
    }

    fn is_over(&self, limits: TopicLimits) -> bool {
        self.events.len() > limits.events_max || self.bytes > limits.bytes_max
    }

    /// Takes the oldest event, and gives back the room of many.
    fn pop(&mut self) -> Option<Arc<Event>> {
        let event = self.events.pop_front()?;
        self.bytes -= event.cost();
        // One that was opened late has lost more than its oldest event.
        self.lost = self.lost.max(event.seq);
        if self.events.is_empty() {
            self.events = VecDeque::new();
        } else if self.events.capacity() > PLACES.max(self.events.len() * 4) {
            self.events.shrink_to(self.events.len() * 2);
        }
        Some(event)
    }

    fn at(&self, seq: u64) -> Option<&Arc<Event>> {
        let at = self.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        self.events.get(at)
    }
}

/// The kept events.
#[derive(Debug)]
pub(in crate::log) struct Shelves {
    limits: TopicLimits,
    shelves: Map<Topic, Shelf>,
    order: VecDeque<(u64, Topic)>,
    /// By the hash of topic and id.
    by_id: Map<u64, VecDeque<u64>>,
    hasher: Hasher,
    len: usize,
    bytes: usize,
    tail: u64,
    /// The newest event that was lost of a topic without a shelf.
    gone: u64,
    /// The newest event that was lost of any.
    lost: u64,
}

impl Shelves {
    pub(super) fn new(hasher: Hasher, limits: TopicLimits) -> Self {
        Self {
            limits,
            shelves: hasher.map(),
            order: VecDeque::new(),
            by_id: hasher.map(),
            hasher,
            len: 0,
            bytes: 0,
            tail: 0,
            gone: 0,
            lost: 0,
        }
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    pub(super) fn head(&self) -> u64 {
        self.order.front().map_or(self.tail + 1, |(seq, _)| *seq)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// From now on the topic has a source: what came before the tail may have been missed.
    pub(super) fn open(&mut self, topic: &Topic) {
        let tail = self.tail;
        let shelf = self.shelves.entry(topic.clone()).or_insert_with(|| Shelf::new(tail));
        if !shelf.is_open() {
            (shelf.lost, shelf.opened) = (tail, tail);
        }
    }

    /// The topic's source has ended: its events go, at O(1) for each.
    pub(super) fn forget(&mut self, topic: &Topic) {
        let Some(shelf) = self.shelves.remove(topic) else { return };
        for event in &shelf.events {
            self.take_out(event);
        }
        self.gone = self.gone.max(shelf.lost).max(shelf.events.back().map_or(0, |e| e.seq));
        self.tidy();
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        debug_assert_eq!(event.seq, self.tail + 1, "numbers are consecutive");
        debug_assert_eq!(event.topics.len(), 1, "an event comes from one source");
        self.tail = event.seq;
        let Some(topic) = event.topics.first().cloned() else { return };
        if self.limits.events_max == 0 {
            let shelf = self.shelves.get_mut(&topic);
            *shelf.map_or(&mut self.gone, |shelf| &mut shelf.lost) = event.seq;
            self.lost = event.seq;
            return;
        }
        if let EventId::Given(id) = &event.id {
            self.by_id.entry(self.hash(&topic, id)).or_default().push_back(event.seq);
        }
        self.len += 1;
        self.bytes += event.cost();
        self.order.push_back((event.seq, topic.clone()));
        let gone = self.gone;
        let shelf = self.shelves.entry(topic.clone()).or_insert_with(|| Shelf::new(gone));
        shelf.bytes += event.cost();
        shelf.events.push_back(event);
        while self.shelves.get(&topic).is_some_and(|shelf| shelf.is_over(self.limits)) {
            self.evict(&topic);
        }
        self.tidy();
    }

    pub(super) fn trim(&mut self, excess: impl Fn(&Event, usize, usize) -> bool) {
        while let Some((_, topic)) = self.order.front() {
            let oldest = self.shelves.get(topic).and_then(|shelf| shelf.events.front());
            debug_assert!(oldest.is_some(), "the first in the order is kept");
            if !oldest.is_some_and(|oldest| excess(oldest, self.len, self.bytes)) {
                return;
            }
            let topic = topic.clone();
            self.evict(&topic);
            self.tidy();
        }
    }

    /// Drops a topic's oldest event.
    fn evict(&mut self, topic: &Topic) {
        let Some(shelf) = self.shelves.get_mut(topic) else { return };
        let Some(event) = shelf.pop() else { return };
        if shelf.events.is_empty() && !shelf.is_open() {
            self.gone = self.gone.max(event.seq);
            self.shelves.remove(topic);
        }
        self.take_out(&event);
    }

    /// An event has left its shelf: counts and index follow.
    fn take_out(&mut self, event: &Event) {
        self.len -= 1;
        self.bytes -= event.cost();
        self.lost = self.lost.max(event.seq);
        let (EventId::Given(id), Some(topic)) = (&event.id, event.topics.first()) else { return };
        let hash = self.hash(topic, id);
        let Some(seqs) = self.by_id.get_mut(&hash) else { return };
        // The oldest of its topic, so the first, unless two topics' ids have one hash.
        if seqs.front() == Some(&event.seq) {
            seqs.pop_front();
        } else {
            seqs.retain(|seq| *seq != event.seq);
        }
        if seqs.is_empty() {
            self.by_id.remove(&hash);
        }
    }

    /// Rids the order of entries whose events have left, at the front always.
    fn tidy(&mut self) {
        let shelves = &self.shelves;
        let lives = |(seq, topic): &(u64, Topic)| {
            let oldest = shelves.get(topic).and_then(|shelf| shelf.events.front());
            oldest.is_some_and(|oldest| oldest.seq <= *seq)
        };
        while self.order.front().is_some_and(|entry| !lives(entry)) {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.len + SLACK {
            self.order.retain(lives);
            self.order.shrink_to(2 * self.len + SLACK);
        }
    }

    fn hash(&self, topic: &Topic, id: &str) -> u64 {
        self.hasher.hash(&(topic, id))
    }

    pub(super) fn find(&self, topics: &[Topic], id: &str) -> Option<u64> {
        let earliest = |topic: &Topic| {
            let seqs = self.by_id.get(&self.hash(topic, id))?;
            let shelf = self.shelves.get(topic)?;
            let is = |seq: &u64| {
                let event = shelf.at(*seq);
                event.is_some_and(|e| matches!(&e.id, EventId::Given(own) if **own == *id))
            };
            seqs.iter().copied().find(is)
        };
        topics.iter().filter_map(earliest).min()
    }

    pub(super) fn lost(&self, topics: &[Topic]) -> u64 {
        topics.iter().map(|topic| self.lost_of(topic)).max().unwrap_or(0)
    }

    /// Whether nobody listened for one of these topics at this position: its source came later, or
    /// at that very number, and what it may have missed has no number.
    pub(super) fn was_deaf(&self, topics: &[Topic], seq: u64) -> bool {
        let shelves = topics.iter().filter_map(|topic| self.shelves.get(topic));
        shelves.into_iter().any(|shelf| shelf.is_open() && seq <= shelf.opened)
    }

    fn lost_of(&self, topic: &Topic) -> u64 {
        self.shelves.get(topic).map_or(self.gone, |shelf| shelf.lost)
    }

    /// A topic's events.
    pub(super) fn list(&self, topic: &Topic) -> Option<&VecDeque<Arc<Event>>> {
        self.shelves.get(topic).map(|shelf| &shelf.events)
    }

    pub(super) fn page(&self, wish: &Subscription, after: u64, upto: u64, bytes: usize) -> Page {
        let any = wish.selectors().first() == Some(&Selector::Any);
        let lost = wish.topics().map(|topic| self.lost_of(topic)).max().unwrap_or(0);
        let lost = if any { self.lost } else { lost };
        let page = Page { after, missed: after != 0 && after < lost, lost, ..Page::default() };
        let mut draught = Draught::new(wish, page, self.tail, upto, bytes);
        if any {
            let from = self.order.partition_point(|(seq, _)| *seq <= after);
            let events = self.order.range(from..);
            let mut events = events.filter_map(|(seq, topic)| self.shelves.get(topic)?.at(*seq));
            while events.next().is_some_and(|event| draught.look(event)) {}
        } else {
            let mut merge = Merge::new(wish.topics().filter_map(|t| self.list(t)), after);
            while merge.next().is_some_and(|event| draught.look(event)) {}
        }
        draught.page
    }
}

#[cfg(test)]
impl Shelves {
    /// Entries of the order, and topics that have a shelf.
    pub(in crate::log) fn sizes(&self) -> (usize, usize) {
        (self.order.len(), self.shelves.len())
    }
}
