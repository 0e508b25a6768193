//! Simulation: whole workers on other ground, for tests only. Nothing in the server uses it.
//!
//! ```text
//!   worker threads ──▶ driver ──▶ world (one lock, one baton) ◀── script: work, settle, ending
//!                                  ├─ net    links, ports, faults, virtual time
//!                                  ├─ peers  clients, upstreams and backends over the links
//!                                  └─ book   what is true; checkers judge against it
//! ```
//!
//! A worker runs on a thread of its own, but only the thread that holds the baton runs: it is
//! handed on inside `Driver::turn`, to whom chance picks. So a worker really sleeps while others
//! run, `park` and `ring` meet as in production, and still one seed decides everything.
//!
//! Invariants:
//! 1. All chance comes from the world's seed, all time from its clock; no map with an order of its
//!    own. Equal seeds give equal runs, step by step.
//! 2. The driver keeps the contract of [`crate::io`] and is nasty inside it. Who breaks the
//!    contract from above ends the world with a failure.
//! 3. A world that does not end fails: steps and virtual time are bounded.

pub mod book;
pub mod cast;
pub mod clock;
pub mod dial;
pub mod driver;
pub mod exchanges;
pub mod faults;
pub mod link;
pub mod net;
pub mod peers;
pub mod place;
mod port;
pub mod scenario;
pub mod script;
pub mod streams;
pub mod verdict;
pub mod world;

/// Locks that only the world's baton contends for.
#[allow(
    clippy::disallowed_types,
    reason = "a simulated world is shared by threads that take turns"
)]
type Lock<T> = std::sync::Mutex<T>;
