//! The log of a channel: ordered events, shared by all workers, each encoded once.
//!
//! ```text
//!   append (short lock) ──▶ live chain: segment ─▶ segment ─▶ …   read without locks, one reader
//!          │                                                      per worker that has clients
//!          └──────────────▶ history: bounded by count, bytes and age, on the whole or for each
//!                           topic as well; indexed by topic and id
//! ```
//!
//! Invariants:
//! 1. An event that was appended never changes; its sequence number is one more than the last.
//! 2. A reader sees every event appended after it was made, in order, once.
//! 3. The head of the history only moves forward, by whole events. Where topics have bounds of
//!    their own, each has its own head.
//! 4. Within an epoch an id that the log made and a position are a bijection.
//! 5. A segment lives while a reader stands in or before it, and no longer.

mod bell;
mod channel;
mod event;
mod history;
mod resume;
mod segment;
mod subscription;
#[cfg(test)]
mod tests;

pub use bell::Bell;
pub use channel::{AppendError, Channel, Limits};
pub use event::{Draft, Event, EventId, Topic};
pub use history::{Page, TopicLimits};
pub use resume::{Loss, Resumption, Start};
pub use segment::Reader;
pub use subscription::{Grants, Hold, Selector, Subscription};
