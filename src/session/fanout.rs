//! A request for shared event streams: leases of its channels, its start, and the stream's head.
//!
//! Invariants:
//! 1. Who may have its stream gets 200 at once, whatever the upstream does: any other status would
//!    stop an `EventSource` for good. Only what the upstream itself refused is refused.
//! 2. A channel that is opened here is told to the worker in any case, for it must be fed.
//! 3. What may be missing at the start is announced in band. `HEAD` leases nothing.

use super::At;
use super::Group;
use super::Next;
use super::Site;
use super::Subscribe;
use super::answer::Answer;
use super::answer::text_body;
use super::routed::Channels;
use crate::base::chance::Chance;
use crate::base::sync::Arc;
use crate::config::gateway::Initial;
use crate::config::gateway::Upstream;
use crate::http::Method;
use crate::http::h1::Head;
use crate::hub;
use crate::hub::gap::Gap;
use crate::hub::gap::Reason;
use crate::log::Grants;
use crate::log::Hold;
use crate::log::Loss;
use crate::log::Resumption;
use crate::log::Selector;
use crate::log::Start;
use crate::log::Subscription;
use crate::log::Topic;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::GapReason;
use crate::sse;
use crate::upstream::Lease;
use crate::upstream::LeaseError;
use crate::upstream::Opening;

/// The methods that a shared event stream takes.
pub(super) const ALLOW: &str = "GET, HEAD, OPTIONS";
/// The reconnection time of a soft refusal: drawn from once to twice as much, in milliseconds.
const SOFT_RETRY: u64 = 5000;
/// Longest id that is looked up or echoed.
const ID_BYTES_MAX: usize = crate::upstream::ID_BYTES_MAX;

/// The leases of a subscription, given back when nobody reads with it any more.
#[derive(Debug)]
struct Leases(Vec<Lease>);

impl Hold for Leases {
    fn join(&self) {
        self.0.iter().for_each(Lease::join);
    }

    fn leave(&self) {
        self.0.iter().for_each(Lease::leave);
    }
}

/// What a client saw last, if it says so. An empty field counts as absent, as browsers mean it.
pub(super) fn last_id(head: &Head) -> Option<String> {
    let id = head.first("last-event-id").filter(|id| !id.is_empty())?;
    Some(String::from_utf8_lossy(id).into_owned())
}

/// Answers, and hands the client over if it may have its stream.
pub(super) fn answer(
    head: &Head,
    channels: &Channels,
    answer: Answer<'_>,
    site: &Site,
    at: &At<'_>,
    out: &mut Vec<u8>,
) -> Next {
    let done = if answer.to.keep_alive { Next::Read } else { Next::Close(CloseReason::Answered) };
    match head.method() {
        Method::Get | Method::Head => {}
        Method::Options => {
            answer.preflight(out, ALLOW);
            return done;
        }
        _ => {
            text_body(answer.start(out, 405).field("Allow", ALLOW), "Method Not Allowed");
            return done;
        }
    }
    let number = channels.upstream + 1;
    let definition = site.config().gateway.upstreams.get(channels.upstream);
    let Some((group, definition)) = site.groups().get(number).zip(definition) else {
        answer.plain(out, 500, "no such upstream");
        return done;
    };
    if head.method() == Method::Head {
        write_head(answer, out);
        return Next::Close(CloseReason::Answered);
    }
    let taken = match take(channels, group, site, at) {
        Ok(taken) => taken,
        Err(LeaseError::Refused { status, .. }) => {
            let text = format!("the upstream refused this stream with status {status}");
            answer.plain(out, status, &text);
            return done;
        }
        Err(LeaseError::TooMany) => {
            at.recorder.add(Counter::SoftRefusals, 1);
            write_head(answer, out);
            let spread = Chance::new(at.seed).below(SOFT_RETRY);
            sse::encode_ending(SOFT_RETRY + spread, out);
            return Next::Close(CloseReason::OverLimit);
        }
    };
    write_head(answer, out);
    out.extend_from_slice(hub::HEARTBEAT);
    if let Some(millis) = group.terms.retry {
        sse::encode_retry(millis, out);
    }
    let start = start(head, &taken, group, definition, at, out);
    let selectors = taken.topics.iter().cloned().map(Selector::Exact).collect();
    let subscription = Subscription::new(selectors, Grants::default());
    Next::Subscribe(Box::new(Subscribe {
        group: number,
        subscription: subscription.holding(Arc::new(Leases(taken.leases))),
        after: start.map(|start| start.after),
        told: start.map_or(0, |start| start.told),
        until_unix_millis: None,
    }))
}

/// The channels of a request.
struct Taken {
    leases: Vec<Lease>,
    topics: Vec<Topic>,
    /// The upstream is asked to go on after the client's id.
    seeded: bool,
}

/// Leases every channel. Of several, one that the upstream refuses is left out.
fn take(channels: &Channels, group: &Group, site: &Site, at: &At<'_>) -> Result<Taken, LeaseError> {
    let mut taken = Taken { leases: Vec::new(), topics: Vec::new(), seeded: true };
    let mut refused = None;
    for wanted in &channels.wanted {
        let opening = Opening { worker: at.arrival.worker, now: at.now, log: &group.channel };
        match site.registry().lease(channels.upstream, wanted.clone(), opening) {
            Ok(leased) => {
                let tap = leased.lease.tap();
                if leased.opened {
                    at.opened.borrow_mut().push(Arc::clone(tap));
                }
                taken.seeded &= leased.seeded;
                taken.topics.push(tap.topic().clone());
                taken.leases.push(leased.lease);
            }
            Err(error @ LeaseError::Refused { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if taken.leases.is_empty() => Err(error),
        _ => Ok(taken),
    }
}

/// Where the stream starts; `None`: with what comes next. What is missing is announced.
fn start(
    head: &Head,
    taken: &Taken,
    group: &Group,
    definition: &Upstream,
    at: &At<'_>,
    out: &mut Vec<u8>,
) -> Option<Start> {
    let Some(id) = last_id(head) else {
        return match definition.initial {
            Initial::None => None,
            Initial::Events(count) => Some(group.channel.recent(&taken.topics, count)),
        };
    };
    at.recorder.add(Counter::Resumes, 1);
    if taken.seeded {
        return None;
    }
    group.channel.expire(at.unix_millis);
    let looked_up = if id.len() > ID_BYTES_MAX { "" } else { id.as_str() };
    let (resumption, start) = group.channel.resolve_in(&taken.topics, looked_up);
    if let Resumption::Lost(loss) = resumption {
        let (reason, counted) = match loss {
            Loss::Unknown => (Reason::Unknown, GapReason::UnknownId),
            Loss::Expired => (Reason::Expired, GapReason::HistoryEnd),
        };
        at.recorder.add(Counter::Gaps(counted), 1);
        let from = Some(id.as_str()).filter(|id| id.len() <= ID_BYTES_MAX);
        let to = group.channel.id(start.after);
        Gap { reason, from, to: &to }.encode(group.terms.gap_kind.as_deref(), out);
    }
    Some(start)
}

fn write_head(answer: Answer<'_>, out: &mut Vec<u8>) {
    answer
        .start(out, 200)
        .field("Content-Type", "text/event-stream")
        .field("Cache-Control", "no-store")
        .field("X-Accel-Buffering", "no")
        .stream();
}
