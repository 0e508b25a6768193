//! The one door to what threads share: the counted reference and the two locks' exceptions.
//!
//! Invariants: workers share channels, backends, wakers, counters and the phase flag, and nothing
//! else. The only locks that a worker takes are the append lock of a channel; after control changed
//! a backend's endpoints, that backend's; and that of an endpoint's last error, which only failures
//! and the admin page touch (all `AppendLock`).

pub use std::sync::Arc;
pub use std::sync::atomic;

/// The short lock around append: a hub has several writers and one order. So has what is shared by
/// the process and changes rarely; each such use says why it is short.
#[allow(clippy::disallowed_types, reason = "the one exception: a hub has several writers")]
pub type AppendLock<T> = std::sync::Mutex<T>;
