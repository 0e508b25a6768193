//! The paths of one host: which entries may serve a path, best first.
//!
//! Invariants: entries are added in order of rank (method, fields, query, place in the text), so
//! each list is in that order. Exact paths go before prefixes, longer prefixes before shorter ones,
//! prefixes before regular expressions. Prefixes are tried at the boundaries of the path's
//! elements only, and not beyond the longest prefix of the table.

use super::router::Effort;
use crate::base::map::Hasher;
use crate::base::map::Map;
use crate::config::gateway::PathMatch;

/// Entries by path.
#[derive(Debug)]
pub(super) struct Paths {
    exact: Map<Box<str>, Vec<usize>>,
    prefix: Map<Box<str>, Vec<usize>>,
    /// Bytes of the longest prefix.
    prefix_bytes_max: usize,
    /// Entries whose path is a regular expression, which the caller tries with the rest.
    regex: Vec<usize>,
}

/// An entry, and the prefix that brought it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) entry: usize,
    /// Bytes of the prefix; `None`: the path was no prefix.
    pub(super) prefix_bytes: Option<usize>,
}

impl Paths {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self { exact: hasher.map(), prefix: hasher.map(), prefix_bytes_max: 0, regex: Vec::new() }
    }

    /// Adds an entry, which ranks after those that are there.
    pub(super) fn add(&mut self, path: &PathMatch, entry: usize) {
        let list = match path {
            PathMatch::Exact(path) => self.exact.entry(path.as_str().into()).or_default(),
            PathMatch::Prefix(path) => {
                self.prefix_bytes_max = self.prefix_bytes_max.max(path.len());
                self.prefix.entry(path.as_str().into()).or_default()
            }
            PathMatch::Regex(_) => &mut self.regex,
        };
        // A route may name one host twice, by itself and through a wildcard.
        if list.last() != Some(&entry) {
            list.push(entry);
        }
    }

    /// The best entry that passes `test`.
    pub(super) fn find(
        &self,
        path: &str,
        effort: &mut Effort,
        mut test: impl FnMut(usize) -> bool,
    ) -> Option<Hit> {
        let mut first = |list: &[usize], effort: &mut Effort| {
            list.iter().copied().find(|entry| {
                effort.candidates += 1;
                test(*entry)
            })
        };
        effort.lookups += 1;
        if let Some(entry) = self.exact.get(path).and_then(|list| first(list, effort)) {
            return Some(Hit { entry, prefix_bytes: None });
        }
        for end in self.boundaries(path) {
            effort.lookups += 1;
            let Some(list) = path.get(..end).and_then(|p| self.prefix.get(p)) else { continue };
            if let Some(entry) = first(list, effort) {
                return Some(Hit { entry, prefix_bytes: Some(end) });
            }
        }
        first(&self.regex, effort).map(|entry| Hit { entry, prefix_bytes: None })
    }

    /// Where a prefix of the path may end, from the longest to the empty one.
    fn boundaries(&self, path: &str) -> impl Iterator<Item = usize> {
        let whole = (path.len() <= self.prefix_bytes_max).then_some(path.len());
        let reach = path.as_bytes().get(..=self.prefix_bytes_max).unwrap_or(path.as_bytes());
        let some = !self.prefix.is_empty();
        whole.into_iter().chain(memchr::memrchr_iter(b'/', reach)).filter(move |_| some)
    }
}
