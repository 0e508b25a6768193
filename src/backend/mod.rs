//! Backends while the process runs: addresses, health, and which endpoint a request goes to.
//!
//! ```text
//!  control: DNS, probes ──▶ Backends: one roster per backend ──▶ View of each worker ──▶ Pick
//!                                    ▲                                                    │
//!                                    └────── succeeded, failed, in flight: atomics ◀──────┘
//! ```
//!
//! A [`Backends`] is shared by all workers and by control. Control tells it what names resolve to
//! and what probes found; workers ask their own [`View`] where a request goes, and tell each
//! endpoint how it went. There is no I/O here: time, chance and addresses are arguments.
//!
//! How an endpoint is chosen:
//! - What probes found unhealthy, and what has weight 0, is never chosen.
//! - Of the rest, the best class that has a member: neither ejected nor tried for this request;
//!   tried; ejected; both. So a request is refused only if every endpoint was *probed* unhealthy:
//!   when all are ejected after failures of requests, they are used all the same (a guess must
//!   not make an outage of its own), and the first success ends an ejection.
//! - In the class by affinity, else in turn or by requests in flight, by weight.
//!
//! Invariants:
//! 1. An address that stays when a name resolves anew keeps its endpoint: the requests in flight,
//!    failures and health. One that goes is chosen no more; its guards stay valid.
//! 2. A name that cannot be looked up keeps the addresses that it had.
//! 3. Each [`InFlight`] counts for exactly one request.
//! 4. A worker takes a backend's lock only after the roster has changed.

mod address;
mod affinity;
mod backends;
mod endpoint;
mod roster;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;

pub use address::Address;
pub use backends::Backends;
pub use backends::Probed;
pub use backends::Wanted;
pub use endpoint::Endpoint;
pub use endpoint::Health;
pub use endpoint::InFlight;
pub use roster::Seat;
pub use snapshot::BackendState;
pub use snapshot::EndpointState;
pub use snapshot::NameState;
pub use view::Pick;
pub use view::PickError;
pub use view::View;
