//! Filters: what is changed on the way, answered at once, or copied.
//!
//! Invariants: each kind but `mirror` is there once; redirect and rewrite exclude each other; a
//! header change has one action for each name, and leaves alone what frames a message.

use crate::config::form;
use crate::config::gateway::Filter;
use crate::config::gateway::Mirror;
use crate::config::gateway::PathChange;
use crate::config::gateway::Redirect;
use crate::config::gateway::Rewrite;
use crate::config::gateway::backend;
use crate::config::gateway::bounds;
use crate::config::gateway::bounds::FILTERS_MAX;
use crate::config::gateway::field;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::reader::has;
use crate::config::gateway::route::change;
use crate::config::gateway::route::change::CHANGE;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::gateway::show::Detail;
use crate::config::gateway::show::Printer;
use crate::config::gateway::show::long_list;
use crate::config::toml::given;
use crate::config::value::Given;
use crate::config::value::Kind;
use crate::config::value::quote;
use ::toml::de::DeValue;

const STATUS: &str = "one of 301, 302, 303, 307, 308";
const FRACTION: &str = "a list of two numbers, the first not above the second, as [25, 50]";
const PATH: &str = "{ full = \"/a\" } or { prefix = \"/a\" }";

pub(crate) static FILTER: Shape<Option<Filter>> = Shape {
    title: "`filters` of a rule or of a backend in it",
    nouns: &["filters"],
    blank: || None,
    rows: &[
        parts(
            "request_headers",
            "a table",
            "Changes fields of the request, before it is passed on.",
            |f, node, reader| *f = change::read(node, reader).map(Filter::RequestHeaders),
            |_, _| None,
        ),
        parts(
            "response_headers",
            "a table",
            "Changes fields of the response, before it is passed back.",
            |f, node, reader| *f = change::read(node, reader).map(Filter::ResponseHeaders),
            |_, _| None,
        ),
        parts(
            "redirect",
            "a table",
            "Sends the client elsewhere. What is not given is taken from the request; the query is \
             kept.",
            |f, node, reader| *f = reader.one(&REDIRECT, node).map(Filter::Redirect),
            |_, _| None,
        ),
        parts(
            "rewrite",
            "a table",
            "Changes what the backend sees.",
            |f, node, reader| *f = reader.one(&REWRITE, node).map(Filter::Rewrite),
            |_, _| None,
        ),
        parts(
            "mirror",
            "a table",
            "Sends a copy to another backend, whose answer is ignored. May be given several times.",
            |f, node, reader| *f = mirror(node, reader).map(Filter::Mirror),
            |_, _| None,
        ),
    ],
};

pub(crate) static REDIRECT: Shape<Redirect> = Shape {
    title: "`redirect`",
    nouns: &["redirect"],
    blank: || Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 },
    rows: &[
        value("scheme", field::SCHEME, "The scheme.", |r: &mut Redirect| &mut r.scheme),
        value("hostname", Kind::Text(&form::HOST), "The host.", |r: &mut Redirect| &mut r.hostname),
        value("port", bounds::number(1, 65_535), "The port.", |r: &mut Redirect| &mut r.port)
            .default("that of `scheme` if it is given, else the listener's"),
        parts(
            "path",
            PATH,
            "The path.",
            |r, node, reader| r.path = path(node, reader),
            |r, _| r.path.as_ref().map(show_path),
        ),
        parts("status", STATUS, "The status.", status, |r, _| Some(r.status.to_string())),
    ],
};

pub(crate) static REWRITE: Shape<Rewrite> = Shape {
    title: "`rewrite`",
    nouns: &["rewrite"],
    blank: || Rewrite { hostname: None, path: None },
    rows: &[
        value("hostname", Kind::Text(&form::HOST), "Replaces `Host`.", |r: &mut Rewrite| {
            &mut r.hostname
        }),
        parts(
            "path",
            PATH,
            "Replaces the path, or the prefix that the rule matched.",
            |r, node, reader| r.path = path(node, reader),
            |r, _| r.path.as_ref().map(show_path),
        ),
    ],
};

/// How a path is changed.
pub(crate) static PATHS: Shape<Option<PathChange>> = Shape {
    title: "`path` of a redirect or a rewrite",
    nouns: &["path"],
    blank: || None,
    rows: &[
        parts(
            "full",
            form::PATH.wanted,
            "The whole path.",
            |p, node, reader| *p = reader.text(node, &form::PATH).map(PathChange::Full),
            |_, _| None,
        ),
        parts(
            "prefix",
            form::PATH_OR_EMPTY.wanted,
            "What takes the place of the matched prefix. The rule has one match, of a prefix.",
            |p, node, reader| *p = reader.text(node, &form::PATH_OR_EMPTY).map(PathChange::Prefix),
            |_, _| None,
        ),
    ],
};

/// What the text says of a mirror is what the model holds: absent is all, 100 of 100.
pub(crate) static MIRROR: Shape<Mirror> = Shape {
    title: "`mirror`",
    nouns: &["mirror"],
    blank: || Mirror { backend: 0, numerator: 100, denominator: 100 },
    rows: &[
        parts(
            "backend",
            "the name or the address of a backend",
            "Where to.",
            |m: &mut Mirror, node, reader| {
                m.backend = backend::refer(node, reader).unwrap_or_default()
            },
            |m, printer| printer.gateway.backends.get(m.backend).map(|b| quote(&b.name)),
        )
        .required(),
        parts(
            "percent",
            "a number from 0 to 100",
            "The share of requests that are copied.",
            percent,
            |m, _| (m.denominator == 100).then(|| m.numerator.to_string()),
        ),
        parts("fraction", FRACTION, "The same as a fraction, finer.", fraction, |m, _| {
            let Mirror { numerator, denominator, .. } = m;
            (*denominator != 100).then(|| format!("[{numerator}, {denominator}]"))
        }),
    ],
};

fn mirror(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Mirror> {
    if has(node, "percent") && has(node, "fraction") {
        let node = reader.member(node, "percent");
        reader.relation(&node, "is given twice, also by fraction", "keep one of them");
    }
    reader.one(&MIRROR, node)
}

fn status(redirect: &mut Redirect, node: &Node<'_>, reader: &mut Reader<'_>) {
    let status = match given(node.value) {
        Given::Integer(number) => u16::try_from(number).ok(),
        _ => None,
    };
    match status {
        Some(status @ (301 | 302 | 303 | 307 | 308)) => redirect.status = status,
        _ => reader.form(node, STATUS),
    }
}

fn percent(mirror: &mut Mirror, node: &Node<'_>, reader: &mut Reader<'_>) {
    let number = reader.number(node, bounds::number(0, 100));
    if let Some(percent) = number.and_then(|number| u32::try_from(number).ok()) {
        (mirror.numerator, mirror.denominator) = (percent, 100);
    }
}

fn fraction(mirror: &mut Mirror, node: &Node<'_>, reader: &mut Reader<'_>) {
    let before = reader.problems();
    let Some(items) = reader.items(node, 2, FRACTION) else { return };
    let kind = bounds::number(0, 1_000_000);
    let numbers: Vec<u32> = items
        .iter()
        .filter_map(|item| reader.number(item, kind))
        .filter_map(|number| u32::try_from(number).ok())
        .collect();
    match numbers[..] {
        [part, whole] if part <= whole && whole > 0 => {
            (mirror.numerator, mirror.denominator) = (part, whole);
        }
        _ if reader.problems() > before => {}
        _ => reader.form(node, FRACTION),
    }
}

fn path(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<PathChange> {
    let before = reader.problems();
    let path = reader.one(&PATHS, node).flatten();
    let several = matches!(node.value, DeValue::Table(ways) if ways.len() != 1);
    if several && reader.problems() == before {
        reader.form(node, PATH);
    }
    path
}

fn show_path(path: &PathChange) -> String {
    match path {
        PathChange::Full(path) => format!("{{ full = {} }}", quote(path)),
        PathChange::Prefix(path) => format!("{{ prefix = {} }}", quote(path)),
    }
}

/// Reads a list of filters.
pub(crate) fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Vec<Filter> {
    let wanted = "a list of tables, each with one filter";
    let Some(items) = reader.items(node, FILTERS_MAX, wanted) else { return Vec::new() };
    let mut filters: Vec<Filter> = Vec::with_capacity(items.len());
    for item in &items {
        let before = reader.problems();
        let filter = reader.one(&FILTER, item).flatten();
        if matches!(item.value, DeValue::Table(table) if table.len() != 1) {
            if reader.problems() == before {
                reader.form(item, "a table with one filter, as { rewrite = { .. } }");
            }
            continue;
        }
        let Some(filter) = filter else { continue };
        if let Some(bound) = clash(&filters, &filter) {
            reader.relation(item, bound, "remove one of them");
        }
        filters.push(filter);
    }
    filters
}

/// Why a filter cannot stand with those before it.
fn clash(filters: &[Filter], filter: &Filter) -> Option<&'static str> {
    let same = |other: &&Filter| std::mem::discriminant(*other) == std::mem::discriminant(filter);
    match filter {
        Filter::Mirror(_) => None,
        _ if filters.iter().any(|other| same(&other)) => Some("is there already: each kind once"),
        Filter::Redirect(_) if filters.iter().any(|f| matches!(f, Filter::Rewrite(_))) => {
            Some("cannot stand beside a rewrite: nothing is passed on")
        }
        Filter::Rewrite(_) if filters.iter().any(|f| matches!(f, Filter::Redirect(_))) => {
            Some("cannot stand beside a redirect: nothing is passed on")
        }
        _ => None,
    }
}

/// Prints a list of filters.
pub(crate) fn show(filters: &[Filter], printer: &Printer<'_>) -> Option<String> {
    let one = |filter: &Filter| {
        let (name, shown) = match filter {
            Filter::RequestHeaders(change) => ("request_headers", printer.inline(&CHANGE, change)),
            Filter::ResponseHeaders(change) => {
                ("response_headers", printer.inline(&CHANGE, change))
            }
            Filter::Redirect(redirect) => ("redirect", printer.inline(&REDIRECT, redirect)),
            Filter::Rewrite(rewrite) => ("rewrite", printer.inline(&REWRITE, rewrite)),
            Filter::Mirror(mirror) => ("mirror", printer.inline(&MIRROR, mirror)),
        };
        format!("{{ {name} = {shown} }}")
    };
    let items: Vec<_> = filters.iter().map(one).collect();
    let shown = !items.is_empty() || printer.detail == Detail::All;
    shown.then(|| long_list(&items))
}
