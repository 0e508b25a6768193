//! The world's clock: virtual, moved only by the world, and able to leap.
//!
//! Invariants: monotonic time never goes back; Unix time may leap both ways.

use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::time::Clock;
use crate::base::time::Moment;
use std::time::Duration;

/// Milliseconds since the Unix epoch at which worlds begin.
const UNIX_START: u64 = 1_800_000_000_000;

/// A reading hand of the world's clock; cheap to clone. Only the baton's holder runs, so plain
/// loads and stores are enough.
#[derive(Clone, Debug)]
pub struct SimClock {
    nanos: Arc<AtomicU64>,
    unix_base: Arc<AtomicU64>,
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SimClock {
    /// A clock that stands a second after its start, so that nothing is at zero by chance.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nanos: Arc::new(AtomicU64::new(1_000_000_000)),
            unix_base: Arc::new(AtomicU64::new(UNIX_START)),
        }
    }

    /// Moves on to `to`; never back.
    pub(super) fn reach(&self, to: Moment) {
        self.nanos.fetch_max(to.nanos(), Relaxed);
    }

    /// Moves on by `by`.
    pub(super) fn pass(&self, by: Duration) {
        self.reach(self.now().after(by));
    }

    /// Unix time leaps forward or, if `back`, back.
    pub(super) fn leap_unix(&self, by_millis: u64, back: bool) {
        let base = self.unix_base.load(Relaxed);
        let to = if back { base.saturating_sub(by_millis) } else { base + by_millis };
        self.unix_base.store(to, Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.nanos.load(Relaxed))
    }

    fn unix_millis(&self) -> u64 {
        self.unix_base.load(Relaxed) + self.now().millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_only_moves_on_and_unix_time_leaps() {
        let clock = SimClock::new();
        let (start, unix) = (clock.now(), clock.unix_millis());
        clock.pass(Duration::from_millis(5));
        clock.reach(start);
        assert_eq!(clock.now().since(start), Duration::from_millis(5));
        assert_eq!(clock.unix_millis(), unix + 5);
        clock.leap_unix(1000, true);
        assert_eq!(clock.unix_millis(), unix - 995);
        assert_eq!(clock.now().since(start), Duration::from_millis(5));
    }
}
