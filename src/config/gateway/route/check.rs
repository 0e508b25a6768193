//! Relations within a rule: what must hold between its matches, filters, timeouts and its end.
//!
//! Invariants: a filter that could not be obeyed is refused, never passed over; a relation is
//! judged only where the rule's keys are right by themselves.

use crate::config::error::Cause;
use crate::config::form;
use crate::config::gateway::Action;
use crate::config::gateway::Filter;
use crate::config::gateway::PathChange;
use crate::config::gateway::PathMatch;
use crate::config::gateway::Redirect;
use crate::config::gateway::Rewrite;
use crate::config::gateway::Rule;
use crate::config::gateway::Variable;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::reader::has;
use crate::config::gateway::route::rule::ACTIONS;
use crate::config::gateway::upstream::target;
use std::time::Duration;

/// Which keys may stand together: judged on the text, before it is read.
pub(crate) fn keys(node: &Node<'_>, reader: &mut Reader<'_>) {
    let mut beside = |key: &str, bound: String, remedy: &str| {
        let node = reader.member(node, key);
        reader.problem(&node, Cause::Relation { bound, remedy: remedy.to_owned() });
    };
    if has(node, "path") && has(node, "matches") {
        let bound = "is given twice, also by matches".to_owned();
        beside("path", bound, "put the path into each of the matches");
    }
    let mut actions = ACTIONS.iter().filter(|key| has(node, key));
    if let (Some(first), Some(second)) = (actions.next(), actions.next()) {
        let bound = format!("is a second end beside {first}: a rule leads to one");
        beside(second, bound, "keep one of them, or make two rules");
    }
    let proxy = has(node, "backend") || has(node, "backends");
    if has(node, "channels") && !has(node, "upstream") {
        beside("channels", "needs an upstream".to_owned(), "add `upstream`, or remove it");
    }
    for key in ["heartbeat", "retries"].iter().filter(|key| !proxy && has(node, key)) {
        beside(key, "needs a backend".to_owned(), "add `backend`, or remove it");
    }
}

/// What must hold in a rule whose keys are right.
pub(crate) fn rule(rule: &Rule, node: &Node<'_>, reader: &mut Reader<'_>) {
    ends(rule, node, reader);
    prefixes(rule, node, reader);
    if let Action::Fanout(_) = rule.action {
        fanout(rule, node, reader);
    }
    let limit = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
    let (whole, each) = (limit(rule.timeouts.request), limit(rule.timeouts.backend_request));
    if let (Some(whole), Some(each)) = (whole, each)
        && each > whole
    {
        let node = reader.member(node, "timeouts");
        let node = reader.member(&node, "backend_request");
        reader.relation(&node, "must not exceed request", "lower it, or raise request");
    }
}

/// Where the rule leads, and which filters make sense there.
fn ends(rule: &Rule, node: &Node<'_>, reader: &mut Reader<'_>) {
    let at = reader.member(node, "filters");
    let redirect = rule.filters.iter().any(|filter| matches!(filter, Filter::Redirect(_)));
    let given = ACTIONS.iter().any(|key| has(node, key)) && !has_no_hub(rule, node);
    if redirect && given {
        reader.relation(&at, "has a redirect, so the rule leads nowhere else", "remove either");
    }
    if !redirect && !given {
        reader.relation(
            node,
            "leads nowhere",
            "add hub, upstream, backend, backends, respond or page, or a redirect; \
             `backends = []` answers 500",
        );
    }
    let proxy = matches!(rule.action, Action::Proxy(_) | Action::None);
    let stray = rule.filters.iter().find_map(|filter| match filter {
        Filter::Rewrite(_) => Some("rewrite"),
        Filter::Mirror(_) => Some("mirror"),
        Filter::RequestHeaders(_) => Some("request_headers"),
        Filter::ResponseHeaders(_) | Filter::Redirect(_) => None,
    });
    if let Some(filter) = stray.filter(|_| !proxy && !redirect) {
        let bound = format!("has {filter}, which changes what a backend gets: there is none");
        reader.relation(&at, &bound, "remove it, or lead to a backend");
    }
}

/// `hub = false` says nothing.
fn has_no_hub(rule: &Rule, node: &Node<'_>) -> bool {
    let others = ACTIONS.iter().filter(|key| **key != "hub").any(|key| has(node, key));
    !others && rule.action != Action::Hub
}

/// Gateway API: a prefix is replaced only where one match, of a prefix, says which.
fn prefixes(rule: &Rule, node: &Node<'_>, reader: &mut Reader<'_>) {
    if let [only] = &rule.matches[..]
        && matches!(only.path, PathMatch::Prefix(_))
    {
        return;
    }
    let changes = |filters: &[Filter]| {
        filters.iter().any(|filter| match filter {
            Filter::Redirect(Redirect { path, .. }) | Filter::Rewrite(Rewrite { path, .. }) => {
                matches!(path, Some(PathChange::Prefix(_)))
            }
            _ => false,
        })
    };
    let bound = "changes the prefix, but the rule has not exactly one match, of a prefix";
    let remedy = "make a rule for each prefix, or change the path with full";
    if changes(&rule.filters) {
        let node = reader.member(node, "filters");
        reader.relation(&node, bound, remedy);
    }
    if let Action::Proxy(action) = &rule.action
        && action.backends.iter().any(|backend| changes(&backend.filters))
    {
        let node = reader.member(node, "backends");
        reader.relation(&node, bound, remedy);
    }
}

/// Each variable of the upstream's URL must have a value in each request that the rule matches.
fn fanout(rule: &Rule, node: &Node<'_>, reader: &mut Reader<'_>) {
    let Action::Fanout(action) = &rule.action else { return };
    let Some(upstream) = reader.gateway.upstreams.get(action.upstream) else { return };
    let variables: Vec<Variable> = target::variables(&upstream.target).cloned().collect();
    let (multiplex, most) = (upstream.multiplex, upstream.channels_per_client_max);
    let at = reader.member(node, "channels");
    let count = action.channels.len();
    if count > 0 && !variables.contains(&Variable::Channel) {
        let remedy = "put {channel} there, or remove it";
        reader.relation(&at, "needs {channel} in the upstream's URL", remedy);
    } else if count > 1 && !multiplex {
        let remedy = "set multiplex there, or keep one channel";
        reader.relation(&at, "has several, but the upstream does not merge channels", remedy);
    } else if multiplex && count > most {
        let bound = format!("has more than the upstream's channels_per_client_max, {most}");
        reader.relation(&at, &bound, "raise it there, or remove some");
    }
    let at = reader.member(node, "upstream");
    for variable in variables {
        match variable {
            Variable::Rest if !all(rule, |path| matches!(path, PathMatch::Prefix(_))) => {
                let bound = "has {rest} in its URL, so each match must be of a prefix";
                reader.relation(&at, bound, "match prefixes, or take {path.NAME}");
            }
            Variable::Capture(name) if !all(rule, |path| has_group(path, &name)) => {
                let bound = format!(
                    "has {{path.{name}}} in its URL, so each match must be of a regular \
                     expression with this group"
                );
                let remedy = "match paths as { regex = \"/(?<name>[^/]+)\" }";
                reader.relation(&at, &bound, remedy);
            }
            _ => {}
        }
    }
}

fn all(rule: &Rule, holds: impl Fn(&PathMatch) -> bool) -> bool {
    rule.matches.iter().all(|one| holds(&one.path))
}

/// Whether a path's pattern has a group of this name or number.
fn has_group(path: &PathMatch, name: &str) -> bool {
    let PathMatch::Regex(pattern) = path else { return false };
    let Ok(pattern) = form::pattern(pattern) else { return false };
    match name.parse::<usize>() {
        Ok(number) => number < pattern.captures_len(),
        Err(_) => pattern.capture_names().flatten().any(|group| group == name),
    }
}
