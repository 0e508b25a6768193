//! Catching up: clients that resume read history in pages, then join their feed at its tail.
//!
//! Invariants:
//! 1. No seam: a page ends at `upto`; the client's next page starts there, and the last one ends
//!    at `routed`, where the client is attached while no event is half routed. One that is ahead of
//!    the worker is attached when routing has reached the event that it has seen last.
//! 2. Clients that resume from about the same place share pages.
//! 3. What left the history before it was read is announced.

use super::client::{Body, Piece, Stage};
use super::fanout::{Announce, Fanout, Gap};
use super::page::Page;
use crate::base::sync::Arc;
use crate::log::{self, Channel, Event, Subscription};
use std::rc::Rc;

/// Pages start at multiples of this, so that clients a few events apart share one.
const ALIGN: u64 = 64;
/// Set in the key of pages that hold only the newest event of each topic; no handle has this bit.
const NEWEST: u64 = 1 << 63;
/// Empty stretches of history that one client may pass at once.
const STRETCHES: usize = 8;

impl Fanout {
    /// Gives waiting clients their next page or attaches them, up to `budget` clients. Call it
    /// when no event is half routed; otherwise it does nothing.
    pub fn catch_up(&mut self, channel: &Channel, mut budget: usize, announce: &dyn Announce) {
        if self.routing.is_some() {
            return;
        }
        for _ in 0..self.waiting.len() {
            if budget == 0 || self.pages_are_over() {
                return;
            }
            let Some(id) = self.waiting.pop_front() else { return };
            let waits = self.clients.find(id).is_some_and(|c| c.stage == Stage::Waiting);
            if !waits {
                continue;
            }
            budget -= 1;
            if let Some(client) = self.clients.at_mut(id.index()) {
                client.stage = Stage::Catching;
            }
            for _ in 0..STRETCHES {
                if self.step(id.index(), channel, announce) {
                    break;
                }
            }
            // Into the ready queue, the idle list, or the end of this queue.
            self.list(id.index());
        }
    }

    /// Nobody has caught up for a while: the pages kept for others are dropped.
    pub fn forget_pages(&mut self) {
        self.pages.clear();
    }

    /// One step toward the tail; true when there is something to send, or nothing to do now.
    fn step(&mut self, index: u32, channel: &Channel, announce: &dyn Announce) -> bool {
        let Some((_, client)) = self.clients.at(index) else { return true };
        let Some(extra) = &client.extra else { return true };
        let (after, newest, feed) = (extra.after, extra.newest, client.feed);
        if after > self.routed {
            return true; // It has seen what this worker has not yet read: wait for it.
        }
        if after == self.routed {
            self.attach(index);
            return true;
        }
        let everything = after == 0 && !newest;
        let Some((page, after)) = self.page(index, feed, after, newest, channel) else {
            return true;
        };
        self.tell_missed(index, &page, after, everything, announce);
        let start = page.offset(after);
        let empty = start == page.bytes().len();
        let Some(client) = self.clients.at_mut(index) else { return true };
        let extra = client.extra.get_or_insert_default();
        extra.after = page.upto;
        let last = page.upto == self.routed;
        if !empty {
            extra.pieces.push_back(Piece { at: 0, sent: start, body: Body::Page(page) });
        }
        if last {
            self.attach(index);
        }
        last || !empty
    }

    /// The page that follows `after`, shared where that is possible, and the place in the log that
    /// `after` stands for: a shared page may begin earlier.
    fn page(
        &mut self,
        index: u32,
        feed: u32,
        after: u64,
        newest: bool,
        channel: &Channel,
    ) -> Option<(Rc<Page>, u64)> {
        let (handle, found) = self.directory.feeds.at(feed)?;
        let own = self.wishes.get(&index).cloned();
        let wish = own.clone().unwrap_or_else(|| Arc::clone(&found.key));
        if newest {
            let key = handle.pack() | NEWEST;
            if own.is_none()
                && let Some(page) = self.pages.find_exact(key, after, self.routed)
            {
                return Some((page, after));
            }
            let run = newest_of_each(channel, &wish, after, self.routed);
            let page = self.make(&run);
            if own.is_none() && !run.missed {
                self.pages.keep(key, &page);
            }
            return Some((page, after));
        }
        // Everything kept begins where the history does: from there on it is a place like others.
        let after = if after == 0 { channel.head() - 1 } else { after };
        if own.is_none()
            && let Some(page) = self.pages.find(handle.pack(), after)
        {
            return Some((page, after));
        }
        // For others' sake a page starts a little before, unless the client has grants of its own.
        let from = if own.is_some() { after } else { after - after % ALIGN };
        let bytes = self.limits.page_bytes;
        let mut run = channel.page(&wish, from, self.routed, bytes);
        if from < after && (run.after > after || run.upto <= after) {
            // The aligned start is gone, or the page ended before it began: start at the client.
            run = channel.page(&wish, after, self.routed, bytes);
        }
        let page = self.make(&run);
        if own.is_none() {
            self.pages.keep(handle.pack(), &page);
        }
        Some((page, after))
    }

    fn make(&mut self, run: &log::Page) -> Rc<Page> {
        let page = Rc::new(Page::new(run, self.pages.meter()));
        self.tally.pages += 1;
        self.tally.page_bytes += page.bytes().len() as u64;
        page
    }

    /// Announces that events after `after` had left the history, unless the client knows it or
    /// asked for what is kept, whatever that is. A page that starts earlier, for others' sake, may
    /// have missed some that this client has.
    fn tell_missed(
        &mut self,
        index: u32,
        page: &Page,
        after: u64,
        everything: bool,
        announce: &dyn Announce,
    ) {
        let Some(client) = self.clients.at_mut(index) else { return };
        let extra = client.extra.get_or_insert_default();
        if page.lost <= after.max(extra.told) {
            return;
        }
        extra.told = page.lost;
        if everything {
            return;
        }
        self.tally.expired += 1;
        let notice: Box<[u8]> = announce.gap(Gap::Expired, after.max(page.after)).into();
        self.own_bytes += notice.len();
        extra.pieces.push_back(Piece { at: 0, sent: 0, body: Body::Bytes(notice) });
    }
}

/// The newest event of each canonical topic after `after`, in order. Costs what was skipped.
fn newest_of_each(channel: &Channel, wish: &Subscription, after: u64, upto: u64) -> log::Page {
    let mut newest = channel.hasher().map();
    let mut run = log::Page { after, upto: after, ..log::Page::default() };
    let mut from = after;
    while run.upto < upto {
        let part = channel.page(wish, from, upto, usize::MAX);
        if part.missed {
            (run.missed, run.after, run.lost) = (true, part.after, part.lost);
        }
        for event in &part.events {
            if let Some(topic) = event.topics.first() {
                newest.insert(topic.clone(), Arc::clone(event));
            }
        }
        if part.upto <= from {
            break; // The log ends before `upto`, which `routed` never does: stop all the same.
        }
        (run.upto, from) = (part.upto, part.upto);
    }
    run.upto = upto;
    run.events = newest.into_values().collect::<Vec<Arc<Event>>>();
    run.events.sort_unstable_by_key(|event| event.seq);
    run
}
