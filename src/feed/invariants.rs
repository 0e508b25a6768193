//! The fan-out's books, recounted: tests call it after every operation.
//!
//! Invariants: it only reads. What it finds wrong is a defect of the fan-out, never of a peer.

use super::client::{Body, Client, Place, Stage};
use super::fanout::Fanout;
use super::page::Page;
use super::shared::Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

impl Fanout {
    /// Panics if a count or a list disagrees with what the clients and feeds say.
    pub(super) fn check_invariants(&self) {
        self.check_lists();
        self.check_feeds();
        self.check_bytes();
        self.check_foreign();
    }

    /// Every client is in exactly the list that its state names.
    fn check_lists(&self) {
        let mut listed: BTreeMap<u32, Place> = BTreeMap::new();
        let mut note = |index: u32, place: Place| {
            assert!(listed.insert(index, place).is_none(), "client {index} is in two lists");
        };
        for index in self.ready.walk(&self.clients) {
            note(index, Place::Ready);
        }
        let mut blocked = 0;
        for (handle, feed) in self.directory.feeds.iter() {
            blocked += feed.blocked.len();
            for index in feed.idle.walk(&self.clients) {
                assert_eq!(self.feed_of(index), handle.index(), "idle in the list of its feed");
                note(index, Place::Idle);
            }
            for index in feed.blocked.walk(&self.clients) {
                assert_eq!(self.feed_of(index), handle.index(), "blocked in that of its feed");
                note(index, Place::Blocked);
            }
        }
        assert_eq!(self.blocked, blocked);
        let queued: BTreeSet<u64> = self.queued().map(|id| id.pack()).collect();
        for (id, client) in self.clients.iter() {
            let place = client.place(self.tail_of(id.index()));
            let listed = listed.get(&id.index()).copied().unwrap_or(Place::Nowhere);
            assert_eq!(listed, place, "{client:?}");
            if place == Place::Nowhere {
                assert_eq!(client.stage, Stage::Waiting, "{client:?}");
                assert!(queued.contains(&id.pack()), "a waiting client is in the queue");
            } else {
                assert_ne!(client.stage, Stage::Waiting, "{client:?}");
            }
        }
    }

    /// Feeds, their cursors and their places in the directory.
    fn check_feeds(&self) {
        self.directory.check();
        let mut held = 0;
        let mut shared: BTreeMap<*const Shared, usize> = BTreeMap::new();
        let mut crowds: BTreeMap<u32, Vec<&Client>> = BTreeMap::new();
        for (_, client) in self.clients.iter() {
            crowds.entry(client.feed).or_default().push(client);
            for piece in client.extra.iter().flat_map(|extra| &extra.pieces) {
                if let Body::Event(event) = &piece.body {
                    shared.insert(Rc::as_ptr(event), event.event.wire.len());
                }
            }
        }
        for (handle, feed) in self.directory.feeds.iter() {
            let index = handle.index();
            let crowd = crowds.remove(&index).unwrap_or_default();
            assert_eq!(feed.clients as usize, crowd.len(), "clients of feed {index}");
            if feed.clients == 0 {
                assert!(self.bury.contains(&index), "a feed without clients is to be removed");
            }
            let live: Vec<&Client> =
                crowd.into_iter().filter(|client| client.stage == Stage::Live).collect();
            let cursors: Vec<u64> = live.iter().map(|c| c.cursor).collect();
            held += feed.bytes.check(&cursors);
            shared.extend(feed.bytes.shared().map(|s| (Rc::as_ptr(s), s.event.wire.len())));
            let limit = self.limits.lag_bytes_max;
            for client in live.iter().filter(|c| c.blocked) {
                let check = client.lag_check(limit);
                assert!(feed.lag_check <= check, "a blocked client's lag is watched: {client:?}");
            }
        }
        assert!(crowds.is_empty(), "every client has a feed");
        held += shared.values().sum::<usize>();
        assert_eq!(self.pool.held(), held, "the pool's count of what is out");
        assert!(self.routing.is_some() || self.bury.is_empty(), "the dead are buried at once");
    }

    /// Pieces, pages, and what they weigh.
    fn check_bytes(&self) {
        let mut own = 0;
        let mut pages: BTreeMap<*const Page, usize> = BTreeMap::new();
        for page in self.pages.cached() {
            pages.insert(Rc::as_ptr(page), page.cost());
        }
        for (_, client) in self.clients.iter() {
            let mut at = 0;
            for piece in client.extra.iter().flat_map(|extra| &extra.pieces) {
                assert!(piece.at >= at, "pieces are ordered by offset: {client:?}");
                assert!(piece.sent < piece.all().len(), "a piece that was sent is gone");
                at = piece.at;
                own += piece.own_bytes();
                if let Body::Page(page) | Body::Rest(page, _) = &piece.body {
                    pages.insert(Rc::as_ptr(page), page.cost());
                }
            }
            if client.stage == Stage::Live {
                assert!(at <= self.directory.feeds.at(client.feed).unwrap().1.bytes.tail());
            } else {
                assert!(client.extra.is_some(), "who catches up knows how far it is");
            }
        }
        assert_eq!(self.own_bytes, own, "bytes of pieces that belong to one client");
        assert_eq!(self.pages.held(), pages.values().sum::<usize>(), "bytes of live pages");
    }

    /// The index of grants outside the selectors.
    fn check_foreign(&self) {
        let mut pairs = 0;
        for (index, wish) in &self.wishes {
            assert!(self.clients.at(*index).is_some(), "a wish belongs to a client");
            assert!(!wish.foreign().is_empty());
            for topic in wish.foreign() {
                assert!(self.foreign.get(topic).is_some_and(|clients| clients.contains(index)));
                pairs += 1;
            }
        }
        let indexed: usize = self.foreign.values().map(|clients| clients.len()).sum();
        assert_eq!(indexed, pairs, "nobody is indexed for a grant that is gone");
        assert!(self.foreign.values().all(|clients| !clients.is_empty()));
    }

    fn feed_of(&self, index: u32) -> u32 {
        self.clients.at(index).unwrap().1.feed
    }
}
