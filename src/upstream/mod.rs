//! Upstream event streams: one connection in, a channel that any number of clients read.
//!
//! ```text
//!   session ──Wanted──▶ Registry ──Lease──▶ subscription        who reads
//!                          │ opened
//!                          ▼
//!   worker ──bytes──▶ Source ──Arrival──▶ Inlet ──▶ log         who feeds
//!                          │
//!                          └── Board ──▶ Health                 who watches
//! ```
//!
//! A *tap* is one upstream stream while the process runs: a URL with its variables filled in, the
//! fields that tell channels apart, and the credentials. Its events are a topic in the log of its
//! family (one `[[upstream]]` of the configuration). The worker of the first subscriber owns the
//! connection; a lease holds the tap for each subscription; without leases it lingers, then goes.
//!
//! | upstream's answer | what follows |
//! |---|---|
//! | 200 with `text/event-stream` | events flow |
//! | 301, 302, 303, 307, 308 to the same origin | followed, so often; 301, 308 are remembered |
//! | the same to elsewhere, too often, or malformed | a failure |
//! | 204 | refused: clients' streams end, and for [`REFUSED_FOR`] new requests are answered 204 |
//! | 4xx but 408, 425, 429 | refused: the same with that status |
//! | 408, 425, 429, 5xx, any other status or type, an encoded body | a failure |
//! | no address, connection, TLS or head in time; malformed; cut too soon | a failure |
//! | an event or line over the limit, an id over [`ID_BYTES_MAX`] | a failure |
//! | the end or cut of a healthy stream, or its silence | reconnect after the reconnection time |
//!
//! A failure is followed by another attempt after a back-off; clients keep their connections. A
//! stream is healthy once it brought an event, named a reconnection time, or lasted a while.
//!
//! Invariants: no sockets, no clock. Credentials reach the request's bytes and nothing else.
//! Spec: HTML Living Standard, section "Server-sent events"; rules are cited as P, D, C and R.

mod answer;
mod board;
mod cause;
mod encode;
mod family;
mod location;
mod open;
mod pace;
mod registry;
mod request;
mod source;
mod tap;
mod wanted;

#[cfg(test)]
mod tests;

pub use board::Health;
pub use board::Phase;
pub use board::Trouble;
pub use cause::Cause;
pub use encode::Inlet;
pub use family::Family;
pub use open::Arrival;
pub use open::Full;
pub use open::Sink;
pub use registry::LeaseError;
pub use registry::Leased;
pub use registry::Opening;
pub use registry::Registry;
pub use source::Notice;
pub use source::Outside;
pub use source::Source;
pub use source::Step;
pub use source::Vain;
pub use tap::Lease;
pub use tap::Tap;
pub use tap::TapState;
pub use wanted::Wanted;
pub use wanted::WantedError;

use std::time::Duration;

/// How long a definitive refusal is remembered: requests for the same channel are answered with it.
pub const REFUSED_FOR: Duration = Duration::from_secs(30);

/// How often an owner asks [`Registry::close_if_idle`]: so exact is the linger.
pub const IDLE_CHECK: Duration = Duration::from_secs(1);

/// Bytes of an event id: it must fit a header field, and every tap holds one.
pub const ID_BYTES_MAX: usize = 4096;

/// A stream that lasted so long is healthy, even without an event.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// The longest reconnection time that an upstream may name.
const RECONNECTION_MAX: Duration = Duration::from_secs(3600);

/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Reconnects after an orderly end are spread over so much, so that taps of one server that
/// restarts do not come back in one instant.
const SPREAD: Duration = Duration::from_millis(100);
