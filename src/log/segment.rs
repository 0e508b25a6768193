//! The live chain: segments of write-once slots, read by every worker without a lock.
//!
//! Invariants:
//! 1. One writer at a time (the append lock); slots are filled in order and never change.
//! 2. A segment's `next` is set when it is full, before the first event of the next one is put.
//! 3. Dropping a long chain does not recurse.

use super::bell::{Bell, Rope};
use super::event::Event;
use crate::base::sync::Arc;
use std::sync::OnceLock;

/// Events of one segment at most: 4 KiB of slots.
const EVENTS: usize = 256;
/// Wire bytes after which a segment is closed early, so that a reader holds little behind it.
const BYTES: usize = 256 * 1024;

/// A run of events.
#[derive(Debug)]
pub(super) struct Segment {
    slots: Box<[OnceLock<Arc<Event>>]>,
    next: OnceLock<Arc<Self>>,
}

impl Segment {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            slots: (0..EVENTS).map(|_| OnceLock::new()).collect(),
            next: OnceLock::new(),
        })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut segment) = next.and_then(Arc::into_inner) {
            next = segment.next.take();
        }
    }
}

/// The writing end: lives under the append lock.
#[derive(Debug)]
pub(super) struct Writer {
    segment: Arc<Segment>,
    filled: usize,
    bytes: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { segment: Segment::new(), filled: 0, bytes: 0 }
    }

    /// Puts the next event, visible to readers at once.
    pub(super) fn put(&mut self, event: Arc<Event>) {
        if self.filled == EVENTS || self.bytes >= BYTES {
            let next = Segment::new();
            let fresh = self.segment.next.set(Arc::clone(&next)).is_ok();
            debug_assert!(fresh, "one writer");
            (self.segment, self.filled, self.bytes) = (next, 0, 0);
        }
        self.bytes += event.wire.len();
        if let Some(slot) = self.segment.slots.get(self.filled) {
            let fresh = slot.set(event).is_ok();
            debug_assert!(fresh, "one writer");
        }
        self.filled += 1;
    }

    /// A reader that sees what is put from now on. `read` is the log's byte count now.
    pub(super) fn reader(&self, bell: Arc<Bell>, read: u64) -> Reader {
        let rope = Arc::new(Rope::new(bell, read));
        Reader { segment: Arc::clone(&self.segment), at: self.filled, rope }
    }
}

/// A worker's place in the live chain.
#[derive(Debug)]
pub struct Reader {
    segment: Arc<Segment>,
    at: usize,
    rope: Arc<Rope>,
}

impl Reader {
    /// The next event, if there is one, without taking it.
    #[must_use]
    pub fn peek(&mut self) -> Option<&Arc<Event>> {
        self.step();
        self.segment.slots.get(self.at)?.get()
    }

    /// Takes the next event, if there is one.
    pub fn take(&mut self) -> Option<Arc<Event>> {
        let event = Arc::clone(self.peek()?);
        self.at += 1;
        self.rope.set_read(event.total);
        Some(event)
    }

    /// What the channel keeps of it.
    pub(super) fn rope(&self) -> &Arc<Rope> {
        &self.rope
    }

    /// Moves on to the next segment when this one is read to its end.
    fn step(&mut self) {
        // A slot that is empty while `next` exists will stay so: the segment was closed early.
        // `next` is looked at first, so that a slot filled in between is not passed by.
        while let Some(next) = self.segment.next.get() {
            if self.segment.slots.get(self.at).is_some_and(|slot| slot.get().is_some()) {
                return;
            }
            (self.segment, self.at) = (Arc::clone(next), 0);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.rope.cut();
    }
}
