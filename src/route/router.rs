//! The router: every match of every rule, in tables by listener, host and path.
//!
//! ```text
//!  address ─▶ hosts of its listeners ─▶ listener ─▶ hosts of its routes ─▶ paths ─▶ entries
//! ```
//!
//! Invariants: it is built once and never changes, so all workers share it. Entries are sorted by
//! what decides between equal paths: a method, then more header fields, then more query parameters,
//! then the order of the text. Hosts are walked from the best to the last, and the first host with
//! an entry that holds wins, since the host decides first (N5).

use super::conditions::Conditions;
use super::hosts::Host;
use super::hosts::Hosts;
use super::hosts::narrower;
use super::matched::Matched;
use super::matched::RuleId;
use super::paths::Paths;
use super::pattern::Patterns;
use crate::base::map::Hasher;
use crate::config::gateway::Gateway;
use crate::config::gateway::Hostname;
use crate::config::gateway::Match;
use crate::config::gateway::PathMatch;
use crate::config::gateway::Route;
use crate::config::gateway::Rule;
use crate::http::h1::Head;
use std::cmp::Reverse;
use std::fmt;
use std::net::SocketAddr;

/// Finds the rule of a request.
pub struct Router {
    routes: Vec<Route>,
    addresses: Vec<SocketAddr>,
    /// By address: which listener takes a host.
    listeners: Vec<Hosts<usize>>,
    /// By listener: the hosts of its routes.
    tables: Vec<Hosts<Paths>>,
    entries: Vec<Entry>,
}

/// One match of one rule.
#[derive(Debug)]
struct Entry {
    id: RuleId,
    conditions: Conditions,
    /// What the path must be, where a table cannot say.
    path: Pattern,
}

#[derive(Debug)]
enum Pattern {
    Table,
    Regex(regex::Regex),
    Never,
}

/// The router's verdict on a request.
#[derive(Clone, Copy, Debug)]
pub enum Found<'r> {
    /// This rule serves it.
    Rule(Matched<'r>),
    /// No listener takes its host, or no rule matches: answer 404.
    NoRoute,
}

/// What a search cost: the measure of the tests that it does not grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effort {
    /// Hosts whose paths were searched.
    pub(super) hosts: usize,
    /// Look-ups of a path or prefix.
    pub(super) lookups: usize,
    /// Entries whose conditions were evaluated.
    pub(super) candidates: usize,
}

impl Router {
    /// The router of a checked model.
    #[must_use]
    pub fn new(gateway: &Gateway, hasher: &Hasher) -> Self {
        let (addresses, listeners) = listeners(gateway, hasher);
        let mut router = Self {
            routes: gateway.routes.clone(),
            addresses,
            listeners,
            tables: gateway.listeners.iter().map(|_| Hosts::new(hasher)).collect(),
            entries: Vec::new(),
        };
        let names: Vec<_> = gateway.routes.iter().map(|route| served(gateway, route)).collect();
        let mut patterns = Patterns::new(hasher);
        for (id, of) in ranked(gateway) {
            let entry = router.entries.len();
            for (listener, name) in names.get(id.route).into_iter().flatten() {
                let Some(table) = router.tables.get_mut(*listener) else { continue };
                table.at(*name, || Paths::new(hasher)).add(&of.path, entry);
            }
            router.entries.push(Entry::new(id, of, &mut patterns));
        }
        router
    }

    /// The distinct addresses of all listeners, in order; the first is the key `listen`.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether there are no routes at all: the hub and its page alone are served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The rule for a request that came in at this one of [`Router::addresses`].
    #[must_use]
    pub fn find(&self, address: usize, head: &Head) -> Found<'_> {
        self.search(address, head, &mut Effort::default()).map_or(Found::NoRoute, Found::Rule)
    }

    /// The rule of this id.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.routes.get(id.route)?.rules.get(id.rule)
    }

    pub(super) fn search(
        &self,
        address: usize,
        head: &Head,
        effort: &mut Effort,
    ) -> Option<Matched<'_>> {
        let host = Host::of(head.host().unwrap_or_default());
        // N4: the best listener is final.
        let listener = *self.listeners.get(address)?.walk(&host).next()?;
        // `OPTIONS *` asks about the server; no rule is about that.
        let path = Some(head.path()).filter(|path| path.starts_with('/'))?;
        for paths in self.tables.get(listener)?.walk(&host) {
            effort.hosts += 1;
            let hit = paths.find(path, effort, |entry| {
                self.entries.get(entry).is_some_and(|e| e.holds(path, head))
            });
            let Some(hit) = hit else { continue };
            let entry = self.entries.get(hit.entry)?;
            let route = self.routes.get(entry.id.route)?;
            return Some(Matched {
                route,
                rule: route.rules.get(entry.id.rule)?,
                id: entry.id,
                prefix_bytes: hit.prefix_bytes,
                pattern: match &entry.path {
                    Pattern::Regex(pattern) => Some(pattern),
                    Pattern::Table | Pattern::Never => None,
                },
            });
        }
        None
    }
}

impl fmt::Debug for Router {
    /// Sizes only: filters may set credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("addresses", &self.addresses)
            .field("routes", &self.routes.len())
            .field("entries", &self.entries.len())
            .finish()
    }
}

/// The distinct addresses, and which listener takes a host on each.
fn listeners(gateway: &Gateway, hasher: &Hasher) -> (Vec<SocketAddr>, Vec<Hosts<usize>>) {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut tables: Vec<Hosts<usize>> = Vec::new();
    for (index, listener) in gateway.listeners.iter().enumerate() {
        // As `Gateway::addresses` has them: each port 0 is bound on its own.
        let known = addresses.iter().position(|address| *address == listener.listen);
        let place = known.filter(|_| listener.listen.port() != 0);
        let place = place.unwrap_or_else(|| {
            addresses.push(listener.listen);
            tables.push(Hosts::new(hasher));
            addresses.len() - 1
        });
        if let Some(table) = tables.get_mut(place) {
            table.at(listener.hostname.as_ref(), || index);
        }
    }
    (addresses, tables)
}

/// At which listeners, under which host names, a route is served (N3).
fn served<'g>(gateway: &'g Gateway, route: &'g Route) -> Vec<(usize, Option<&'g Hostname>)> {
    let mut served = Vec::new();
    for index in &route.listeners {
        let Some(listener) = gateway.listeners.get(*index) else { continue };
        match &listener.hostname {
            own if route.hostnames.is_empty() => served.push((*index, own.as_ref())),
            None => served.extend(route.hostnames.iter().map(|name| (*index, Some(name)))),
            Some(own) => {
                let common = route.hostnames.iter().filter_map(|name| narrower(own, name));
                served.extend(common.map(|name| (*index, Some(name))));
            }
        }
    }
    served
}

/// Every match of every rule, sorted by what decides between equal hosts and paths.
fn ranked(gateway: &Gateway) -> Vec<(RuleId, &Match)> {
    let mut all = Vec::new();
    for (route, of) in gateway.routes.iter().enumerate() {
        for (rule, of) in of.rules.iter().enumerate() {
            all.extend(of.matches.iter().map(|of| (RuleId { route, rule }, of)));
        }
    }
    // The sort is stable: what is equal stays in the order of the text.
    all.sort_by_key(|(_, of)| {
        (of.method.is_none(), Reverse(of.headers.len()), Reverse(of.query.len()))
    });
    all
}

impl Entry {
    fn new(id: RuleId, of: &Match, patterns: &mut Patterns) -> Self {
        let path = match &of.path {
            PathMatch::Exact(_) | PathMatch::Prefix(_) => Pattern::Table,
            PathMatch::Regex(text) => patterns.text(text).map_or(Pattern::Never, Pattern::Regex),
        };
        Self { id, conditions: Conditions::new(of, patterns), path }
    }

    /// The cheap question goes first.
    fn holds(&self, path: &str, head: &Head) -> bool {
        self.conditions.hold(head)
            && match &self.path {
                Pattern::Table => true,
                Pattern::Regex(pattern) => pattern.is_match(path),
                Pattern::Never => false,
            }
    }
}
