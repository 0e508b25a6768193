//! The directory of a worker's feeds: by subscription, and by what an event's topics select.
//!
//! Invariants:
//! 1. Equal subscriptions have one feed.
//! 2. A feed is in the list of each of its selectors, and knows its place there, so that it
//!    leaves in O(1) however many share the topic.
//! 3. Lists do not shrink while an event is half routed: feeds that lost their last client then
//!    are removed afterwards (`Fanout::bury`).

use super::bytes::Bytes;
use super::list::List;
use crate::base::map::{Hasher, Map};
use crate::base::slots::{Handle, Slots};
use crate::base::sync::Arc;
use crate::log::{Selector, Subscription, Topic};
use smallvec::SmallVec;

/// The bytes and the clients of one subscription.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) key: Arc<Subscription>,
    pub(super) bytes: Bytes,
    /// Live clients at the tail with nothing to send.
    pub(super) idle: List,
    /// Clients whose socket is full.
    pub(super) blocked: List,
    /// Clients in all.
    pub(super) clients: u32,
    /// The newest event that was considered for it.
    pub(super) last_seq: u64,
    /// The tail at which the slowest blocked client may reach its lag limit.
    pub(super) lag_check: u64,
    /// For each selector, its place in that selector's list.
    places: Box<[u32]>,
}

impl Feed {
    /// One more client.
    pub(super) fn join(&mut self) {
        self.clients += 1;
        self.key.join();
    }

    /// One fewer: whether nobody is left.
    pub(super) fn leave(&mut self) -> bool {
        self.clients -= 1;
        self.key.leave();
        self.clients == 0
    }
}

/// Feeds that a selector leads to: the feed, and which of its selectors it is.
type Routes = SmallVec<[(u32, u32); 2]>;

/// All feeds of a worker.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) feeds: Slots<Feed>,
    by_key: Map<Arc<Subscription>, u32>,
    any: Routes,
    exact: Map<Topic, Routes>,
}

impl Directory {
    pub(super) fn new(hasher: &Hasher) -> Self {
        let feeds = Slots::with_generation_bits(30);
        Self { feeds, by_key: hasher.map(), any: Routes::new(), exact: hasher.map() }
    }

    /// Exact topics that some feed follows.
    pub(super) fn topics(&self) -> usize {
        self.exact.len()
    }

    /// The feed of a subscription, made if there is none.
    pub(super) fn open(&mut self, wish: &Subscription, routed: u64) -> u32 {
        if let Some(feed) = self.by_key.get(wish) {
            return *feed;
        }
        let key = Arc::new(wish.shared());
        let feed = Feed {
            key: Arc::clone(&key),
            bytes: Bytes::default(),
            idle: List::new(),
            blocked: List::new(),
            clients: 0,
            last_seq: routed,
            lag_check: u64::MAX,
            places: Box::default(),
        };
        let index = self.feeds.insert(feed).index();
        let mut places = Vec::with_capacity(key.selectors().len());
        for (selector, n) in key.selectors().iter().zip(0..) {
            let routes = match selector {
                Selector::Any => &mut self.any,
                Selector::Exact(topic) => self.exact.entry(topic.clone()).or_default(),
            };
            places.push(u32::try_from(routes.len()).unwrap_or(u32::MAX));
            routes.push((index, n));
        }
        if let Some(feed) = self.feeds.at_mut(index) {
            feed.places = places.into();
        }
        self.by_key.insert(key, index);
        index
    }

    /// Removes a feed without clients.
    pub(super) fn close(&mut self, index: u32) {
        let Some((handle, feed)) = self.feeds.at(index) else { return };
        let key = Arc::clone(&feed.key);
        debug_assert!(feed.clients == 0, "only a feed without clients is removed");
        self.by_key.remove(&key);
        for (n, selector) in key.selectors().iter().enumerate() {
            self.unroute(handle, n, selector);
        }
        self.feeds.remove(handle);
    }

    fn unroute(&mut self, feed: Handle, n: usize, selector: &Selector) {
        let routes = match selector {
            Selector::Any => &mut self.any,
            Selector::Exact(topic) => match self.exact.get_mut(topic) {
                Some(routes) => routes,
                None => return,
            },
        };
        let place = self.feeds.find(feed).and_then(|f| f.places.get(n).copied()).unwrap_or(0);
        if (place as usize) < routes.len() {
            routes.swap_remove(place as usize);
        }
        // The one that was last now stands here.
        if let Some((moved, its)) = routes.get(place as usize).copied()
            && let Some(slot) =
                self.feeds.at_mut(moved).and_then(|f| f.places.get_mut(its as usize))
        {
            *slot = place;
        }
        if routes.is_empty()
            && let Selector::Exact(topic) = selector
        {
            self.exact.remove(topic);
        }
    }

    /// The feed at place `at` of the list of topic `topic`, or of `*` with `None`.
    pub(super) fn route(&self, topic: Option<&Topic>, at: usize) -> Option<u32> {
        let routes = match topic {
            None => &self.any,
            Some(topic) => self.exact.get(topic)?,
        };
        routes.get(at).map(|(feed, _)| *feed)
    }
}

#[cfg(test)]
impl Directory {
    /// Panics if feeds and lists disagree about who is where.
    pub(super) fn check(&self) {
        let mut places = 0;
        for (handle, feed) in self.feeds.iter() {
            assert_eq!(self.by_key.get(&feed.key), Some(&handle.index()));
            assert_eq!(feed.places.len(), feed.key.selectors().len());
            for (n, selector) in feed.key.selectors().iter().enumerate() {
                let routes = match selector {
                    Selector::Any => &self.any,
                    Selector::Exact(topic) => &self.exact[topic],
                };
                let place = feed.places[n] as usize;
                assert_eq!(routes[place], (handle.index(), u32::try_from(n).unwrap()));
                places += 1;
            }
        }
        assert_eq!(self.by_key.len(), self.feeds.len());
        let listed: usize = self.exact.values().map(|routes| routes.len()).sum();
        assert_eq!(listed + self.any.len(), places, "nobody is listed twice or after its end");
        assert!(self.exact.values().all(|routes| !routes.is_empty()));
    }
}
