//! What the session decided about one exchange, before a backend is chosen.
//!
//! Invariants: fields are those for the backend: forwarded, then edited; what frames the body
//! is not edited. `Debug` shows
//! neither fields nor target: credentials may be among them.

use crate::config::gateway::HeaderChange;
use crate::config::gateway::Timeouts;
use crate::http::fields::Fields;
use crate::http::h1::Framing;
use crate::http::response::To;
use std::fmt;
use std::time::Duration;

/// One exchange: the request for the backend, and how the response is passed back.
#[derive(Clone)]
pub struct Plan {
    /// The request's method.
    pub method: Box<str>,
    /// The request's target: path and query.
    pub target: Box<str>,
    /// The request's fields as the backend gets them, framing included: what
    /// [`crate::http::forward::request_fields`] made, and filters changed.
    pub fields: Fields,
    /// How the client delimits its body; the backend gets it in the same way.
    pub framing: Framing,
    /// Whether it is the last request of its connections; see
    /// [`crate::http::h1::Head::has_stray_body`].
    pub has_stray_body: bool,
    /// The client.
    pub to: To,
    /// Whether the client takes trailers (`TE: trailers`).
    pub takes_trailers: bool,
    /// The protocols that the client offers to switch to, as its field has them, where the route
    /// allows it.
    pub upgrade: Option<Box<[u8]>>,
    /// How long things may take.
    pub timers: Timers,
    /// Silence of an event stream after which the client gets a comment; zero: none.
    pub heartbeat: Duration,
    /// Changes of the response's fields, in order.
    pub changes: Vec<HeaderChange>,
    /// A `Set-Cookie` of ours: the session keeps to its endpoint.
    pub cookie: Option<Box<str>>,
    /// Further attempts.
    pub retries: u32,
    /// Whether the client waits for an event stream (`Accept: text/event-stream`).
    pub is_event_source: bool,
}

/// How long things may take; zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// The whole exchange, from the request's head to the response's last byte; not a tunnel.
    pub request: Duration,
    /// Silence of the client before its body was complete.
    pub request_body: Duration,
    /// One attempt at a backend, from its first byte to the head of its response.
    pub backend_request: Duration,
    /// From the request's end to the head of the response.
    pub response_head: Duration,
    /// Silence of a response's body, and of a tunnel.
    pub idle: Duration,
}

impl Timers {
    /// A rule's timeouts, with the defaults where it says nothing.
    #[must_use]
    pub fn of(rule: Timeouts, request_body: Duration) -> Self {
        let default = Timeouts::DEFAULT;
        let pick = |own: Option<Duration>, other: Option<Duration>| own.or(other);
        Self {
            request: pick(rule.request, default.request).unwrap_or_default(),
            request_body,
            backend_request: pick(rule.backend_request, default.backend_request)
                .unwrap_or_default(),
            response_head: pick(rule.response_head, default.response_head).unwrap_or_default(),
            idle: pick(rule.idle, default.idle).unwrap_or_default(),
        }
    }
}

impl Plan {
    /// Whether the request has a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::None | Framing::Sized(0))
    }

    /// Whether the request may be sent twice (RFC 9110 section 9.2.2).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        matches!(&*self.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
            && self.upgrade.is_none()
    }

    /// The plan of a copy whose response nobody reads, for another backend: change its fields and
    /// target as that backend's filters say. Only requests without a body are copied, because a
    /// slow copy must not hold up the body of its original; never an event stream or a tunnel,
    /// which would have no end.
    #[must_use]
    pub fn mirror(&self) -> Option<Self> {
        if self.has_body() || self.upgrade.is_some() || self.is_event_source {
            return None;
        }
        Some(Self {
            to: self.to.closing(),
            changes: Vec::new(),
            cookie: None,
            retries: 0,
            heartbeat: Duration::ZERO,
            ..self.clone()
        })
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("method", &self.method)
            .field("framing", &self.framing)
            .field("to", &self.to)
            .field("upgrade", &self.upgrade.is_some())
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}
