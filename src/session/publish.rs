//! A publish: judged by its head, then by its form, then appended.
//!
//! Invariants: nothing is appended before every check has passed. The order of the checks is the
//! reference hub's: token, form, grants, names.

use super::At;
use super::Site;
use super::answer::Answer;
use super::answer::text_body;
use super::exchange::unauthorized;
use crate::auth::Denied;
use crate::auth::Grant;
use crate::auth::Presented;
use crate::auth::TokenError;
use crate::auth::WrittenFrom;
use crate::http::h1::Head;
use crate::hub;
use crate::hub::Publish;
use crate::hub::PublishError;
use crate::log::AppendError;
use crate::log::Draft;
use crate::log::EventId;
use crate::log::Topic;
use crate::metrics::Counter;
use crate::sse;
use smallvec::SmallVec;
use std::net::IpAddr;

/// Judges the publisher by the request's head.
pub(super) fn admit(head: &Head, site: &Site, at: &At<'_>) -> Result<Grant, Denied> {
    if site.verifier().is_open() && !is_own_page(head, site) {
        return Err(Denied::Token(TokenError::OriginRefused));
    }
    let from = WrittenFrom {
        origin: head.first("origin"),
        referer: head.first("referer"),
        allowed: site.origins(),
    };
    with_presented(head, Some(from), |p| site.verifier().publisher(p, at.unix_millis))
}

/// An open hub on loopback is in reach of every page that the machine's browser shows: such a page
/// may publish if it is the hub's own or its origin is allowed. Programs send no `Origin`. A page
/// is the hub's own only under a loopback name: any other name may be an attacker's that resolves
/// to this machine (DNS rebinding).
fn is_own_page(head: &Head, site: &Site) -> bool {
    let Some(origin) = head.first("origin") else { return true };
    let own = std::str::from_utf8(origin).ok().and_then(|o| Some(o.split_once("://")?.1));
    site.origins().any()
        || site.origins().lists(origin)
        || own
            .zip(head.host())
            .is_some_and(|(own, host)| own.eq_ignore_ascii_case(host) && is_loopback(host))
}

/// Whether a `Host` names this machine by itself, whatever the resolver says (RFC 6761, 6.3).
fn is_loopback(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let name = if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Gathers what bears on tokens and hands it on.
pub(super) fn with_presented<T>(
    head: &Head,
    writes_from: Option<WrittenFrom<'_>>,
    check: impl FnOnce(&Presented<'_>) -> T,
) -> T {
    let authorization: SmallVec<[&[u8]; 2]> = head.all("authorization").collect();
    let cookie: SmallVec<[&[u8]; 2]> = head.all("cookie").collect();
    let tokens: SmallVec<[_; 1]> = hub::tokens(head.query().unwrap_or("").as_bytes()).collect();
    let query: SmallVec<[&[u8]; 1]> = tokens.iter().map(|token| token.as_bytes()).collect();
    let (authorization, query) = (&authorization[..], &query[..]);
    check(&Presented { authorization, query, cookie: &cookie, writes_from })
}

enum Refusal {
    Form(PublishError),
    NotGranted,
    Append(AppendError),
}

/// Answers a publish whose body is complete.
pub(super) fn answer(
    head: &Head,
    grant: &Grant,
    body: &[u8],
    answer: Answer<'_>,
    site: &Site,
    at: &At<'_>,
    out: &mut Vec<u8>,
) {
    match accept(head, grant, body, site, at) {
        Ok(id) => answer
            .start(out, 200)
            .field("Content-Type", "text/plain; charset=utf-8")
            .body(id.as_bytes()),
        Err(Refusal::Form(error)) => answer.plain(out, status(error), &error.to_string()),
        Err(Refusal::NotGranted) => unauthorized(Denied::NotGranted, answer, out),
        Err(Refusal::Append(error @ AppendError::IdReserved)) => {
            answer.plain(out, 400, &error.to_string());
        }
        Err(Refusal::Append(error @ AppendError::Backlog)) => {
            let reply = answer.start(out, 503).field("Retry-After", "1");
            text_body(reply, &format!("Service Unavailable: {error}"));
        }
    }
}

fn status(error: PublishError) -> u16 {
    match error {
        PublishError::Form
        | PublishError::NoTopic
        | PublishError::NoForm
        | PublishError::Retry
        | PublishError::Id
        | PublishError::Kind => 400,
        PublishError::Reserved => 403,
        PublishError::Topics { .. } | PublishError::Length { .. } => 413,
    }
}

/// Appends the event and gives its id.
fn accept(
    head: &Head,
    grant: &Grant,
    body: &[u8],
    site: &Site,
    at: &At<'_>,
) -> Result<String, Refusal> {
    let publish = Publish::parse(head.first("content-type"), body, &site.config().hub)
        .map_err(Refusal::Form)?;
    if grant.is_empty() || !publish.topics.iter().all(|topic| grant.covers(topic)) {
        return Err(Refusal::NotGranted);
    }
    publish.check_names().map_err(Refusal::Form)?;
    let channel = site.channel();
    let topics = publish.topics.iter().map(|name| Topic::new(name, channel.hasher())).collect();
    let id = publish.id.as_deref().map(Box::from);
    let draft = Draft { topics, private: publish.private, id };
    let (kind, text, retry) = (&publish.kind, &publish.text, publish.retry);
    let encode = |id: &str, wire: &mut Vec<u8>| {
        let encoded = sse::encode(&sse::EventFields { kind, retry, id, data: text }, wire);
        debug_assert!(encoded.is_ok(), "the names were checked: {encoded:?}");
    };
    let event = channel.append(draft, at.unix_millis, encode).map_err(Refusal::Append)?;
    at.recorder.add(Counter::Published, 1);
    at.recorder.add(Counter::PublishedBytes, event.wire.len() as u64);
    Ok(match &event.id {
        EventId::Given(id) => id.to_string(),
        EventId::Made => channel.id(event.seq),
    })
}
