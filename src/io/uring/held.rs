//! What the ring has received before anybody asked: a queue for each descriptor, of buffers that
//! the kernel filled, and how it ended.
//!
//! Invariants:
//! 1. A buffer is with the kernel or in one queue; `forget` and reading give it back.
//! 2. An end stands behind all bytes, and is told again and again, as the kernel does.

use crate::io::Recv;
use crate::io::table::Chunks;
use crate::io::uring::buffers::BUFFERS;
use crate::io::uring::buffers::Buffers;

/// No buffer.
const NONE: u16 = u16::MAX;
const _: () = assert!(BUFFERS < NONE);

/// How a descriptor's input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Orderly,
    Failed(i32),
}

/// One descriptor's queue; all zero is an empty one.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    first: u16,
    last: u16,
    count: u16,
    /// 0: none; -1: orderly; else the errno.
    end: i32,
}

/// A filled buffer: the next one in its queue, and what is unread of it.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u16,
    from: u16,
    upto: u16,
}

/// All queues.
#[derive(Debug)]
pub(super) struct Held {
    queues: Chunks<Queue>,
    links: Box<[Link]>,
    buffers: Buffers,
}

impl Held {
    pub(super) fn new(buffers: Buffers) -> Self {
        let link = Link { next: NONE, from: 0, upto: 0 };
        Self { queues: Chunks::default(), links: vec![link; usize::from(BUFFERS)].into(), buffers }
    }

    pub(super) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Takes a buffer that the kernel filled; returns how many wait for this descriptor now.
    pub(super) fn push(&mut self, fd: i32, id: u16, len: u16) -> u16 {
        let Some(queue) = self.queues.make(fd) else { return 0 };
        let Some(link) = self.links.get_mut(usize::from(id)) else { return queue.count };
        *link = Link { next: NONE, from: 0, upto: len };
        if queue.count == 0 {
            queue.first = id;
        } else if let Some(last) = self.links.get_mut(usize::from(queue.last)) {
            last.next = id;
        }
        queue.last = id;
        queue.count += 1;
        queue.count
    }

    pub(super) fn end(&mut self, fd: i32, end: End) {
        if let Some(queue) = self.queues.make(fd) {
            queue.end = match end {
                End::Orderly => -1,
                End::Failed(errno) => errno.max(1),
            };
        }
    }

    /// Whether there is something to read, or an end to be told.
    pub(super) fn has(&mut self, fd: i32) -> bool {
        self.queues.find(fd).is_some_and(|queue| queue.count > 0 || queue.end != 0)
    }

    /// How many buffers of a descriptor are unread.
    #[cfg(test)]
    pub(super) fn count(&mut self, fd: i32) -> u16 {
        self.queues.find(fd).map_or(0, |queue| queue.count)
    }

    /// Reads; `None`: there is nothing and no end.
    pub(super) fn read(&mut self, fd: i32, into: &mut [u8]) -> Option<Recv> {
        let queue = self.queues.find(fd)?;
        if queue.count == 0 {
            return match queue.end {
                0 => None,
                -1 => Some(Recv::End),
                errno => Some(Recv::Failed(errno)),
            };
        }
        let mut taken = 0;
        while queue.count > 0 && taken < into.len() {
            let id = queue.first;
            let Some(link) = self.links.get_mut(usize::from(id)) else { break };
            let bytes = self.buffers.get(id, link.from, link.upto);
            let room = into.get_mut(taken..).unwrap_or_default();
            let count = bytes.len().min(room.len());
            if let Some((to, from)) = room.get_mut(..count).zip(bytes.get(..count)) {
                to.copy_from_slice(from);
            }
            taken += count;
            if count < bytes.len() {
                link.from += u16::try_from(count).unwrap_or(0);
                break;
            }
            queue.first = link.next;
            queue.count -= 1;
            self.buffers.give(id);
        }
        Some(Recv::Bytes(taken))
    }

    /// A buffer that is for nobody.
    pub(super) fn give(&mut self, id: u16) {
        self.buffers.give(id);
    }

    /// The descriptor is closed: nobody will read what waits.
    pub(super) fn forget(&mut self, fd: i32) {
        let Some(queue) = self.queues.find(fd) else { return };
        while queue.count > 0 {
            let id = queue.first;
            queue.first = self.links.get(usize::from(id)).map_or(NONE, |link| link.next);
            queue.count -= 1;
            self.buffers.give(id);
        }
        *queue = Queue::default();
    }
}
