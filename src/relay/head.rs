//! The response's head on its way to the client, and what it decides for the body.
//!
//! Invariants: what framing says is never the route's to change; a head goes out whole or not at
//! all; with it goes all memory that only the beginning of an exchange needs.

use super::At;
use super::Phase;
use super::Relay;
use super::download::Download;
use super::events::Events;
use super::plan::Plan;
use super::upload::Upload;
use crate::http::Version;
use crate::http::date::Date;
use crate::http::forward;
use crate::http::forward::Back;
use crate::http::h1::encode;
use crate::http::h1::response::ResponseFault;
use crate::http::h1::response::ResponseFraming;
use crate::http::h1::response::ResponseHead;
use crate::http::media;
use crate::route::filter;
use std::time::Duration;
use thiserror::Error;

/// Fields that say something about the body's bytes, so that none may be added (X6).
const DIGESTS: &[&str] = &["content-digest", "repr-digest", "digest", "content-md5"];

/// Why a backend's answer cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadAnswer {
    /// Its bytes are no response.
    #[error("the backend's answer is malformed: {0}")]
    Malformed(#[from] ResponseFault),
    /// A 101, and no upgrade was asked for, or to another protocol, or not yet by a whole request.
    #[error("the backend switched protocols (101) unasked")]
    Unasked,
}

/// Whether a 101 switches to nothing but what the client offered (RFC 9110 section 7.8).
fn is_asked(plan: &Plan, head: &ResponseHead) -> bool {
    let Some(offer) = &plan.upgrade else { return false };
    let is_offered = |one: &[u8]| protocols(offer).any(|other| other.eq_ignore_ascii_case(one));
    head.all("upgrade").flat_map(protocols).all(is_offered)
}

fn protocols(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|protocol| !protocol.is_empty())
}

impl Relay {
    /// I4: interim heads pass as they come, except to HTTP/1.0.
    pub(super) fn pass_interim(&mut self, head: &ResponseHead, out: &mut Vec<u8>) {
        if self.to.version == Version::Http11 {
            let fields = forward::response_fields(head, &self.back(ResponseFraming::None, ""));
            encode::response_head(head.status(), head.reason(), &fields, out);
        }
    }

    /// The final head.
    pub(super) fn pass_head(
        &mut self,
        head: &ResponseHead,
        at: &At<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), BadAnswer> {
        let is_asked = self.opening.as_ref().is_some_and(|o| is_asked(o.plan(), head));
        // RFC 9110 section 7.8: a server switches only once it has the whole request; what is left
        // of a body must not be taken for the tunnel's bytes.
        if head.is_upgrade() && (!is_asked || self.upload != Upload::Complete) {
            return Err(BadAnswer::Unasked);
        }
        self.is_spoiled |= self.to.is_head && announces_body(head);
        let framing = forward::framing_to(self.to.version, head.framing());
        // Whether the rest of the request will have come by the response's end, nobody knows.
        if self.upload != Upload::Complete || framing == ResponseFraming::UntilClose {
            self.to = self.to.closing();
        }
        let mut date = Date::new();
        let back = self.back(framing, date.text(at.unix_millis));
        let mut fields = forward::response_fields(head, &back);
        if let Some(opening) = self.opening.take() {
            let plan = opening.plan();
            for change in &plan.changes {
                // The route has no say in what belongs to the connection.
                filter::apply_where(change, &mut fields, |name| !forward::is_hop_by_hop(name));
            }
            if let Some(cookie) = &plan.cookie {
                fields.push("Set-Cookie", cookie.as_bytes());
            }
            self.events = events(head, plan, at);
        }
        encode::response_head(head.status(), head.reason(), &fields, out);
        self.status = head.status();
        self.download = Download::of(framing);
        self.phase = if head.is_upgrade() { Phase::Tunnel } else { Phase::Body };
        Ok(())
    }

    fn back<'b>(&self, framing: ResponseFraming, date: &'b str) -> Back<'b> {
        let trailers = self.takes_trailers && framing == ResponseFraming::Chunked;
        Back { to: self.to, framing, date, upgrade: true, trailers }
    }
}

/// RFC 9110 section 9.3.2: no body follows the head that answers a HEAD. Some servers send one all
/// the same, a moment later, and on a kept connection it would be the answer to somebody else.
fn announces_body(head: &ResponseHead) -> bool {
    let sized = head.first("content-length").is_some_and(|length| length != b"0");
    sized || head.first("transfer-encoding").is_some()
}

/// Whether the body is an event stream that can be read on its way, and may be added to (X6).
fn events(head: &ResponseHead, plan: &Plan, at: &At<'_>) -> Events {
    let is_stream = head.status() == 200
        && head.framing() != ResponseFraming::None
        && head.first("content-type").is_some_and(media::is_event_stream)
        && head.first("content-encoding").is_none();
    if !is_stream {
        return Events::OFF;
    }
    let is_open = !matches!(head.framing(), ResponseFraming::Sized(_))
        && !forward::is_no_transform(head)
        && DIGESTS.iter().all(|name| head.first(name).is_none());
    let every = if is_open { plan.heartbeat } else { Duration::ZERO };
    Events::start(every, &*plan.method == "GET", at.now)
}
