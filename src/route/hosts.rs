//! Host names, exact and with a wildcard: what they have in common, and a table of them.
//!
//! Invariants: a wildcard stands for one or more whole labels. A walk visits the exact name, then
//! wildcards from the longest suffix to the shortest, then what holds for any host; so its order is
//! that of precedence, and its cost is bounded by the longest name in the table.

use crate::base::map::Hasher;
use crate::base::map::Map;
use crate::config::gateway::Hostname;
use smallvec::SmallVec;

/// A host in lower case, without allocation for any that DNS allows.
#[derive(Clone, Debug)]
pub(super) struct Host(SmallVec<[u8; 256]>);

impl Host {
    /// From a `Host` field or authority: neither its port (N1) nor the dot of the root counts.
    pub(super) fn of(authority: &str) -> Self {
        let (host, _) = split_port(authority);
        let host = host.strip_suffix('.').unwrap_or(host);
        Self(host.bytes().map(|b| b.to_ascii_lowercase()).collect())
    }

    fn text(&self) -> &str {
        // Lower case of ASCII alone keeps UTF-8 whole.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Host and port; the port is empty where there is none. IPv6 keeps its brackets.
pub(super) fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    }
}

/// A table from host names to `T`.
#[derive(Debug)]
pub(super) struct Hosts<T> {
    exact: Map<Box<str>, T>,
    /// By what follows the `*.`.
    wildcard: Map<Box<str>, T>,
    any: Option<T>,
    /// Bytes of the longest key of `wildcard`: longer suffixes need no look-up.
    suffix_bytes_max: usize,
}

impl<T> Hosts<T> {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self { exact: hasher.map(), wildcard: hasher.map(), any: None, suffix_bytes_max: 0 }
    }

    /// What stands at this name (`None`: any host), made by `new` if there is nothing yet.
    pub(super) fn at(&mut self, name: Option<&Hostname>, new: impl FnOnce() -> T) -> &mut T {
        let Some(Hostname(name)) = name else { return self.any.get_or_insert_with(new) };
        match name.strip_prefix("*.") {
            Some(suffix) => {
                self.suffix_bytes_max = self.suffix_bytes_max.max(suffix.len());
                self.wildcard.entry(suffix.into()).or_insert_with(new)
            }
            None => self.exact.entry(name.as_str().into()).or_insert_with(new),
        }
    }

    /// What stands at the names that match, the best first.
    pub(super) fn walk<'t>(&'t self, host: &'t Host) -> impl Iterator<Item = &'t T> {
        let host = host.text();
        let longest = host.len().saturating_sub(self.suffix_bytes_max);
        // A dot at the very front has no label before it; one before `from` has too much behind.
        let from = longest.saturating_sub(1).max(1);
        let dots = host.bytes().enumerate().skip(from).filter(|(_, b)| *b == b'.');
        let suffixes = dots.filter_map(move |(at, _)| self.wildcard.get(host.get(at + 1..)?));
        self.exact.get(host).into_iter().chain(suffixes).chain(&self.any)
    }
}

/// Under which names the listener serves a route that names `route` (N3): the narrower of both;
/// `None` if they have nothing in common.
pub(super) fn narrower<'n>(listener: &'n Hostname, route: &'n Hostname) -> Option<&'n Hostname> {
    if listener == route || covers(listener, route) {
        Some(route)
    } else if covers(route, listener) {
        Some(listener)
    } else {
        None
    }
}

/// Whether every host of `narrow` is one of the wildcard `wide`.
fn covers(Hostname(wide): &Hostname, Hostname(narrow): &Hostname) -> bool {
    let Some(suffix) = wide.strip_prefix('*') else { return false };
    // `*.a.b` lies in `*.b`: its own star is a label like any other.
    narrow.len() > suffix.len() && narrow.ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Hostname {
        Hostname(text.to_owned())
    }

    fn walked(names: &[&str], host: &str) -> Vec<String> {
        let mut hosts = Hosts::new(&Hasher::new(5));
        for n in names {
            let at = Some(name(n)).filter(|_| !n.is_empty());
            hosts.at(at.as_ref(), || (*n).to_owned());
        }
        hosts.walk(&Host::of(host)).cloned().collect()
    }

    #[test]
    fn a_walk_goes_from_the_best_name_to_any() {
        let names = ["", "a.b.c", "*.b.c", "*.c", "*.a.b.c", "b.c", "*.longer.example"];
        assert_eq!(walked(&names, "a.b.c"), ["a.b.c", "*.b.c", "*.c", ""]);
        assert_eq!(walked(&names, "X.A.b.C:80"), ["*.a.b.c", "*.b.c", "*.c", ""]);
        assert_eq!(walked(&names, "b.c."), ["b.c", "*.c", ""]);
        for host in ["c", ".c", "xc", "", ":80", "[::1]", "[::1]:80", "[fe80::c]", "1.2.3.4", "."] {
            assert_eq!(walked(&names, host), [""], "{host}");
        }
        assert_eq!(walked(&["*.c"], "x.c"), ["*.c"]);
        assert_eq!(walked(&["*.bb.c"], "x.bb.c"), ["*.bb.c"]);
        assert!(walked(&["*.bb.c"], "bb.c").is_empty());
        assert!(walked(&["a.c"], "b.c").is_empty());
    }

    #[test]
    fn a_host_of_any_length_is_walked_as_far_as_the_table_reaches() {
        let long = "a.".repeat(5_000) + "b.c";
        assert_eq!(walked(&["*.b.c", "*.c", "x"], &long), ["*.b.c", "*.c"]);
    }

    #[test]
    fn ports_are_split_off() {
        assert_eq!(split_port("a:80"), ("a", "80"));
        assert_eq!(split_port("a:"), ("a", ""));
        assert_eq!(split_port("a"), ("a", ""));
        assert_eq!(split_port("[::1]:80"), ("[::1]", "80"));
        assert_eq!(split_port("[::1]"), ("[::1]", ""));
    }

    #[test]
    fn the_narrower_name_counts() {
        let cases = [
            ("a.b", "a.b", Some("a.b")),
            ("*.b", "a.b", Some("a.b")),
            ("a.b", "*.b", Some("a.b")),
            ("*.b", "*.a.b", Some("*.a.b")),
            ("*.a.b", "*.b", Some("*.a.b")),
            ("*.b", "*.b", Some("*.b")),
            ("*.b", "b", None),
            ("b", "*.b", None),
            ("*.b", "*.ab", None),
            ("*.b", "ab", None),
            ("*.a.b", "a.b", None),
            ("a.b", "c.b", None),
        ];
        for (listener, route, want) in cases {
            let (listener, route) = (name(listener), name(route));
            let got = narrower(&listener, &route).map(|h| h.0.as_str());
            assert_eq!(got, want, "{listener:?} and {route:?}");
        }
    }
}
