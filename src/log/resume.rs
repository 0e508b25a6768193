//! Resuming: from what a client sends back to the place where its stream goes on.
//!
//! Invariants:
//! 1. A place is given with what may be missing behind it, so that nothing is lost in silence and
//!    nothing is announced twice.
//! 2. Where topics are sources of their own, so are their ids: one topic's `5` is not another's. A
//!    given id is looked up first, then the text is read as a position: a source may send back
//!    what this log once made.

use super::channel::{Channel, MADE};
use super::event::Topic;

/// Why events may be missing after a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The id is not, or no longer, known.
    Unknown,
    /// The position is older than the history, or of an earlier epoch.
    Expired,
}

/// What a `Last-Event-ID` means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Continue after this sequence number: nothing is missing.
    After(u64),
    /// `earliest`: everything kept.
    Earliest,
    /// A gap: everything kept, announced.
    Lost(Loss),
}

impl Resumption {
    /// The sequence number to continue after; 0 stands for everything kept.
    #[must_use]
    pub fn after(self) -> u64 {
        if let Self::After(seq) = self { seq } else { 0 }
    }
}

/// Where a stream starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// What is kept after this sequence number comes first; 0: everything kept. Its id
    /// ([`Channel::id`]) is the place that a notice of a gap at the start names.
    pub after: u64,
    /// Of events up to here that have left the history the client knows, or never asked for them.
    /// What leaves later, before the client has read it, is announced.
    pub told: u64,
}

impl Channel {
    /// What a client's `Last-Event-ID` means in a log whose topics share one space of ids.
    #[must_use]
    pub fn resolve(&self, id: &str) -> Resumption {
        self.resolve_in(&[], id).0
    }

    /// What a client's `Last-Event-ID` means to one who reads these topics, and where its stream
    /// starts. `Lost` must be announced by the caller, who then names the start's `after`.
    ///
    /// With bounds for each topic, an id is looked for among these topics only, and only what was
    /// lost of these topics counts: events that left the history, and those from before a topic
    /// was opened, also where the log has had none since (its source may have). A position that is
    /// still known but has lost something goes on from there; of any other the client gets
    /// everything kept.
    #[must_use]
    pub fn resolve_in(&self, topics: &[Topic], id: &str) -> (Resumption, Start) {
        let inner = self.lock();
        let history = &inner.history;
        let lost = history.lost(topics);
        let known = |seq: u64| {
            if seq < lost {
                (Resumption::Lost(Loss::Expired), Start { after: seq, told: lost })
            } else {
                (Resumption::After(seq), Start { after: seq, told: 0 })
            }
        };
        let all = Start { after: 0, told: lost };
        let own = self.limits().per_topic.and_then(|_| history.find(topics, id));
        if let Some(seq) = own {
            return known(seq);
        }
        if id == "earliest" {
            return (Resumption::Earliest, all);
        }
        match self.position(id) {
            Some(seq) if seq > history.tail() => (Resumption::Lost(Loss::Unknown), all),
            Some(seq) if history.was_deaf(topics, seq) => {
                (Resumption::Lost(Loss::Expired), Start { after: seq, told: lost })
            }
            Some(seq) => known(seq),
            None => match history.find(topics, id) {
                Some(seq) => known(seq),
                None if id.starts_with(MADE) => (Resumption::Lost(Loss::Expired), all),
                None => (Resumption::Lost(Loss::Unknown), all),
            },
        }
    }

    /// The start of a client without an id that gets the newest `count` kept events first: of all
    /// these topics together, not of each, since one position cannot stop each topic at its own
    /// event. So a client never gets more than `count`; of several topics those that have been
    /// silent for long may have none among them. O(`count` + topics), times the logarithm of the
    /// number of topics.
    #[must_use]
    pub fn recent(&self, topics: &[Topic], count: usize) -> Start {
        let inner = self.lock();
        let history = &inner.history;
        let oldest = history.recent(topics, count);
        let after = oldest.map_or(history.tail(), |oldest| oldest - 1);
        Start { after, told: history.lost(topics) }
    }
}
