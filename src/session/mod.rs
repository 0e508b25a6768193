//! One downstream connection up to its stream: requests in, answers out, without I/O.
//!
//! ```text
//!  input ─▶ http::h1 ─▶ Exchange (route, token) ─▶ page · publish · subscribe ─▶ out
//! ```
//!
//! | timer | runs | when it ends |
//! |---|---|---|
//! | head | from accept, or the first byte of a later request | 408, or nothing if no byte came |
//! | body | from the end of its head | 408 |
//! | keep-alive | from an answer to the next request's first byte | close |
//!
//! Invariants:
//! 1. What is appended to `out` does not depend on how the input is cut, up to the limit on answers
//!    to one piece of input.
//! 2. After [`Next::Close`], [`Next::Subscribe`] and [`Next::Relay`] the session has ended: it is
//!    not called again. What follows a request that is passed on is made with [`Session::resume`].
//! 3. Input behind a subscribe is ignored: an endless answer leaves no place for the next one.
//! 4. Between requests a session holds no memory beyond its own 100 bytes.
//! 5. Tokens are read and judged; no byte of one reaches `out`, an error or a log line.

mod answer;
mod edit;
mod exchange;
mod fanout;
mod group;
mod publish;
mod routed;
mod site;
mod subscribe;
#[cfg(test)]
mod tests;

pub use group::GROUPS_MAX;
pub use group::Group;
pub use group::HUB;
pub use group::Terms;
pub use group::upstream_limits;
pub use routed::Passage;
pub use site::Site;

use crate::base::sync::Arc;
use crate::base::time::Moment;
use crate::http::h1::Decoder;
use crate::http::h1::Fault;
use crate::http::h1::Head;
use crate::http::h1::Item;
use crate::http::h1::Stage;
use crate::http::response::To;
use crate::log::Subscription;
use crate::metrics::CloseReason;
use crate::metrics::Recorder;
use crate::metrics::RequestKind;
use crate::upstream::Tap;
use answer::Answer;
use exchange::Exchange;
use std::cell::RefCell;
use std::net::SocketAddr;

/// The time, and where to count. The worker makes one for each piece of input.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Now, monotonic.
    pub now: Moment,
    /// Now, in milliseconds of the Unix epoch.
    pub unix_millis: u64,
    /// The worker's counters.
    pub recorder: &'a Recorder,
    /// Chance: shares, mirrors, ids of requests.
    pub seed: u64,
    /// How the connection came in.
    pub arrival: Arrival,
    /// Upstream streams that a request opens: the worker has to feed them.
    pub opened: &'a RefCell<Vec<Arc<Tap>>>,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which of the router's addresses it came to.
    pub address: usize,
    /// Its peer.
    pub peer: SocketAddr,
    /// The worker that has it.
    pub worker: usize,
}

/// What the worker does next with the connection, once `out` is on its way.
#[derive(Debug)]
#[must_use]
pub enum Next {
    /// Wait for input or for the deadline.
    Read,
    /// Send `out`, then end the connection.
    Close(CloseReason),
    /// Send `out`, then the subscription's events. Nothing more is read.
    Subscribe(Box<Subscribe>),
    /// Send `out`, then pass this request on; [`Session::into_decoder`] has the rest of it.
    Relay(Box<Passage>),
}

/// A client that asked for a stream and got its head.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Whose client it becomes: a place in [`Site::groups`].
    pub group: usize,
    /// What it reads.
    pub subscription: Subscription,
    /// Everything kept after this sequence number comes first, 0 being all; `None`: from now on.
    pub after: Option<u64>,
    /// It knows that events up to here may have left the history; see [`crate::log::Start`].
    pub told: u64,
    /// When its token ends, in milliseconds of the Unix epoch; the stream must end by then.
    pub until_unix_millis: Option<u64>,
}

/// Bytes of answers to one piece of input: more means that somebody pipelines without reading.
const ANSWERS_BYTES_MAX: usize = 1024 * 1024;

/// The request phase of one connection.
pub struct Session {
    decoder: Decoder,
    exchange: Option<Box<Exchange>>,
    deadline: Moment,
    timer: Timer,
}

const _: () = assert!(size_of::<Session>() <= 104);

/// Without the bytes of an unfinished head: a token may be among them.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("stage", &self.decoder.stage())
            .field("exchange", &self.exchange)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Which deadline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Head,
    Body,
    KeepAlive,
}

impl Session {
    /// A connection that was accepted now.
    #[must_use]
    pub fn new(now: Moment, site: &Site) -> Self {
        let deadline = now.after(site.config().limits.head_timeout);
        Self { decoder: Decoder::new(), exchange: None, deadline, timer: Timer::Head }
    }

    /// Takes input and appends the answers to the requests that are complete.
    pub fn handle(&mut self, input: &[u8], site: &Site, at: &At<'_>, out: &mut Vec<u8>) -> Next {
        let mut rest = input;
        let out_max = out.len() + ANSWERS_BYTES_MAX;
        let mut answered = false;
        loop {
            // Until a head says where its body goes, the body is of any size.
            let limits = match self.exchange {
                Some(_) => *site.limits(),
                None => site.limits().any_body(),
            };
            let next = match self.decoder.decode(&mut rest, &limits) {
                Ok(Item::Wait) => break,
                Ok(Item::Head(head)) => self.begin(head, site, at, out),
                Ok(Item::Body(bytes)) => {
                    if let Some(exchange) = &mut self.exchange {
                        exchange.take(bytes);
                    }
                    Next::Read
                }
                Ok(Item::End) => {
                    answered = true;
                    self.exchange.take().map_or(Next::Read, |exchange| exchange.end(site, at, out))
                }
                Err(fault) => refuse(fault, at, out),
            };
            match next {
                Next::Read => {}
                Next::Relay(mut passage) => {
                    passage.input = rest.to_vec();
                    return Next::Relay(passage);
                }
                next => return next,
            }
            if out.len() > out_max {
                return Next::Close(CloseReason::OverLimit);
            }
        }
        self.set_timer(answered, site, at.now);
        Next::Read
    }

    /// A head is complete.
    fn begin(&mut self, head: Box<Head>, site: &Site, at: &At<'_>, out: &mut Vec<u8>) -> Next {
        let fits = head.fits(site.limits());
        let mut exchange = Box::new(Exchange::new(head, site, at));
        if let Err(fault) = fits
            && !exchange.is_passed_on()
        {
            return refuse(fault, at, out);
        }
        let next = exchange.begin(site, at, out);
        self.exchange = Some(exchange);
        next
    }

    /// A connection that goes on after a request was passed on.
    #[must_use]
    pub fn resume(decoder: Decoder, now: Moment, site: &Site) -> Self {
        let deadline = now.after(site.config().limits.keep_alive_timeout);
        Self { decoder, exchange: None, deadline, timer: Timer::KeepAlive }
    }

    /// The decoder, for who passes the request on.
    #[must_use]
    pub fn into_decoder(self) -> Decoder {
        self.decoder
    }

    /// When [`Session::expire`] is due.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whether no request has begun: such a connection can be closed without a word.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.decoder.stage() == Stage::Idle
    }

    /// Ends the connection if its deadline has come; a call before that changes nothing.
    pub fn expire(&mut self, at: &At<'_>, out: &mut Vec<u8>) -> Next {
        if at.now < self.deadline {
            return Next::Read;
        }
        let reason = match self.timer {
            Timer::Head => CloseReason::HeadTimeout,
            Timer::Body => CloseReason::BodyTimeout,
            Timer::KeepAlive => CloseReason::KeepAliveTimeout,
        };
        if !self.is_idle() {
            let kind = self.exchange.as_ref().map_or(RequestKind::Malformed, |e| e.kind());
            Answer::bare(at, kind, To::refused()).plain(out, 408, "the request took too long");
        }
        Next::Close(reason)
    }

    fn set_timer(&mut self, answered: bool, site: &Site, now: Moment) {
        let limits = &site.config().limits;
        // Bytes that drip in do not extend a timer that runs.
        let (timer, span) = match self.decoder.stage() {
            Stage::Body if answered || self.timer != Timer::Body => {
                (Timer::Body, limits.body_timeout)
            }
            // The first head's time runs from accept, a later one's from its first byte.
            Stage::Head if answered || self.timer != Timer::Head => {
                (Timer::Head, limits.head_timeout)
            }
            Stage::Idle if answered => (Timer::KeepAlive, limits.keep_alive_timeout),
            Stage::Head | Stage::Body | Stage::Idle => return,
        };
        (self.timer, self.deadline) = (timer, now.after(span));
    }
}

/// Where the next request would begin is no longer certain, so every fault closes.
fn refuse(fault: Fault, at: &At<'_>, out: &mut Vec<u8>) -> Next {
    let status = fault.status();
    let text = fault.to_string();
    Answer::bare(at, RequestKind::Malformed, To::refused()).plain(out, status, &text);
    Next::Close(match status {
        413 | 414 | 431 => CloseReason::OverLimit,
        _ => CloseReason::BadRequest,
    })
}
