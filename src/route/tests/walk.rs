//! The judge: a walk over every match of every rule of a model, without tables, as the text of the
//! Gateway API reads.

use crate::config::gateway::Gateway;
use crate::config::gateway::Match;
use crate::config::gateway::PathMatch;
use crate::config::gateway::TextMatch;
use crate::config::gateway::ValueMatch;
use crate::http::h1::Head;
use crate::route::RuleId;
use std::cmp::Reverse;
use std::net::SocketAddr;

/// The rule that serves the request, and the bytes of its prefix.
pub(super) fn serves(
    gateway: &Gateway,
    address: SocketAddr,
    head: &Head,
) -> Option<(RuleId, Option<usize>)> {
    let host = host_of(head);
    let listeners = gateway.listeners.iter().enumerate().filter(|(_, l)| l.listen == address);
    let fitting = listeners.filter_map(|(n, l)| {
        let name = l.hostname.as_ref().map(|h| h.0.as_str());
        let labels = name.map_or(0, |name| name.split('.').count());
        let is_exact = name.is_some_and(|name| !name.starts_with('*'));
        fits(name, &host).then_some((is_exact, labels, n, name))
    });
    let (_, _, listener, own) = fitting.max()?;
    let mut best = None;
    for (route, of) in gateway.routes.iter().enumerate() {
        if !of.listeners.contains(&listener) {
            continue;
        }
        let names: Vec<_> = of.hostnames.iter().map(|h| Some(h.0.as_str())).collect();
        let names = if names.is_empty() { vec![None] } else { names };
        let hosts = names.iter().filter(|name| fits(**name, &host));
        let Some(host) = hosts.map(|name| worth(*name, own)).max() else { continue };
        for (rule, of) in of.rules.iter().enumerate() {
            for of in of.matches.iter().filter(|of| holds(of, head)) {
                let Some((class, length)) = path(&of.path, head.path()) else { continue };
                let rest = (of.method.is_some(), of.headers.len(), of.query.len());
                let prefix = (class == 2).then_some(length);
                let key = (host, class, length, rest, Reverse(route), Reverse(rule), prefix);
                best = best.max(Some(key));
            }
        }
    }
    let (_, _, _, _, Reverse(route), Reverse(rule), prefix) = best?;
    Some((RuleId { route, rule }, prefix))
}

fn host_of(head: &Head) -> String {
    let host = head.host().unwrap_or_default().to_lowercase();
    let host = if host.starts_with('[') { &host } else { host.split(':').next().unwrap() };
    host.strip_suffix('.').unwrap_or(host).to_owned()
}

/// Label by label.
fn fits(name: Option<&str>, host: &str) -> bool {
    let Some(name) = name else { return true };
    let labels = |text: &str| text.split('.').rev().map(str::to_owned).collect::<Vec<_>>();
    match name.strip_prefix("*.") {
        Some(suffix) => {
            let (suffix, host) = (labels(suffix), labels(host));
            host.len() > suffix.len()
                && host.starts_with(&suffix)
                && host.concat() != suffix.concat()
        }
        None => name == host,
    }
}

/// Characters of a name that is none with a wildcard, then of any name: the narrower of the route's
/// and the listener's.
fn worth(route: Option<&str>, listener: Option<&str>) -> (usize, usize) {
    let of = |name: Option<&str>| {
        let length = name.unwrap_or_default().len();
        if name.is_some_and(|n| !n.starts_with('*')) { (length, length) } else { (0, length) }
    };
    of(route).max(of(listener))
}

/// How good a path is: its kind, and the length of a prefix.
fn path(of: &PathMatch, path: &str) -> Option<(u8, usize)> {
    let elements = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    match of {
        PathMatch::Exact(want) => (want == path).then_some((3, 0)),
        PathMatch::Prefix(prefix) => {
            elements(path).starts_with(&elements(prefix)).then_some((2, prefix.len()))
        }
        PathMatch::Regex(pattern) => is_match(pattern, path.as_bytes()).then_some((1, 0)),
    }
}

/// What the expressions of these tests say, without an engine.
fn is_match(pattern: &str, value: &[u8]) -> bool {
    match pattern {
        "/a.*" => value.starts_with(b"/a"),
        ".*b" => value.ends_with(b"b"),
        "/[ab]/b" => value == b"/a/b" || value == b"/b/b",
        "/a|/a/b" => value == b"/a" || value == b"/a/b",
        "1.*" => value.starts_with(b"1"),
        "1|2" => value == b"1" || value == b"2",
        _ => panic!("{pattern}"),
    }
}

fn holds(of: &Match, head: &Head) -> bool {
    let value = |want: &ValueMatch, values: &[Vec<u8>]| {
        values.iter().any(|value| match &want.value {
            TextMatch::Exact(text) => text.as_bytes() == value,
            TextMatch::Regex(pattern) => is_match(pattern, value),
        })
    };
    let field = |want: &ValueMatch| {
        let all: Vec<&[u8]> = head.all(&want.name).collect();
        let mut joined = vec![all.join(&b", "[..])];
        if matches!(want.value, TextMatch::Exact(_)) {
            joined.push(all.join(&b","[..]));
        }
        !all.is_empty() && value(want, &joined)
    };
    let parameter = |want: &ValueMatch| {
        let mut all = form_pairs(head.query().unwrap_or_default()).into_iter();
        all.find(|(name, _)| *name == want.name)
            .is_some_and(|(_, v)| value(want, &[v.into_bytes()]))
    };
    of.method.as_ref().is_none_or(|method| method == head.method_text())
        && of.headers.iter().all(field)
        && of.query.iter().all(parameter)
}

/// Enough of the form format for the queries of these tests: plain letters, `+` and `%31`.
fn form_pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| text.replace('+', " ").replace("%31", "1").replace("%61", "a");
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(n, v)| (plain(n), plain(v)))
        .collect()
}
