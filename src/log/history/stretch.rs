//! A history that is bounded as a whole.
//!
//! Invariants: kept events are consecutive, so the head is `tail + 1 - len` and any event is found
//! by its number at once.

use super::{Draught, Merge, Page};
use crate::base::map::{Hasher, Map};
use crate::base::sync::Arc;
use crate::log::event::{Event, EventId, Topic};
use crate::log::subscription::{Selector, Subscription};
use std::collections::VecDeque;

/// The kept events.
#[derive(Debug)]
pub(in crate::log) struct Stretch {
    events: VecDeque<Arc<Event>>,
    by_topic: Map<Topic, VecDeque<u64>>,
    by_id: Map<u64, VecDeque<u64>>,
    hasher: Hasher,
    bytes: usize,
    tail: u64,
}

impl Stretch {
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

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    pub(super) fn head(&self) -> u64 {
        self.tail + 1 - self.events.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

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

    /// The numbers of a topic's events.
    pub(super) fn list(&self, topic: &Topic) -> Option<&VecDeque<u64>> {
        self.by_topic.get(topic)
    }

    pub(super) fn page(&self, wish: &Subscription, after: u64, upto: u64, bytes: usize) -> Page {
        let lost = self.head() - 1;
        let (missed, after) = (after != 0 && after < lost, after.max(lost));
        let page = Page { after, missed, lost, ..Page::default() };
        let mut draught = Draught::new(wish, page, self.tail, upto, bytes);
        let mut look = |seq: u64| self.at(seq).is_some_and(|event| draught.look(event));
        if wish.selectors().first() == Some(&Selector::Any) {
            let mut seq = after + 1;
            while look(seq) {
                seq += 1;
            }
        } else {
            let mut merge = Merge::new(wish.topics().filter_map(|t| self.list(t)), after);
            while merge.next().is_some_and(|seq| look(*seq)) {}
        }
        draught.page
    }

    fn at(&self, seq: u64) -> Option<&Arc<Event>> {
        let index = seq.checked_sub(self.head())?;
        self.events.get(usize::try_from(index).ok()?)
    }
}
