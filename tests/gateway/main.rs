//! Routes, shared upstream streams and the streaming proxy through real sockets, every scenario on
//! both kernel drivers.
//!
//! Whoever is behind the gateway is a server of the test with the bytes in hand. No timing decides
//! a test on its own: what is awaited has a deadline far away, what must not happen is shown by
//! something later that did.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a test may panic, wait, and read the clock"
)]

#[path = "../common/mod.rs"]
mod common;
mod stage;

mod admin;
mod backpressure;
mod balance;
mod bodies;
mod cancel;
mod churn;
mod claims;
mod coalesce;
mod commands;
mod credentials;
mod cuts;
mod drain;
mod fields;
mod filters;
mod framing;
mod health;
mod ids;
mod limits;
mod multiplex;
mod outcomes;
mod pool;
mod proxy;
mod redirects;
mod requests;
mod restart;
mod resume;
mod retries;
mod routes;
mod streams;
mod timeouts;
mod tls;
mod torn;
mod unix;
mod upgrade;
