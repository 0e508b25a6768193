//! The one door to what threads share: the counted reference and the two locks' exceptions.
//!
//! Invariants: workers share channels, wakers, counters and the phase flag, and nothing else. The
//! only lock that a worker takes is the append lock of a channel (`AppendLock`).

pub use std::sync::Arc;
pub use std::sync::atomic;

/// The short lock around append: a hub has several writers and one order.
#[allow(clippy::disallowed_types, reason = "the one exception: a hub has several writers")]
pub type AppendLock<T> = std::sync::Mutex<T>;
