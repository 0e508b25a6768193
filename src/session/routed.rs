//! Where a request leads when the configuration has routes: decided from the head alone.
//!
//! Invariants: what a request may choose of an upstream's target or a redirect is checked before it
//! is used; a mistake of the request is answered with 400 and says what to change. The order of
//! decisions is that of the Gateway API: match, redirect, backend, rewrite, fields, mirrors.

use super::At;
use super::Site;
use crate::base::chance::Chance;
use crate::config::gateway::Action;
use crate::config::gateway::FanoutAction;
use crate::config::gateway::Filter;
use crate::config::gateway::HeaderChange;
use crate::config::gateway::Part;
use crate::config::gateway::ProxyAction;
use crate::config::gateway::Scheme;
use crate::config::gateway::Variable;
use crate::http::Method;
use crate::http::forward;
use crate::http::forward::Hop;
use crate::http::h1::Head;
use crate::http::media;
use crate::http::query;
use crate::http::response::To;
use crate::relay::Plan;
use crate::relay::Timers;
use crate::route;
use crate::route::Found;
use crate::route::Matched;
use crate::route::RuleId;
use crate::route::filter;
use crate::route::filter::Arrival;
use crate::route::filter::Redirection;
use crate::upstream::Wanted;
use std::fmt;

/// A request that is passed on to a backend.
pub struct Passage {
    /// Which backend of the configuration.
    pub backend: usize,
    /// The exchange.
    pub plan: Plan,
    /// The request's cookies, which may name an endpoint.
    pub cookies: Option<Box<[u8]>>,
    /// Copies for other backends.
    pub mirrors: Vec<(usize, Plan)>,
    /// Input behind the head.
    pub input: Vec<u8>,
}

/// Without cookies and input: credentials are among their bytes.
impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passage")
            .field("backend", &self.backend)
            .field("plan", &self.plan)
            .field("mirrors", &self.mirrors.len())
            .finish_non_exhaustive()
    }
}

/// Channels that a request wants to read, merged if there are several.
#[derive(Debug)]
pub(super) struct Channels {
    /// Which upstream of the configuration.
    pub(super) upstream: usize,
    pub(super) wanted: Vec<Wanted>,
}

/// Where a request leads.
#[derive(Debug)]
pub(super) enum Destination {
    /// To the hub, at whatever path.
    Hub,
    /// To shared event streams.
    Fanout(Channels),
    /// To a backend.
    Proxy(Box<Passage>),
    /// To the fixed answer of this rule.
    Respond(RuleId),
    /// To the live page of this rule.
    Page(RuleId),
    /// Elsewhere.
    Redirect(Redirection),
    /// Nowhere: the request itself is at fault.
    Fault(String),
    /// Nowhere: the rule has no backend for it (500).
    NoBackend,
    /// Nowhere: no rule takes it (404).
    NoRoute,
}

/// Decides.
pub(super) fn decide(head: &Head, site: &Site, at: &At<'_>) -> (Destination, Option<RuleId>) {
    let Found::Rule(matched) = site.router().find(at.arrival.address, head) else {
        return (Destination::NoRoute, None);
    };
    let rule = matched.rule();
    let id = Some(matched.id());
    if let Some(redirection) = redirect(&matched, None, head, site, at) {
        return (redirection, id);
    }
    let destination = match &rule.action {
        Action::Hub => Destination::Hub,
        Action::Fanout(action) => fanout(action, &matched, head, site),
        Action::Proxy(action) => proxy(action, &matched, head, site, at),
        Action::Respond(_) => Destination::Respond(matched.id()),
        Action::Page(_) => Destination::Page(matched.id()),
        Action::None => Destination::NoBackend,
    };
    (destination, id)
}

fn redirect(
    matched: &Matched<'_>,
    backend: Option<&crate::config::gateway::BackendRef>,
    head: &Head,
    site: &Site,
    at: &At<'_>,
) -> Option<Destination> {
    let redirect = filter::redirect(filter::of(matched.rule(), backend))?;
    let arrival = Arrival { scheme: Scheme::Http, port: site.port(at.arrival.address) };
    Some(match filter::answer(redirect, head, matched.prefix_bytes(), arrival) {
        Ok(redirection) => Destination::Redirect(redirection),
        Err(no_host) => Destination::Fault(no_host.to_string()),
    })
}

fn proxy(
    action: &ProxyAction,
    matched: &Matched<'_>,
    head: &Head,
    site: &Site,
    at: &At<'_>,
) -> Destination {
    let mut chance = Chance::new(at.seed);
    let Some(chosen) = filter::choose(&action.backends, &mut chance) else {
        return Destination::NoBackend;
    };
    let Some(backend) = chosen.backend else { return Destination::NoBackend };
    if let Some(redirection) = redirect(matched, Some(chosen), head, site, at) {
        return redirection;
    }
    let rule = matched.rule();
    let filters = || filter::of(rule, Some(chosen));
    let rewritten = filter::rewrite(filters(), head, matched.prefix_bytes());
    let request_id = format!("{:016x}{:016x}", chance.next(), chance.next());
    let hop = Hop {
        client: at.arrival.peer.ip(),
        is_tls: false,
        host: rewritten.host,
        request_id: &request_id,
        framing: head.framing(),
        upgrade: true,
    };
    let mut fields = forward::request_fields(head, &hop);
    filter::change_request(filters(), &mut fields);
    let to = To::request(head);
    let plan = Plan {
        method: head.method_text().into(),
        target: rewritten.target().into(),
        fields,
        framing: head.framing(),
        has_stray_body: head.has_stray_body(),
        to: if site.is_ending() { to.closing() } else { to },
        takes_trailers: forward::accepts_trailers(head),
        upgrade: head.upgrade().map(Into::into),
        timers: Timers::of(rule.timeouts, site.config().limits.body_timeout),
        heartbeat: action.heartbeat,
        changes: changes(filters()),
        cookie: None,
        retries: action.retries,
        is_event_source: is_event_source(head),
    };
    let mirrors = filter::mirrors(filters(), &mut chance);
    let mirrors = mirrors.filter_map(|to| Some((to, plan.mirror()?))).collect();
    let cookies = joined(head.all("cookie"), b"; ");
    Destination::Proxy(Box::new(Passage { backend, plan, cookies, mirrors, input: Vec::new() }))
}

/// All fields of one name as one; `None`: there is none.
fn joined<'f>(mut all: impl Iterator<Item = &'f [u8]>, by: &[u8]) -> Option<Box<[u8]>> {
    let mut whole = all.next()?.to_vec();
    for more in all {
        whole.extend([by, more].concat());
    }
    Some(whole.into())
}

/// The changes of a response's fields, in order.
pub(super) fn changes<'f>(filters: impl Iterator<Item = &'f Filter>) -> Vec<HeaderChange> {
    filters
        .filter_map(|filter| match filter {
            Filter::ResponseHeaders(change) => Some(change.clone()),
            _ => None,
        })
        .collect()
}

/// Whether a browser's `EventSource` asks, or somebody like it.
pub(super) fn is_event_source(head: &Head) -> bool {
    let accepts = |value: &[u8]| value.split(|b| *b == b',').any(media::is_event_stream);
    head.method() == Method::Get && head.all("accept").any(accepts)
}

fn fanout(action: &FanoutAction, matched: &Matched<'_>, head: &Head, site: &Site) -> Destination {
    let upstream = action.upstream;
    let gateway = &site.config().gateway;
    let group = site.groups().get(upstream + 1);
    let Some((definition, group)) = gateway.upstreams.get(upstream).zip(group) else {
        return Destination::NoBackend;
    };
    let asked = head.query().unwrap_or_default();
    let has_channels = definition.target.contains(&Part::Variable(Variable::Channel));
    let channels: Vec<String> = if !has_channels {
        Vec::from([String::new()])
    } else if action.channels.is_empty() {
        let named = query::pairs(asked).filter(|(name, _)| **name == *b"channel");
        let named = named.map(|(_, value)| String::from_utf8_lossy(&value).into_owned());
        // An empty one would be another resource, and no name that a client could see.
        named.filter(|name| !name.is_empty()).collect()
    } else {
        action.channels.clone()
    };
    if channels.len() > 1 && !definition.multiplex {
        let text = "the request names several channels, which are not merged here: name one";
        return Destination::Fault(text.to_owned());
    }
    let most = definition.channels_per_client_max;
    if channels.len() > most {
        return Destination::Fault(format!("more than {most} channels: ask for fewer"));
    }
    if channels.is_empty() {
        let text = "the request names no channel: add `channel=NAME` to its query";
        return Destination::Fault(text.to_owned());
    }
    let last_id = super::fanout::last_id(head);
    let mut wanted = Vec::with_capacity(channels.len());
    for channel in &channels {
        let named = has_channels.then_some(channel.as_str());
        let target = match route::expand(&definition.target, matched, head, named) {
            Ok(target) => target,
            Err(error) => return Destination::Fault(error.to_string()),
        };
        let one = match Wanted::new(definition, &target, channel, Some(head)) {
            Ok(one) => one,
            Err(error) => return Destination::Fault(error.to_string()),
        };
        wanted.push(match &last_id {
            Some(id) => one.resuming(definition, &group.channel, id),
            None => one,
        });
    }
    Destination::Fanout(Channels { upstream, wanted })
}
