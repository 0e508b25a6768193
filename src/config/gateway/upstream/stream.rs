//! The keys of an upstream: how its streams are kept, followed and handed on.
//!
//! Invariants: every field of the model has a row.

use crate::config::LagPolicy;
use crate::config::form;
use crate::config::gateway::Initial;
use crate::config::gateway::Upstream;
use crate::config::gateway::backend;
use crate::config::gateway::backend::tls::TLS;
use crate::config::gateway::bounds;
use crate::config::gateway::bounds::DAY;
use crate::config::gateway::bounds::GIB;
use crate::config::gateway::bounds::HOUR;
use crate::config::gateway::bounds::KIB;
use crate::config::gateway::bounds::MIB;
use crate::config::gateway::field;
use crate::config::gateway::list;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::row::Row;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::gateway::row::value_or;
use crate::config::gateway::show;
use crate::config::gateway::upstream::Draft;
use crate::config::gateway::upstream::URL;
use crate::config::gateway::upstream::read_url;
use crate::config::gateway::upstream::show_url;
use crate::config::gateway::upstream::target;
use crate::config::value::Kind;
use crate::config::value::quote;
use std::time::Duration;

/// Fields that a source of events writes itself, or that belong to one connection.
const OWN: [&str; 13] = [
    "accept",
    "accept-encoding",
    "cache-control",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "last-event-id",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Upstream {
    /// An upstream with the defaults, at no URL yet.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            backend: 0,
            host: String::new(),
            target: Vec::new(),
            headers: Vec::new(),
            public: false,
            always_on: false,
            linger: Duration::from_secs(30),
            event_bytes_max: 1024 * 1024,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            redirects_max: 5,
            channels_max: 1000,
            multiplex: false,
            channels_per_client_max: 100,
            prefix_types: false,
            initial: Initial::None,
            history_events_max: 1000,
            history_bytes_max: 1024 * 1024,
            history_total_bytes_max: 64 * 1024 * 1024,
            history_age_max: Duration::from_secs(3600),
            heartbeat: Duration::from_secs(15),
            retry: None,
            age_max: Duration::ZERO,
            lag_bytes_max: 1024 * 1024,
            lag_policy: LagPolicy::Close,
            gap_event: String::new(),
            cors_origins: Vec::new(),
        }
    }
}

pub(crate) static UPSTREAM: Shape<Draft> = Shape {
    title: "`[[upstream]]`",
    nouns: &["upstream"],
    blank: || Draft { upstream: Upstream::named(""), url: None, backend: None, tls: None },
    rows: ROWS,
};

static ROWS: &[Row<Draft>] = &[
    value("name", Kind::Text(&form::NAME), "Its name, for routes.", |d: &mut Draft| {
        &mut d.upstream.name
    })
    .required(),
    parts(
        "url",
        URL,
        "Where the stream is. Each URL that comes of it is a channel: one connection, however many \
         clients. `{channel}` is the channel's name, from the route or the request's `channel` \
         parameters; `{rest}` what follows the rule's prefix; `{path.NAME}` a group of its regular \
         expression; the others are a query parameter or a header field of the request.",
        read_url,
        |d, _| show_url(d),
    )
    .required(),
    parts(
        "backend",
        "the name of a backend",
        "Where to connect, in place of the URL's host: several endpoints, a Unix socket, probes.",
        |d: &mut Draft, node, reader| d.backend = backend::refer(node, reader),
        |d, printer| {
            let backend = printer.gateway.backends.get(d.backend?)?;
            Some(quote(&backend.name))
        },
    )
    .default("the URL's host"),
    parts(
        "tls",
        "a table",
        "TLS to the URL's host. `https` implies it.",
        |d: &mut Draft, node, reader| d.tls = reader.one(&TLS, node),
        |d, printer| d.tls.as_ref().map(|tls| printer.inline(&TLS, tls)),
    ),
    parts(
        "headers",
        "a list of at most 16 names of header fields",
        "Fields of the request that are passed on, and so tell channels apart.",
        headers,
        |d, _| Some(show::texts(d.upstream.headers.iter().map(String::as_str))),
    ),
    value(
        "public",
        Kind::Flag,
        "Everyone gets the same stream: cookies and `Authorization` are not passed on. Otherwise \
         they are, and clients share a channel only if theirs are equal.",
        |d: &mut Draft| &mut d.upstream.public,
    ),
    value(
        "always_on",
        Kind::Flag,
        "Connected from the start and for ever. Only for a URL without variables.",
        |d: &mut Draft| &mut d.upstream.always_on,
    ),
    value(
        "linger",
        bounds::span_or_zero(10, DAY, "not at all"),
        "How long a channel without readers stays connected. That it has none is noticed within \
         a second, or within `linger` if that is longer, but at most 5 s.",
        |d: &mut Draft| &mut d.upstream.linger,
    ),
    value(
        "event_bytes_max",
        bounds::size(KIB, 64 * MIB),
        "Bytes of one event's data, each line after the first counting six more, as `data: ` on \
         the wire; at most lag_bytes_max.",
        |d: &mut Draft| &mut d.upstream.event_bytes_max,
    ),
    value(
        "head_timeout",
        bounds::span(10, HOUR),
        "From the request to the head of the response.",
        |d: &mut Draft| &mut d.upstream.head_timeout,
    ),
    value(
        "idle_timeout",
        bounds::span(10, DAY),
        "Silence, comments included, after which the connection is given up for another.",
        |d: &mut Draft| &mut d.upstream.idle_timeout,
    ),
    value(
        "backoff_min",
        bounds::span(1, HOUR),
        "Pause before a reconnection until the upstream names one with `retry:`, and the least of \
         any.",
        |d: &mut Draft| &mut d.upstream.backoff_min,
    ),
    value(
        "backoff_max",
        bounds::span(1, DAY),
        "What the pause grows to while connections fail.",
        |d: &mut Draft| &mut d.upstream.backoff_max,
    ),
    value(
        "redirects_max",
        bounds::number(0, 20),
        "Redirects followed for one connection. They stay with the backend.",
        |d: &mut Draft| &mut d.upstream.redirects_max,
    ),
    value("channels_max", bounds::number(1, 1_000_000), "Channels at a time.", |d: &mut Draft| {
        &mut d.upstream.channels_max
    }),
    value(
        "multiplex",
        Kind::Flag,
        "A client may name several `channel` parameters and gets them merged into one stream, \
         whose ids carry the position of each.",
        |d: &mut Draft| &mut d.upstream.multiplex,
    ),
    value(
        "channels_per_client_max",
        bounds::number(1, 1000),
        "Channels of one client, with multiplex.",
        |d: &mut Draft| &mut d.upstream.channels_per_client_max,
    ),
    value("prefix_types", Kind::Flag, "The event type becomes `channel:type`.", |d: &mut Draft| {
        &mut d.upstream.prefix_types
    }),
    value_or(
        "initial",
        bounds::number(1, 1_000_000),
        ("none", "only what comes next"),
        "So many of the newest events a client without an id gets first, of all its channels \
         together; 1: the last one.",
        |d: &mut Draft| &mut d.upstream.initial,
    ),
    value(
        "history_events_max",
        bounds::number_or_zero(1, 1_000_000_000, "none: who comes back is told of a gap"),
        "Events kept of a channel, for clients that come back.",
        |d: &mut Draft| &mut d.upstream.history_events_max,
    ),
    value(
        "history_bytes_max",
        bounds::size(4 * KIB, 1024 * GIB),
        "Bytes kept of a channel: its events in wire form, and about 300 for each.",
        |d: &mut Draft| &mut d.upstream.history_bytes_max,
    ),
    value(
        "history_total_bytes_max",
        bounds::size(64 * KIB, 1024 * GIB),
        "Bytes kept of all its channels.",
        |d: &mut Draft| &mut d.upstream.history_total_bytes_max,
    ),
    value(
        "history_age_max",
        bounds::span_or_zero(10, 365 * DAY, "no limit"),
        "Age up to which events are kept.",
        |d: &mut Draft| &mut d.upstream.history_age_max,
    ),
    value(
        "heartbeat",
        bounds::span_or_zero(10, HOUR, "off"),
        "Silence after which a client gets a comment, so that proxies keep the connection.",
        |d: &mut Draft| &mut d.upstream.heartbeat,
    ),
    value_or(
        "retry",
        bounds::span(1, HOUR),
        ("off", "the client's own"),
        "Reconnection time that a client is told when it connects.",
        |d: &mut Draft| &mut d.upstream.retry,
    ),
    value(
        "age_max",
        bounds::span_or_zero(10, 30 * DAY, "none"),
        "Age at which a client's connection is ended, drawn from 80 to 100 % of this; it resumes.",
        |d: &mut Draft| &mut d.upstream.age_max,
    ),
    value(
        "lag_bytes_max",
        bounds::size(4 * KIB, GIB),
        "Bytes that a client may lag before lag_policy decides; at most limits.unsent_bytes_max.",
        |d: &mut Draft| &mut d.upstream.lag_bytes_max,
    ),
    value("lag_policy", field::LAG_POLICY, "As hub.lag_policy.", |d: &mut Draft| {
        &mut d.upstream.lag_policy
    }),
    value("gap_event", Kind::EventType, "As hub.gap_event.", |d: &mut Draft| {
        &mut d.upstream.gap_event
    }),
    value(
        "cors_origins",
        Kind::Origins,
        "Web origins whose pages may read the stream from another origin.",
        |d: &mut Draft| &mut d.upstream.cors_origins,
    ),
];

fn headers(draft: &mut Draft, node: &Node<'_>, reader: &mut Reader<'_>) {
    let names = list::texts(node, reader, bounds::KEY_HEADERS_MAX, &form::FIELD_NAME);
    for name in &names {
        if target::CREDENTIALS.contains(&name.as_str()) {
            let bound = format!("must not hold {name}: `public` decides about credentials");
            reader.relation(node, &bound, "remove it; `public = false` passes it on");
        } else if OWN.contains(&name.as_str()) {
            let bound = format!("must not hold {name}: it belongs to the connection");
            reader.relation(node, &bound, "remove it");
        }
    }
    draft.upstream.headers = names;
}
