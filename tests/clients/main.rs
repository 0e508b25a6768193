//! Clients as users run them: the project's own commands against scripted peers and against the
//! real server, then curl, Node, Python and Chromium against the real server.
//!
//! A test whose program is not installed says so by name and passes; everything else has a
//! deadline, and nothing is proved by sleeping.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and polls what has no other way to be awaited"
)]

mod browser;
mod commands;
mod fake;
mod process;
mod programs;
mod proxy;
mod server;
mod webdriver;
