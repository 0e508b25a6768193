//! A rule: what it matches, what is changed, where it leads. Its keys stand in `[[route.rule]]`,
//! or in `[[route]]` itself where there is one rule.
//!
//! Invariants: the draft has the keys of the text; `Rule` has what follows from them.

use crate::config::form;
use crate::config::gateway::Action;
use crate::config::gateway::BackendRef;
use crate::config::gateway::FanoutAction;
use crate::config::gateway::Filter;
use crate::config::gateway::Match;
use crate::config::gateway::PathMatch;
use crate::config::gateway::ProxyAction;
use crate::config::gateway::Respond;
use crate::config::gateway::Rule;
use crate::config::gateway::Timeouts;
use crate::config::gateway::backend;
use crate::config::gateway::bounds;
use crate::config::gateway::bounds::CHANNELS_MAX;
use crate::config::gateway::bounds::MATCHES_MAX;
use crate::config::gateway::list;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::route::action;
use crate::config::gateway::route::filter;
use crate::config::gateway::route::matches;
use crate::config::gateway::row::Row;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value;
use crate::config::gateway::show;
use crate::config::value::Kind;
use crate::config::value::quote;
use std::time::Duration;

/// The keys that say where a rule leads.
pub(crate) const ACTIONS: [&str; 6] = ["hub", "upstream", "backend", "backends", "respond", "page"];

/// Further attempts where the text says nothing: a kept connection may end as it is used.
const RETRIES: u32 = 1;

/// What the text says.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    path: Option<PathMatch>,
    matches: Option<Vec<Match>>,
    pub(crate) filters: Vec<Filter>,
    timeouts: Timeouts,
    hub: Option<bool>,
    upstream: Option<usize>,
    channels: Vec<String>,
    backend: Option<usize>,
    backends: Option<Vec<BackendRef>>,
    heartbeat: Option<Duration>,
    retries: Option<u32>,
    respond: Option<Respond>,
    page: Option<String>,
}

pub(crate) static RULE: Shape<Draft> = Shape {
    title: "`[[route.rule]]`, or `[[route]]` for its only rule",
    nouns: &["rule", "route"],
    blank: Draft::blank,
    rows: ROWS,
};

static ROWS: &[Row<Draft>] = &[
    parts(
        "path",
        "a prefix, as \"/a\", or { exact = \"/a\" } or { regex = \"/[a-z]+\" }",
        "Short for `matches` with this path alone.",
        |d: &mut Draft, node, reader| d.path = matches::path(node, reader),
        |d, _| d.path.as_ref().map(matches::show_path),
    )
    .default("\"/\""),
    parts(
        "matches",
        "a list of at most 64 matches",
        "What a request must be like: any of these. Of all rules the best match serves it: an \
         exact path, then the longest prefix, a method, most header fields, most parameters.",
        matches,
        |d, printer| d.matches.as_ref().map(|matches| matches::show(matches, printer)),
    ),
    parts(
        "filters",
        "a list of at most 16 filters",
        "What is changed on the way. `rewrite`, `mirror` and `request_headers` need a backend; \
         `redirect` takes the place of one.",
        |d: &mut Draft, node, reader| d.filters = filter::read(node, reader),
        |d, printer| filter::show(&d.filters, printer),
    ),
    parts(
        "timeouts",
        "a table",
        "How long things may take.",
        |d: &mut Draft, node, reader| reader.fill(&action::TIMEOUTS, node, &mut d.timeouts),
        |d, printer| Some(printer.inline(&action::TIMEOUTS, &d.timeouts)),
    )
    .default("{}"),
    value("hub", Kind::Flag, "Leads to the hub, at the request's path.", |d: &mut Draft| {
        &mut d.hub
    })
    .default("false"),
    parts(
        "upstream",
        "the name of an upstream",
        "Leads to a shared event stream.",
        |d: &mut Draft, node, reader| {
            d.upstream = reader.resolve(node, "upstream", |names| &names.upstreams);
        },
        |d, printer| {
            let upstream = printer.gateway.upstreams.get(d.upstream?)?;
            Some(quote(&upstream.name))
        },
    ),
    parts(
        "channels",
        "a list of at most 1000 names",
        "Values of the upstream's `{channel}`, merged if there are several.",
        |d: &mut Draft, node, reader| {
            d.channels = list::texts(node, reader, CHANNELS_MAX, &form::CHANNEL)
        },
        |d, _| (!d.channels.is_empty()).then(|| show::texts(d.channels.iter().map(String::as_str))),
    )
    .default("the request's `channel` parameters"),
    parts(
        "backend",
        "the name of a backend, or an address, as \"http://127.0.0.1:9000\"",
        "Leads to a backend, one request for one request.",
        |d: &mut Draft, node, reader| d.backend = backend::refer(node, reader),
        |d, printer| {
            let backend = printer.gateway.backends.get(d.backend?)?;
            Some(quote(&backend.name))
        },
    ),
    parts(
        "backends",
        "a list of at most 16 tables; [] answers 500",
        "Leads to several backends, to each its share.",
        |d: &mut Draft, node, reader| d.backends = Some(action::backends(node, reader)),
        |d, printer| d.backends.as_ref().map(|refs| action::show_backends(refs, printer)),
    ),
    value(
        "heartbeat",
        bounds::span_or_zero(10, bounds::HOUR, "off"),
        "Silence of a backend's event stream after which the client gets a comment.",
        |d: &mut Draft| &mut d.heartbeat,
    )
    .default("\"0s\""),
    value(
        "retries",
        bounds::number(0, 10),
        "Further attempts at a backend, where the method allows one and nothing was answered yet.",
        |d: &mut Draft| &mut d.retries,
    )
    .default("1"),
    parts(
        "respond",
        "a table",
        "Leads to a fixed answer.",
        |d: &mut Draft, node, reader| d.respond = action::respond(node, reader),
        |d, printer| d.respond.as_ref().map(|r| printer.inline(&action::RESPOND, r)),
    ),
    value(
        "page",
        Kind::Text(&form::TARGET),
        "Leads to the live page, which shows the event stream at this path.",
        |d: &mut Draft| &mut d.page,
    ),
];

fn matches(draft: &mut Draft, node: &Node<'_>, reader: &mut Reader<'_>) {
    let wanted = "a list of tables, as [{ path = \"/a\", method = \"GET\" }]";
    let Some(items) = reader.items(node, MATCHES_MAX, wanted) else { return };
    let read = items.iter().filter_map(|item| reader.one(&matches::MATCH, item));
    draft.matches = Some(read.collect());
}

impl Draft {
    pub(crate) fn blank() -> Self {
        Self {
            path: None,
            matches: None,
            filters: Vec::new(),
            timeouts: Timeouts::DEFAULT,
            hub: None,
            upstream: None,
            channels: Vec::new(),
            backend: None,
            backends: None,
            heartbeat: None,
            retries: None,
            respond: None,
            page: None,
        }
    }

    /// What the text says of this.
    pub(crate) fn of(rule: &Rule) -> Self {
        let mut draft =
            Self { filters: rule.filters.clone(), timeouts: rule.timeouts, ..Self::blank() };
        match &rule.matches[..] {
            [Match { path, method: None, headers, query }]
                if headers.is_empty() && query.is_empty() =>
            {
                draft.path = Some(path.clone());
            }
            matches => draft.matches = Some(matches.to_vec()),
        }
        match &rule.action {
            Action::Hub => draft.hub = Some(true),
            Action::Fanout(action) => {
                draft.upstream = Some(action.upstream);
                draft.channels.clone_from(&action.channels);
            }
            Action::Proxy(action) => {
                match &action.backends[..] {
                    [BackendRef { backend: Some(index), weight: 1, filters }]
                        if filters.is_empty() =>
                    {
                        draft.backend = Some(*index);
                    }
                    backends => draft.backends = Some(backends.to_vec()),
                }
                draft.heartbeat = Some(action.heartbeat);
                draft.retries = Some(action.retries);
            }
            Action::Respond(respond) => draft.respond = Some(respond.clone()),
            Action::Page(page) => draft.page = Some(page.clone()),
            Action::None => {
                let answers = rule.filters.iter().any(|f| matches!(f, Filter::Redirect(_)));
                draft.backends = (!answers).then(Vec::new);
            }
        }
        draft
    }

    /// The same without what holds anyway.
    pub(crate) fn short(mut self) -> Self {
        self.path = self.path.filter(|path| *path != matches::ROOT);
        self.heartbeat = self.heartbeat.filter(|heartbeat| !heartbeat.is_zero());
        self.retries = self.retries.filter(|retries| *retries != RETRIES);
        self
    }

    /// The rule that follows.
    pub(crate) fn finish(self) -> Rule {
        let root = Match { path: matches::ROOT, method: None, headers: vec![], query: vec![] };
        let matches = match (self.path, self.matches) {
            (Some(path), _) => vec![Match { path, ..root }],
            (None, Some(matches)) if !matches.is_empty() => matches,
            (None, _) => vec![root],
        };
        let whole = |backend| BackendRef { backend: Some(backend), weight: 1, filters: Vec::new() };
        let backends = self.backends.or(self.backend.map(|backend| vec![whole(backend)]));
        let action = match (self.hub, self.upstream, backends, self.respond, self.page) {
            (Some(true), ..) => Action::Hub,
            (_, Some(upstream), ..) => {
                Action::Fanout(FanoutAction { upstream, channels: self.channels })
            }
            (_, _, Some(backends), ..) if !backends.is_empty() => Action::Proxy(ProxyAction {
                backends,
                heartbeat: self.heartbeat.unwrap_or_default(),
                retries: self.retries.unwrap_or(RETRIES),
            }),
            (_, _, _, Some(respond), _) => Action::Respond(respond),
            (_, _, _, _, Some(page)) => Action::Page(page),
            _ => Action::None,
        };
        Rule { matches, filters: self.filters, timeouts: self.timeouts, action }
    }
}
