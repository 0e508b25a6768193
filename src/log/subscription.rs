//! What a client asked for and may read: topic selectors, and grants for private events.
//!
//! Invariants:
//! 1. Equal wishes give equal subscriptions: selectors are sorted, without twins, and `*` stands
//!    alone.
//! 2. Grants are split: `grants` decide for the subscription's own selectors and belong to the
//!    feed's key; `foreign` ones matter only for a private event that reaches the client by one
//!    topic and is granted by another. So users with different tokens on one public topic share
//!    a feed.
//! 3. A hold is kept as long as somebody reads with its subscription, and is no part of what is
//!    read: subscriptions that differ in it alone are equal.

use super::event::{Event, Topic};
use crate::base::sync::Arc;
use std::fmt::Debug;
use std::hash::Hash;

/// Selects events by topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Every topic (`*`).
    Any,
    /// This topic, byte for byte.
    Exact(Topic),
}

/// Which private events may be read: those with one of these topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grants {
    /// All of them (`*`).
    pub any: bool,
    /// Those with one of these topics; empty when `any`.
    pub topics: Box<[Topic]>,
}

impl Grants {
    /// Grants from selectors.
    #[must_use]
    pub fn new(selectors: Vec<Selector>) -> Self {
        let mut topics = Vec::with_capacity(selectors.len());
        for selector in selectors {
            match selector {
                Selector::Any => return Self { any: true, topics: Box::default() },
                Selector::Exact(topic) => topics.push(topic),
            }
        }
        topics.sort_unstable();
        topics.dedup();
        Self { any: false, topics: topics.into() }
    }

    /// Whether one of the event's topics is granted.
    #[must_use]
    pub fn cover(&self, event: &Event) -> bool {
        self.any || event.topics.iter().any(|t| self.topics.binary_search(t).is_ok())
    }
}

/// Something that is kept while somebody reads: its drop says that they have stopped. It happens
/// on a worker's thread, amid a turn: it must be quick and must not wait.
pub trait Hold: Debug + Send + Sync {
    /// One more client reads.
    fn join(&self) {}

    /// One of them has gone.
    fn leave(&self) {}
}

/// What one client reads. Equality and hash ignore the foreign grants and the hold: they are the
/// feed's key.
#[derive(Clone, Debug)]
pub struct Subscription {
    selectors: Box<[Selector]>,
    grants: Grants,
    foreign: Box<[Topic]>,
    hold: Option<Arc<dyn Hold>>,
}

impl Subscription {
    /// A subscription from what the client asked for and what its token grants.
    #[must_use]
    pub fn new(mut selectors: Vec<Selector>, grants: Grants) -> Self {
        if selectors.contains(&Selector::Any) {
            let (selectors, foreign) = ([Selector::Any].into(), Box::default());
            return Self { selectors, grants, foreign, hold: None };
        }
        selectors.sort_unstable();
        selectors.dedup();
        let own = |t: &Topic| selectors.binary_search(&Selector::Exact(t.clone())).is_ok();
        let (topics, foreign): (Vec<_>, Vec<_>) = grants.topics.into_iter().partition(own);
        Self {
            selectors: selectors.into(),
            grants: Grants { any: grants.any, topics: topics.into() },
            foreign: foreign.into(),
            hold: None,
        }
    }

    /// The same, which keeps this as long as it, or the feed that was made from it, lives.
    ///
    /// A feed keeps the hold of the first subscription that it was opened for. One that joins it
    /// later may drop its own: what it would hold is held for as long as its feed is there.
    #[must_use]
    pub fn holding(self, hold: Arc<dyn Hold>) -> Self {
        Self { hold: Some(hold), ..self }
    }

    /// One more client reads with it.
    pub fn join(&self) {
        if let Some(hold) = &self.hold {
            hold.join();
        }
    }

    /// One of those has gone.
    pub fn leave(&self) {
        if let Some(hold) = &self.hold {
            hold.leave();
        }
    }

    /// The selectors, sorted.
    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The topics that it names exactly, sorted.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.selectors.iter().filter_map(|selector| match selector {
            Selector::Any => None,
            Selector::Exact(topic) => Some(topic),
        })
    }

    /// Grants outside the selectors, sorted.
    #[must_use]
    pub fn foreign(&self) -> &[Topic] {
        &self.foreign
    }

    /// The same, its hold included, without the foreign grants: what a feed serves.
    #[must_use]
    pub fn shared(&self) -> Self {
        Self { foreign: Box::default(), ..self.clone() }
    }

    /// Whether a selector matches one of the event's topics.
    #[must_use]
    pub fn selects(&self, event: &Event) -> bool {
        self.selectors.first() == Some(&Selector::Any) || event.topics.iter().any(|t| self.has(t))
    }

    /// Whether the event may be read: it is public, or a grant covers one of its topics.
    #[must_use]
    pub fn permits(&self, event: &Event) -> bool {
        !event.private
            || self.grants.cover(event)
            || event.topics.iter().any(|t| self.foreign.binary_search(t).is_ok())
    }

    /// Whether it names this topic exactly.
    fn has(&self, topic: &Topic) -> bool {
        self.selectors
            .binary_search_by(|s| match s {
                Selector::Any => std::cmp::Ordering::Less,
                Selector::Exact(own) => own.cmp(topic),
            })
            .is_ok()
    }
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        self.selectors == other.selectors && self.grants == other.grants
    }
}

impl Eq for Subscription {}

impl Hash for Subscription {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.selectors.hash(state);
        self.grants.hash(state);
    }
}
