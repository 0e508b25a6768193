//! The place in a proxied event stream: where a comment may stand, and when one is due (X6).
//!
//! Invariants:
//! 1. A comment stands only at the start of the stream or behind an empty line that ended in LF:
//!    never inside an event, and never between a CR and its LF.
//! 2. Work per piece does not depend on its length: only its last three bytes are looked at.
//! 3. A byte order mark is dropped only if a comment of ours took its place at the very start.

use crate::base::time::Moment;
use std::time::Duration;

/// The comment that shows a client that its stream lives.
pub(super) const HEARTBEAT: &[u8] = b":\n";
/// What a stream may begin with; a decoder removes it there, and only there.
const MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// What became of the byte order mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Nothing was sent yet.
    Unseen,
    /// We sent a comment first; so many bytes of a mark have come and are kept back.
    KeptBack(u8),
    /// Decided: all bytes pass.
    Settled,
}

/// The tail of one event stream on its way to one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events {
    /// From the last byte sent to the comment, in nanoseconds; 0: no comments.
    every: u64,
    sent_at: Moment,
    is_on: bool,
    /// The client can ask for it again, as one that asked with `GET` can.
    can_return: bool,
    /// The last bytes of the backend's stream; `seen` of them are there.
    tail: [u8; 3],
    seen: u8,
    mark: Mark,
}

impl Events {
    /// Not an event stream.
    pub(super) const OFF: Self = Self {
        every: 0,
        sent_at: Moment::START,
        is_on: false,
        can_return: false,
        tail: [0; 3],
        seen: 0,
        mark: Mark::Settled,
    };

    /// A stream whose head is sent now; `every` zero: without comments.
    pub(super) fn start(every: Duration, can_return: bool, now: Moment) -> Self {
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        Self { every, sent_at: now, is_on: true, can_return, mark: Mark::Unseen, ..Self::OFF }
    }

    /// Whether this is an event stream.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether it may be ended before its time.
    pub(super) const fn can_return(&self) -> bool {
        self.can_return
    }

    /// When a comment is due, if one may stand here.
    pub(super) fn due(&self) -> Option<Moment> {
        let may = self.every != 0 && self.is_between_events();
        may.then(|| self.sent_at.after(Duration::from_nanos(self.every)))
    }

    /// A comment is sent now.
    pub(super) fn beat(&mut self, now: Moment) {
        self.sent_at = now;
        if self.mark == Mark::Unseen {
            self.mark = Mark::KeptBack(0);
        }
    }

    /// Bytes of the backend's stream are about to be sent: what must go before them, and what is
    /// left of them.
    pub(super) fn pass<'p>(&mut self, piece: &'p [u8], now: Moment) -> (&'static [u8], &'p [u8]) {
        self.sent_at = now;
        let (kept, piece) = self.settle(piece);
        self.note(kept);
        self.note(piece);
        (kept, piece)
    }

    /// What was kept back, when the stream ends.
    pub(super) fn rest(&self) -> &'static [u8] {
        match self.mark {
            Mark::KeptBack(kept) => mark_start(kept),
            Mark::Unseen | Mark::Settled => &[],
        }
    }

    fn settle<'p>(&mut self, mut piece: &'p [u8]) -> (&'static [u8], &'p [u8]) {
        if self.mark == Mark::Unseen {
            self.mark = Mark::Settled;
        }
        while let Mark::KeptBack(kept) = self.mark {
            let Some((byte, after)) = piece.split_first() else { break };
            if MARK.get(usize::from(kept)) != Some(byte) {
                self.mark = Mark::Settled;
                return (mark_start(kept), piece);
            }
            piece = after;
            let whole = usize::from(kept) + 1 == MARK.len();
            self.mark = if whole { Mark::Settled } else { Mark::KeptBack(kept + 1) };
        }
        (&[], piece)
    }

    fn note(&mut self, piece: &[u8]) {
        if let Some(tail) = piece.last_chunk::<3>() {
            self.tail = *tail;
            self.seen = 3;
            return;
        }
        for byte in piece {
            self.tail.rotate_left(1);
            self.tail[2] = *byte;
            self.seen = (self.seen + 1).min(3);
        }
    }

    /// Whether the last line is empty and ended in LF, or nothing has come yet.
    pub(super) fn is_between_events(&self) -> bool {
        if matches!(self.mark, Mark::KeptBack(kept) if kept > 0) {
            return false;
        }
        let seen = usize::from(self.seen);
        let tail = self.tail.get(self.tail.len() - seen..).unwrap_or_default();
        if tail.is_empty() {
            return true;
        }
        let Some(line) = tail.strip_suffix(b"\n") else { return false };
        let before = line.strip_suffix(b"\r").unwrap_or(line);
        match before.last() {
            Some(byte) => matches!(byte, b'\n' | b'\r'),
            // The stream began with an empty line; else a third byte would be there.
            None => true,
        }
    }
}

/// So many bytes of the mark.
fn mark_start(kept: u8) -> &'static [u8] {
    MARK.get(..usize::from(kept)).unwrap_or_default()
}
