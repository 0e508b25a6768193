//! An event as the log keeps it: position, topics, and the bytes that go to every client.
//!
//! Invariants: immutable once appended; `wire` is one whole event in event-stream form, ending
//! with its blank line, and holds no other blank line.

use crate::base::map::Hasher;
use crate::base::sync::Arc;
use std::fmt;
use std::hash::Hash;

/// A topic's name with its hash, so that it is hashed once per publish or subscription.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    hash: u64,
    name: Arc<str>,
}

impl Topic {
    /// A topic, hashed with the process's hasher.
    #[must_use]
    pub fn new(name: &str, hasher: &Hasher) -> Self {
        Self { hash: hasher.hash(name), name: Arc::from(name) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Hash for Topic {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.name, f)
    }
}

/// The identity that a client resumes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventId {
    /// Given by the publisher; kept byte for byte.
    Given(Box<str>),
    /// Made by the log: the position, written as text on the wire.
    Made,
}

/// What a publisher hands in; the wire form is made by `Channel::append`'s caller.
#[derive(Clone, Debug)]
pub struct Draft {
    /// One or more topics; the first is the canonical one.
    pub topics: Box<[Topic]>,
    /// Only for subscribers whose grants cover one of the topics.
    pub private: bool,
    /// The publisher's id, if it gave one.
    pub id: Option<Box<str>>,
}

/// One event of the log.
#[derive(Debug)]
pub struct Event {
    /// Its number: one more than the event before it; the first is 1.
    pub seq: u64,
    /// When it was appended, in milliseconds since the Unix epoch.
    pub unix_millis: u64,
    /// Only for subscribers whose grants cover one of the topics.
    pub private: bool,
    /// One or more topics; the first is the canonical one.
    pub topics: Box<[Topic]>,
    /// What a client resumes from.
    pub id: EventId,
    /// The event-stream bytes.
    pub wire: Box<[u8]>,
    /// Bytes appended to the log up to and including this event.
    pub(super) total: u64,
}

impl Event {
    /// What it costs to keep, in bytes: wire form, id, topics, and their bookkeeping.
    #[must_use]
    pub fn cost(&self) -> usize {
        const EVENT: usize = size_of::<Event>() + 64; // counts, allocator, history slot
        const TOPIC: usize = size_of::<Topic>() + 16 + 72; // name's counts, index entry
        let id = if let EventId::Given(id) = &self.id { id.len() + 72 } else { 0 };
        let topics: usize = self.topics.iter().map(|t| TOPIC + t.name().len()).sum();
        EVENT + self.wire.len() + id + topics
    }
}
