//! How an append wakes the workers: each worker owns a bell and hangs it at the channel.
//!
//! Invariants:
//! 1. A worker that parked and found nothing is woken by the next append: the worker writes
//!    `parked` and then looks at the log, the writer writes the log and then looks at `parked`,
//!    with a sequentially consistent fence between the two on both sides.
//! 2. A worker without clients never parks on its bell, so appends cost it nothing.

use crate::base::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::fmt;

/// What a worker hangs at a channel.
pub struct Bell {
    parked: AtomicBool,
    /// Bytes of the log that the worker has read; `u64::MAX` when it does not read.
    read: AtomicU64,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("parked", &self.parked).field("read", &self.read).finish()
    }
}

impl Bell {
    /// A bell that calls `wake`, which must not block.
    #[must_use]
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { parked: AtomicBool::new(false), read: AtomicU64::new(u64::MAX), wake }
    }

    /// The worker is about to sleep: after this it must look at its reader once more.
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
    pub(super) fn ring(&self) {
        // Pairs with the fence in `park`.
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed) {
            (self.wake)();
        }
    }

    /// Tells how far the worker has read, for the backlog limit; `u64::MAX`: it does not read.
    pub(super) fn set_read(&self, bytes: u64) {
        self.read.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
