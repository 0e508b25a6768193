//! The Mercure protocol: what a publish says, what a subscribe asks, and what the stream carries.
//!
//! Invariants:
//! 1. No HTTP here: forms and queries come in as bytes, wire bytes and causes go out. `session`
//!    turns causes into statuses.
//! 2. What is accepted can be encoded: type and id are checked before the append.
//! 3. The 0.x dialect lives in `publish` and `subscribe`; another dialect adds readers beside them
//!    that give the same [`Publish`] and [`Query`].
//!
//! Spec: draft-dunglas-mercure-07 and what its reference hub does.

mod form;
pub mod gap;
mod page;
mod publish;
mod reserved;
mod subscribe;

pub use page::PAGE_CSP;
pub use page::page;
pub use page::stream_page;
pub use publish::Publish;
pub use publish::PublishError;
pub use reserved::is_reserved;
pub use subscribe::Query;
pub use subscribe::SubscribeError;
pub use subscribe::tokens;

/// The hub's path.
pub const PATH: &str = "/.well-known/mercure";
/// Written to a client that was silent: a comment, which resets its timers.
pub const HEARTBEAT: &[u8] = b":\n";
/// The cursor that asks for everything kept, and the answer that says that something may be lost.
pub const EARLIEST: &str = "earliest";
