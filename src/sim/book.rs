//! The truth that clients are judged by: what the hub's channel holds, read by a reader of its own;
//! what upstreams have; what backends have answered.
//!
//! Invariants:
//! 1. `events[i]` has the sequence number i + 1.
//! 2. Every event was posted by a publisher of this world, with the same content, and at most once.

use super::exchanges::Exchanges;
use super::streams::Streams;
use super::verdict::Law;
use super::verdict::Verdict;
use crate::base::sync::Arc;
use crate::log::Bell;
use crate::log::Channel;
use crate::log::Event;
use crate::log::Reader;
use crate::sse;
use std::collections::BTreeMap;

/// What a publisher sent. Its data starts with a mark that no other post has, and a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The topics.
    pub topics: Vec<String>,
    /// Whether it was private.
    pub private: bool,
    /// The id, if one was given.
    pub id: Option<String>,
    /// The payload.
    pub data: String,
}

/// An event of the log.
#[derive(Clone, Debug)]
pub struct Known {
    /// What was posted.
    pub post: Post,
    /// The id that clients see.
    pub id: String,
}

/// The record of what was posted and what the channel made of it.
#[derive(Debug)]
pub struct Book {
    channel: Arc<Channel>,
    reader: Reader,
    events: Vec<Known>,
    by_id: BTreeMap<String, u64>,
    posts: BTreeMap<String, (Post, Option<u64>)>,
    /// What upstreams have.
    pub streams: Streams,
    /// What callers asked and backends answered.
    pub exchanges: Exchanges,
}

impl Book {
    /// A book about a channel that is still empty.
    #[must_use]
    pub fn new(channel: Arc<Channel>) -> Self {
        let (reader, _) = channel.reader(&Arc::new(Bell::new(Box::new(|| {}))));
        let (events, by_id, posts) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (streams, exchanges) = (Streams::default(), Exchanges::default());
        Self { channel, reader, events, by_id, posts, streams, exchanges }
    }

    /// The newest sequence number.
    #[must_use]
    pub fn tail(&self) -> u64 {
        u64::try_from(self.events.len()).unwrap_or(u64::MAX)
    }

    /// The sequence number before the oldest event that the channel keeps.
    #[must_use]
    pub fn before_head(&self) -> u64 {
        let kept = u64::try_from(self.channel.kept().0).unwrap_or(u64::MAX);
        self.channel.tail().saturating_sub(kept)
    }

    /// The event of a sequence number.
    #[must_use]
    pub fn event(&self, seq: u64) -> Option<&Known> {
        self.events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// The sequence number that an id stands for: an event's, or a position's.
    #[must_use]
    pub fn seq(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied().or_else(|| self.position(id))
    }

    /// The sequence number of an id that the log makes.
    #[must_use]
    pub fn position(&self, id: &str) -> Option<u64> {
        let seq = id.rsplit(':').next()?.parse().ok()?;
        (self.channel.id(seq) == id).then_some(seq)
    }

    /// The id that the log makes for a position.
    #[must_use]
    pub fn made_id(&self, seq: u64) -> Option<String> {
        (seq <= self.tail()).then(|| self.channel.id(seq))
    }

    /// The first event after `after` that `wanted` accepts.
    pub fn next(&self, after: u64, wanted: impl Fn(&Post) -> bool) -> Option<u64> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        let tail = self.events.get(from..)?;
        let found = tail.iter().position(|known| wanted(&known.post))?;
        u64::try_from(from + found + 1).ok()
    }

    /// A publisher is about to send this.
    pub fn posted(&mut self, post: Post) {
        self.posts.insert(mark(&post.data).to_owned(), (post, None));
    }

    /// A publisher was told that its post with this data has this id.
    pub fn answered(&mut self, data: &str, id: &str, verdict: &mut Verdict) {
        self.sync(verdict);
        let Some((_, Some(seq))) = self.posts.get(mark(data)) else {
            verdict.fail(Law::Publish, format!("{} was answered and is not there", mark(data)));
            return;
        };
        if self.event(*seq).is_none_or(|known| known.id != id) {
            verdict.fail(Law::Publish, format!("{} was answered with {id:?}", mark(data)));
        }
    }

    /// Reads what was appended since.
    pub fn sync(&mut self, verdict: &mut Verdict) {
        while let Some(event) = self.reader.take() {
            if let Err(what) = self.enter(&event) {
                verdict.fail(Law::Publish, what);
            }
        }
    }

    fn enter(&mut self, event: &Event) -> Result<(), String> {
        let seq = self.tail() + 1;
        if event.seq != seq {
            return Err(format!("event {} follows event {}", event.seq, self.tail()));
        }
        let (id, data) = decoded(&event.wire).ok_or(format!("event {seq} is not one event"))?;
        let Some((post, entered)) = self.posts.get_mut(mark(&data)) else {
            return Err(format!("event {seq} was never posted: {data:.40?}"));
        };
        if let Some(old) = entered.replace(seq) {
            return Err(format!("{} is event {old} and event {seq}", mark(&data)));
        }
        let topics = event.topics.iter().map(|t| t.name().to_owned()).collect();
        let given = post.id.clone();
        let got = Post { topics, private: event.private, id: given.clone(), data };
        if got != *post || given.is_some_and(|given| given != id) {
            return Err(format!("{post:?} became {got:?} with id {id:?}"));
        }
        self.by_id.entry(id.clone()).or_insert(seq);
        self.events.push(Known { post: got, id });
        Ok(())
    }
}

/// The part of the data that no other post has.
#[must_use]
pub fn mark(data: &str) -> &str {
    data.split(' ').next().unwrap_or(data)
}

/// Id and data of a wire form that holds exactly one event.
fn decoded(mut wire: &[u8]) -> Option<(String, String)> {
    let mut decoder = sse::Decoder::new(1 << 24);
    let found = match decoder.decode(&mut wire) {
        Ok(Some(sse::Item::Event(event))) => (event.id.to_owned(), event.data.to_owned()),
        _ => return None,
    };
    (wire.is_empty() && decoder.decode(&mut wire) == Ok(None)).then_some(found)
}
