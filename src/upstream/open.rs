//! One open connection to an upstream: response bytes in, events out, with a stop when the log has
//! no room.
//!
//! ```text
//!   bytes ──▶ ResponseDecoder ──body──▶ sse::Decoder ──Arrival──▶ Sink
//!                                                                  │ Full
//!              held: rest of the body, rest of the bytes  ◀────────┘
//! ```
//!
//! Invariants:
//! 1. Arrivals do not depend on how the input is cut, nor on where the sink was full.
//! 2. An event that the sink refused is offered again, first of all; so none is lost or doubled.
//! 3. What is held while the sink is full is the rest of one input, and of reads that were under
//!    way: nobody begins to read meanwhile.

use super::ID_BYTES_MAX;
use super::cause::Cause;
use crate::base::time::Moment;
use crate::http::Limits;
use crate::http::h1::response::Ending;
use crate::http::h1::response::ResponseDecoder;
use crate::http::h1::response::ResponseHead;
use crate::http::h1::response::ResponseItem;
use crate::sse;

/// An event as the upstream sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The type, `message` if none was given.
    pub kind: &'a str,
    /// The id, if it is this event's own: not empty, and not that of the event before.
    pub id: Option<&'a str>,
    /// The data lines, joined by LF.
    pub data: &'a str,
}

/// The log has no room: nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log has no room now: offer the event again a little later")]
pub struct Full;

/// Takes events.
pub trait Sink {
    /// Takes one event.
    ///
    /// # Errors
    /// No room. The same event is offered again later.
    fn event(&mut self, arrival: &Arrival<'_>) -> Result<(), Full>;

    /// Takes the news that events may be missing here.
    ///
    /// # Errors
    /// No room. It is offered again before the next event.
    fn gap(&mut self) -> Result<(), Full>;
}

/// Where the connection stands after some input.
#[derive(Debug)]
pub(super) enum Progress {
    /// All input is used.
    More,
    /// The sink is full: resume later.
    Paused,
    /// A head to judge.
    Answer(Box<ResponseHead>),
    /// The connection is of no more use.
    Over(Cause),
}

/// What waits until the sink has room.
#[derive(Debug, Default)]
struct Held {
    body: Vec<u8>,
    raw: Vec<u8>,
    /// The connection has ended meanwhile, in an orderly way or not.
    ending: Option<bool>,
}

/// The machine of one connection, from the request on.
#[derive(Debug)]
pub(super) struct Open {
    http: ResponseDecoder,
    /// From the head on.
    sse: Option<sse::Decoder>,
    /// When the stream began.
    since: Moment,
    events: u64,
    held: Option<Held>,
}

/// What a stream left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Legacy {
    /// Events taken.
    pub(super) events: u64,
    /// The reconnection time that it named.
    pub(super) retry: Option<u64>,
    /// When it began.
    pub(super) since: Moment,
}

impl Open {
    /// The request was sent.
    pub(super) fn new(now: Moment) -> Self {
        let mut http = ResponseDecoder::new();
        http.expect(false);
        Self { http, sse: None, since: now, events: 0, held: None }
    }

    /// The head is that of an event stream, which goes on after `last_id`.
    pub(super) fn begin(&mut self, event_bytes_max: usize, last_id: &str, now: Moment) {
        self.sse = Some(sse::Decoder::new(event_bytes_max).with_last_event_id(last_id));
        self.since = now;
    }

    /// The id that the stream has come to: its own, or the one that it began with.
    pub(super) fn position(&self) -> Option<&str> {
        let id = self.sse.as_ref()?.last_event_id();
        Some(id).filter(|id| id.len() <= ID_BYTES_MAX)
    }

    /// Whether the sink was full.
    pub(super) fn is_paused(&self) -> bool {
        self.held.is_some()
    }

    /// Takes input. `input` moves past what was used; after [`Progress::Answer`] its rest is for
    /// another call.
    pub(super) fn take(
        &mut self,
        input: &mut &[u8],
        last_id: &mut String,
        sink: &mut dyn Sink,
    ) -> Progress {
        if let Some(held) = &mut self.held {
            // A read that was under way when the sink was full.
            held.raw.extend_from_slice(std::mem::take(input));
            return Progress::Paused;
        }
        loop {
            match self.http.decode(input, &Limits::default()) {
                Ok(ResponseItem::Wait) => return Progress::More,
                Ok(ResponseItem::Interim(_) | ResponseItem::Trailers(_)) => {}
                Ok(ResponseItem::Head(head)) => return Progress::Answer(head),
                Ok(ResponseItem::Body(mut body)) => match self.feed(&mut body, last_id, sink) {
                    Ok(()) => {}
                    Err(Stop::Fault(cause)) => return Progress::Over(cause),
                    Err(Stop::Full) => {
                        let (body, raw) = (body.to_vec(), std::mem::take(input).to_vec());
                        self.held = Some(Held { body, raw, ending: None });
                        return Progress::Paused;
                    }
                },
                Ok(ResponseItem::End) => return Progress::Over(Cause::Ended),
                // A 101 is judged when its head comes.
                Ok(ResponseItem::Tunnel) => return Progress::Over(Cause::Status(101)),
                Err(fault) => return Progress::Over(Cause::Malformed(fault)),
            }
        }
    }

    /// The sink may have room again: goes on with what is held.
    pub(super) fn resume(&mut self, last_id: &mut String, sink: &mut dyn Sink) -> Progress {
        let Some(mut held) = self.held.take() else { return Progress::More };
        let mut body = held.body.as_slice();
        match self.offer(last_id, sink).and_then(|()| self.feed(&mut body, last_id, sink)) {
            Ok(()) => {}
            Err(Stop::Fault(cause)) => return Progress::Over(cause),
            Err(Stop::Full) => {
                held.body = body.to_vec();
                self.held = Some(held);
                return Progress::Paused;
            }
        }
        match (self.take(&mut held.raw.as_slice(), last_id, sink), held.ending) {
            (Progress::More, Some(orderly)) => Progress::Over(self.ending(orderly)),
            (Progress::Paused, ending) => {
                if let Some(still) = &mut self.held {
                    still.ending = ending;
                }
                Progress::Paused
            }
            (progress, _) => progress,
        }
    }

    /// The connection has ended. While the sink is full that waits for what is held.
    pub(super) fn end(&mut self, orderly: bool) -> Progress {
        if let Some(held) = &mut self.held {
            held.ending = Some(orderly);
            return Progress::Paused;
        }
        Progress::Over(self.ending(orderly))
    }

    /// Ends the stream: what was unfinished is discarded with its id (D6), and `last_id` becomes
    /// the id to go on after. `None`: there was no stream.
    pub(super) fn close(self, last_id: &mut String) -> Option<Legacy> {
        let sse = self.sse?;
        // An event that is still held was not taken: its id was not, either.
        if self.held.is_none() && sse.last_event_id().len() <= ID_BYTES_MAX {
            // D1: also where the last block had nothing but an id.
            sse.last_event_id().clone_into(last_id);
        }
        Some(Legacy { events: self.events, retry: sse.retry(), since: self.since })
    }

    fn ending(&self, orderly: bool) -> Cause {
        match self.http.end() {
            _ if self.sse.is_none() => Cause::Early,
            // A body that only the connection's end delimits is whole only if that was orderly.
            Ending::Clean if orderly => Cause::Ended,
            Ending::Clean | Ending::Early | Ending::Truncated => Cause::Cut,
        }
    }

    fn feed(
        &mut self,
        body: &mut &[u8],
        last_id: &mut String,
        sink: &mut dyn Sink,
    ) -> Result<(), Stop> {
        loop {
            let Some(sse) = &mut self.sse else { return Ok(()) };
            match sse.decode(body) {
                Ok(None) => return Ok(()),
                Ok(Some(sse::Item::Comment(_))) => {}
                Ok(Some(sse::Item::Event(_))) => self.offer(last_id, sink)?,
                Err(error) => return Err(Stop::Fault(Cause::TooLarge(error))),
            }
        }
    }

    /// Offers the event that the decoder reported last.
    fn offer(&mut self, last_id: &mut String, sink: &mut dyn Sink) -> Result<(), Stop> {
        let Some(event) = self.sse.as_ref().and_then(sse::Decoder::reported) else { return Ok(()) };
        if event.id.len() > ID_BYTES_MAX {
            return Err(Stop::Fault(Cause::IdTooLong));
        }
        let id = Some(event.id).filter(|id| !id.is_empty() && *id != last_id.as_str());
        let arrival = Arrival { kind: event.kind, id, data: event.data };
        sink.event(&arrival).map_err(|Full| Stop::Full)?;
        event.id.clone_into(last_id);
        self.events += 1;
        Ok(())
    }
}

/// Why feeding stopped.
enum Stop {
    Full,
    Fault(Cause),
}
