//! What a match asks of a request besides its path: method, header fields, query parameters.
//!
//! Invariants: all must hold. A name that the request lacks matches nothing, not even an empty
//! value. A repeated field is one value, joined with commas (RFC 9110 section 5.2); of a repeated
//! parameter the first counts (M3).

use super::pattern::Patterns;
use crate::config::gateway::Match;
use crate::config::gateway::TextMatch;
use crate::config::gateway::ValueMatch;
use crate::http::h1::Head;
use crate::http::query;

/// The conditions of one match.
#[derive(Debug)]
pub(super) struct Conditions {
    method: Option<Box<str>>,
    headers: Vec<Named>,
    query: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    name: Box<str>,
    value: Wanted,
}

#[derive(Debug)]
enum Wanted {
    Exact(Box<[u8]>),
    Regex(regex::bytes::Regex),
    Never,
}

impl Conditions {
    pub(super) fn new(of: &Match, patterns: &mut Patterns) -> Self {
        let mut named = |values: &[ValueMatch]| {
            values.iter().map(|v| Named::new(v, patterns)).collect::<Vec<_>>()
        };
        Self {
            headers: named(&of.headers),
            query: named(&of.query),
            method: of.method.as_deref().map(Into::into),
        }
    }

    pub(super) fn hold(&self, head: &Head) -> bool {
        self.method.as_deref().is_none_or(|m| m == head.method_text())
            && self.headers.iter().all(|h| h.value.is_field(head, &h.name))
            && self.query.iter().all(|q| {
                let value = head.query().and_then(|all| query::first(all, &q.name));
                value.is_some_and(|v| q.value.is(&v))
            })
    }
}

impl Named {
    fn new(of: &ValueMatch, patterns: &mut Patterns) -> Self {
        let value = match &of.value {
            TextMatch::Exact(text) => Wanted::Exact(text.as_bytes().into()),
            TextMatch::Regex(pattern) => {
                patterns.bytes(pattern).map_or(Wanted::Never, Wanted::Regex)
            }
        };
        Self { name: of.name.as_str().into(), value }
    }
}

impl Wanted {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::Regex(pattern) => pattern.is_match(value),
            Self::Never => false,
        }
    }

    fn is_field(&self, head: &Head, name: &str) -> bool {
        let mut values = head.all(name);
        let Some(first) = values.next() else { return false };
        match self {
            Self::Exact(text) => is_joined(text, first, values),
            Self::Regex(_) => {
                let Some(second) = values.next() else { return self.is(first) };
                let rest: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
                self.is(&rest.join(&b", "[..]))
            }
            Self::Never => false,
        }
    }
}

/// Whether `text` is all values, joined by commas: the blank behind a comma is optional.
fn is_joined<'v>(text: &[u8], first: &[u8], others: impl Iterator<Item = &'v [u8]>) -> bool {
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for value in others {
        let Some(after) = rest.strip_prefix(b",") else { return false };
        // Values have no blanks at their ends, so this one belongs to the comma.
        let after = after.strip_prefix(b" ").unwrap_or(after);
        let Some(after) = after.strip_prefix(value) else { return false };
        rest = after;
    }
    rest.is_empty()
}
