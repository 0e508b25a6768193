//! What the filters of a rule do: fields, redirects, rewrites, mirrors, and the share of a backend.
//!
//! Callers pass the filters in the order in which they run: those of the rule, then those of the
//! backend that was chosen ([`of`]).
//!
//! Invariants: a path stays a path: it begins with `/`, and its query is never touched. What a
//! client sent is put into a `Location` only behind a scheme and a host, so that no path can pass
//! for a host.

use super::hosts::split_port;
use crate::base::chance::Chance;
use crate::config::gateway::BackendRef;
use crate::config::gateway::Filter;
use crate::config::gateway::HeaderChange;
use crate::config::gateway::Mirror;
use crate::config::gateway::PathChange;
use crate::config::gateway::Redirect;
use crate::config::gateway::Rule;
use crate::config::gateway::Scheme;
use crate::http::fields::Fields;
use crate::http::h1::Head;
use std::borrow::Cow;
use thiserror::Error;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The scheme of its connection.
    pub scheme: Scheme,
    /// The port that the listener is bound to.
    pub port: u16,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The value of `Location`.
    pub location: String,
}

/// A request without `Host` cannot be sent elsewhere: answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the request names no host to be redirected to: send a `Host` field")]
pub struct NoHost;

/// What a backend is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The request's query, as it came.
    pub query: Option<&'a str>,
    /// What replaces the request's `Host`; `None`: it stays as it came.
    pub host: Option<&'a str>,
}

impl Rewritten<'_> {
    /// The request target: path and query.
    #[must_use]
    pub fn target(&self) -> String {
        with_query(self.path.to_string(), self.query)
    }
}

/// The filters of a rule, then those of the backend that was chosen.
pub fn of<'f>(rule: &'f Rule, backend: Option<&'f BackendRef>) -> impl Iterator<Item = &'f Filter> {
    rule.filters.iter().chain(backend.into_iter().flat_map(|b| &b.filters))
}

/// Changes the fields of a request before it is passed on.
pub fn change_request<'f>(filters: impl Iterator<Item = &'f Filter>, fields: &mut Fields) {
    for filter in filters {
        if let Filter::RequestHeaders(change) = filter {
            let decided = || change.set.iter().map(|(name, _)| name).chain(&change.remove);
            fields.retain(|name, _| !decided().any(|other| is_twin(name, other)));
            apply(change, fields);
        }
    }
}

/// `X_User` beside `X-User`: backends that turn fields into variables take one for the other, so
/// what a route decides of one it decides of both.
fn is_twin(name: &str, other: &str) -> bool {
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    name.len() == other.len()
        && !name.eq_ignore_ascii_case(other)
        && name.bytes().map(fold).eq(other.bytes().map(fold))
}

/// Applies one change.
pub fn apply(change: &HeaderChange, fields: &mut Fields) {
    apply_where(change, fields, |_| true);
}

/// Applies one change as far as it concerns fields that may be changed. `Set-Cookie` alone cannot
/// be joined with commas (RFC 9110 section 5.3).
pub fn apply_where(change: &HeaderChange, fields: &mut Fields, may: impl Fn(&str) -> bool) {
    for (name, value) in change.set.iter().filter(|(name, _)| may(name)) {
        fields.set(name, value);
    }
    for (name, value) in change.add.iter().filter(|(name, _)| may(name)) {
        if name.eq_ignore_ascii_case("set-cookie") {
            fields.push(name, value);
        } else {
            fields.append(name, value, ",");
        }
    }
    for name in change.remove.iter().filter(|name| may(name)) {
        fields.remove(name);
    }
}

/// The redirect among the filters, which answers at once.
pub fn redirect<'f>(mut filters: impl Iterator<Item = &'f Filter>) -> Option<&'f Redirect> {
    filters.find_map(|filter| match filter {
        Filter::Redirect(redirect) => Some(redirect),
        _ => None,
    })
}

/// Where a redirect sends this request, whose matched prefix has so many bytes.
///
/// # Errors
/// Neither the redirect nor the request names a host.
pub fn answer(
    redirect: &Redirect,
    head: &Head,
    prefix_bytes: Option<usize>,
    arrival: Arrival,
) -> Result<Redirection, NoHost> {
    let scheme = redirect.scheme.unwrap_or(arrival.scheme);
    let asked = || head.host().map(|authority| split_port(authority).0);
    let named = redirect.hostname.as_deref().filter(|h| !h.is_empty());
    let host = named.or_else(asked).filter(|h| !h.is_empty()).ok_or(NoHost)?;
    let (name, usual) = match scheme {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    let port = match (redirect.port, redirect.scheme) {
        (Some(port), _) => port,
        (None, Some(_)) => usual,
        (None, None) => arrival.port,
    };
    let mut location = format!("{name}://{host}");
    if port != usual {
        location.push(':');
        location.push_str(&port.to_string());
    }
    let mut prefix = prefix_bytes;
    location.push_str(&change_path(head.path().into(), redirect.path.as_ref(), &mut prefix));
    Ok(Redirection { status: redirect.status, location: with_query(location, head.query()) })
}

/// What the backend is asked for, given the bytes of the prefix that matched.
pub fn rewrite<'a>(
    filters: impl Iterator<Item = &'a Filter>,
    head: &'a Head,
    prefix_bytes: Option<usize>,
) -> Rewritten<'a> {
    let mut prefix = prefix_bytes;
    let mut target = Rewritten { path: head.path().into(), query: head.query(), host: None };
    for filter in filters {
        let Filter::Rewrite(rewrite) = filter else { continue };
        target.host = rewrite.hostname.as_deref().or(target.host);
        target.path = change_path(target.path, rewrite.path.as_ref(), &mut prefix);
    }
    target
}

/// Changes a path, and tells where its matched prefix ends then: one change may follow another.
fn change_path<'p>(
    path: Cow<'p, str>,
    change: Option<&'p PathChange>,
    prefix: &mut Option<usize>,
) -> Cow<'p, str> {
    let changed = match (change, *prefix) {
        (None, _) | (Some(PathChange::Prefix(_)), None) => return path,
        (Some(PathChange::Full(full)), _) => {
            *prefix = None;
            Cow::Borrowed(full.as_str())
        }
        (Some(PathChange::Prefix(with)), Some(end)) => {
            let with = with.strip_suffix('/').unwrap_or(with);
            *prefix = Some(with.len());
            Cow::Owned(format!("{with}{}", path.get(end..).unwrap_or_default()))
        }
    };
    if changed.is_empty() { Cow::Borrowed("/") } else { changed }
}

fn with_query(mut target: String, query: Option<&str>) -> String {
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// The backends that get a copy of this request: each mirror draws for itself.
pub fn mirrors<'f>(
    filters: impl Iterator<Item = &'f Filter>,
    chance: &mut Chance,
) -> impl Iterator<Item = usize> {
    filters.filter_map(|filter| match filter {
        Filter::Mirror(mirror) if is_drawn(mirror, chance) => Some(mirror.backend),
        _ => None,
    })
}

fn is_drawn(mirror: &Mirror, chance: &mut Chance) -> bool {
    chance.below(u64::from(mirror.denominator)) < u64::from(mirror.numerator)
}

/// Draws a backend by weight (W1). References that lead nowhere keep their share, to be answered
/// with 500, as is a request for which there is nothing to draw from.
pub fn choose<'b>(backends: &'b [BackendRef], chance: &mut Chance) -> Option<&'b BackendRef> {
    let total = backends.iter().map(|b| u64::from(b.weight)).sum();
    let mut drawn = chance.below(total);
    backends.iter().find(|backend| {
        let weight = u64::from(backend.weight);
        let is_here = drawn < weight;
        drawn = drawn.saturating_sub(weight);
        is_here
    })
}
