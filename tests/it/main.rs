//! The program through real sockets, every scenario on both kernel drivers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    reason = "a test may panic, wait, and read the clock"
)]

#[path = "../common/mod.rs"]
mod common;

mod admin;
mod beats;
mod churn;
mod descriptors;
mod drain;
mod hub;
mod limits;
mod messages;
mod private;
mod resume;
mod slow;
mod statuses;
