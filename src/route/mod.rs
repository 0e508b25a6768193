//! Which rule serves a request, and what its filters do, as the Gateway API says.
//!
//! ```text
//!  address ─▶ listener ─▶ host of a route ─▶ path ─▶ method, fields, query ─▶ Matched
//!  Matched ─▶ filter: fields, redirect, rewrite, mirrors, backend   expand: an upstream's target
//! ```
//!
//! Invariants:
//! 1. The answer is the one that a walk over all matches of all rules in order of precedence would
//!    give; the tests hold the tables against such a walk.
//! 2. A request costs look-ups by the labels of its host and the elements of its path, not by the
//!    number of routes. Linear are only: matches of one and the same path on one host, which differ
//!    in method, fields or query; and regular expressions for paths on one host.
//! 3. A listener is final: what it has no rule for is not found, whatever other listeners have.
//! 4. Names, paths and values of the request are compared as they came, apart from the case of
//!    hosts and field names, and the decoded query.

mod conditions;
pub mod expand;
pub mod filter;
mod hosts;
mod matched;
mod paths;
mod pattern;
mod router;

pub use expand::ExpandError;
pub use expand::expand;
pub use matched::Matched;
pub use matched::RuleId;
pub use router::Found;
pub use router::Router;

#[cfg(test)]
mod tests;
