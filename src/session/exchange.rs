//! One request: where it leads, what it waits for, and its answer.
//!
//! Without routes in the configuration the hub and its page are all there is; with routes, `routed`
//! decides, and the hub is one destination among others.
//!
//! Invariants: the route is decided from the head alone, so a body that nobody will use is never
//! kept, and a publisher's token is judged before the first byte of the body. A client that waits
//! for `100 Continue` gets it only where its body is wanted, else the final answer and the close.

use super::At;
use super::Next;
use super::Site;
use super::answer::Answer;
use super::answer::text_body;
use super::edit;
use super::fanout;
use super::publish;
use super::routed;
use super::routed::Channels;
use super::routed::Destination;
use super::routed::Passage;
use super::subscribe;
use crate::auth::Denied;
use crate::auth::Grant;
use crate::config::gateway::Action;
use crate::config::gateway::HeaderChange;
use crate::http::Method;
use crate::http::h1::Framing;
use crate::http::h1::Head;
use crate::http::response::CONTINUE;
use crate::http::response::To;
use crate::hub;
use crate::metrics::CloseReason;
use crate::metrics::RequestKind;
use crate::route::RuleId;
use crate::route::filter::Redirection;

/// A request whose head is complete.
pub(super) struct Exchange {
    head: Box<Head>,
    route: Route,
    /// The rule that serves it, if there are rules.
    rule: Option<RuleId>,
    body: Vec<u8>,
}

#[derive(Debug)]
enum Route {
    Page,
    Subscribe,
    Publish(Result<Grant, Denied>),
    Options,
    /// A path that exists, with a method that it does not take.
    WrongMethod,
    Unknown,
    /// Channels of an upstream.
    Fanout(Channels),
    /// Taken by [`Exchange::begin`].
    Proxy(Option<Box<Passage>>),
    Respond(RuleId),
    LivePage(RuleId),
    Redirect(Redirection),
    /// The request asks a rule for what it cannot give (400).
    Fault(String),
    /// A rule without a backend (500).
    NoBackend,
    /// No rule (404).
    Unrouted,
    /// A transfer coding besides `chunked`, which nobody here undoes (RFC 9112 section 6.1).
    Coded,
}

/// Without head and body: a token may be among their bytes.
impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("route", &self.route).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Decides where the request leads.
    pub(super) fn new(head: Box<Head>, site: &Site, at: &At<'_>) -> Self {
        let (route, rule) = if head.is_coded() {
            (Route::Coded, None)
        } else if site.router().is_empty() {
            (route(&head, site, at), None)
        } else {
            by_rule(&head, site, at)
        };
        Self { head, route, rule, body: Vec::new() }
    }

    /// What kind of request this is.
    pub(super) fn kind(&self) -> RequestKind {
        match self.route {
            Route::Page | Route::LivePage(_) => RequestKind::Page,
            Route::Subscribe => RequestKind::Subscribe,
            Route::Publish(_) => RequestKind::Publish,
            Route::Options => RequestKind::Preflight,
            Route::WrongMethod | Route::Unknown => RequestKind::Other,
            Route::Coded => RequestKind::Malformed,
            Route::Fanout(_) => RequestKind::Fanout,
            Route::Proxy(_) => RequestKind::Proxy,
            Route::Respond(_) => RequestKind::Respond,
            Route::Redirect(_) => RequestKind::Redirect,
            Route::Fault(_) | Route::NoBackend | Route::Unrouted => RequestKind::Unrouted,
        }
    }

    /// Whether the body goes to a backend, so that its size is none of ours.
    pub(super) fn is_passed_on(&self) -> bool {
        matches!(self.route, Route::Proxy(_))
    }

    /// What is to be said before the body (RFC 9110 section 10.1.1).
    pub(super) fn begin(&mut self, site: &Site, at: &At<'_>, out: &mut Vec<u8>) -> Next {
        if let Route::Proxy(passage) = &mut self.route
            && let Some(passage) = passage.take()
        {
            return Next::Relay(passage);
        }
        if !self.head.expects_continue() || self.head.framing() == Framing::None {
            return Next::Read;
        }
        if matches!(self.route, Route::Publish(Ok(_))) {
            out.extend_from_slice(CONTINUE);
            return Next::Read;
        }
        let to = To::request(&self.head).closing();
        self.answer(to, site, at, out)
    }

    /// Keeps a piece of the body if somebody wants it. The decoder bounds the whole.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if matches!(self.route, Route::Publish(Ok(_))) {
            self.body.extend_from_slice(bytes);
        }
    }

    /// Answers the complete request.
    pub(super) fn end(&self, site: &Site, at: &At<'_>, out: &mut Vec<u8>) -> Next {
        let to = To::request(&self.head);
        let to = if site.is_ending() { to.closing() } else { to };
        self.answer(to, site, at, out)
    }

    fn answer(&self, to: To, site: &Site, at: &At<'_>, out: &mut Vec<u8>) -> Next {
        let from = out.len();
        let bare = Answer::bare(at, self.kind(), to);
        let hub = bare.cross(&self.head, site.origins());
        let next = match &self.route {
            Route::Subscribe => subscribe::answer(&self.head, hub, site, at, out),
            Route::Fanout(channels) => {
                let own = bare.cross(&self.head, site.upstream_origins(channels.upstream));
                fanout::answer(&self.head, channels, own, site, at, out)
            }
            Route::Coded => {
                bare.closing().plain(out, 501, "unknown transfer coding");
                Next::Close(CloseReason::BadRequest)
            }
            _ => {
                self.answer_whole(bare, hub, site, at, out);
                if to.keep_alive { Next::Read } else { Next::Close(CloseReason::Answered) }
            }
        };
        edit::head(out, from, &self.changes(site));
        next
    }

    /// An answer that leaves the connection as it is.
    fn answer_whole(
        &self,
        bare: Answer<'_>,
        hub: Answer<'_>,
        site: &Site,
        at: &At<'_>,
        out: &mut Vec<u8>,
    ) {
        match &self.route {
            Route::Publish(Ok(grant)) => {
                publish::answer(&self.head, grant, &self.body, hub, site, at, out);
            }
            Route::Publish(Err(denied)) => unauthorized(*denied, hub, out),
            Route::Page => page(bare, site.page(), out),
            Route::LivePage(id) => page(bare, &site.live_page(*id), out),
            Route::Respond(id) => respond(bare, *id, site, out),
            Route::Redirect(to) => {
                let reply = bare.start(out, to.status).field("Location", &to.location);
                text_body(reply, "Redirected");
            }
            Route::Options if self.is_hub() => hub.preflight(out, &allow(site)),
            Route::Options => bare.start(out, 204).field("Allow", self.allow(site)).body(b""),
            Route::WrongMethod => {
                let answer = if self.is_hub() { hub } else { bare };
                let reply = answer.start(out, 405).field("Allow", self.allow(site));
                text_body(reply, "Method Not Allowed");
            }
            Route::Unknown => bare.plain(out, 404, "Not Found: the hub is at /.well-known/mercure"),
            Route::Fault(text) => bare.plain(out, 400, text),
            Route::NoBackend => bare.plain(out, 500, "the route has no backend for this request"),
            Route::Unrouted => bare.plain(out, 404, "Not Found: no route takes this request"),
            Route::Subscribe | Route::Coded | Route::Fanout(_) | Route::Proxy(_) => {}
        }
    }

    /// Whether the hub answers, at its well-known path or at that of a rule.
    fn is_hub(&self) -> bool {
        self.rule.is_some() || self.head.path() == hub::PATH
    }

    /// What the rule changes of the answer's fields.
    fn changes(&self, site: &Site) -> Vec<HeaderChange> {
        let rule = self.rule.and_then(|id| site.router().rule(id));
        rule.map_or_else(Vec::new, |rule| routed::changes(rule.filters.iter()))
    }

    fn allow(&self, site: &Site) -> String {
        match self.head.path() {
            _ if self.is_hub() => allow(site),
            "*" => "GET, HEAD, POST, OPTIONS".to_owned(),
            _ => "GET, HEAD, OPTIONS".to_owned(),
        }
    }
}

/// Where a rule leads, or nowhere.
fn by_rule(head: &Head, site: &Site, at: &At<'_>) -> (Route, Option<RuleId>) {
    if head.path() == "*" {
        return (Route::Options, None);
    }
    let (destination, rule) = routed::decide(head, site, at);
    let route = match destination {
        Destination::Hub => at_hub(head, site, at),
        Destination::Fanout(channels) => Route::Fanout(channels),
        Destination::Proxy(passage) => Route::Proxy(Some(passage)),
        Destination::Respond(id) => Route::Respond(id),
        Destination::Page(id) => Route::LivePage(id),
        Destination::Redirect(redirection) => Route::Redirect(redirection),
        Destination::Fault(text) => Route::Fault(text),
        Destination::NoBackend => Route::NoBackend,
        Destination::NoRoute => Route::Unrouted,
    };
    (route, rule)
}

/// What the hub makes of a request that a rule leads to it.
fn at_hub(head: &Head, site: &Site, at: &At<'_>) -> Route {
    match head.method() {
        Method::Options => Route::Options,
        Method::Get | Method::Head if site.verifier().takes_subscribers() => Route::Subscribe,
        Method::Post if site.verifier().takes_publishes() => {
            Route::Publish(publish::admit(head, site, at))
        }
        _ => Route::WrongMethod,
    }
}

fn route(head: &Head, site: &Site, at: &At<'_>) -> Route {
    match (head.path(), head.method()) {
        ("/" | "*" | hub::PATH, Method::Options) => Route::Options,
        ("/", Method::Get | Method::Head) => Route::Page,
        (hub::PATH, Method::Get | Method::Head) if site.verifier().takes_subscribers() => {
            Route::Subscribe
        }
        (hub::PATH, Method::Post) if site.verifier().takes_publishes() => {
            Route::Publish(publish::admit(head, site, at))
        }
        ("/" | hub::PATH, _) => Route::WrongMethod,
        _ => Route::Unknown,
    }
}

fn page(answer: Answer<'_>, page: &str, out: &mut Vec<u8>) {
    answer
        .csp(hub::PAGE_CSP)
        .start(out, 200)
        .field("Content-Type", "text/html; charset=utf-8")
        .field("Cache-Control", "no-cache")
        .field("Referrer-Policy", "no-referrer")
        .body(page.as_bytes());
}

fn respond(answer: Answer<'_>, id: RuleId, site: &Site, out: &mut Vec<u8>) {
    match site.router().rule(id).map(|rule| &rule.action) {
        Some(Action::Respond(fixed)) => answer
            .start(out, fixed.status)
            .field("Content-Type", &fixed.content_type)
            .body(fixed.body.as_bytes()),
        _ => answer.plain(out, 500, "the route has no answer"),
    }
}

/// The methods that the hub takes: a side without a key may be off.
fn allow(site: &Site) -> String {
    let mut methods = Vec::from(["OPTIONS"]);
    if site.verifier().takes_subscribers() {
        methods.extend(["GET", "HEAD"]);
    }
    if site.verifier().takes_publishes() {
        methods.push("POST");
    }
    methods.join(", ")
}

/// RFC 9110 section 15.5.2 asks for a challenge; clients of the 0.x dialect ignore it.
pub(super) fn unauthorized(denied: Denied, answer: Answer<'_>, out: &mut Vec<u8>) {
    let reply = answer.start(out, 401).field("WWW-Authenticate", "Bearer");
    text_body(reply, &format!("Unauthorized: {denied}"));
}
