//! Feeds and cursors: the fan-out of one worker, without I/O.
//!
//! ```text
//!   log ──route──▶ feed (bytes) ◀── cursor: client ──gather──▶ batch of ranges ──▶ the kernel
//!         │                             ▲                          │
//!         └── private exceptions ──▶ pieces ◀── pages of history   └── settle: shorts block
//! ```
//!
//! A client is idle (at the tail), ready (has bytes to send), blocked (its socket is full), or
//! waits for its next page. An append moves a feed's idle list to the ready queue in one step; the
//! sweep takes ready clients first in, first out, and sends each everything up to the tail as it
//! is then.
//!
//! Invariants:
//! 1. A client gets every event that its subscription selects and may read, after the position it
//!    started from, in order, once; or a notice of the gap.
//! 2. Bytes that no cursor needs are not kept; what is held has a limit.
//! 3. Every operation is O(1) in the number of clients, apart from those that say otherwise; those
//!    are bounded by a budget.
//! 4. A client that is dropped here is reported by one [`Effect`] and known no more.

mod beat;
mod block;
mod bytes;
mod catch_up;
mod client;
mod directory;
mod fanout;
#[cfg(test)]
mod invariants;
mod lag;
mod list;
mod page;
mod route;
mod shared;
mod sweep;
#[cfg(test)]
mod tests;

pub use beat::Beat;
pub use client::{NEVER, Newcomer, Tick, Until};
pub use fanout::{Announce, CLIENT_GENERATION_BITS, ClientId, Dropped, Effect};
pub use fanout::{Fanout, FanoutLimits, Gap, Tally};
pub use sweep::{BATCH, Batch, Gathered, Settled};
