//! Tests of the routes: the vectors of the Gateway API as tables, and a walk over all matches as
//! the judge of the router's tables.
//!
//! Models and requests are written in short: a match is `POST /prefix version:one ?animal=whale`
//! (`=/exact`, `~/regex`, `name:~regex`; several with ` | ` between), a request is
//! `PUT example.com:80/path?query name:value`, both with what they leave out by default. A rule is
//! known by the body that it answers with.

mod cost;
mod expand;
mod filter;
mod hosts;
mod matching;
mod random;
mod walk;

use super::Found;
use super::Matched;
use super::Router;
use crate::base::map::Hasher;
use crate::config::gateway::Action;
use crate::config::gateway::Gateway;
use crate::config::gateway::Hostname;
use crate::config::gateway::Listener;
use crate::config::gateway::Match;
use crate::config::gateway::PathMatch;
use crate::config::gateway::Respond;
use crate::config::gateway::Route;
use crate::config::gateway::Rule;
use crate::config::gateway::TextMatch;
use crate::config::gateway::Timeouts;
use crate::config::gateway::ValueMatch;
use crate::http::Limits;
use crate::http::h1::Decoder;
use crate::http::h1::Head;
use crate::http::h1::Item;

fn listener(port: u16, host: &str) -> Listener {
    Listener {
        name: format!("{port} {host}"),
        listen: ([127, 0, 0, 1], port).into(),
        hostname: Some(Hostname(host.to_owned())).filter(|_| !host.is_empty()),
    }
}

/// A route on these listeners for these hosts, with rules (matches, answer).
fn route(listeners: &[usize], hosts: &str, rules: &[(&str, &str)]) -> Route {
    Route {
        name: format!("{hosts} {rules:?}"),
        listeners: listeners.to_vec(),
        hostnames: hosts.split_whitespace().map(|h| Hostname(h.to_owned())).collect(),
        rules: rules.iter().map(|(matches, body)| rule(matches, body)).collect(),
    }
}

fn rule(matches: &str, body: &str) -> Rule {
    let respond = Respond { status: 200, content_type: String::new(), body: body.to_owned() };
    Rule {
        matches: matches.split(" | ").map(condition).collect(),
        filters: Vec::new(),
        timeouts: Timeouts::default(),
        action: Action::Respond(respond),
    }
}

fn condition(text: &str) -> Match {
    let mut of = Match {
        path: PathMatch::Prefix(String::new()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
    };
    let named = |name: &str, value: &str| ValueMatch {
        name: name.to_owned(),
        value: match value.strip_prefix('~') {
            Some(pattern) => TextMatch::Regex(pattern.to_owned()),
            None => TextMatch::Exact(value.to_owned()),
        },
    };
    for word in text.split_whitespace() {
        if let Some(path) = word.strip_prefix('=') {
            of.path = PathMatch::Exact(path.to_owned());
        } else if let Some(pattern) = word.strip_prefix('~') {
            of.path = PathMatch::Regex(pattern.to_owned());
        } else if word.starts_with('/') {
            of.path = PathMatch::Prefix(word.strip_suffix('/').unwrap_or(word).to_owned());
        } else if let Some((name, value)) = word.strip_prefix('?').and_then(|q| q.split_once('=')) {
            of.query.push(named(name, value));
        } else if let Some((name, value)) = word.split_once(':') {
            of.headers.push(named(name, value));
        } else {
            of.method = Some(word.to_owned());
        }
    }
    of
}

fn head(request: &str) -> Head {
    let mut words = request.split_whitespace().peekable();
    let is_method = |w: &&str| w.bytes().all(|b| b.is_ascii_uppercase());
    let method = words.next_if(is_method).unwrap_or("GET");
    let (host, path) = words.next().unwrap().split_once('/').unwrap();
    let fields: String = words
        .map(|word| word.split_once(':').unwrap())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    raw(&format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
}

fn raw(bytes: &str) -> Head {
    match Decoder::new().decode(&mut bytes.as_bytes(), &Limits::default()) {
        Ok(Item::Head(head)) => *head,
        other => panic!("{bytes:?} is no request: {other:?}"),
    }
}

fn gateway(listeners: &[Listener], routes: &[Route]) -> Gateway {
    Gateway { listeners: listeners.to_vec(), routes: routes.to_vec(), ..Gateway::default() }
}

fn router(listeners: &[Listener], routes: &[Route]) -> Router {
    Router::new(&gateway(listeners, routes), &Hasher::new(11))
}

/// The router of one listener for any host.
fn simple(routes: &[Route]) -> Router {
    router(&[listener(80, "")], routes)
}

fn found<'r>(router: &'r Router, address: usize, head: &Head) -> Option<Matched<'r>> {
    match router.find(address, head) {
        Found::Rule(matched) => Some(matched),
        Found::NoRoute => None,
    }
}

fn answer_of(router: &Router, address: usize, request: &str) -> String {
    match found(router, address, &head(request)).map(|m| &m.rule().action) {
        Some(Action::Respond(respond)) => respond.body.clone(),
        Some(other) => panic!("{other:?}"),
        None => "404".to_owned(),
    }
}

/// Checks rows of an answer and the requests that get it, with ` + ` between.
#[track_caller]
fn check(router: &Router, address: usize, rows: &[(&str, &str)]) {
    for (want, requests) in rows {
        for request in requests.split(" + ") {
            assert_eq!(answer_of(router, address, request), *want, "{request}");
        }
    }
}
