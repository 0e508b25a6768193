//! One request passed to a backend and its response passed back, as the bytes come; no I/O.
//!
//! ```text
//!  client ─▶ request Decoder ─▶ Upload ───────────▶ backend
//!  client ◀─ Download ◀─ edits ◀─ ResponseDecoder ◀─ backend
//! ```
//!
//! | phase | begins with | what may happen |
//! |---|---|---|
//! | `Connecting` | `new`, or a retry | the body is held, up to a bound; `attempt_failed` |
//! | `Asked` | `connected` | the body goes out; interim heads; a retry, or an answer of ours |
//! | `Body` | the response's head | bytes both ways as they come; heartbeats; a cut |
//! | `Tunnel` | a 101 that was asked for | raw bytes both ways |
//!
//! The worker owns both sockets. It gives what it read, sends what was appended, and after each
//! call looks at [`Step`], [`Relay::wants_client_input`] and [`Relay::deadline`]. Backpressure is
//! its own: it does not read one side while much is left to send to the other.
//!
//! Invariants:
//! 1. What goes out does not depend on how the input is cut, chunk sizes aside.
//! 2. A cut response never looks whole (X3): no last chunk, no full length, no orderly close of a
//!    body that ends with the connection.
//! 3. Nothing of a head that is refused, and nothing after a fault, reaches the client.
//! 4. After the response's head a relay holds its own bytes and no heap (trailers in the making
//!    aside).
//! 5. Input behind the request is not touched: it is the next request's, or the tunnel's.
//! 6. After [`Step::Over`] nothing changes any more; calls repeat the end.

mod answer;
mod clock;
mod download;
mod ending;
mod events;
mod head;
mod opening;
mod plan;
mod response;
#[cfg(test)]
mod tests;
mod uplink;
mod upload;

pub use ending::Cause;
pub use ending::ClientNext;
pub use ending::End;
pub use ending::Lost;
pub use ending::Step;
pub use ending::Timer;
pub use head::BadAnswer;
pub use opening::HELD_BYTES_MAX;
pub use plan::Plan;
pub use plan::Timers;

use crate::base::time::Moment;
use crate::http::Limits;
use crate::http::h1::Decoder;
use crate::http::h1::Item;
use crate::http::h1::response::ResponseDecoder;
use crate::http::response::To;
use download::Download;
use events::Events;
use opening::Opening;
use std::time::Duration;
use upload::Upload;

/// What a call is told of the world.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Now, monotonic.
    pub now: Moment,
    /// Now, in milliseconds of the Unix epoch.
    pub unix_millis: u64,
    /// Bounds of heads and trailers; those of bodies do not hold here.
    pub limits: &'a Limits,
}

/// Where a call appends: what both sockets are to send.
#[derive(Debug)]
pub struct Out<'o> {
    /// For the client.
    pub client: &'o mut Vec<u8>,
    /// For the backend.
    pub backend: &'o mut Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Asked,
    Body,
    Tunnel,
}

/// One exchange between a client and a backend.
#[derive(Debug)]
pub struct Relay {
    request: Decoder,
    response: ResponseDecoder,
    /// Until the response's head; boxed, because streams live long without it.
    opening: Option<Box<Opening>>,
    events: Events,
    /// When the whole exchange must be over.
    until: Option<Moment>,
    /// When a byte last came, from whichever side.
    life: Moment,
    idle: Duration,
    to: To,
    status: u16,
    phase: Phase,
    upload: Upload,
    download: Download,
    takes_trailers: bool,
    /// The backend's connection takes no other request: something came behind its response or may
    /// yet come, or the body of this request was stray.
    is_spoiled: bool,
    fault: Option<BadAnswer>,
    end: Option<End>,
    client_next: ClientNext,
}

const _: () = assert!(size_of::<Relay>() <= 224);

impl Relay {
    /// An exchange for which a backend is being connected. `decoder` has just handed out the head
    /// that `plan` was made of. For a mirrored copy any decoder will do, and what is appended for
    /// the client is thrown away.
    #[must_use]
    pub fn new(plan: Plan, mut decoder: Decoder, now: Moment) -> Self {
        // A request without a body has ended with its head; no byte need come to see it.
        let has_ended = matches!(decoder.decode(&mut &[][..], &Limits::default()), Ok(Item::End));
        let is_complete = has_ended || !plan.has_body();
        let upload = if is_complete { Upload::Complete } else { Upload::of(plan.framing) };
        Self {
            request: decoder,
            response: ResponseDecoder::new(),
            events: Events::OFF,
            until: opening::after(Some(now), plan.timers.request),
            life: now,
            idle: plan.timers.idle,
            to: plan.to,
            status: 0,
            phase: Phase::Connecting,
            upload,
            download: Download::None,
            takes_trailers: plan.takes_trailers,
            is_spoiled: plan.has_stray_body,
            fault: None,
            end: None,
            client_next: ClientNext::Close,
            opening: Some(Box::new(Opening::new(plan))),
        }
    }

    /// The endpoint is chosen: the `Set-Cookie` that keeps the client to it, if it needs one.
    pub fn set_cookie(&mut self, cookie: Option<&str>) {
        if let Some(opening) = &mut self.opening {
            opening.set_cookie(cookie);
        }
    }

    /// Why the exchange is over, once it is.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// What was wrong with the backend's answer, after [`End::BackendFault`]. The client is not
    /// told.
    #[must_use]
    pub fn fault(&self) -> Option<BadAnswer> {
        self.fault
    }

    /// The final status that the client got; 0 before.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether bytes pass as they are, both ways.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.phase == Phase::Tunnel
    }

    /// Whether the response's head is on its way.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(self.phase, Phase::Body | Phase::Tunnel)
    }

    /// For an event stream that the client can ask for again: whether it is between two events, so
    /// that an end now tears none. `None` for any other response; the stream that answers a POST,
    /// as that of a language model, is lost if it ends early.
    #[must_use]
    pub fn is_between_events(&self) -> Option<bool> {
        self.events.can_return().then(|| self.events.is_between_events())
    }

    /// Bytes on the heap that grow with what peers send.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let opening = self.opening.as_ref().map_or(0, |opening| opening.held_bytes());
        opening + self.request.held_bytes() + self.response.held_bytes()
    }

    /// The connection is to close after this response: the process drains.
    pub fn closing(&mut self) {
        self.to = self.to.closing();
    }

    /// The client's connection ended: the backend's request is cancelled with it (X4).
    pub fn client_gone(&mut self) -> Step {
        let end = if self.is_tunnel() { End::Upgraded } else { End::ClientGone };
        self.over(end, ClientNext::Close)
    }

    /// The exchange is ended from here, in the middle if need be.
    pub fn cancel(&mut self) -> Step {
        self.cut(End::Cancelled)
    }

    /// What becomes of the client's connection, once the exchange is over.
    #[must_use]
    pub fn client_next(&self) -> ClientNext {
        self.client_next
    }

    /// The client's decoder, if its connection takes another request.
    #[must_use]
    pub fn into_decoder(self) -> Option<Decoder> {
        (self.client_next == ClientNext::Keep).then_some(self.request)
    }

    /// Whether the backend's connection takes another request, once the exchange is over and
    /// everything for the backend was sent. Never after anything but a whole response to a whole
    /// request, with nothing behind it.
    #[must_use]
    pub fn backend_reusable(&self) -> bool {
        self.end == Some(End::Completed) && !self.is_spoiled && self.response.is_reusable()
    }

    /// The end. The first one counts.
    fn over(&mut self, end: End, client_next: ClientNext) -> Step {
        if let Some(end) = self.end {
            return Step::Over(end);
        }
        self.end = Some(end);
        self.client_next = client_next;
        self.opening = None;
        Step::Over(end)
    }

    /// The end in the middle of a response, such that the client can tell (X3).
    fn cut(&mut self, end: End) -> Step {
        let shows = self.phase != Phase::Body || self.download != Download::UntilClose;
        self.over(end, if shows { ClientNext::Close } else { ClientNext::Reset })
    }
}
