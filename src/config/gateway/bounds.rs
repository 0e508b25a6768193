//! How many of everything, and the kinds of values that several tables share.
//!
//! Invariants: counts are those of the Gateway API where it has one, so that what it allows fits.

use crate::config::value::Bounds;
use crate::config::value::Kind;

/// The tables of the text, each of which may be given many times.
pub const TABLES: [&str; 4] = ["listener", "backend", "upstream", "route"];

/// Listeners, `default` included.
pub(crate) const LISTENERS_MAX: usize = 64;
/// Backends that are named or given by an address; those of upstreams come besides.
pub(crate) const BACKENDS_MAX: usize = 1024;
/// Upstreams.
pub(crate) const UPSTREAMS_MAX: usize = 255;
/// Routes.
pub(crate) const ROUTES_MAX: usize = 100_000;
/// Rules of a route.
pub(crate) const RULES_MAX: usize = 16;
/// Host names of a route.
pub(crate) const HOSTNAMES_MAX: usize = 16;
/// Matches of a rule.
pub(crate) const MATCHES_MAX: usize = 64;
/// Header or query matches of a match; header changes of one kind.
pub(crate) const VALUES_MAX: usize = 16;
/// Filters of a rule or of a backend in it.
pub(crate) const FILTERS_MAX: usize = 16;
/// Backends of a rule.
pub(crate) const BACKEND_REFS_MAX: usize = 16;
/// Endpoints of a backend.
pub(crate) const ENDPOINTS_MAX: usize = 256;
/// Header fields that an upstream's channels are told apart by.
pub(crate) const KEY_HEADERS_MAX: usize = 16;
/// Channels that a route fixes.
pub(crate) const CHANNELS_MAX: usize = 1000;
/// Greatest weight.
pub(crate) const WEIGHT_MAX: u64 = 1_000_000;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const SECOND: u64 = 1000;
pub(crate) const HOUR: u64 = 3600 * SECOND;
pub(crate) const DAY: u64 = 24 * HOUR;

/// A count.
pub(crate) const fn number(min: u64, max: u64) -> Kind {
    Kind::Number(Bounds { min, max, zero: None })
}

/// A count that may also be zero.
pub(crate) const fn number_or_zero(min: u64, max: u64, zero: &'static str) -> Kind {
    Kind::Number(Bounds { min, max, zero: Some(zero) })
}

/// Bytes.
pub(crate) const fn size(min: u64, max: u64) -> Kind {
    Kind::Size(Bounds { min, max, zero: None })
}

/// A duration, in milliseconds.
pub(crate) const fn span(min: u64, max: u64) -> Kind {
    Kind::Span(Bounds { min, max, zero: None })
}

/// A duration that may also be zero.
pub(crate) const fn span_or_zero(min: u64, max: u64, zero: &'static str) -> Kind {
    Kind::Span(Bounds { min, max, zero: Some(zero) })
}

/// A share.
pub(crate) const WEIGHT: Kind = Kind::Number(Bounds { min: 0, max: WEIGHT_MAX, zero: None });
