//! The model of listeners, routes, backends and upstreams: shaped and named like the Gateway API.
//!
//! Who reads text into it (TOML today) checks everything that can be checked without a request;
//! who serves with it checks nothing again. Indices (`usize`) point into the lists of [`Gateway`].
//!
//! Invariants:
//! 1. Every index is in range; every regular expression compiles; host names are lower case.
//! 2. `Redirect` and `Rewrite` exclude each other in one rule; each filter but `Mirror` is there
//!    once at most; a prefix path change stands only in a rule whose matches are one prefix.
//! 3. `backend_request` is not longer than `request`, unless one of them is zero (off).
//! 4. A list of routes that is empty means: the hub alone, at its well-known path, and its page.

mod backend;
mod bounds;
mod command;
mod field;
mod list;
pub(crate) mod listener;
pub(crate) mod manual;
pub(crate) mod reader;
pub(crate) mod route;
mod row;
pub(crate) mod show;
mod upstream;

pub use backend::tls::TlsFiles;
pub use bounds::TABLES;
#[cfg(test)]
pub(crate) use command::Nothing;
pub use command::fanout;
pub use command::proxy;
pub use show::Detail;
pub use show::show;

#[cfg(test)]
mod tests;

use crate::base::redact::Secret;
use crate::config::LagPolicy;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Listeners, routes, and where routes lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Where clients connect; the first is the key `listen`, named `default`.
    pub listeners: Vec<Listener>,
    /// Sets of servers that requests are passed to, and that upstreams live on.
    pub backends: Vec<Backend>,
    /// Event streams that are shared among clients.
    pub upstreams: Vec<Upstream>,
    /// Which request leads where, in the order of the text (Gateway API precedence decides first).
    pub routes: Vec<Route>,
}

/// A place where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, for routes to attach to.
    pub name: String,
    /// Address and port. Several listeners may share one and differ in host name.
    pub listen: SocketAddr,
    /// Requests for this host only; `None`: any.
    pub hostname: Option<Hostname>,
}

/// A host name in lower case, exact or `*.suffix` (one or more labels, never the suffix itself).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(pub String);

/// Rules for the requests of some hosts on some listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name: unique, for messages.
    pub name: String,
    /// Listeners that it is attached to.
    pub listeners: Vec<usize>,
    /// Hosts; empty: those of the listener.
    pub hostnames: Vec<Hostname>,
    /// At least one.
    pub rules: Vec<Rule>,
}

/// One rule: what it matches, what is changed, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Any of these; at least one (prefix `/` where the text names none).
    pub matches: Vec<Match>,
    /// In order.
    pub filters: Vec<Filter>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Where the request leads.
    pub action: Action,
}

/// All of these must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The path, never decoded.
    pub path: PathMatch,
    /// The method as it is written; `None`: any.
    pub method: Option<String>,
    /// Header fields, names in lower case, each name once.
    pub headers: Vec<ValueMatch>,
    /// Query parameters, each name once; the first of a repeated one in the request counts.
    pub query: Vec<ValueMatch>,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Byte for byte.
    Exact(String),
    /// By whole path elements; stored without a trailing `/` (the root is the empty string).
    Prefix(String),
    /// A regular expression that must match the whole path (linear time; ranks after prefixes).
    Regex(String),
}

/// A named value of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueMatch {
    /// Its name.
    pub name: String,
    /// What its value must be.
    pub value: TextMatch,
}

/// How a value is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextMatch {
    /// Byte for byte.
    Exact(String),
    /// A regular expression that must match the whole value.
    Regex(String),
}

/// What is changed on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Fields of the request, before it is passed on.
    RequestHeaders(HeaderChange),
    /// Fields of the response, before it is passed back.
    ResponseHeaders(HeaderChange),
    /// An answer that sends the client elsewhere.
    Redirect(Redirect),
    /// Host and path of the request, before it is passed on.
    Rewrite(Rewrite),
    /// A copy of the request for another backend, whose answer is ignored.
    Mirror(Mirror),
}

/// Changes of header fields; names compare without case, one action per name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderChange {
    /// Overwrites.
    pub set: Vec<(String, String)>,
    /// Appends: `old,new` where the field is there already.
    pub add: Vec<(String, String)>,
    /// Removes.
    pub remove: Vec<String>,
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`, port 80.
    Http,
    /// `https`, port 443.
    Https,
}

/// Sends the client elsewhere. What is absent is taken from the request; the query is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The scheme.
    pub scheme: Option<Scheme>,
    /// The host.
    pub hostname: Option<String>,
    /// The port; absent: that of `scheme` if that is given, else the listener's.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathChange>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Changes what the backend sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Replaces `Host`.
    pub hostname: Option<String>,
    /// Replaces the path, or its matched prefix.
    pub path: Option<PathChange>,
}

/// How a path is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// The whole of it.
    Full(String),
    /// The prefix that the rule matched.
    Prefix(String),
}

/// A copy of some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where to.
    pub backend: usize,
    /// This share of them: so many of `denominator`.
    pub numerator: u32,
    /// At least 1, and at least `numerator`.
    pub denominator: u32,
}

/// How long things may take. `None`: the default of [`Timeouts::DEFAULT`]; zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// The whole exchange, from the request's head to the response's last byte.
    pub request: Option<Duration>,
    /// One attempt at a backend, from its first byte to the head of its response.
    pub backend_request: Option<Duration>,
    /// From the request's end to the head of the response.
    pub response_head: Option<Duration>,
    /// Silence of a response's body, and of a tunnel.
    pub idle: Option<Duration>,
}

/// Where a rule leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To the hub, which answers at the request's path as it does at its well-known one.
    Hub,
    /// To a shared event stream.
    Fanout(FanoutAction),
    /// To a backend, one request for one request.
    Proxy(ProxyAction),
    /// A fixed answer.
    Respond(Respond),
    /// The live page, which shows the event stream at this path (with its query).
    Page(String),
    /// Nowhere: a redirect answers, or the rule has no backend (500).
    None,
}

/// A shared event stream, or several merged into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanoutAction {
    /// Which upstream.
    pub upstream: usize,
    /// Values of `{channel}`, if the route fixes them; empty: the request's `channel` parameters.
    pub channels: Vec<String>,
}

/// One request for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAction {
    /// Where to; a request goes to one of them, by weight.
    pub backends: Vec<BackendRef>,
    /// Silence of an event stream after which the client gets a comment; zero: none.
    pub heartbeat: Duration,
    /// Further attempts where RFC 9110 9.2.2 allows one and nothing was answered yet.
    pub retries: u32,
}

/// A backend with its share of a rule's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRef {
    /// Which; `None`: a reference that leads nowhere, answered with 500.
    pub backend: Option<usize>,
    /// Its share of the sum of weights.
    pub weight: u32,
    /// Filters of this backend alone, after those of the rule.
    pub filters: Vec<Filter>,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Its media type.
    pub content_type: String,
    /// Its body.
    pub body: String,
}

/// A set of servers that answer alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name: unique. What an upstream implies is `upstream:NAME`, what an
    /// address in a route implies is named by it.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// TLS to its endpoints.
    pub tls: Option<BackendTls>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Which requests keep to an endpoint.
    pub affinity: Option<Affinity>,
    /// Failures in a row after which an endpoint is left alone for `eject_time`; 0: never.
    pub eject_failures: u32,
    /// How long.
    pub eject_time: Duration,
    /// Probes, if any.
    pub health: Option<Health>,
    /// From the start of a connect to its end, TLS included.
    pub connect_timeout: Duration,
    /// Idle connections that one worker keeps to one endpoint.
    pub idle_connections_max: usize,
    /// How long one is kept.
    pub idle_timeout: Duration,
    /// How often names are looked up again at the least; the name's TTL may ask for it earlier.
    pub resolve_interval: Duration,
    /// Small pieces of responses are acknowledged together.
    pub delayed_acks: bool,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub place: Place,
    /// Its share; 0: gets nothing.
    pub weight: u32,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A name or address (IPv6 without brackets), and a port. A name may have several addresses:
    /// each is an endpoint.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// TLS to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The name that the certificate must have, and that SNI says.
    pub server_name: String,
    /// PEM of the authorities to trust; `None`: the system's.
    pub ca_pem: Option<String>,
    /// PEM of our certificate chain and its key, if the backend wants one.
    pub client: Option<(String, Secret)>,
    /// The files that these came from, for print.
    pub files: TlsFiles,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The one with fewer requests under way, of two drawn at random.
    LeastRequest,
}

/// Requests with our cookie keep to the endpoint that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The cookie's name.
    pub cookie: String,
    /// Its life; zero: until the browser closes.
    pub max_age: Duration,
}

/// Probes of an endpoint's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The path that is asked for.
    pub path: String,
    /// The `Host` that is asked for; `None`: the endpoint's.
    pub host: Option<String>,
    /// From one probe to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Successes in a row that make an endpoint healthy.
    pub healthy: u32,
    /// Failures in a row that make it unhealthy.
    pub unhealthy: u32,
    /// Statuses that are a success: first and last, both included.
    pub statuses: (u16, u16),
}

/// A family of upstream event streams: a URL with variables, and how its channels are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name: unique.
    pub name: String,
    /// The servers of its URL.
    pub backend: usize,
    /// The `Host` of its requests: that of the URL.
    pub host: String,
    /// Path and query of its URL: text that starts with `/`, and variables of the request. It may
    /// start with `{rest}`, which is empty or starts with `/`: then an empty path means `/`.
    pub target: Vec<Part>,
    /// Fields of the request that are passed on and so tell channels apart, in lower case.
    pub headers: Vec<String>,
    /// Cookies and `Authorization` are neither passed on nor part of the key.
    pub public: bool,
    /// Connected from the start and for ever; only for a URL without variables.
    pub always_on: bool,
    /// How long a channel without readers stays connected.
    pub linger: Duration,
    /// Bytes of one event.
    pub event_bytes_max: usize,
    /// From the request to the head of the response.
    pub head_timeout: Duration,
    /// Silence, comments included, after which the connection is given up.
    pub idle_timeout: Duration,
    /// The reconnection time until the upstream names one, and the least of any.
    pub backoff_min: Duration,
    /// The most that a back-off grows to.
    pub backoff_max: Duration,
    /// Redirects followed for one connection. They stay with the backend.
    pub redirects_max: u32,
    /// Channels at a time.
    pub channels_max: usize,
    /// Several channels may be merged: ids are ours and carry the position of each.
    pub multiplex: bool,
    /// Channels of one client, where `multiplex` is on.
    pub channels_per_client_max: usize,
    /// The event type becomes `channel:type`.
    pub prefix_types: bool,
    /// What a client without an id gets first.
    pub initial: Initial,
    /// Events kept of each channel.
    pub history_events_max: usize,
    /// Bytes kept of each channel.
    pub history_bytes_max: usize,
    /// Bytes kept of all channels.
    pub history_total_bytes_max: usize,
    /// Age up to which events are kept; zero: no limit.
    pub history_age_max: Duration,
    /// Silence after which a client gets a comment; zero: none.
    pub heartbeat: Duration,
    /// `retry:` sent on connect, in milliseconds; `None`: none.
    pub retry: Option<u64>,
    /// Age at which a client's connection is ended (drawn from 80 to 100 %); zero: none.
    pub age_max: Duration,
    /// Bytes that a client may lag.
    pub lag_bytes_max: usize,
    /// What happens past that.
    pub lag_policy: LagPolicy,
    /// Event type of an in-band gap event; empty: only the comment.
    pub gap_event: String,
    /// Origins that may read across origins; `["*"]` for all.
    pub cors_origins: Vec<String>,
}

/// A piece of an upstream's path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// A value of the request, percent-encoded where it does not fit a path segment or query.
    Variable(Variable),
}

/// A value of the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `{channel}`: the channel's name, from the route or from the request's `channel` parameters.
    Channel,
    /// `{rest}`: what follows the prefix that the rule matched, its `/` included, as it came.
    Rest,
    /// `{path.NAME}`: a group of the rule's regular expression, by name or number.
    Capture(String),
    /// `{query.NAME}`: the first query parameter of this name; empty if there is none.
    Query(String),
    /// `{header.NAME}`: the first field of this name, in lower case; empty if there is none.
    Header(String),
}

/// What a client without an id gets before what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// Nothing.
    None,
    /// So many of the newest events, of all the client's channels together.
    Events(usize),
}
