//! Waking a sleeping worker from any thread: an eventfd and a flag that coalesces.
//!
//! Invariants:
//! 1. What was stored before [`Waker::wake`] is seen by who reads after `Ready::Woken`.
//! 2. Of many wakes without a turn between them, one writes; the others cost one atomic swap.
//! 3. The eventfd is never read: both drivers watch it by edges, and its counter cannot fill up
//!    in the life of a process.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicBool;
use crate::base::sync::atomic::Ordering;
use crate::io::sys;

struct Inner {
    eventfd: OwnedFd,
    pending: AtomicBool,
}

/// Wakes the one driver that was made with it. Cheap to clone, callable from any thread.
#[derive(Clone)]
pub struct Waker {
    inner: Arc<Inner>,
}

impl Waker {
    /// A waker that wakes nobody yet; give it to a driver.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let inner = Inner { eventfd: sys::eventfd()?, pending: AtomicBool::new(false) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends the driver's sleep, or keeps it from falling asleep; its next turn says `Woken`.
    /// Never waits.
    pub fn wake(&self) {
        // Pairs with the swap in `clear`: either this wake writes, or that one has not run yet.
        if !self.inner.pending.swap(true, Ordering::AcqRel) {
            sys::signal(self.inner.eventfd.as_raw_fd());
        }
    }

    /// Called by the driver before it says `Woken`: wakes from here on count anew.
    pub(in crate::io) fn clear(&self) {
        // Pairs with the swap in `wake`: takes over what was stored before the wakes it merges.
        self.inner.pending.swap(false, Ordering::AcqRel);
    }

    pub(in crate::io) fn fd(&self) -> i32 {
        self.inner.eventfd.as_raw_fd()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.inner.pending.load(Ordering::Relaxed);
        f.debug_struct("Waker").field("pending", &pending).finish_non_exhaustive()
    }
}
