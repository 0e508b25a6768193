//! The id that a client brought to a channel that it opened: a claim, until the upstream bears it
//! out.
//!
//! | what comes of it | then |
//! |---|---|
//! | an event, or a block with an id | it is the upstream's own; nothing is a claim any more |
//! | a refusal, or a status that is no shortage | dropped; asked again at once |
//! | [`TRIES`] attempts that lead to no healthy stream | dropped; the wait goes on |
//! | silence for [`TIME`], and somebody has joined without that id | dropped; asked again |
//!
//! Invariants: what the upstream says to a request with it is held against nobody else: neither its
//! refusal nor where it redirects to. Who reads when it is dropped is told of a gap, before the
//! next event of the channel.

use super::Notice;
use super::Outside;
use super::Source;
use super::State;
use super::Step;
use crate::base::time::Moment;
use crate::upstream::cause::Cause;
use std::time::Duration;

/// Attempts with a client's id that may end without a healthy stream.
const TRIES: u8 = 3;
/// How long a stream that was opened with a client's id may bring nothing while others wait on it.
const TIME: Duration = Duration::from_secs(5);

/// Why an id that a client brought is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vain {
    /// The upstream answered so.
    Answer(Cause),
    /// Its stream brought nothing.
    Silence,
    /// Its attempts are used up.
    Tries,
}

/// What is left of a claim.
#[derive(Debug)]
pub(super) struct Claim {
    /// So many attempts more; 0: there is none.
    tries: u8,
    /// A gap is to be told of.
    pub(super) owed: bool,
    /// When a silent stream is looked at.
    look_at: Moment,
}

impl Claim {
    /// Of a source that starts with this id; empty: none.
    pub(super) fn of(id: &str, now: Moment) -> Self {
        Self { tries: if id.is_empty() { 0 } else { TRIES }, owed: false, look_at: now }
    }

    /// Whether the last id is a client's, which nothing has borne out.
    pub(super) fn stands(&self) -> bool {
        self.tries > 0
    }

    /// A stream is open.
    pub(super) fn watch(&mut self, now: Moment) {
        self.look_at = now.after(TIME);
    }
}

impl Source {
    /// When a stream that was opened with a claim is to be looked at.
    pub(super) fn look_at(&self) -> Option<Moment> {
        let silent = self.state == State::Streaming && !self.is_paused();
        Some(self.claim.look_at).filter(|_| self.claim.stands() && silent)
    }

    /// Looks at it; gives the step where that has one.
    pub(super) fn look(&mut self, outside: &mut Outside<'_>) -> Option<Step> {
        if self.look_at().is_none_or(|at| at > outside.now) {
            return None;
        }
        if self.tap.has_strangers() {
            return Some(self.ask_without(Vain::Silence, outside));
        }
        self.claim.watch(outside.now);
        None
    }

    /// An event, or an id that the upstream gave, bears the claim out.
    pub(super) fn weigh(&mut self) {
        let own = || {
            let id = self.open.as_ref().and_then(|open| open.position());
            id.is_some_and(|id| id != self.last_id)
        };
        if self.claim.stands() && (self.tap.events() > 0 || own()) {
            self.claim.tries = 0;
        }
    }

    /// An attempt that was made with it is over.
    pub(super) fn spend(&mut self, healthy: bool, outside: &mut Outside<'_>) {
        // An upstream that ends quiet streams, again and again, says nothing about the id.
        if !self.claim.stands() || (healthy && !self.tap.has_strangers()) {
            return;
        }
        self.claim.tries -= 1;
        if !self.claim.stands() {
            self.disown(Vain::Tries, outside);
        }
    }

    /// Asks again, at once, without that id.
    pub(super) fn ask_without(&mut self, vain: Vain, outside: &mut Outside<'_>) -> Step {
        let legacy = self.open.take().and_then(|open| open.close(&mut self.last_id));
        if let Some(millis) = legacy.and_then(|legacy| legacy.retry) {
            self.pace.name(millis);
        }
        self.disown(vain, outside);
        (self.target, self.hops, self.permanent) = (None, 0, true);
        self.enter(State::Waiting, Duration::ZERO, outside.now);
        self.until = Some(outside.now);
        Step::Close
    }

    /// Drops it: what follows is not what came after it.
    fn disown(&mut self, vain: Vain, outside: &mut Outside<'_>) {
        (self.claim.tries, self.claim.owed) = (0, true);
        self.last_id.clear();
        // Where that request was sent on to says nothing about others.
        self.moved = None;
        if let Vain::Answer(cause) = vain {
            self.tap.board.trouble(cause);
        }
        outside.notices.push(Notice::Unseeded { vain });
    }
}
