//! The byte log of one feed: blocks between the slowest cursor and the tail.
//!
//! Invariants:
//! 1. `at_tail` live clients stand at the tail; every other live client is counted in the `refs`
//!    of the block that its cursor is in.
//! 2. Bytes that no cursor needs are not kept: with all clients at the tail there is no block.

use super::block::{Block, Pool};
use super::client::Body;
use crate::base::sync::Arc;
use crate::log::Event;
use std::collections::VecDeque;
use std::rc::Rc;

/// The bytes of a feed.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    blocks: VecDeque<Block>,
    tail: u64,
    at_tail: u32,
}

impl Bytes {
    /// One past the newest byte.
    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// Appends an event for those who stand at the tail or before. Returns whether anybody does.
    pub(super) fn append(&mut self, event: &Arc<Event>, pool: &mut Pool, mark: bool) -> bool {
        if self.at_tail == 0 && self.blocks.is_empty() {
            return false;
        }
        // Those at the tail now stand where this event starts: in the block that takes it.
        let mut fits = |open: &mut Block| {
            open.push(event, mark) || (pool.grow(open, event) && open.push(event, mark))
        };
        if !self.blocks.back_mut().is_some_and(&mut fits) {
            let block = pool.open(self.tail, event, mark);
            self.blocks.push_back(block);
        }
        if let Some(open) = self.blocks.back_mut() {
            open.refs += self.at_tail;
        }
        self.at_tail = 0;
        self.tail += event.wire.len() as u64;
        true
    }

    /// The bytes at `cursor`, contiguous, up to `limit` (an offset) and `max` bytes.
    #[inline]
    pub(super) fn range(&self, cursor: u64, limit: u64, max: usize) -> &[u8] {
        let Some(block) = self.index_of(cursor).and_then(|i| self.blocks.get(i)) else {
            return &[];
        };
        let from = usize::try_from(cursor - block.start).unwrap_or(usize::MAX);
        let upto = usize::try_from(limit.min(block.end()).saturating_sub(block.start));
        let upto = upto.unwrap_or(usize::MAX).min(from.saturating_add(max));
        block.bytes().get(from..upto).unwrap_or_default()
    }

    /// A live client comes to the tail.
    pub(super) fn enter(&mut self) -> u64 {
        self.at_tail += 1;
        self.tail
    }

    /// A live client at `cursor` leaves.
    pub(super) fn leave(&mut self, cursor: u64, pool: &mut Pool) {
        if cursor == self.tail {
            self.at_tail -= 1;
        } else {
            self.unref(cursor);
        }
        self.trim(pool);
    }

    /// A live client moves from `cursor` to `to`, which is not before it.
    pub(super) fn advance(&mut self, cursor: u64, to: u64, pool: &mut Pool) {
        debug_assert!(cursor <= to && to <= self.tail, "a cursor moves toward the tail");
        if cursor == to || cursor == self.tail {
            return;
        }
        if to == self.tail {
            self.unref(cursor);
            self.at_tail += 1;
        } else {
            let (old, new) = (self.index_of(cursor), self.index_of(to));
            if old == new {
                return;
            }
            self.unref(cursor);
            if let Some(block) = new.and_then(|i| self.blocks.get_mut(i)) {
                block.refs += 1;
            }
        }
        self.trim(pool);
    }

    /// The rest of the event that `cursor` stands in, as bytes of a piece and how many of those
    /// were sent; `None` at an event's start.
    pub(super) fn cut(
        &self,
        cursor: u64,
        boundary: impl Fn(&[u8], usize) -> usize,
    ) -> Option<(Body, usize)> {
        let block = self.index_of(cursor).and_then(|i| self.blocks.get(i))?;
        let from = usize::try_from(cursor - block.start).unwrap_or(usize::MAX);
        if let Some(shared) = block.shared() {
            return (from > 0).then(|| (Body::Event(Rc::clone(shared)), from));
        }
        let upto = boundary(block.bytes(), from);
        let rest = block.bytes().get(from..upto).unwrap_or_default();
        (!rest.is_empty()).then(|| (Body::Bytes(rest.into()), 0))
    }

    /// With marks: the number of the last event that starts before `cursor`, given that it is the
    /// rest of that one which is still sent; for a cursor at the tail, nothing.
    pub(super) fn last_before(&self, cursor: u64) -> Option<u64> {
        let block = self.blocks.get(self.index_of(cursor)?)?;
        let from = u32::try_from(cursor - block.start).unwrap_or(u32::MAX);
        let at = block.marks.partition_point(|(start, _)| *start < from);
        match at.checked_sub(1).and_then(|i| block.marks.get(i)) {
            Some((_, seq)) => Some(*seq),
            None => block.marks.first().map(|(_, seq)| seq - 1),
        }
    }

    fn index_of(&self, cursor: u64) -> Option<usize> {
        if cursor >= self.tail {
            return None;
        }
        if self.blocks.len() == 1 {
            return Some(0);
        }
        self.blocks.partition_point(|block| block.start <= cursor).checked_sub(1)
    }

    fn unref(&mut self, cursor: u64) {
        if let Some(block) = self.index_of(cursor).and_then(|i| self.blocks.get_mut(i)) {
            debug_assert!(block.refs > 0, "a cursor is counted where it stands");
            block.refs -= 1;
        }
    }

    fn trim(&mut self, pool: &mut Pool) {
        while self.blocks.front().is_some_and(|block| block.refs == 0) {
            if let Some(block) = self.blocks.pop_front() {
                pool.close(block);
            }
        }
        if self.blocks.is_empty() {
            // A feed at rest is small: with a feed per client this memory is what counts.
            self.blocks = VecDeque::new();
        }
    }
}

#[cfg(test)]
impl Bytes {
    /// Recounts for the cursors of all live clients; returns the bytes held.
    pub(super) fn check(&self, cursors: &[u64]) -> usize {
        let at_tail = cursors.iter().filter(|cursor| **cursor == self.tail).count();
        assert_eq!(self.at_tail as usize, at_tail, "clients at the tail");
        let head = self.blocks.front().map_or(self.tail, |block| block.start);
        assert!(cursors.iter().all(|cursor| (head..=self.tail).contains(cursor)));
        let mut end = head;
        for (n, block) in self.blocks.iter().enumerate() {
            assert_eq!(block.start, end, "blocks adjoin");
            end = block.end();
            let inside = |cursor: &&u64| (block.start..end).contains(*cursor);
            let refs = cursors.iter().filter(inside).count();
            assert_eq!(block.refs as usize, refs, "cursors in a block");
            assert!(n > 0 || refs > 0, "bytes that no cursor needs are not kept");
        }
        assert_eq!(end, self.tail);
        self.blocks.iter().map(Block::held).sum()
    }

    /// The shared events that it refers to.
    pub(super) fn shared(&self) -> impl Iterator<Item = &Rc<super::shared::Shared>> {
        self.blocks.iter().filter_map(Block::shared)
    }
}
