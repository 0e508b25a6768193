//! Where a client stands in the channel, as far as an onlooker can know, and what it must get next.
//!
//! Invariants: an event is accepted if it is after what was seen, belongs to the subscription, and
//! nothing that had to come before it was left out. After an accepted event the place is exact.

use super::book::Book;
use super::book::Post;

/// What a client reads, as its peer understands it (not as the server does).
#[derive(Clone, Debug)]
pub struct Wish {
    /// Topics; empty: all.
    pub topics: Vec<String>,
}

impl Wish {
    /// Whether an event belongs to it. Nobody here has a grant for private ones.
    #[must_use]
    pub fn wants(&self, post: &Post) -> bool {
        let selected =
            self.topics.is_empty() || post.topics.iter().any(|t| self.topics.contains(t));
        selected && !post.private
    }
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has everything up to here.
    At(u64),
    /// It started somewhere from `low` to `high`: nothing up to `low`, everything after `high`.
    Between {
        /// Nothing up to here will come.
        low: u64,
        /// Everything after this must come.
        high: u64,
    },
    /// It lagged and gets, of what is after `after`, only the newest event of each topic up to
    /// `upto`, then everything.
    Newest {
        /// Everything up to here was seen.
        after: u64,
        /// Up to here older events of a topic may be left out; `None`: up to the tail.
        upto: Option<u64>,
    },
}

impl Place {
    /// The first event that must not be left out; `None`: the client is at the tail.
    #[must_use]
    pub fn must(self, wish: &Wish, book: &Book) -> Option<u64> {
        match self {
            Self::At(after) | Self::Between { high: after, .. } => {
                book.next(after, |post| wish.wants(post))
            }
            Self::Newest { mut after, upto } => loop {
                let next = book.next(after, |post| wish.wants(post))?;
                let upto = upto.unwrap_or(book.tail());
                let topic = book.event(next)?.post.topics.first();
                let newer = |post: &Post| wish.wants(post) && post.topics.first() == topic;
                match book.next(next, newer) {
                    Some(newer) if newer <= upto => after = next,
                    _ => return Some(next),
                }
            },
        }
    }

    /// The client got this event: the new place, or what is wrong.
    ///
    /// # Errors
    /// It was seen before, does not belong to the subscription, or something was left out.
    pub fn accept(self, seq: u64, wish: &Wish, book: &Book) -> Result<Self, String> {
        let (Self::At(low) | Self::Between { low, .. } | Self::Newest { after: low, .. }) = self;
        if seq <= low {
            return Err(format!("event {seq} came again or late: the client is at {self:?}"));
        }
        if book.event(seq).is_none_or(|known| !wish.wants(&known.post)) {
            return Err(format!("event {seq} is not for {wish:?}"));
        }
        if let Some(must) = self.must(wish, book)
            && must < seq
        {
            return Err(format!("event {must} is missing before {seq}: the client is at {self:?}"));
        }
        Ok(match self {
            Self::Newest { upto, .. } => {
                let upto = upto.unwrap_or(book.tail());
                if seq >= upto {
                    Self::At(seq)
                } else {
                    Self::Newest { after: seq, upto: Some(upto) }
                }
            }
            _ => Self::At(seq),
        })
    }
}
