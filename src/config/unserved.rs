//! What is configured and serves nobody: a warning each, since it does no harm by itself.
//!
//! Invariants: a rule is called covered only where another goes before it for all hosts that it
//! names, and takes each of its requests; where that is not plain from the text (two patterns, a
//! wildcard of hosts), nothing is said.

use crate::config::Config;
use crate::config::error::Warning;
use crate::config::gateway;
use crate::config::gateway::Action;
use crate::config::gateway::Detail;
use crate::config::gateway::Filter;
use crate::config::gateway::Match;
use crate::config::gateway::PathMatch;
use crate::config::gateway::Place;
use crate::config::gateway::Rule;
use crate::config::gateway::Timeouts;
use crate::config::gateway::listener;
use crate::config::gateway::route::matches;
use crate::config::gateway::show::Printer;
use crate::config::relations;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Warnings of one kind that are worth reading.
const TOLD_MAX: usize = 8;

/// Matches of one and the same path that one is held against: more of them are compared no more.
const RIVALS_MAX: usize = 64;

/// A match, with where it stands.
#[derive(Clone, Copy)]
struct Candidate<'g> {
    /// Where the rule stands: which route, which of its rules.
    at: (usize, usize),
    route: &'g gateway::Route,
    of: &'g Match,
}

/// A match, and one that takes all of its requests.
struct Covered<'g> {
    one: Candidate<'g>,
    by: Candidate<'g>,
}

/// A host of a listener (`None`: all that it takes), and the kind and text of a path there.
type At<'g> = (usize, Option<&'g str>, Kind, &'g str);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exact,
    Prefix,
    Regex,
}

/// What is configured and serves nobody.
pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    hub(config, &mut warnings);
    for (key, names) in unused(&config.gateway) {
        if !names.is_empty() {
            let matter = format!("nothing leads to {}", names.join(", "));
            warnings.push(Warning { key, matter, remedy: "remove it".to_owned() });
        }
    }
    let gateway = &config.gateway;
    tell("route", stars(gateway), &mut warnings);
    tell("route", covered(gateway), &mut warnings);
    tell("route", weightless(gateway), &mut warnings);
    tell("route", untimed(gateway), &mut warnings);
    tell("route", circles(gateway), &mut warnings);
    warnings
}

/// What is the matter, and what to do about it.
type Told = (String, &'static str);

fn tell(key: &'static str, told: impl Iterator<Item = Told>, warnings: &mut Vec<Warning>) {
    let mut told = told.map(|(matter, remedy)| (matter, remedy.to_owned()));
    let few = told.by_ref().take(TOLD_MAX);
    warnings.extend(few.map(|(matter, remedy)| Warning { key, matter, remedy }));
    let more = told.count();
    if more > 0 {
        let (matter, remedy) = (format!("{more} more like that"), "mend these first".to_owned());
        warnings.push(Warning { key, matter, remedy });
    }
}

fn hub(config: &Config, warnings: &mut Vec<Warning>) {
    let keys = config.hub.publisher_key.is_some() || config.hub.subscriber_key.is_some();
    let mut listeners = 0..config.gateway.listeners.len();
    if keys && !listeners.any(|at| relations::serves_hub(config, at)) {
        warnings.push(Warning {
            key: "hub.publisher_key",
            matter: "no route leads to the hub, so nobody reaches it".to_owned(),
            remedy: "add a route with `hub = true`, or remove the hub's keys".to_owned(),
        });
    }
}

/// Backends and upstreams that no route leads to.
fn unused(gateway: &gateway::Gateway) -> [(&'static str, Vec<String>); 2] {
    let (mut backends, mut upstreams) = (Vec::new(), Vec::new());
    let mirror = |filter: &Filter| match filter {
        Filter::Mirror(mirror) => Some(mirror.backend),
        _ => None,
    };
    for (_, _, rule) in rules(gateway) {
        backends.extend(rule.filters.iter().filter_map(mirror));
        match &rule.action {
            Action::Fanout(action) => upstreams.push(action.upstream),
            Action::Proxy(action) => {
                backends.extend(action.backends.iter().filter_map(|one| one.backend));
                let filters = action.backends.iter().flat_map(|one| &one.filters);
                backends.extend(filters.filter_map(mirror));
            }
            _ => {}
        }
    }
    backends.extend(gateway.upstreams.iter().map(|upstream| upstream.backend));
    let missing = |used: &mut Vec<usize>, names: Vec<&String>| -> Vec<String> {
        used.sort_unstable();
        let unused = names.iter().enumerate().filter(|(at, _)| used.binary_search(at).is_err());
        unused.map(|(_, name)| (*name).clone()).collect()
    };
    let names = gateway.backends.iter().map(|backend| &backend.name).collect();
    let backend = missing(&mut backends, names);
    let always = gateway.upstreams.iter().enumerate().filter(|(_, upstream)| upstream.always_on);
    upstreams.extend(always.map(|(at, _)| at));
    let names = gateway.upstreams.iter().map(|upstream| &upstream.name).collect();
    [("backend", backend), ("upstream", missing(&mut upstreams, names))]
}

/// Paths with a `*`, which other servers take for a pattern.
fn stars(gateway: &gateway::Gateway) -> impl Iterator<Item = Told> {
    let remedy = "a prefix covers all paths below it, as \"/api\"; a pattern is \
                  { regex = \"/api/[^/]+\" }";
    candidates(gateway).filter_map(move |one| match &one.of.path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) if path.contains('*') => {
            let path = matches::show_path(&one.of.path);
            Some((format!("the * in {path} of {} stands for itself", one.name()), remedy))
        }
        _ => None,
    })
}

/// Rules with a match all of whose requests others take.
fn covered(gateway: &gateway::Gateway) -> impl Iterator<Item = Told> {
    let printer = Printer { gateway, detail: Detail::Changed };
    let show = move |of: &Match| match of {
        Match { path, method: None, headers, query } if headers.is_empty() && query.is_empty() => {
            matches::show_path(path)
        }
        of => printer.inline(&matches::MATCH, of),
    };
    overtaken(gateway).into_iter().map(move |Covered { one, by }| {
        let (name, taker) = (one.name(), by.name());
        let [own, other] = [one, by].map(|one| show(one.of));
        let matter = format!("{name} never serves {own}: {taker} takes its requests with {other}");
        if kind(&one.of.path).0 == kind(&by.of.path).0 {
            (matter, "remove this match, or let them differ in host, method or fields")
        } else {
            (matter, "prefixes go before patterns: narrow the prefix, or give a pattern instead")
        }
    })
}

fn overtaken<'g>(gateway: &'g gateway::Gateway) -> Vec<Covered<'g>> {
    // As the router ranks what has the same path; the sort is stable.
    let mut ranked: Vec<Candidate<'g>> = candidates(gateway).collect();
    ranked.sort_by_key(|one| {
        (one.of.method.is_none(), Reverse(one.of.headers.len()), Reverse(one.of.query.len()))
    });
    let mut table: BTreeMap<At<'g>, Vec<Candidate<'g>>> = BTreeMap::new();
    for one in &ranked {
        for at in one.places() {
            let rivals = table.entry(at).or_default();
            if rivals.len() < RIVALS_MAX {
                rivals.push(*one);
            }
        }
    }
    let covered = |one: Candidate<'g>| {
        let mut takers = one.places().map(|at| one.rival(at, &table));
        let by = takers.next()??;
        takers.all(|rival| rival.is_some()).then_some(Covered { one, by })
    };
    candidates(gateway).filter_map(covered).collect()
}

/// Rules whose backends have no weight.
fn weightless(gateway: &gateway::Gateway) -> impl Iterator<Item = Told> {
    rules(gateway).filter_map(|(route, at, rule)| {
        let Action::Proxy(action) = &rule.action else { return None };
        let matter = format!("every backend of {} has weight 0: it answers 500", name(route, at));
        let none = action.backends.iter().all(|backend| backend.weight == 0);
        none.then_some((matter, "give one a weight"))
    })
}

/// Rules with timeouts that nothing heeds.
fn untimed(gateway: &gateway::Gateway) -> impl Iterator<Item = Told> {
    rules(gateway).filter_map(|(route, at, rule)| {
        let proxy = matches!(rule.action, Action::Proxy(_) | Action::None);
        let remedy = match &rule.action {
            Action::Fanout(_) => {
                "remove them; the upstream has head_timeout, idle_timeout, age_max"
            }
            _ => "remove them",
        };
        let matter = format!("timeouts of {} hold for backends: it has none", name(route, at));
        (!proxy && rule.timeouts != Timeouts::DEFAULT).then_some((matter, remedy))
    })
}

/// Rules whose backend is this server, at a listener where they serve.
fn circles(gateway: &gateway::Gateway) -> impl Iterator<Item = Told> {
    let own = |route: &gateway::Route, place: &Place| {
        let listeners = route.listeners.iter().filter_map(|at| gateway.listeners.get(*at));
        let mut addresses = listeners.map(|listener| listener.listen);
        addresses.find(|address| listener::leads_to(place, *address))
    };
    let changes = |filters: &[Filter]| {
        filters.iter().any(|one| matches!(one, Filter::Rewrite(_) | Filter::RequestHeaders(_)))
    };
    rules(gateway).filter_map(move |(route, at, rule)| {
        let Action::Proxy(action) = &rule.action else { return None };
        let same = action.backends.iter().filter(|one| one.weight > 0 && !changes(&one.filters));
        let mirrors = rule.filters.iter().filter_map(|filter| match filter {
            Filter::Mirror(mirror) if mirror.numerator > 0 => Some(mirror.backend),
            _ => None,
        });
        let leads = same.filter_map(|one| one.backend).chain(mirrors);
        // Nobody listens with TLS.
        let backends = leads.filter_map(|at| gateway.backends.get(at)).filter(|b| b.tls.is_none());
        let places = backends.flat_map(|backend| &backend.endpoints).filter(|one| one.weight > 0);
        let mut here = places.filter_map(|endpoint| own(route, &endpoint.place));
        let here = here.next().filter(|_| !changes(&rule.filters))?;
        let name = name(route, at);
        let matter = format!("{name} leads back to this server, at {here}");
        Some((matter, "correct its backend's address, or have another rule take what comes back"))
    })
}

impl<'g> Candidate<'g> {
    fn name(&self) -> String {
        name(self.route, self.at.1)
    }

    /// Where the router has it. A host that the listener narrows is told apart by the listener.
    fn places(self) -> impl Iterator<Item = At<'g>> {
        let (kind, text) = kind(&self.of.path);
        let route = self.route;
        route.listeners.iter().flat_map(move |listener| {
            let any = route.hostnames.is_empty().then_some(None);
            let names = route.hostnames.iter().map(|name| Some(name.0.as_str()));
            any.into_iter().chain(names).map(move |host| (*listener, host, kind, text))
        })
    }

    /// What goes before it there and takes each of its requests.
    fn rival(&self, at: At<'g>, table: &BTreeMap<At<'g>, Vec<Self>>) -> Option<Self> {
        let (listener, host, kind, text) = at;
        let first = |list: &[Self]| list.iter().copied().find(|rival| rival.covers(self));
        // Equal paths are in the order of the router, so what comes before this goes before it.
        let equal = table.get(&at)?;
        let before = equal.iter().position(|one| std::ptr::eq(one.of, self.of));
        let equal = equal.get(..before.unwrap_or(equal.len()))?;
        let prefixes = || {
            let literal = (kind == Kind::Regex).then(|| literal(text))?;
            boundaries(literal).find_map(|prefix| {
                first(table.get(&(listener, host, Kind::Prefix, prefix))?.as_slice())
            })
        };
        first(equal).or_else(prefixes)
    }

    /// Whether this is of another rule, and a request that meets the other's conditions always
    /// meets these. Paths apart.
    fn covers(&self, other: &Self) -> bool {
        let (less, more) = (self.of, other.of);
        self.at != other.at
            && (less.method.is_none() || less.method == more.method)
            && less.headers.iter().all(|one| more.headers.contains(one))
            && less.query.iter().all(|one| more.query.contains(one))
    }
}

fn rules(gateway: &gateway::Gateway) -> impl Iterator<Item = (&gateway::Route, usize, &Rule)> {
    let routes = gateway.routes.iter();
    routes.flat_map(|route| route.rules.iter().enumerate().map(move |(at, of)| (route, at, of)))
}

fn candidates(gateway: &gateway::Gateway) -> impl Iterator<Item = Candidate<'_>> {
    gateway.routes.iter().enumerate().flat_map(|(at, route)| {
        let rules = route.rules.iter().enumerate().map(move |(rule, of)| ((at, rule), of));
        rules.flat_map(move |(at, rule)| {
            rule.matches.iter().map(move |of| Candidate { at, route, of })
        })
    })
}

/// The same where what is called covered matches nothing, and how many matches those are.
#[cfg(test)]
pub(crate) fn without_covered(gateway: &gateway::Gateway) -> (gateway::Gateway, usize) {
    let covered = overtaken(gateway);
    let mut changed = gateway.clone();
    let rules = changed.routes.iter_mut().flat_map(|route| &mut route.rules);
    let copies = rules.flat_map(|rule| &mut rule.matches);
    for (copy, original) in copies.zip(candidates(gateway)) {
        if covered.iter().any(|covered| std::ptr::eq(covered.one.of, original.of)) {
            copy.method = Some("NEVER".to_owned());
        }
    }
    (changed, covered.len())
}

fn name(route: &gateway::Route, rule: usize) -> String {
    match route.rules.len() {
        1 => route.name.clone(),
        _ => format!("rule {} of {}", rule + 1, route.name),
    }
}

fn kind(path: &PathMatch) -> (Kind, &str) {
    match path {
        PathMatch::Exact(text) => (Kind::Exact, text),
        PathMatch::Prefix(text) => (Kind::Prefix, text),
        PathMatch::Regex(text) => (Kind::Regex, text),
    }
}

/// What every path that the pattern matches starts with, as far as that is plain to see.
fn literal(pattern: &str) -> &str {
    const SPECIAL: &[char] =
        &['.', '?', '*', '+', '(', ')', '[', ']', '{', '}', '|', '\\', '^', '$'];
    // One branch may start with anything.
    if pattern.contains('|') {
        return "";
    }
    let end = pattern.find(SPECIAL).unwrap_or(pattern.len());
    let (literal, rest) = pattern.split_at(end);
    // These say how often the character before them stands there: perhaps never.
    let optional = rest.starts_with(['?', '*', '{']);
    let last = literal.chars().next_back().map_or(0, char::len_utf8);
    literal.get(..end - if optional { last } else { 0 }).unwrap_or_default()
}

/// The prefixes that cover every path that starts so, the longest first: whole elements only.
fn boundaries(literal: &str) -> impl Iterator<Item = &str> {
    literal.rmatch_indices('/').filter_map(|(end, _)| literal.get(..end)).chain([""])
}

#[cfg(test)]
#[path = "unserved_tests.rs"]
mod tests;
