//! How a world fails: which law was broken, and by whom.
//!
//! Invariants: the first failure counts; what follows is its echo.

use std::fmt;

/// The laws that the checkers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The driver's contract, as seen from below.
    Contract,
    /// Each client sees exactly its events, in order, once, or an announced gap.
    Delivery,
    /// A publish that was answered is in the log, once, and nothing else is.
    Publish,
    /// Unsent bytes stay below the worker's limit.
    Budget,
    /// Nothing is left when everybody has gone.
    Hygiene,
    /// No worker sleeps past work that it could do.
    Wakes,
    /// A drain ends in time, at event boundaries, after a `retry:`.
    Drain,
    /// Once faults have healed, everything arrives in bounded time.
    Liveness,
    /// An upstream has one connection for a channel at a time, and is asked as it should be.
    Upstream,
    /// A response is whole or visibly cut, its bytes are right, and no request comes twice that
    /// may not.
    Relay,
    /// A worker panicked or its turn failed.
    Crash,
}

/// A broken law, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which law.
    pub law: Law,
    /// What was seen.
    pub what: String,
    /// The world's step at which it was seen.
    pub step: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {:?}: {}", self.step, self.law, self.what)
    }
}

/// Where failures are reported; the first one stays.
#[derive(Debug, Default)]
pub struct Verdict {
    failure: Option<Failure>,
    /// Steps that the world has made.
    pub(super) step: u64,
}

impl Verdict {
    /// Reports a broken law.
    pub fn fail(&mut self, law: Law, what: impl fmt::Display) {
        let step = self.step;
        self.failure.get_or_insert_with(|| Failure { law, what: what.to_string(), step });
    }

    /// Adds what a thread panicked with, if that was the failure.
    pub(super) fn explain(&mut self, why: &str) {
        if let Some(failure) = self.failure.as_mut().filter(|failure| failure.law == Law::Crash) {
            failure.what.push_str(": ");
            failure.what.push_str(why);
        }
    }

    /// The first failure.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
}
