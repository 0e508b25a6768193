//! How an append wakes the workers: each worker owns a bell, and its reader of a channel brings it
//! along. One bell serves all channels that a worker reads.
//!
//! Invariants:
//! 1. A worker that parked and found nothing is woken by the next append to a channel that it
//!    reads: the worker writes `parked` and then looks at its logs, the writer writes the log and
//!    then looks at `parked`, with a sequentially consistent fence between the two on both sides.
//! 2. A worker that does not read a channel is not woken by it: a bell hangs there as long as its
//!    reader lives.

use crate::base::sync::Arc;
use crate::base::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::fmt;

/// What wakes a worker.
pub struct Bell {
    parked: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("parked", &self.parked).finish_non_exhaustive()
    }
}

impl Bell {
    /// A bell that calls `wake`, which must not block.
    #[must_use]
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { parked: AtomicBool::new(false), wake }
    }

    /// The worker is about to sleep: after this it must look at its readers once more.
    pub fn park(&self) {
        self.parked.store(true, Ordering::Relaxed);
        // Pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// The worker is awake.
    pub fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Wakes the worker if it is parked. Called after the log was written.
    fn ring(&self) {
        // Pairs with the fence in `park`.
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed) {
            (self.wake)();
        }
    }
}

/// What a channel knows of one reader: whom to wake, and how far it has read.
#[derive(Debug)]
pub(super) struct Rope {
    bell: Arc<Bell>,
    /// Bytes of the log that the reader has read; `u64::MAX` when it is gone.
    read: AtomicU64,
}

impl Rope {
    pub(super) fn new(bell: Arc<Bell>, read: u64) -> Self {
        Self { bell, read: AtomicU64::new(read) }
    }

    /// Tells how far the reader has read, for the backlog limit.
    pub(super) fn set_read(&self, bytes: u64) {
        self.read.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The reader is gone.
    pub(super) fn cut(&self) {
        self.set_read(u64::MAX);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.read() == u64::MAX
    }

    /// Wakes the reader's worker if it is parked. Called after the log was written.
    pub(super) fn ring(&self) {
        if !self.is_cut() {
            self.bell.ring();
        }
    }
}
