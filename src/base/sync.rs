//! The one door to what threads share: the counted reference and the two locks' exceptions.
//!
//! Invariants: workers share channels, backends, wakers, counters and the phase flag, and nothing
//! else. The locks that a worker takes are all `AppendLock`s: that of a channel, for an append; of
//! a family of taps, for a lease, a close or a refusal; of a backend, after control changed its
//! endpoints; and of an endpoint's last error, when something failed.

pub use std::sync::Arc;
pub use std::sync::atomic;

/// The short lock around append: a hub has several writers and one order. So has what is shared by
/// the process and changes rarely; each such use says why it is short.
#[allow(clippy::disallowed_types, reason = "the one exception: a hub has several writers")]
pub type AppendLock<T> = std::sync::Mutex<T>;
