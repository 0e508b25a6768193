//! Answers: counted, dated, with the fields that every answer of the hub carries.
//!
//! Invariants: an answer is counted exactly once, when it begins. Credentials across origins are
//! offered to listed origins only, and never beside `*`.
//! Spec: Fetch, "CORS protocol"; `reference`: Mercure, response stream and CORS.

use super::At;
use crate::auth::Origins;
use crate::http::date::Date;
use crate::http::h1::Head;
use crate::http::response::Reply;
use crate::http::response::To;
use crate::metrics::Counter;
use crate::metrics::RequestKind;
use crate::metrics::StatusClass;

/// Fields of a request that a page of another origin may set.
const ALLOW_HEADERS: &str = "authorization, cache-control, content-type, last-event-id";
/// Fields of an answer that such a page may read.
const EXPOSE_HEADERS: &str = "Link, ETag, Mercure-Last-Event-ID, Last-Event-ID, WWW-Authenticate";

/// What is known about an answer before its status is.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    at: &'a At<'a>,
    kind: RequestKind,
    pub(super) to: To,
    /// The request's `Origin` and who may read across origins; `None` off the hub's path.
    cross: Option<(Option<&'a [u8]>, &'a Origins)>,
    csp: &'a str,
}

impl<'a> Answer<'a> {
    /// To nobody in particular: a peer that is refused, or a path that is none.
    pub(super) fn bare(at: &'a At<'a>, kind: RequestKind, to: To) -> Self {
        Self { at, kind, to, cross: None, csp: "default-src 'self'" }
    }

    /// To a request that pages of these other origins may make.
    pub(super) fn cross(self, head: &'a Head, origins: &'a Origins) -> Self {
        Self { cross: Some((head.first("origin"), origins)), ..self }
    }

    /// With another content security policy.
    pub(super) fn csp(self, csp: &'a str) -> Self {
        Self { csp, ..self }
    }

    /// With the connection closing after it.
    pub(super) fn closing(self) -> Self {
        Self { to: self.to.closing(), ..self }
    }

    /// Begins the answer.
    pub(super) fn start(self, out: &mut Vec<u8>, status: u16) -> Reply<'_> {
        let class = StatusClass::of(status);
        self.at.recorder.add(Counter::Requests(self.kind, class), 1);
        let reply = Reply::start(out, status, self.to)
            .date(Date::new().text(self.at.unix_millis))
            .field("X-Content-Type-Options", "nosniff")
            .field("X-Frame-Options", "DENY")
            .field("X-XSS-Protection", "1; mode=block")
            .field("Content-Security-Policy", self.csp);
        match self.cross {
            Some((origin, origins)) if !origins.is_empty() => cors(reply, origin, origins),
            _ => reply,
        }
    }

    /// A whole answer in plain text; a line end is added.
    pub(super) fn plain(self, out: &mut Vec<u8>, status: u16, text: &str) {
        text_body(self.start(out, status), text);
    }

    /// Whether the answer's origin may ask with its own fields and credentials: what a preflight
    /// wants to know.
    pub(super) fn preflight(self, out: &mut Vec<u8>, allow: &str) {
        let allowed = self.cross.is_some_and(|(origin, origins)| {
            origin.is_some_and(|origin| origins.any() || origins.lists(origin))
        });
        let mut reply = self.start(out, 204).field("Allow", allow);
        if allowed {
            reply = reply
                .field("Access-Control-Allow-Methods", "GET, HEAD, POST")
                .field("Access-Control-Allow-Headers", ALLOW_HEADERS)
                .field("Access-Control-Max-Age", "3600");
        }
        reply.body(b"");
    }
}

/// Ends a begun answer with a line of text.
pub(super) fn text_body(reply: Reply<'_>, text: &str) {
    let reply = reply.field("Content-Type", "text/plain; charset=utf-8");
    reply.body(format!("{text}\n").as_bytes());
}

fn cors<'o>(reply: Reply<'o>, origin: Option<&[u8]>, origins: &Origins) -> Reply<'o> {
    let reply = reply.field("Vary", "Origin");
    let Some(origin) = origin else { return reply };
    let reply = if origins.lists(origin) {
        reply
            .field("Access-Control-Allow-Origin", origin)
            .field("Access-Control-Allow-Credentials", "true")
    } else if origins.any() {
        reply.field("Access-Control-Allow-Origin", "*")
    } else {
        return reply;
    };
    reply.field("Access-Control-Expose-Headers", EXPOSE_HEADERS)
}
