//! A client: a cursor into a feed, and what it alone must get before it reads on there.
//!
//! Invariants:
//! 1. The cursor is a byte offset of the feed and may stand inside an event: the bytes that a
//!    short send left stay in the feed and are not copied.
//! 2. Pieces are the exception to the shared bytes: a piece is sent when the cursor has reached
//!    its offset, before the feed's bytes from there on. Pieces are ordered by offset.
//! 3. An idle client is this slot and nothing else.

use super::page::Page;
use super::shared::Shared;
use crate::log::Subscription;
use std::collections::VecDeque;
use std::rc::Rc;

/// Time in tenths of a second since the clock's start: coarse, so that it takes little room.
pub type Tick = u32;

/// After so many promises of room in vain, the kernel is believed to be short of memory.
const HOPES_MAX: u8 = 16;

/// A deadline that never comes.
pub const NEVER: Tick = Tick::MAX;

/// Why a client's connection will be ended at its `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The maximum connection age.
    Age,
    /// Its token expires.
    Token,
    /// The process drains.
    Drain,
    /// Its source has said that there is nothing more.
    Source,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its cursor is an offset of its feed.
    Live,
    /// It reads pieces (response head, pages of history) and is not yet at its feed.
    Catching,
    /// It needs the next page or the feed's tail, as soon as no event is half routed.
    Waiting,
}

/// Which list a client is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Idle,
    Ready,
    Blocked,
    Nowhere,
}

/// One subscriber. 48 bytes.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) cursor: u64,
    pub(super) extra: Option<Box<Extra>>,
    pub(super) socket: i32,
    pub(super) feed: u32,
    pub(super) prev: u32,
    pub(super) next: u32,
    /// The worker's word: returned with every effect.
    pub(super) tag: u32,
    /// The last progress of a send.
    pub(super) touched: Tick,
    /// When the connection is to be ended.
    pub(super) until: Tick,
    pub(super) why: Until,
    pub(super) stage: Stage,
    /// The socket is full: nothing is sent before it is writable.
    pub(super) blocked: bool,
    /// How often the kernel has said that there is room since it last took something.
    pub(super) hopes: u8,
}

const _: () = assert!(size_of::<Client>() <= 56, "an idle client is small");

/// What only some clients have for some time.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) pieces: VecDeque<Piece>,
    /// While catching up: the sequence number up to which it has what it asked for.
    pub(super) after: u64,
    /// While catching up: it knows what has left the history up to here.
    pub(super) told: u64,
    /// While catching up: only the newest event of each topic.
    pub(super) newest: bool,
    /// The last piece ends the connection.
    pub(super) ending: bool,
}

/// Bytes for one client.
#[derive(Debug)]
pub(super) struct Piece {
    /// Sent when the cursor is here.
    pub(super) at: u64,
    /// How much of it was sent.
    pub(super) sent: usize,
    pub(super) body: Body,
}

/// What a piece is made of.
#[derive(Debug)]
pub(super) enum Body {
    /// Must be sent: a response head, the rest of a cut event, what has expired, the last line.
    Bytes(Box<[u8]>),
    /// The notice of a gap by lag: a newer one replaces it.
    Notice(Box<[u8]>),
    /// A comment.
    Comment(&'static [u8]),
    /// A shared run of history.
    Page(Rc<Page>),
    /// The rest of an event that was cut, up to this place in a page of which it holds much.
    Rest(Rc<Page>, usize),
    /// An event: one that this client may read and its feed may not, or a large one that was cut.
    Event(Rc<Shared>),
}

impl Piece {
    pub(super) fn all(&self) -> &[u8] {
        match &self.body {
            Body::Bytes(bytes) | Body::Notice(bytes) => bytes,
            Body::Comment(bytes) => bytes,
            Body::Page(page) => page.bytes(),
            Body::Rest(page, end) => page.bytes().get(..*end).unwrap_or_default(),
            Body::Event(shared) => &shared.event.wire,
        }
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.all().get(self.sent..).unwrap_or_default()
    }

    /// Whether it is sent even to a client that is moved on: it ends what was begun.
    pub(super) fn must_be_sent(&self) -> bool {
        match &self.body {
            Body::Bytes(_) | Body::Rest(..) => true,
            Body::Notice(_) | Body::Comment(_) | Body::Event(_) => self.sent > 0,
            Body::Page(_) => false,
        }
    }

    /// Bytes that it holds for its client alone.
    pub(super) fn own_bytes(&self) -> usize {
        match &self.body {
            Body::Bytes(bytes) | Body::Notice(bytes) => bytes.len(),
            Body::Comment(_) | Body::Page(_) | Body::Rest(..) | Body::Event(_) => 0,
        }
    }
}

impl Client {
    /// The piece that is due at the cursor.
    pub(super) fn due(&self) -> Option<&Piece> {
        self.extra.as_ref()?.pieces.front().filter(|p| p.at <= self.cursor)
    }

    /// Where the feed's bytes must stop: at the next piece.
    pub(super) fn limit(&self) -> u64 {
        let next = self.extra.as_ref().and_then(|extra| extra.pieces.front());
        next.map_or(u64::MAX, |piece| piece.at)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.ending)
    }

    /// Whether there is something to send, given the tail of its feed.
    pub(super) fn is_pending(&self, tail: u64) -> bool {
        let pieces = self.extra.as_ref().is_some_and(|extra| !extra.pieces.is_empty());
        pieces || (self.stage == Stage::Live && self.cursor < tail)
    }

    /// Whether the kernel promises room and takes nothing, again and again.
    pub(super) fn is_starved(&self) -> bool {
        self.hopes >= HOPES_MAX
    }

    /// Which list it is in, given the tail of its feed.
    pub(super) fn place(&self, tail: u64) -> Place {
        if self.blocked {
            Place::Blocked
        } else if self.is_pending(tail) {
            Place::Ready
        } else if self.stage == Stage::Live {
            Place::Idle
        } else {
            Place::Nowhere
        }
    }

    /// Bytes of events that it has not taken, given the tail of its feed. What must be sent in
    /// any case does not count: no policy could take it away.
    pub(super) fn lag(&self, tail: u64) -> u64 {
        let live = if self.stage == Stage::Live { tail - self.cursor } else { 0 };
        live + self.rests(|piece| match piece.body {
            Body::Page(_) => true,
            Body::Event(_) => piece.sent == 0,
            Body::Bytes(_) | Body::Notice(_) | Body::Comment(_) | Body::Rest(..) => false,
        })
    }

    /// Bytes that it has not taken, of any kind.
    pub(super) fn unsent(&self, tail: u64) -> u64 {
        let live = if self.stage == Stage::Live { tail - self.cursor } else { 0 };
        live + self.rests(|_| true)
    }

    /// The tail of its feed past which it lags by more than `limit`, if it is live.
    pub(super) fn lag_check(&self, limit: u64) -> u64 {
        if self.stage != Stage::Live {
            return u64::MAX;
        }
        let past = self.cursor.saturating_add(limit);
        past.saturating_sub(self.lag(self.cursor))
    }

    fn rests(&self, counts: impl Fn(&Piece) -> bool) -> u64 {
        let pieces = self.extra.iter().flat_map(|extra| &extra.pieces);
        pieces.filter(|piece| counts(piece)).map(|piece| piece.rest().len() as u64).sum()
    }
}

/// A client that starts.
#[derive(Debug)]
pub struct Newcomer {
    /// Its descriptor, for the worker's sends.
    pub socket: i32,
    /// The worker's word: returned with every effect.
    pub tag: u32,
    /// What it reads.
    pub subscription: Subscription,
    /// It has seen everything up to this sequence number; 0: it wants everything kept.
    pub after: u64,
    /// It knows that events up to here may have left the history; see [`crate::log::Start`].
    pub told: u64,
    /// Bytes before the first event: the response head.
    pub head: Vec<u8>,
    /// When to end the connection, and why.
    pub until: (Tick, Until),
}
