//! Routes: rules for the requests of some hosts on some listeners.
//!
//! Invariants: a route has its rules in `[[route.rule]]`, or the keys of its only rule in itself,
//! not both; names are unique; some host of it is one that some listener of it serves.

pub(crate) mod action;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod filter;
pub(crate) mod matches;
pub(crate) mod rule;

use crate::config::form;
use crate::config::gateway::Hostname;
use crate::config::gateway::Route;
use crate::config::gateway::Rule;
use crate::config::gateway::bounds::HOSTNAMES_MAX;
use crate::config::gateway::bounds::LISTENERS_MAX;
use crate::config::gateway::bounds::ROUTES_MAX;
use crate::config::gateway::bounds::RULES_MAX;
use crate::config::gateway::list;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::reader::has;
use crate::config::gateway::route::rule::RULE;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::gateway::show::Detail;
use crate::config::gateway::show::Printer;
use crate::config::gateway::show::texts;
use crate::config::value::Kind;

/// What the text says, but for the keys of an only rule.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    name: String,
    listeners: Option<Vec<usize>>,
    hostnames: Vec<Hostname>,
    rules: Option<Vec<Rule>>,
}

pub(crate) static ROUTE: Shape<Draft> = Shape {
    title: "`[[route]]`",
    nouns: &["route"],
    blank: || Draft { name: String::new(), listeners: None, hostnames: Vec::new(), rules: None },
    rows: &[
        value(
            "name",
            Kind::Text(&form::NAME),
            "Its name, for messages. Of rules that fit equally well the first in the file serves.",
            |d: &mut Draft| &mut d.name,
        )
        .default("`route-0`, and so on"),
        parts(
            "listeners",
            "a list of names of listeners",
            "Where it is served.",
            listeners,
            |d, printer| {
                let names = d.listeners.as_ref()?.iter().filter_map(|index| {
                    printer.gateway.listeners.get(*index).map(|l| l.name.as_str())
                });
                Some(texts(names))
            },
        )
        .default("all"),
        parts(
            "hostnames",
            "a list of at most 16 host names, as [\"a.example.com\", \"*.b.example.com\"]",
            "Hosts that it serves.",
            |d: &mut Draft, node, reader| {
                let names = list::texts(node, reader, HOSTNAMES_MAX, &form::HOSTNAME);
                d.hostnames = names.into_iter().map(Hostname).collect();
            },
            |d, _| {
                let names = d.hostnames.iter().map(|name| name.0.as_str());
                (!d.hostnames.is_empty()).then(|| texts(names))
            },
        )
        .default("those of its listeners"),
        parts(
            "rule",
            "a list of 1 to 16 tables, as [[route.rule]]",
            "Its rules. The keys of a single one may stand in the route itself.",
            rules,
            |_, _| None,
        )
        .default("the route's own keys"),
    ],
};

fn listeners(draft: &mut Draft, node: &Node<'_>, reader: &mut Reader<'_>) {
    let Some(items) = reader.items(node, LISTENERS_MAX, "a list of names of listeners") else {
        return;
    };
    let mut listeners: Vec<usize> = Vec::with_capacity(items.len());
    for item in &items {
        let found = reader.resolve(item, "listener", |names| &names.listeners);
        match found {
            Some(index) if listeners.contains(&index) => {
                reader.relation(item, "is in the list already", "remove one of them");
            }
            Some(index) => listeners.push(index),
            None => {}
        }
    }
    if items.is_empty() {
        reader.relation(node, "has no listener: nobody reaches the route", "add one, or remove it");
    }
    listeners.sort_unstable();
    draft.listeners = Some(listeners);
}

fn rules(draft: &mut Draft, node: &Node<'_>, reader: &mut Reader<'_>) {
    let wanted = "a list of tables, as [[route.rule]]";
    let Some(items) = reader.items(node, RULES_MAX, wanted) else { return };
    if items.is_empty() {
        reader.form(node, "a list of 1 to 16 tables, as [[route.rule]]");
    }
    let read = items.iter().filter_map(|item| {
        let before = reader.problems();
        let draft = reader.one(&RULE, item)?;
        Some(finish(draft, before, item, reader))
    });
    draft.rules = Some(read.collect());
}

fn finish(draft: rule::Draft, before: usize, node: &Node<'_>, reader: &mut Reader<'_>) -> Rule {
    check::keys(node, reader);
    let rule = draft.finish();
    if reader.problems() == before {
        check::rule(&rule, node, reader);
    }
    rule
}

/// Reads `[[route]]`.
pub(crate) fn read(node: Option<&Node<'_>>, reader: &mut Reader<'_>) {
    let Some(node) = node else { return };
    let wanted = "a list of tables, as [[route]]";
    let Some(items) = reader.items(node, ROUTES_MAX, wanted) else { return };
    for (index, item) in items.iter().enumerate() {
        let before = reader.problems();
        let Some((mut draft, only)) = fill(item, reader) else { continue };
        let rules = match draft.rules.take() {
            Some(rules) => rules,
            None => vec![finish(only, before, item, reader)],
        };
        let Draft { name, listeners, hostnames, .. } = draft;
        let name = if name.is_empty() { default_name(index) } else { name };
        reader.define(item, &name, index, |names| &mut names.routes);
        let all = || (0..reader.gateway.listeners.len()).collect();
        let listeners = listeners.unwrap_or_else(all);
        let route = Route { name, listeners, hostnames, rules };
        if reader.problems() == before && !is_reachable(&route, reader) {
            let node = reader.member(item, "hostnames");
            let bound = "has no host that the route's listeners serve";
            reader.relation(&node, bound, "correct them, or give a listener such a hostname");
        }
        reader.gateway.routes.push(route);
    }
}

/// Reads a table of both: keys of the route, and of its only rule.
fn fill(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<(Draft, rule::Draft)> {
    let (mut draft, mut only) = ((ROUTE.blank)(), (RULE.blank)());
    let members = reader.members(node)?;
    let rules = has(node, "rule");
    for (name, member) in &members {
        match (ROUTE.row(name), RULE.row(name)) {
            (Some(row), _) => row.read(&mut draft, member, reader),
            (None, Some(_)) if rules => {
                let bound = "stands beside [[route.rule]]: it belongs to one rule";
                reader.relation(member, bound, "move it into the rules that it is meant for");
            }
            (None, Some(row)) => row.read(&mut only, member, reader),
            (None, None) => {
                let rows = ROUTE.rows.iter().map(|row| row.name);
                reader.unknown(member, name, rows.chain(RULE.rows.iter().map(|row| row.name)));
            }
        }
    }
    Some((draft, only))
}

fn default_name(index: usize) -> String {
    format!("route-{index}")
}

/// Gateway API: host names of a route that meet none of a listener's are passed over; one must.
fn is_reachable(route: &Route, reader: &Reader<'_>) -> bool {
    let listeners = || {
        let listeners = route.listeners.iter();
        listeners.filter_map(|index| reader.gateway.listeners.get(*index))
    };
    let meets = |name: &Hostname| {
        listeners().any(|l| l.hostname.as_ref().is_none_or(|hostname| hostname.meets(name)))
    };
    route.hostnames.is_empty() || route.hostnames.iter().any(meets)
}

/// Prints a route's table and those of its rules.
pub(crate) fn show(index: usize, route: &Route, printer: &Printer<'_>) -> String {
    let brief = printer.detail == Detail::Changed;
    let all = route.listeners.iter().copied().eq(0..printer.gateway.listeners.len());
    let draft = Draft {
        name: route.name.clone(),
        listeners: (!brief || !all).then(|| route.listeners.clone()),
        hostnames: route.hostnames.clone(),
        rules: None,
    };
    let named = brief && route.name == default_name(index);
    let draft = if named { Draft { name: String::new(), ..draft } } else { draft };
    let mut text = printer.lines(&ROUTE, &draft);
    let rule = |rule: &Rule| {
        let draft = rule::Draft::of(rule);
        printer.lines(&RULE, &if brief { draft.short() } else { draft })
    };
    match &route.rules[..] {
        [only] => text.push_str(&rule(only)),
        rules => {
            for one in rules {
                text.push_str(&format!("[[route.rule]]\n{}", rule(one)));
            }
        }
    }
    text
}
