//! Tidegate: a Server-Sent Events gateway and fan-out server for Linux, built on io_uring.
//!
//! ```text
//!    publishers, upstreams                                             clients
//!        │ bytes in                                                      ▲ bytes out
//!  ┌─────▼───────────────────────────────────────────────────────────────┴─────┐
//!  │ io       accept, connect, recv              SEND, one per client, batched │ floor 1
//!  ├─────┬───────────────────────────────────────────────────────────────▲─────┤
//!  │ tls · http · sse                                        http framing      │ floor 1
//!  ├─────┬───────────────────────────────────────────────────────────────▲─────┤
//!  │ route · auth · backend         hub: the Mercure protocol         cursor   │ floor 2
//!  │ upstream: streams of others    relay: request ⇄ response, as it comes     │ floor 3
//!  ├─────┬───────────────────────────────────────────────────────────────▲─────┤
//!  │ log: ordered events, shared by   ──wake──▶   feed: bytes for one          │ floor 1, 2
//!  │ all workers, encoded once                    subscription, per worker     │
//!  └───────────────────────────────────────────────────────────────────────────┘
//!    session: one downstream conversation (4) · worker: one pinned thread (5)
//!    control: the slow business (5) · server: one process (6) · cli: commands (7)
//! ```
//!
//! 1. Bytes in, event, channel, feed, cursor, bytes out. Data never flows backwards. A relay stands
//!    beside this path: bytes in, bytes out.
//! 2. An event is encoded once, when it enters its channel.
//! 3. A client is a cursor. Live, replay and catching up are the same read at different places.
//! 4. A send is over when `flush` returns: it borrows, nothing is in flight.
//! 5. The kernel, the clock and chance are parameters, so a whole worker runs from one seed.
//!
//! Imports point down; `tests/tidy.rs` holds the law and its self-tests.

pub mod auth;
pub mod backend;
pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod feed;
pub mod http;
pub mod hub;
pub mod io;
pub mod log;
pub mod metrics;
pub mod relay;
pub mod route;
pub mod server;
pub mod session;
pub mod sim;
pub mod sse;
pub mod tls;
pub mod upstream;
pub mod worker;
