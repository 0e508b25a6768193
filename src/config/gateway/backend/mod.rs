//! Backends: sets of servers that answer alike.
//!
//! A backend has a name and a table, or is implied: by an address in a route (`http://host:port`,
//! which is its name), or by an upstream's URL (`upstream:` and the upstream's name). No name that
//! somebody gives has a `:`, so these never meet.
//!
//! Invariants: names are unique; endpoints speak all TLS or none.

pub(crate) mod endpoint;
pub(crate) mod health;
pub(crate) mod tls;
pub(crate) mod url;

use crate::config::form;
use crate::config::gateway::Backend;
use crate::config::gateway::BackendTls;
use crate::config::gateway::Balance;
use crate::config::gateway::Endpoint;
use crate::config::gateway::Place;
use crate::config::gateway::TlsFiles;
use crate::config::gateway::backend::tls::TLS;
use crate::config::gateway::bounds;
use crate::config::gateway::field;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::gateway::show::Detail;
use crate::config::gateway::show::Printer;
use crate::config::value::Kind;
use ::toml::de::DeValue;
use std::time::Duration;

/// The name of a backend that is none: a reference to it answers 500.
pub(crate) const NONE: &str = "none";

/// What the text says.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) backend: Backend,
    /// Whether the endpoints are `https`; `None`: their addresses do not say.
    pub(crate) https: Option<bool>,
    pub(crate) tls: Option<tls::Draft>,
}

impl Backend {
    /// A backend with the defaults and no endpoint yet.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoints: Vec::new(),
            tls: None,
            balance: Balance::LeastRequest,
            affinity: None,
            eject_failures: 5,
            eject_time: Duration::from_secs(30),
            health: None,
            connect_timeout: Duration::from_secs(5),
            idle_connections_max: 32,
            idle_timeout: Duration::from_secs(30),
            resolve_interval: Duration::from_secs(30),
            delayed_acks: false,
        }
    }
}

pub(crate) static BACKEND: Shape<Draft> = Shape {
    title: "`[[backend]]`",
    nouns: &["backend"],
    blank: || Draft { backend: Backend::named(""), https: None, tls: None },
    rows: &[
        value(
            "name",
            Kind::Text(&form::NAME),
            "Its name, for routes and upstreams.",
            |d: &mut Draft| &mut d.backend.name,
        )
        .required(),
        parts(
            "endpoints",
            "a list of 1 to 256 addresses, as [\"http://10.0.0.1:8000\", \"unix:/run/api.sock\"], \
             or tables with `url` and `weight`",
            "Its servers, all `http` or all `https`. A name that has several addresses is several \
             endpoints.",
            endpoint::read,
            |d, printer| Some(endpoint::show(&d.backend, printer)),
        )
        .required(),
        value(
            "balance",
            field::BALANCE,
            "How an endpoint is chosen. `least-request`: of two drawn at random, the one with \
             fewer requests under way, so that streams spread. `round-robin`: in turn, by weight.",
            |d: &mut Draft| &mut d.backend.balance,
        ),
        parts(
            "affinity",
            "a table",
            "Requests with our cookie keep to the endpoint that it names.",
            |d: &mut Draft, node, reader| d.backend.affinity = reader.one(&health::AFFINITY, node),
            |d, printer| d.backend.affinity.as_ref().map(|a| printer.inline(&health::AFFINITY, a)),
        ),
        parts(
            "tls",
            "a table",
            "TLS to the endpoints. `https` implies it, with their host as `server_name`.",
            |d: &mut Draft, node, reader| d.tls = reader.one(&TLS, node),
            |d, printer| d.tls.as_ref().map(|tls| printer.inline(&TLS, tls)),
        ),
        parts(
            "health",
            "a table; {} takes the defaults",
            "Probes of each endpoint. One that fails them gets no requests.",
            |d: &mut Draft, node, reader| d.backend.health = reader.one(&health::HEALTH, node),
            |d, printer| d.backend.health.as_ref().map(|h| printer.inline(&health::HEALTH, h)),
        ),
        value(
            "eject_failures",
            bounds::number_or_zero(1, 1000, "never"),
            "Failures in a row after which an endpoint is left alone for `eject_time`.",
            |d: &mut Draft| &mut d.backend.eject_failures,
        ),
        value("eject_time", bounds::span(10, bounds::DAY), "How long that is.", |d: &mut Draft| {
            &mut d.backend.eject_time
        }),
        value(
            "connect_timeout",
            bounds::span(10, bounds::HOUR),
            "From the start of a connect to its end, TLS included.",
            |d: &mut Draft| &mut d.backend.connect_timeout,
        ),
        value(
            "idle_connections_max",
            bounds::number_or_zero(1, 10_000, "none"),
            "Idle connections that one worker keeps to one endpoint for further requests.",
            |d: &mut Draft| &mut d.backend.idle_connections_max,
        ),
        value(
            "idle_timeout",
            bounds::span(10, bounds::DAY),
            "How long one is kept.",
            |d: &mut Draft| &mut d.backend.idle_timeout,
        ),
        value(
            "resolve_interval",
            bounds::span(100, bounds::DAY),
            "How often names are looked up again at the least; their TTL may ask for it earlier.",
            |d: &mut Draft| &mut d.backend.resolve_interval,
        ),
        value(
            "delayed_acks",
            Kind::Flag,
            "Small pieces of responses are acknowledged to the server in twos: about a tenth less \
             CPU for streams of many small pieces. For servers that set `TCP_NODELAY`: what others \
             send comes up to 40 ms late now and then.",
            |d: &mut Draft| &mut d.backend.delayed_acks,
        ),
    ],
};

/// Reads `[[backend]]`.
pub(crate) fn read(node: Option<&Node<'_>>, reader: &mut Reader<'_>) {
    let Some(node) = node else { return };
    let wanted = "a list of tables, as [[backend]]";
    let Some(items) = reader.items(node, bounds::BACKENDS_MAX, wanted) else { return };
    for item in &items {
        let Some(draft) = reader.one(&BACKEND, item) else { continue };
        let backend = finish(draft, item, reader);
        if backend.name == NONE {
            let node = reader.member(item, "name");
            reader.relation(&node, "`none` is no backend: it leads nowhere", "take another name");
        }
        let index = reader.gateway.backends.len();
        reader.define(item, &backend.name, index, |names| &mut names.backends);
        reader.gateway.backends.push(backend);
    }
}

fn finish(draft: Draft, node: &Node<'_>, reader: &mut Reader<'_>) -> Backend {
    let Draft { mut backend, https, tls } = draft;
    let at = reader.member(node, "tls");
    if https == Some(false) && tls.is_some() {
        reader.relation(&at, "has no place beside http endpoints", "make them https, or remove it");
    } else if https == Some(true) || tls.is_some() {
        let host = only_host(&backend.endpoints).map(str::to_owned);
        backend.tls = Some(tls.unwrap_or_default().finish(host.as_deref(), &at, reader));
    }
    backend
}

/// The host that all endpoints have.
fn only_host(endpoints: &[Endpoint]) -> Option<&str> {
    let host = |endpoint: &'_ Endpoint| match &endpoint.place {
        Place::Tcp(host, _) => Some(host.clone()),
        Place::Unix(_) => None,
    };
    let first = endpoints.first()?;
    let Place::Tcp(only, _) = &first.place else { return None };
    endpoints.iter().all(|endpoint| host(endpoint).as_ref() == Some(only)).then_some(only)
}

/// Whether a backend has no table of its own.
pub(crate) fn is_implied(backend: &Backend) -> bool {
    backend.name.contains(':')
}

/// A backend of one server, without a table.
pub(crate) fn implied(name: String, place: Place, https: bool) -> Backend {
    let server_name = match &place {
        Place::Tcp(host, _) => host.clone(),
        Place::Unix(_) => String::new(),
    };
    let files = TlsFiles::default();
    let tls = https.then_some(BackendTls { server_name, ca_pem: None, client: None, files });
    let endpoints = vec![Endpoint { place, weight: 1 }];
    Backend { endpoints, tls, ..Backend::named(name) }
}

/// The backend that a text names, or implies by an address.
pub(crate) fn refer(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<usize> {
    let DeValue::String(text) = node.value else {
        reader.form(node, format!("the name of a backend, or {}", url::WANTED));
        return None;
    };
    // Names have no colon.
    if !text.contains(':') {
        return reader.resolve(node, "backend", |names| &names.backends);
    }
    let Some((place, https)) = url::place(text) else {
        let node = Node { hidden: url::has_secret(text), ..node.clone() };
        let bound = format!("must be the name of a backend, or {}, without a path", url::WANTED);
        let remedy = url::remedy(text).unwrap_or("give scheme, host and port");
        reader.relation(&node, &bound, remedy);
        return None;
    };
    let https = https.unwrap_or(false);
    let name = url::show(&place, https);
    if let Some(index) = reader.names.backends.get(&name) {
        return Some(*index);
    }
    let index = reader.gateway.backends.len();
    if index >= bounds::BACKENDS_MAX + bounds::UPSTREAMS_MAX {
        reader.relation(node, "is one backend too many: 1024 are allowed", "remove some");
        return None;
    }
    reader.gateway.backends.push(implied(name.clone(), place, https));
    reader.names.backends.insert(name, index);
    Some(index)
}

/// Prints a backend's table.
pub(crate) fn show(backend: &Backend, printer: &Printer<'_>) -> String {
    let tls = backend.tls.as_ref().map(tls::Draft::of);
    let implied = |draft: &tls::Draft| {
        draft.files == TlsFiles::default()
            && draft.server_name.as_deref() == only_host(&backend.endpoints)
    };
    let tls = tls.filter(|draft| printer.detail == Detail::All || !implied(draft));
    let https = Some(backend.tls.is_some());
    printer.lines(&BACKEND, &Draft { backend: backend.clone(), https, tls })
}
