//! One request: where it leads, what it waits for, and its answer.
//!
//! Invariants: the route is decided from the head alone, so a body that nobody will use is never
//! kept, and a publisher's token is judged before the first byte of the body. A client that waits
//! for `100 Continue` gets it only where its body is wanted, else the final answer and the close.

use super::At;
use super::Next;
use super::Site;
use super::answer::Answer;
use super::answer::text_body;
use super::publish;
use super::subscribe;
use crate::auth::Denied;
use crate::auth::Grant;
use crate::http::Method;
use crate::http::h1::Framing;
use crate::http::h1::Head;
use crate::http::response::CONTINUE;
use crate::http::response::To;
use crate::hub;
use crate::metrics::CloseReason;
use crate::metrics::RequestKind;

/// A request whose head is complete.
pub(super) struct Exchange {
    head: Box<Head>,
    route: Route,
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
        let route = route(&head, site, at);
        Self { head, route, body: Vec::new() }
    }

    /// What kind of request this is.
    pub(super) fn kind(&self) -> RequestKind {
        match self.route {
            Route::Page => RequestKind::Page,
            Route::Subscribe => RequestKind::Subscribe,
            Route::Publish(_) => RequestKind::Publish,
            Route::Options => RequestKind::Preflight,
            Route::WrongMethod | Route::Unknown => RequestKind::Other,
            Route::Coded => RequestKind::Malformed,
        }
    }

    /// What is to be said before the body (RFC 9110 section 10.1.1).
    pub(super) fn begin(&mut self, site: &Site, at: &At<'_>, out: &mut Vec<u8>) -> Next {
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
        let bare = Answer::bare(at, self.kind(), to);
        let hub = bare.hub(&self.head, site);
        match &self.route {
            Route::Subscribe => return subscribe::answer(&self.head, hub, site, at, out),
            Route::Publish(Ok(grant)) => {
                publish::answer(&self.head, grant, &self.body, hub, site, at, out);
            }
            Route::Publish(Err(denied)) => unauthorized(*denied, hub, out),
            Route::Page => bare
                .csp(hub::PAGE_CSP)
                .start(out, 200)
                .field("Content-Type", "text/html; charset=utf-8")
                .field("Cache-Control", "no-cache")
                .field("Referrer-Policy", "no-referrer")
                .body(site.page().as_bytes()),
            Route::Options if self.head.path() == hub::PATH => hub.preflight(out, &allow(site)),
            Route::Options => bare.start(out, 204).field("Allow", self.allow(site)).body(b""),
            Route::WrongMethod => {
                let answer = if self.head.path() == hub::PATH { hub } else { bare };
                let reply = answer.start(out, 405).field("Allow", self.allow(site));
                text_body(reply, "Method Not Allowed");
            }
            Route::Unknown => bare.plain(out, 404, "Not Found: the hub is at /.well-known/mercure"),
            Route::Coded => {
                bare.closing().plain(out, 501, "unknown transfer coding");
                return Next::Close(CloseReason::BadRequest);
            }
        }
        if to.keep_alive { Next::Read } else { Next::Close(CloseReason::Answered) }
    }

    fn allow(&self, site: &Site) -> String {
        match self.head.path() {
            hub::PATH => allow(site),
            "*" => "GET, HEAD, POST, OPTIONS".to_owned(),
            _ => "GET, HEAD, OPTIONS".to_owned(),
        }
    }
}

fn route(head: &Head, site: &Site, at: &At<'_>) -> Route {
    if head.is_coded() {
        return Route::Coded;
    }
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
