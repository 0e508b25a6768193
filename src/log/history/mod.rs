//! What the log keeps for clients that come back: bounded, indexed by topic and by given id.
//!
//! There are two ways to keep. A *stretch* is bounded as a whole: what is kept is consecutive.
//! *Shelves* bound each topic besides, so that a busy one does not push out what a quiet one has.
//!
//! Invariants:
//! 1. Every kept event is in the index of each of its topics, and of its id if that was given.
//! 2. A page costs what it returns (and the private events that it must pass over), not what is
//!    stored. An append and a trim cost O(1) for each event, amortised.
//! 3. What is lost is known: no event of a topic after its `lost` has left the history.

mod shelves;
mod stretch;

pub use shelves::TopicLimits;

use super::event::{Event, Topic};
use super::subscription::Subscription;
use crate::base::map::Hasher;
use crate::base::sync::Arc;
use shelves::Shelves;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use stretch::Stretch;

/// Events looked at for one page at most, so that the lock is held briefly.
const LOOKS: usize = 4096;

/// A run of a subscription's events, in order.
#[derive(Debug, Default)]
pub struct Page {
    /// The events: all that are kept and that the subscription selects and may read, after the
    /// asked position and up to `upto`.
    pub events: Vec<Arc<Event>>,
    /// Where the page starts: the asked position, or the end of what has left the history, if that
    /// is later. With bounds for each topic always the asked one.
    pub after: u64,
    /// How far the page reaches: the next one starts after this sequence number.
    pub upto: u64,
    /// Events after the asked position may already have left the history.
    pub missed: bool,
    /// Nothing of the subscription's topics after this has left the history.
    pub lost: u64,
}

/// The kept events.
#[derive(Debug)]
pub(super) enum History {
    Stretch(Stretch),
    Shelves(Shelves),
}

/// Does the same with either kind.
macro_rules! either {
    ($history:expr, $kept:ident => $what:expr) => {
        match $history {
            Self::Stretch($kept) => $what,
            Self::Shelves($kept) => $what,
        }
    };
}

impl History {
    /// An empty one; with `per_topic` each topic has these bounds besides.
    pub(super) fn new(hasher: Hasher, per_topic: Option<TopicLimits>) -> Self {
        match per_topic {
            None => Self::Stretch(Stretch::new(hasher)),
            Some(limits) => Self::Shelves(Shelves::new(hasher, limits)),
        }
    }

    /// The newest sequence number ever kept; 0 before the first.
    pub(super) fn tail(&self) -> u64 {
        either!(self, kept => kept.tail())
    }

    /// The oldest kept sequence number; one past the tail when nothing is kept.
    pub(super) fn head(&self) -> u64 {
        either!(self, kept => kept.head())
    }

    pub(super) fn len(&self) -> usize {
        either!(self, kept => kept.len())
    }

    /// What the kept events cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        either!(self, kept => kept.bytes())
    }

    /// Keeps one more event.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        either!(self, kept => kept.push(event));
    }

    /// Drops the oldest events while `excess` says so of (oldest, count, bytes).
    pub(super) fn trim(&mut self, excess: impl Fn(&Event, usize, usize) -> bool) {
        either!(self, kept => kept.trim(excess));
    }

    /// A topic's source starts: what came before the tail may have been missed.
    pub(super) fn open(&mut self, topic: &Topic) {
        if let Self::Shelves(kept) = self {
            kept.open(topic);
        }
    }

    /// A topic's source has ended: its events go.
    pub(super) fn forget(&mut self, topic: &Topic) {
        if let Self::Shelves(kept) = self {
            kept.forget(topic);
        }
    }

    /// The position of a given id, of its earliest occurrence that is kept; with bounds for each
    /// topic, among these topics.
    pub(super) fn find(&self, topics: &[Topic], id: &str) -> Option<u64> {
        match self {
            Self::Stretch(kept) => kept.find(id),
            Self::Shelves(kept) => kept.find(topics, id),
        }
    }

    /// The sequence number after which nothing of these topics has left the history.
    pub(super) fn lost(&self, topics: &[Topic]) -> u64 {
        match self {
            Self::Stretch(kept) => kept.head() - 1,
            Self::Shelves(kept) => kept.lost(topics),
        }
    }

    /// Whether one of these topics had no source at this position, so that a reader who stood there
    /// may have missed events, although none of a later number is missing.
    pub(super) fn was_deaf(&self, topics: &[Topic], seq: u64) -> bool {
        match self {
            Self::Stretch(_) => false,
            Self::Shelves(kept) => kept.was_deaf(topics, seq),
        }
    }

    /// The number of the oldest of the newest `count` kept events of these topics.
    pub(super) fn recent(&self, topics: &[Topic], count: usize) -> Option<u64> {
        either!(self, kept => newest(topics.iter().filter_map(|topic| kept.list(topic)), count))
    }

    /// The subscription's events after `after` and up to `upto`, of `bytes_max` wire bytes or a
    /// little more (at least one event, if there is one). `after` 0 means the oldest kept.
    pub(super) fn page(&self, wish: &Subscription, after: u64, upto: u64, bytes: usize) -> Page {
        either!(self, kept => kept.page(wish, after, upto, bytes))
    }
}

/// A page in the making.
struct Draught<'a> {
    page: Page,
    wish: &'a Subscription,
    upto: u64,
    bytes_left: usize,
    looks: usize,
}

impl<'a> Draught<'a> {
    /// From `after` on, which is already where the page starts, up to `upto` or the tail.
    fn new(wish: &'a Subscription, page: Page, tail: u64, upto: u64, bytes: usize) -> Self {
        let upto = upto.min(tail);
        let page = Page { upto: upto.max(page.after), ..page };
        Self { page, wish, upto, bytes_left: bytes, looks: 0 }
    }

    /// Takes the next event; false when the page is full or has reached its end.
    fn look(&mut self, event: &Arc<Event>) -> bool {
        if event.seq > self.upto {
            return false;
        }
        let mut full = false;
        if self.wish.permits(event) {
            full = event.wire.len() >= self.bytes_left;
            self.bytes_left = self.bytes_left.saturating_sub(event.wire.len());
            self.page.events.push(Arc::clone(event));
        }
        self.looks += 1;
        if full || self.looks >= LOOKS {
            self.page.upto = event.seq;
            return false;
        }
        true
    }
}

/// What stands in a topic's list: an event, or its number.
trait Numbered {
    fn seq(&self) -> u64;
}

impl Numbered for u64 {
    fn seq(&self) -> u64 {
        *self
    }
}

impl Numbered for Arc<Event> {
    fn seq(&self) -> u64 {
        self.seq
    }
}

/// The lists of several topics after a position, merged, without twins.
struct Merge<'a, T> {
    lists: Vec<&'a VecDeque<T>>,
    heap: BinaryHeap<Reverse<(u64, usize, usize)>>,
    last: u64,
}

impl<'a, T: Numbered> Merge<'a, T> {
    fn new(lists: impl Iterator<Item = &'a VecDeque<T>>, after: u64) -> Self {
        let mut merge = Self { lists: Vec::new(), heap: BinaryHeap::new(), last: after };
        for list in lists {
            let at = list.partition_point(|entry| entry.seq() <= after);
            if let Some(entry) = list.get(at) {
                merge.heap.push(Reverse((entry.seq(), merge.lists.len(), at)));
                merge.lists.push(list);
            }
        }
        merge
    }
}

impl<'a, T: Numbered> Iterator for Merge<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            let Reverse((seq, number, at)) = self.heap.pop()?;
            let list = self.lists.get(number)?;
            if let Some(next) = list.get(at + 1) {
                self.heap.push(Reverse((next.seq(), number, at + 1)));
            }
            if seq != self.last {
                self.last = seq;
                return list.get(at);
            }
        }
    }
}

/// The number of the oldest of the newest `count` entries of these lists; `None` if there is none.
fn newest<'a, T: Numbered + 'a>(
    lists: impl Iterator<Item = &'a VecDeque<T>>,
    count: usize,
) -> Option<u64> {
    let lists: Vec<_> = lists.collect();
    let last = |(number, list): (usize, &&VecDeque<T>)| Some((list.back()?.seq(), number, 1));
    let mut heap: BinaryHeap<_> = lists.iter().enumerate().filter_map(last).collect();
    let (mut oldest, mut left) = (None, count);
    while let Some((seq, number, from_end)) = heap.pop() {
        if oldest != Some(seq) {
            if left == 0 {
                break;
            }
            (oldest, left) = (Some(seq), left - 1);
        }
        let list = lists.get(number);
        let before = list.and_then(|list| list.get(list.len().checked_sub(from_end + 1)?));
        heap.extend(before.map(|entry| (entry.seq(), number, from_end + 1)));
    }
    oldest
}
