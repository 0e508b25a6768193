//! A subscribe: token, query, cursor, the stream's head, and what comes before the first event.
//!
//! Invariants: the answer's `Last-Event-ID` is there exactly if a cursor was sent, and says the
//! cursor itself if nothing is missing, else `earliest`; a gap is announced in band as well. `HEAD`
//! gets the head and registers nothing. A drain is no reason to refuse: any other status than 200
//! would stop an `EventSource` for good, so the stream begins and the drain ends it.

use super::At;
use super::HUB;
use super::Next;
use super::Site;
use super::Subscribe;
use super::answer::Answer;
use super::exchange::unauthorized;
use super::publish::with_presented;
use crate::auth::Reader;
use crate::http::Method;
use crate::http::h1::Head;
use crate::hub;
use crate::hub::Query;
use crate::hub::SubscribeError;
use crate::hub::gap::Gap;
use crate::hub::gap::Reason;
use crate::log::Grants;
use crate::log::Loss;
use crate::log::Resumption;
use crate::log::Selector;
use crate::log::Subscription;
use crate::log::Topic;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::GapReason;
use crate::sse;

/// Answers a subscribe, and hands the client over if it may have its stream.
pub(super) fn answer(
    head: &Head,
    answer: Answer<'_>,
    site: &Site,
    at: &At<'_>,
    out: &mut Vec<u8>,
) -> Next {
    let refused =
        if answer.to.keep_alive { Next::Read } else { Next::Close(CloseReason::Answered) };
    let judged = with_presented(head, None, |p| site.verifier().subscriber(p, at.unix_millis));
    let reader = match judged {
        Ok(reader) => reader,
        Err(denied) => {
            unauthorized(denied, answer, out);
            return refused;
        }
    };
    let query = match Query::parse(head.query().unwrap_or("").as_bytes(), &site.config().hub) {
        Ok(query) => query,
        Err(error) => {
            answer.plain(out, status(error), &error.to_string());
            return refused;
        }
    };
    let cursor = cursor(head, &query);
    let resumption = cursor.as_deref().map(|id| {
        // What is too old goes first, so that the head below does not promise it.
        site.channel().expire(at.unix_millis);
        site.channel().resolve(id)
    });
    write_head(answer, cursor.as_deref().zip(resumption), out);
    if head.method() == Method::Head {
        return Next::Close(CloseReason::Answered);
    }
    out.extend_from_slice(hub::HEARTBEAT);
    if let Some(millis) = site.config().hub.retry {
        sse::encode_retry(millis, out);
    }
    let mut after = resumption.map(Resumption::after);
    if let Some(id) = &cursor {
        at.recorder.add(Counter::Resumes, 1);
        if let Some(Resumption::Lost(loss)) = resumption {
            after = Some(announce(id, loss, site, at, out));
        }
    }
    Next::Subscribe(Box::new(Subscribe {
        group: HUB,
        subscription: subscription(&query, &reader, site),
        after,
        told: 0,
        until_unix_millis: reader.until_unix_millis,
    }))
}

/// The header wins over the query; an empty one counts as absent, as browsers mean it.
fn cursor(head: &Head, query: &Query) -> Option<String> {
    let header = head.first("last-event-id").filter(|value| !value.is_empty());
    header.map(|id| String::from_utf8_lossy(id).into_owned()).or_else(|| query.cursor.clone())
}

fn status(error: SubscribeError) -> u16 {
    match error {
        SubscribeError::NoTopic | SubscribeError::Topics { .. } | SubscribeError::Length { .. } => {
            400
        }
    }
}

fn write_head(answer: Answer<'_>, cursor: Option<(&str, Resumption)>, out: &mut Vec<u8>) {
    let mut reply = answer
        .start(out, 200)
        .field("Content-Type", "text/event-stream")
        .field("Cache-Control", "private, no-cache, no-store, must-revalidate, max-age=0")
        .field("Pragma", "no-cache")
        .field("Expires", "0")
        .field("X-Accel-Buffering", "no");
    if let Some((id, resumption)) = cursor {
        reply = reply.field(
            "Last-Event-ID",
            match resumption {
                Resumption::After(_) => id,
                Resumption::Earliest | Resumption::Lost(_) => hub::EARLIEST,
            },
        );
    }
    reply.stream();
}

fn subscription(query: &Query, reader: &Reader, site: &Site) -> Subscription {
    let exact = |name: &str| Selector::Exact(Topic::new(name, site.channel().hasher()));
    let selector = |name: &String| if name == "*" { Selector::Any } else { exact(name) };
    let grants = if reader.grant.is_all() {
        Vec::from([Selector::Any])
    } else {
        reader.grant.topics().map(exact).collect()
    };
    Subscription::new(query.topics.iter().map(selector).collect(), Grants::new(grants))
}

/// Says that events may be missing, and from where on the stream is whole. Returns that place: the
/// stream must start there and nowhere else, or the notice would be wrong as soon as the history
/// loses another event.
fn announce(id: &str, loss: Loss, site: &Site, at: &At<'_>, out: &mut Vec<u8>) -> u64 {
    let (reason, counted) = match loss {
        Loss::Unknown => (Reason::Unknown, GapReason::UnknownId),
        Loss::Expired => (Reason::Expired, GapReason::HistoryEnd),
    };
    at.recorder.add(Counter::Gaps(counted), 1);
    // What is kept follows, so the stream is whole from just before the oldest event kept.
    let after = site.channel().head() - 1;
    let from = Some(id).filter(|id| id.len() <= site.config().hub.topic_bytes_max);
    let kind = site.hub().terms.gap_kind.as_deref();
    Gap { reason, from, to: &site.channel().id(after) }.encode(kind, out);
    after
}
