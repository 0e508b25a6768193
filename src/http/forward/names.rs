//! Names of fields that do not pass, or not as they come.
//!
//! Invariants: whether a name passes costs the same however long `Connection` is.

/// Fields of one connection (RFC 9110 section 7.6.1, I1), and those of framing, which is written
/// anew on every connection.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields by which we say where a request comes from.
const OURS: &[&str] = &[
    "forwarded",
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Fields that mean nothing, or harm, behind a body.
const BARRED_FROM_TRAILERS: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "warning",
    "www-authenticate",
];

/// Options of `Connection` that name a field which goes anyway, or none.
const OPTIONS: &[&str] = &["close", "keep-alive", "te", "upgrade"];

/// Whether a field belongs to one connection, so that it is never passed on and nobody but
/// [`crate::http::forward`] may add it.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    is_among(HOP_BY_HOP, name)
}

/// Whether a field has no place behind a body.
pub(super) fn is_barred_from_trailers(name: &str) -> bool {
    is_among(BARRED_FROM_TRAILERS, name)
}

/// `X_Forwarded_For`: a legal token that backends which turn fields into variables take for ours.
pub(super) fn resembles_ours(name: &str) -> bool {
    name.contains('_') && is_among(OURS, &name.replace('_', "-"))
}

fn is_among(list: &[&str], name: &str) -> bool {
    list.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// The fields that `Connection` names, in lower case, sorted.
#[derive(Debug)]
pub(super) struct Named(Vec<Vec<u8>>);

impl Named {
    /// From all values of `Connection`.
    pub(super) fn of<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let is_plain = |o: &[u8]| OPTIONS.iter().any(|n| o.eq_ignore_ascii_case(n.as_bytes()));
        let options = values.flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii);
        let named = options.filter(|option| !option.is_empty() && !is_plain(option));
        let mut names: Vec<Vec<u8>> = named.map(<[u8]>::to_ascii_lowercase).collect();
        names.sort_unstable();
        Self(names)
    }

    /// Whether this field is named.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.0.is_empty() && self.0.binary_search(&name.to_ascii_lowercase().into_bytes()).is_ok()
    }
}
