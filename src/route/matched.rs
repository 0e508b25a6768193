//! A rule that serves a request, and how its path matched.
//!
//! Invariants: a match borrows from the router alone, so it outlives the request's head; what
//! depends on the path takes the path of that same request. Who keeps a rule beyond a turn keeps
//! its [`RuleId`].

use crate::config::gateway::Route;
use crate::config::gateway::Rule;
use std::fmt;

/// Which rule: by place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Index of the route.
    pub route: usize,
    /// Index of the rule in its route.
    pub rule: usize,
}

/// A rule that serves a request, and how it matched.
#[derive(Clone, Copy)]
pub struct Matched<'r> {
    pub(super) route: &'r Route,
    pub(super) rule: &'r Rule,
    pub(super) id: RuleId,
    pub(super) prefix_bytes: Option<usize>,
    pub(super) pattern: Option<&'r regex::Regex>,
}

impl<'r> Matched<'r> {
    /// The rule: its action, filters and timeouts.
    #[must_use]
    pub fn rule(&self) -> &'r Rule {
        self.rule
    }

    /// Its place in the text; [`super::Router::rule`] finds it again.
    #[must_use]
    pub fn id(&self) -> RuleId {
        self.id
    }

    /// Bytes of the prefix that matched, without a trailing `/`; `None` if the path was matched as
    /// a whole.
    #[must_use]
    pub fn prefix_bytes(&self) -> Option<usize> {
        self.prefix_bytes
    }

    /// What follows the prefix in the path of the same request, its `/` included; empty if the path
    /// was matched as a whole.
    #[must_use]
    pub fn rest<'p>(&self, path: &'p str) -> &'p str {
        self.prefix_bytes.and_then(|end| path.get(end..)).unwrap_or_default()
    }

    /// The groups of the rule's regular expression in the path of the same request.
    pub(super) fn captures<'p>(&self, path: &'p str) -> Option<regex::Captures<'p>> {
        self.pattern?.captures(path)
    }
}

/// A group by name or number.
pub(super) fn group_of<'p>(captures: &regex::Captures<'p>, group: &str) -> Option<&'p str> {
    let found = match group.parse::<usize>() {
        Ok(number) => captures.get(number),
        Err(_) => captures.name(group),
    };
    found.map(|text| text.as_str())
}

impl fmt::Debug for Matched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matched")
            .field("route", &self.route.name)
            .field("rule", &self.id.rule)
            .field("prefix_bytes", &self.prefix_bytes)
            .finish()
    }
}
