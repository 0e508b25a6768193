//! Pages: frozen runs of history in wire form, shared by the clients that catch up.
//!
//! Invariants:
//! 1. A page holds all events of its feed's subscription with `after < seq <= upto`, apart from
//!    those up to `lost`, some of which may have left the history.
//! 2. The cache holds pages up to its limit; a page lives on while a client reads it.
//! 3. `meter` is the sum of the bytes of all pages that live.

use crate::log;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Pages in the cache at most, so that a look-up is short.
const PAGES: usize = 128;

/// A frozen run of history.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) after: u64,
    pub(super) upto: u64,
    pub(super) lost: u64,
    bytes: Box<[u8]>,
    /// Where each event starts, and its number.
    marks: Box<[(u32, u64)]>,
    meter: Rc<Cell<usize>>,
}

impl Page {
    /// A page from what the log returned.
    pub(super) fn new(run: &log::Page, meter: &Rc<Cell<usize>>) -> Self {
        let len = run.events.iter().map(|e| e.wire.len()).sum();
        let mut bytes = Vec::with_capacity(len);
        let mut marks = Vec::with_capacity(run.events.len());
        for event in &run.events {
            marks.push((u32::try_from(bytes.len()).unwrap_or(u32::MAX), event.seq));
            bytes.extend_from_slice(&event.wire);
        }
        let page = Self {
            after: run.after,
            upto: run.upto,
            lost: run.lost,
            bytes: bytes.into(),
            marks: marks.into(),
            meter: Rc::clone(meter),
        };
        meter.set(meter.get() + page.cost());
        page
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where a client starts that has seen everything up to `seq`.
    pub(super) fn offset(&self, seq: u64) -> usize {
        let at = self.marks.partition_point(|(_, own)| *own <= seq);
        self.marks.get(at).map_or(self.bytes.len(), |(start, _)| *start as usize)
    }

    /// The number of the last event that starts before `offset`; `after` if there is none.
    pub(super) fn last_before(&self, offset: usize) -> u64 {
        let at = self.marks.partition_point(|(start, _)| (*start as usize) < offset);
        at.checked_sub(1).and_then(|i| self.marks.get(i)).map_or(self.after, |(_, seq)| *seq)
    }

    /// What it weighs, bookkeeping included.
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.marks) + size_of::<Self>()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.meter.set(self.meter.get() - self.cost());
    }
}

/// The pages that were made last, by feed.
#[derive(Debug)]
pub(super) struct Pages {
    recent: VecDeque<(u64, Rc<Page>)>,
    bytes: usize,
    bytes_max: usize,
    meter: Rc<Cell<usize>>,
}

impl Pages {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { recent: VecDeque::new(), bytes: 0, bytes_max, meter: Rc::default() }
    }

    /// Bytes of all pages that live, in the cache or not.
    pub(super) fn held(&self) -> usize {
        self.meter.get()
    }

    pub(super) fn meter(&self) -> &Rc<Cell<usize>> {
        &self.meter
    }

    /// A page of this feed that has what follows `after`.
    pub(super) fn find(&self, feed: u64, after: u64) -> Option<Rc<Page>> {
        let fits = |page: &Page| page.after <= after && after < page.upto;
        let found = self.recent.iter().rev().find(|(f, page)| *f == feed && fits(page));
        found.map(|(_, page)| Rc::clone(page))
    }

    /// The page under this key from exactly `after` to exactly `upto`.
    pub(super) fn find_exact(&self, key: u64, after: u64, upto: u64) -> Option<Rc<Page>> {
        let fits = |page: &Page| page.after == after && page.upto == upto;
        let found = self.recent.iter().rev().find(|(k, page)| *k == key && fits(page));
        found.map(|(_, page)| Rc::clone(page))
    }

    /// Keeps a page for others.
    pub(super) fn keep(&mut self, feed: u64, page: &Rc<Page>) {
        self.bytes += page.cost();
        self.recent.push_back((feed, Rc::clone(page)));
        while self.bytes > self.bytes_max || self.recent.len() > PAGES {
            self.drop_oldest();
        }
    }

    /// Drops what nobody reads: called when nobody has caught up for a while.
    pub(super) fn clear(&mut self) {
        while !self.recent.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, page)) = self.recent.pop_front() {
            self.bytes -= page.cost();
        }
    }
}

#[cfg(test)]
impl Pages {
    /// The pages in the cache; panics if their count of bytes is wrong.
    pub(super) fn cached(&self) -> impl Iterator<Item = &Rc<Page>> {
        assert_eq!(self.bytes, self.recent.iter().map(|(_, page)| page.cost()).sum::<usize>());
        assert!(self.bytes <= self.bytes_max && self.recent.len() <= PAGES);
        self.recent.iter().map(|(_, page)| page)
    }
}
