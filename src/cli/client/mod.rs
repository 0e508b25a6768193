//! A small blocking HTTP/1.1 client over plain TCP, for the commands that talk to a server.
//!
//! Invariants: one request per connection. Parsing is sans-io (`url`, `header`, `response`,
//! `backoff`); `exchange` is the only part that touches a socket, and every wait in it has a
//! limit. What a peer sends is bounded and never panics.

mod backoff;
mod exchange;
mod header;
mod response;
mod token;
mod url;

pub(super) use backoff::Backoff;
pub(super) use exchange::ClientError;
pub(super) use exchange::Exchange;
pub(super) use exchange::Request;
pub(super) use exchange::said;
pub(super) use header::Header;
pub(super) use header::merged;
pub(super) use token::Credentials;
pub(super) use token::TokenError;
pub(super) use url::Url;
pub(super) use url::UrlError;
pub(super) use url::form_encode;

/// The hub of a server that was started with no arguments.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:8080/.well-known/mercure";

/// The hub's path on every server.
pub(super) const HUB_PATH: &str = "/.well-known/mercure";
