//! Where a rule leads: the parts of `backends`, `respond` and `timeouts`.
//!
//! Invariants: a fixed answer that HTTP gives no body has none.

use crate::config::form;
use crate::config::gateway::BackendRef;
use crate::config::gateway::Respond;
use crate::config::gateway::Timeouts;
use crate::config::gateway::backend;
use crate::config::gateway::bounds;
use crate::config::gateway::bounds::BACKEND_REFS_MAX;
use crate::config::gateway::bounds::DAY;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::route::filter;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::gateway::show::Printer;
use crate::config::gateway::show::long_list;
use crate::config::value::Kind;
use crate::config::value::quote;
use std::time::Duration;

impl Timeouts {
    /// What holds where the text says nothing: none for a whole exchange, so that a stream lives;
    /// a minute to the response's head; five minutes of silence.
    pub const DEFAULT: Self = Self {
        request: Some(Duration::ZERO),
        backend_request: Some(Duration::ZERO),
        response_head: Some(Duration::from_secs(60)),
        idle: Some(Duration::from_secs(300)),
    };
}

pub(crate) static TIMEOUTS: Shape<Timeouts> = Shape {
    title: "`timeouts` of a rule",
    nouns: &["timeouts"],
    blank: || Timeouts::DEFAULT,
    rows: &[
        value(
            "request",
            bounds::span_or_zero(1, 365 * DAY, "none"),
            "The whole exchange, from the request's head to the response's last byte. Streams live \
             longer than requests, so there is none.",
            |t: &mut Timeouts| &mut t.request,
        ),
        value(
            "backend_request",
            bounds::span_or_zero(1, 365 * DAY, "none"),
            "One attempt at a backend, from its first byte to the head of its response; at most \
             `request`.",
            |t: &mut Timeouts| &mut t.backend_request,
        ),
        value(
            "response_head",
            bounds::span_or_zero(1, 365 * DAY, "none"),
            "From the request's end to the head of the response.",
            |t: &mut Timeouts| &mut t.response_head,
        ),
        value(
            "idle",
            bounds::span_or_zero(1, 365 * DAY, "none"),
            "Silence of a response's body, and of a tunnel.",
            |t: &mut Timeouts| &mut t.idle,
        ),
    ],
};

pub(crate) static RESPOND: Shape<Respond> = Shape {
    title: "`respond` of a rule",
    nouns: &["respond"],
    blank: || Respond {
        status: 200,
        content_type: "text/plain; charset=utf-8".to_owned(),
        body: String::new(),
    },
    rows: &[
        value("status", bounds::number(200, 599), "The status.", |r: &mut Respond| &mut r.status),
        value(
            "content_type",
            Kind::Text(&form::MEDIA_TYPE),
            "The body's media type.",
            |r: &mut Respond| &mut r.content_type,
        ),
        value("body", Kind::Text(&form::BODY), "The body.", |r: &mut Respond| &mut r.body),
    ],
};

pub(crate) static BACKEND_REF: Shape<BackendRef> = Shape {
    title: "`backends` of a rule",
    nouns: &["backends"],
    blank: || BackendRef { backend: None, weight: 1, filters: Vec::new() },
    rows: &[
        parts(
            "name",
            "the name or the address of a backend, or \"none\" (nowhere: 500)",
            "Which backend.",
            refer,
            |r, printer| match r.backend {
                Some(index) => printer.gateway.backends.get(index).map(|b| quote(&b.name)),
                None => Some(quote(backend::NONE)),
            },
        )
        .required(),
        value(
            "weight",
            bounds::WEIGHT,
            "Its share of the sum of weights.",
            |r: &mut BackendRef| &mut r.weight,
        ),
        parts(
            "filters",
            "a list of at most 16 filters",
            "Filters of this backend alone, after those of the rule.",
            |r, node, reader| r.filters = filter::read(node, reader),
            |r, printer| filter::show(&r.filters, printer),
        ),
    ],
};

fn refer(one: &mut BackendRef, node: &Node<'_>, reader: &mut Reader<'_>) {
    if node.value.as_str() != Some(backend::NONE) {
        one.backend = backend::refer(node, reader);
    }
}

/// Reads the backends of a rule.
pub(crate) fn backends(node: &Node<'_>, reader: &mut Reader<'_>) -> Vec<BackendRef> {
    let wanted = "a list of tables, as [{ name = \"api\", weight = 9 }]";
    let Some(items) = reader.items(node, BACKEND_REFS_MAX, wanted) else { return Vec::new() };
    items.iter().filter_map(|item| reader.one(&BACKEND_REF, item)).collect()
}

/// Prints the backends of a rule.
pub(crate) fn show_backends(backends: &[BackendRef], printer: &Printer<'_>) -> String {
    let items: Vec<_> = backends.iter().map(|one| printer.inline(&BACKEND_REF, one)).collect();
    long_list(&items)
}

/// Reads a fixed answer.
pub(crate) fn respond(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Respond> {
    let respond = reader.one(&RESPOND, node)?;
    // RFC 9110 6.4.1.
    if matches!(respond.status, 204 | 205 | 304) && !respond.body.is_empty() {
        let node = reader.member(node, "body");
        reader.relation(&node, "must be empty with this status", "remove it");
    }
    Some(respond)
}
