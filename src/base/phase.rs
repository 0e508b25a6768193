//! The life of the process, as one word that every thread may read.
//!
//! Invariants: a phase only moves forward. Whoever advances it wakes the workers afterwards; the
//! flag itself wakes nobody.

use crate::base::sync::atomic::AtomicU8;
use crate::base::sync::atomic::Ordering;

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Workers are not yet accepting.
    Starting,
    /// The normal state.
    Serving,
    /// No new connections; clients are closed one by one over the drain period.
    Draining,
    /// Workers close what is left and return.
    Closed,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Serving, Self::Draining, Self::Closed];

    /// Its name in logs, metrics and health answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Closed => "closed",
        }
    }
}

/// The process's phase, shared by all threads.
#[derive(Debug)]
pub struct PhaseFlag(AtomicU8);

impl Default for PhaseFlag {
    fn default() -> Self {
        Self::new()
    }
}

impl PhaseFlag {
    /// A flag in [`Phase::Starting`].
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU8::new(Phase::Starting as u8))
    }

    /// The phase now.
    #[must_use]
    pub fn now(&self) -> Phase {
        // Pairs with the AcqRel in `advance`: who sees a phase sees what was written before it.
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    /// Moves on to `phase`; true if this call did it, false if the process was there or beyond.
    pub fn advance(&self, phase: Phase) -> bool {
        // Pairs with the Acquire in `now`.
        self.0.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moves_forward() {
        let flag = PhaseFlag::new();
        assert_eq!(flag.now(), Phase::Starting);
        assert!(flag.advance(Phase::Draining));
        assert!(!flag.advance(Phase::Serving), "a drain is not taken back");
        assert!(!flag.advance(Phase::Draining), "only the first call does it");
        assert_eq!(flag.now(), Phase::Draining);
        assert!(flag.advance(Phase::Closed));
        assert_eq!(flag.now(), Phase::Closed);
    }

    #[test]
    fn every_phase_reads_back() {
        for phase in Phase::ALL {
            let flag = PhaseFlag::new();
            flag.advance(phase);
            assert_eq!(flag.now(), phase);
        }
    }
}
