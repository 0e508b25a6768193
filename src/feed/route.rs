//! Routing: each event of the log goes to the feeds that select it and may read it.
//!
//! Invariants:
//! 1. An event is in all its feeds before the next one is begun; in between, routing may stop at
//!    its budget and go on later, and no client is attached meanwhile. Where somebody waits to be,
//!    an event that took several calls is the last one of its call.
//! 2. A feed gets an event once, however many of its selectors match (`last_seq`).

use super::client::{Body, Extra, Piece, Place, Stage};
use super::fanout::{Announce, ClientId, Fanout};
use crate::base::sync::Arc;
use crate::log::{Event, Reader};
use std::cmp::Reverse;

/// An event that is half routed.
#[derive(Debug)]
pub(super) struct Routing {
    event: Arc<Event>,
    /// Which list is being walked: 0 is that of `*`, then one for each topic.
    list: usize,
    /// The place in it.
    at: usize,
}

/// What a client and its bookkeeping cost against the budget when it is reached one by one.
const STRANGER: usize = 4;

impl Fanout {
    /// Takes events from the reader to the feeds, until about `budget` feeds were looked at or
    /// the budget of unsent bytes is spent. Returns the newest event that is routed whole.
    pub fn route(
        &mut self,
        reader: &mut Reader,
        mut budget: usize,
        announce: &dyn Announce,
    ) -> Option<Arc<Event>> {
        let mut newest = None;
        let carried = self.routing.is_some();
        while budget > 0 {
            if self.routing.is_none() {
                if self.is_over_budget() {
                    // Where others hold bytes too, it is not for this one to say who gives up.
                    if self.elsewhere == 0 {
                        self.shed(announce);
                    }
                    if self.is_over_budget() {
                        break;
                    }
                }
                let Some(event) = reader.take() else { break };
                self.routing = Some(Routing { event, list: 0, at: 0 });
                budget -= 1;
            }
            if self.spread(&mut budget)
                && let Some(done) = self.routing.take()
            {
                self.reach_strangers(&done.event, &mut budget);
                self.routed = done.event.seq;
                let first = newest.replace(done.event).is_none();
                self.meet_ahead();
                self.bury();
                // The next event may be cut off by the budget as well: without this stop a worker
                // that is behind would never be between two events when it lets clients in.
                if carried && first && self.can_catch_up() {
                    break;
                }
            }
        }
        self.police(announce);
        newest
    }

    /// Clients that were ahead of this worker and have been caught up with are attached, each at
    /// the very event that it has seen last: its stream goes on here, whatever the history keeps.
    fn meet_ahead(&mut self) {
        while let Some(Reverse((after, id))) = self.ahead.peek().copied()
            && after <= self.routed
        {
            self.ahead.pop();
            let id = ClientId::unpack(id);
            let Some(client) = self.clients.find_mut(id) else { continue };
            let (stage, blocked, index) = (client.stage, client.blocked, id.index());
            let meets = client.extra.as_ref().is_some_and(|extra| extra.after == self.routed);
            if stage == Stage::Waiting {
                client.stage = Stage::Catching;
            }
            if meets && stage != Stage::Live && !client.is_ending() {
                // Its head, if that is still to be sent, keeps its place in the lists.
                self.attach(index);
                if blocked {
                    self.watch_lag(index);
                }
            }
            if stage == Stage::Waiting {
                self.list(index);
            }
        }
    }

    /// Whether an event is half routed.
    #[must_use]
    pub fn is_routing(&self) -> bool {
        self.routing.is_some()
    }

    /// The newest sequence number that is in the feeds.
    #[must_use]
    pub fn routed(&self) -> u64 {
        self.routed
    }

    /// Goes on with the event in hand; true when it is in all its feeds.
    fn spread(&mut self, budget: &mut usize) -> bool {
        let Some(mut routing) = self.routing.take() else { return true };
        let mut done = false;
        while !done && *budget > 0 {
            let topic = routing.list.checked_sub(1).map(|n| routing.event.topics.get(n));
            let next = match topic {
                Some(None) => {
                    done = true;
                    None
                }
                Some(topic @ Some(_)) => self.directory.route(topic, routing.at),
                None => self.directory.route(None, routing.at),
            };
            if let Some(feed) = next {
                self.append(feed, &routing.event);
                routing.at += 1;
                *budget -= 1;
            } else {
                (routing.list, routing.at) = (routing.list + 1, 0);
            }
        }
        self.routing = Some(routing);
        done
    }

    fn append(&mut self, index: u32, event: &Arc<Event>) {
        let Some(feed) = self.directory.feeds.at_mut(index) else { return };
        if feed.last_seq >= event.seq || (event.private && !feed.key.permits(event)) {
            return;
        }
        feed.last_seq = event.seq;
        let mark = self.limits.lag_policy == crate::config::LagPolicy::Latest;
        if !feed.bytes.append(event, &mut self.pool, mark) {
            return;
        }
        self.tally.appends += 1;
        self.ready.take_all(&mut feed.idle, &mut self.clients);
        if feed.bytes.tail() > feed.lag_check && self.lagging.last() != Some(&index) {
            self.lagging.push(index);
        }
    }

    /// A private event may reach a client by one topic and be granted by another that is not
    /// among its selectors: such clients get it as a piece of their own.
    fn reach_strangers(&mut self, event: &Arc<Event>, budget: &mut usize) {
        if !event.private || event.topics.len() < 2 || self.foreign.is_empty() {
            return;
        }
        let mut found: Vec<u32> = Vec::new();
        for topic in &event.topics {
            found.extend(self.foreign.get(topic).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
        for index in found {
            *budget = budget.saturating_sub(STRANGER);
            self.reach(index, event);
        }
    }

    fn reach(&mut self, index: u32, event: &Arc<Event>) {
        let Some((_, client)) = self.clients.at(index) else { return };
        let Some((_, feed)) = self.directory.feeds.at(client.feed) else { return };
        let theirs = feed.key.selects(event) && !feed.key.permits(event);
        if !theirs || client.stage != Stage::Live || client.is_ending() {
            return;
        }
        let tail = feed.bytes.tail();
        // Who has something to send already keeps its turn.
        let idle = client.place(tail) == Place::Idle;
        if idle {
            self.unlist(index);
        }
        if let Some(client) = self.clients.at_mut(index) {
            let extra: &mut Extra = client.extra.get_or_insert_default();
            let body = Body::Event(self.pool.share(event));
            extra.pieces.push_back(Piece { at: tail, sent: 0, body });
            if client.blocked {
                if client.lag(tail) > self.limits.lag_bytes_max {
                    self.lagging.push(client.feed);
                }
                self.watch_lag(index);
            }
        }
        if idle {
            self.list(index);
        }
    }
}
