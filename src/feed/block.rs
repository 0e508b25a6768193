//! Blocks: the bytes of a feed, and the pool that their memory comes from.
//!
//! Invariants:
//! 1. Bytes below the feed's tail never change. A block that is full is copied into one of the next
//!    class, up to the largest, so that what a client is behind stays one contiguous send; nothing
//!    borrows a block across an append.
//! 2. An event lies in one block, whole.
//! 3. `held` is the sum of the blocks' bytes that are out, and of shared events, each once.

use super::shared::{Shared, Sharing};
use crate::base::sync::Arc;
use crate::log::Event;
use std::rc::Rc;

/// Events from this size on are referenced and not copied.
pub(super) const SHARED_FROM: usize = 4096;
/// Capacities of blocks: a feed starts small and grows while somebody lags.
const CLASSES: [usize; 4] = [512, 4 * 1024, 32 * 1024, 256 * 1024];
/// Free bytes kept of each class.
const KEPT: usize = 1024 * 1024;

/// A run of a feed's bytes.
#[derive(Debug)]
pub(super) struct Block {
    /// The feed's offset of its first byte.
    pub(super) start: u64,
    /// Clients whose cursor is inside (a cursor at the tail is inside no block).
    pub(super) refs: u32,
    body: Body,
    /// For the policy `latest`: where each event starts, and its number.
    pub(super) marks: Vec<(u32, u64)>,
}

#[derive(Debug)]
enum Body {
    Own { class: u8, bytes: Vec<u8> },
    Shared(Rc<Shared>),
}

impl Block {
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Own { bytes, .. } => bytes,
            Body::Shared(shared) => &shared.event.wire,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes().len() as u64
    }

    /// The event that it refers to, if it is one.
    pub(super) fn shared(&self) -> Option<&Rc<Shared>> {
        if let Body::Shared(shared) = &self.body { Some(shared) } else { None }
    }

    /// Copies a small event behind the others, if it fits.
    pub(super) fn push(&mut self, event: &Event, mark: bool) -> bool {
        let Body::Own { bytes, .. } = &mut self.body else { return false };
        let fits =
            event.wire.len() < SHARED_FROM && event.wire.len() <= bytes.capacity() - bytes.len();
        if fits {
            if mark {
                self.marks.push((u32::try_from(bytes.len()).unwrap_or(u32::MAX), event.seq));
            }
            bytes.extend_from_slice(&event.wire);
        }
        fits
    }
}

/// Free blocks of each class, and the count of what is out.
#[derive(Debug)]
pub(super) struct Pool {
    free: [Vec<Vec<u8>>; CLASSES.len()],
    held: usize,
    sharing: Sharing,
}

impl Pool {
    /// Without blocks; the lists of free ones have their room, so that giving one back on the send
    /// path allocates nothing.
    pub(super) fn new() -> Self {
        let free = CLASSES.map(|size| Vec::with_capacity(KEPT / size));
        Self { free, held: 0, sharing: Sharing::default() }
    }

    /// Bytes that are out.
    pub(super) fn held(&self) -> usize {
        self.held + self.sharing.held()
    }

    /// A block that starts with `event`.
    pub(super) fn open(&mut self, start: u64, event: &Arc<Event>, mark: bool) -> Block {
        let len = event.wire.len();
        if len >= SHARED_FROM {
            let marks = if mark { vec![(0, event.seq)] } else { Vec::new() };
            return Block { start, refs: 0, body: Body::Shared(self.share(event)), marks };
        }
        let (class, bytes) = self.take(len);
        let body = Body::Own { class, bytes };
        let mut block = Block { start, refs: 0, body, marks: Vec::new() };
        let pushed = block.push(event, mark);
        debug_assert!(pushed, "the class was chosen to fit");
        block
    }

    /// Copies a full block into a larger one that has room for `event`; false if it is as large as
    /// blocks get, or one of the two is a shared event.
    pub(super) fn grow(&mut self, block: &mut Block, event: &Event) -> bool {
        let Body::Own { class, bytes } = &mut block.body else { return false };
        let len = bytes.len() + event.wire.len();
        if event.wire.len() >= SHARED_FROM || CLASSES.last().is_none_or(|most| len > *most) {
            return false;
        }
        let (next, mut larger) = self.take(len);
        larger.extend_from_slice(bytes);
        let old = std::mem::replace(bytes, larger);
        let before = std::mem::replace(class, next);
        self.give(before, old);
        true
    }

    /// Memory for `len` bytes, not more than the largest class.
    fn take(&mut self, len: usize) -> (u8, Vec<u8>) {
        let class = CLASSES.iter().position(|size| *size >= len).unwrap_or(CLASSES.len() - 1);
        let size = CLASSES.get(class).copied().unwrap_or(len);
        let free = self.free.get_mut(class).and_then(Vec::pop);
        let bytes = free.unwrap_or_else(|| Vec::with_capacity(size));
        self.held += bytes.capacity();
        (u8::try_from(class).unwrap_or(0), bytes)
    }

    fn give(&mut self, class: u8, mut bytes: Vec<u8>) {
        self.held -= bytes.capacity();
        bytes.clear();
        if let Some(free) = self.free.get_mut(usize::from(class))
            && free.len() < free.capacity()
        {
            free.push(bytes);
        }
    }

    /// A reference to an event, counted once however many are given out.
    pub(super) fn share(&mut self, event: &Arc<Event>) -> Rc<Shared> {
        self.sharing.of(event)
    }

    /// Lets go of the memory of free blocks; the lists keep their room.
    pub(super) fn release(&mut self) {
        self.free.iter_mut().for_each(Vec::clear);
    }

    /// Takes a block back.
    pub(super) fn close(&mut self, block: Block) {
        match block.body {
            Body::Shared(_) => {}
            Body::Own { class, bytes } => self.give(class, bytes),
        }
    }
}

#[cfg(test)]
impl Block {
    /// What it alone counts for in the pool; a shared event is counted by its holders together.
    pub(super) fn held(&self) -> usize {
        match &self.body {
            Body::Own { bytes, .. } => bytes.capacity(),
            Body::Shared(_) => 0,
        }
    }
}
