//! Upstreams: event streams that are shared among clients.
//!
//! Invariants: scheme, host and port of the URL are literal, so that no request chooses a server;
//! only path and query have variables. The URL's server is a backend like any other.

pub(crate) mod stream;
pub(crate) mod target;

use crate::config::error::Cause;
use crate::config::gateway::Initial;
use crate::config::gateway::Upstream;
use crate::config::gateway::Variable;
use crate::config::gateway::backend;
use crate::config::gateway::backend::tls;
use crate::config::gateway::backend::url;
use crate::config::gateway::backend::url::Authority;
use crate::config::gateway::bounds::UPSTREAMS_MAX;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::show::Detail;
use crate::config::gateway::show::Printer;
use crate::config::gateway::upstream::stream::UPSTREAM;
use crate::config::value::quote;
use ::toml::de::DeValue;

/// What the text says.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) upstream: Upstream,
    pub(crate) url: Option<Authority>,
    /// A backend to connect to in place of the URL's host.
    pub(crate) backend: Option<usize>,
    pub(crate) tls: Option<tls::Draft>,
}

/// What a URL looks like, for messages.
pub(crate) const URL: &str = "an http or https URL whose path and query may hold {channel}, \
                              {rest}, {path.NAME}, {query.NAME} and {header.NAME}";

/// Reads the URL.
pub(crate) fn read_url(draft: &mut Draft, node: &Node<'_>, reader: &mut Reader<'_>) {
    let DeValue::String(text) = node.value else { return reader.form(node, URL) };
    if url::has_secret(text) {
        let node = Node { hidden: true, ..node.clone() };
        let remedy = "remove it; a proxied backend can be given an Authorization field";
        return reader.relation(&node, "must not hold a user name or password", remedy);
    }
    let Some((authority, rest)) = Authority::parse(text) else { return reader.form(node, URL) };
    match target::parse(rest) {
        Ok(target) => {
            draft.upstream.host = authority.field();
            draft.upstream.target = target;
            draft.url = Some(authority);
        }
        Err(error) => {
            let remedy = "correct it, as in \"https://feed.example/v1/{channel}?s={query.s}\"";
            reader.relation(node, &error.to_string(), remedy);
        }
    }
}

/// Prints the URL.
pub(crate) fn show_url(draft: &Draft) -> Option<String> {
    let url = draft.url.as_ref()?;
    Some(quote(&format!("{url}{}", target::show(&draft.upstream.target))))
}

/// Reads `[[upstream]]`.
pub(crate) fn read(node: Option<&Node<'_>>, reader: &mut Reader<'_>) {
    let Some(node) = node else { return };
    let wanted = "a list of tables, as [[upstream]]";
    let Some(items) = reader.items(node, UPSTREAMS_MAX, wanted) else { return };
    for item in &items {
        let before = reader.problems();
        let Some(draft) = reader.one(&UPSTREAM, item) else { continue };
        let upstream = finish(draft, item, reader);
        if reader.problems() == before {
            check(&upstream, item, reader);
        }
        let index = reader.gateway.upstreams.len();
        reader.define(item, &upstream.name, index, |names| &mut names.upstreams);
        reader.gateway.upstreams.push(upstream);
    }
}

/// Gives the upstream its servers: a backend that it names, or the host of its URL.
fn finish(draft: Draft, node: &Node<'_>, reader: &mut Reader<'_>) -> Upstream {
    let Draft { mut upstream, url, backend, tls } = draft;
    let Some(url) = url else { return upstream };
    let at = reader.member(node, "tls");
    if let Some(index) = backend {
        upstream.backend = index;
        let https = reader.gateway.backends.get(index).is_some_and(|b| b.tls.is_some());
        if https != url.https {
            let scheme = if https { "https" } else { "http" };
            let bound = format!("must have the scheme of its backend, {scheme}");
            let remedy = "change the scheme here, or the endpoints there".to_owned();
            let node = reader.member(node, "url");
            reader.problem(&node, Cause::Relation { bound, remedy });
        }
        if tls.is_some() {
            reader.relation(&at, "has no place beside `backend`", "give it to the backend");
        }
        return upstream;
    }
    let name = format!("upstream:{}", upstream.name);
    let mut backend = backend::implied(name.clone(), url.place(), url.https);
    match tls {
        Some(_) if !url.https => {
            reader.relation(&at, "has no place beside an http URL", "make it https, or remove it");
        }
        Some(tls) => backend.tls = Some(tls.finish(Some(&url.host), &at, reader)),
        None => {}
    }
    upstream.backend = reader.gateway.backends.len();
    reader.names.backends.insert(name, upstream.backend);
    reader.gateway.backends.push(backend);
    upstream
}

/// Relations between the keys of one upstream.
fn check(upstream: &Upstream, node: &Node<'_>, reader: &mut Reader<'_>) {
    let mut relation = |holds: bool, key: &str, bound: &str, remedy: &str| {
        if !holds {
            let node = reader.member(node, key);
            reader.relation(&node, bound, remedy);
        }
    };
    let u = upstream;
    let channel = target::variables(&u.target).any(|variable| *variable == Variable::Channel);
    let fixed = target::variables(&u.target).next().is_none() && u.headers.is_empty();
    relation(
        fixed || !u.always_on,
        "always_on",
        "needs a URL without variables, and no `headers`: nobody asks, so nothing fills them in",
        "remove it, or make an upstream for each channel that is wanted always",
    );
    relation(
        channel || !u.multiplex,
        "multiplex",
        "needs {channel} in the URL: there is nothing to merge",
        "put {channel} where the channel's name goes, or remove it",
    );
    relation(
        channel || !u.prefix_types,
        "prefix_types",
        "needs {channel} in the URL: there is no name to put before a type",
        "put {channel} where the channel's name goes, or remove it",
    );
    relation(
        u.backoff_min <= u.backoff_max,
        "backoff_min",
        "must not exceed backoff_max",
        "lower it, or raise backoff_max",
    );
    relation(
        u.history_bytes_max <= u.history_total_bytes_max,
        "history_bytes_max",
        "must not exceed history_total_bytes_max, which all channels share",
        "lower it, or raise history_total_bytes_max",
    );
    relation(
        u.event_bytes_max <= u.lag_bytes_max,
        "event_bytes_max",
        "must not exceed lag_bytes_max: one event would put every client past its lag",
        "lower it, or raise lag_bytes_max",
    );
    let initial = match u.initial {
        Initial::None => 0,
        Initial::Events(count) => count,
    };
    relation(
        initial <= u.history_events_max,
        "initial",
        "must not exceed history_events_max: there are no more to give",
        "lower it, or raise history_events_max",
    );
}

/// Prints an upstream's table.
pub(crate) fn show(upstream: &Upstream, printer: &Printer<'_>) -> String {
    let backend = printer.gateway.backends.get(upstream.backend);
    let implied = backend.is_none_or(backend::is_implied);
    let tls = backend.and_then(|backend| backend.tls.as_ref()).map(tls::Draft::of);
    let https = if tls.is_some() { "https" } else { "http" };
    let url = Authority::parse(&format!("{https}://{}", upstream.host)).map(|(url, _)| url);
    let host = url.as_ref().map(|url| url.host.clone());
    // The name that the URL implies need not be said.
    let plain = tls::Draft { server_name: host, ..tls::Draft::default() };
    let said = |tls: &tls::Draft| implied && (printer.detail == Detail::All || *tls != plain);
    let tls = tls.filter(said);
    let backend = (!implied).then_some(upstream.backend);
    printer.lines(&UPSTREAM, &Draft { upstream: upstream.clone(), url, backend, tls })
}
