//! What may go wrong, how often, and the bugs that canaries plant.
//!
//! Invariants: rates are "one in n", 0 is never. `Faults::healed` breaks nothing, so what then
//! fails to arrive is the worker's fault.

use std::time::Duration;

/// Rates of faults.
#[derive(Clone, Debug)]
pub struct Faults {
    /// A send takes a random part of what there is room for.
    pub short: u64,
    /// A send takes nothing although there is room.
    pub full: u64,
    /// A send finds the connection reset.
    pub reset: u64,
    /// A peer is reset in the middle of a flush, before its own send.
    pub hangup_in_flush: u64,
    /// An accept fails for want of descriptors or memory.
    pub accept: u64,
    /// A connect is refused, at once or later, or never ends.
    pub connect: u64,
    /// A turn reports only a part of what is ready.
    pub partial_turn: u64,
    /// A worker is not scheduled for a while.
    pub stall: u64,
    /// The clock leaps at a step.
    pub leap: u64,
    /// A recv says `Empty` although there is something.
    pub empty: u64,
    /// Latency of links and of readiness, at most.
    pub latency_max: Duration,
    /// Input arrives in pieces of at most so many bytes.
    pub piece_max: usize,
}

impl Faults {
    /// Everything that can go wrong does, often.
    #[must_use]
    pub fn nasty() -> Self {
        Self {
            short: 8,
            full: 24,
            reset: 400,
            hangup_in_flush: 400,
            accept: 12,
            connect: 12,
            partial_turn: 4,
            stall: 16,
            leap: 3000,
            empty: 16,
            latency_max: Duration::from_millis(20),
            piece_max: 90,
        }
    }

    /// Short sends and latency, but nothing that ends a connection or bends time.
    #[must_use]
    pub fn gentle() -> Self {
        Self { reset: 0, hangup_in_flush: 0, connect: 0, leap: 0, ..Self::nasty() }
    }

    /// Nothing goes wrong.
    #[must_use]
    pub fn healed() -> Self {
        Self {
            short: 0,
            full: 0,
            reset: 0,
            hangup_in_flush: 0,
            accept: 0,
            connect: 0,
            partial_turn: 0,
            stall: 0,
            leap: 0,
            empty: 0,
            latency_max: Duration::from_millis(2),
            piece_max: 1000,
        }
    }

    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        (self.short, self.reset, self.leap) == (0, 0, 0)
    }
}

/// A planted bug. A harness that does not find it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// The driver does not report short sends.
    SilentShort,
    /// Some wakes of the bell are lost.
    LostWake,
    /// The server continues one event before the one that the client named.
    DoubledSeam,
    /// The server continues one event after the one that the client named.
    LostSeam,
    /// The driver forgets a `Write` watch.
    LostWatch,
    /// The driver forgets a `Hangup` watch.
    LostHangup,
    /// The driver forgets to close a connection that the server has made.
    LostClose,
    /// The server asks its upstream to go on one event too late.
    LostReplay,
    /// The server passes on a body with a byte changed.
    WrongByte,
}
