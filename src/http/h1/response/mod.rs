//! HTTP/1.0 and 1.1 responses of a backend from bytes, however the bytes are cut.
//!
//! | state | input | next |
//! |---|---|---|
//! | `Idle` | any byte | a fault: nobody asked |
//! | `Head` | the empty line of a 1xx | emits `Interim`; `Head` |
//! | `Head` | the empty line of a 101 | emits `Head`, then `Tunnel` for ever |
//! | `Head` | any other empty line | emits `Head`; a body's state |
//! | a body's | its bytes, or none | emits `Body` slices of the input, `Trailers`, `End`; `Idle` |
//! | any | a fault | emits the same fault for ever |
//!
//! Invariants:
//! 1. The items do not depend on how the input is cut, body slices joined.
//! 2. Input behind the end of a response is left to the caller, who must not use the connection
//!    again: it answers a request that nobody made.
//! 3. Bytes are held only of an unfinished head or of unfinished trailers; none between exchanges
//!    and none while a body runs.
//! 4. A head that is handed out has exactly one framing. What requests are refused for is refused
//!    here too: both framings, repeated lengths, folded lines, bare control bytes.

mod fault;
mod head;
#[cfg(test)]
mod tests;

pub use fault::ResponseFault;
pub use head::ResponseFraming;
pub use head::ResponseHead;

use super::Piece;
use super::Stage;
use super::chunked::Chunked;
use super::scan::Scan;
use super::scan::Scanned;
use super::sized;
use crate::http::Limits;
use crate::http::fields::Fields;

/// Interim heads before one final head. A backend that reports progress sends a few.
pub const INTERIM_HEADS_MAX: u8 = 32;

/// What the decoder found next.
#[derive(Debug, PartialEq, Eq)]
pub enum ResponseItem<'i> {
    /// The input is used up; more is needed.
    Wait,
    /// A 1xx other than 101: not the answer yet.
    Interim(Box<ResponseHead>),
    /// The answer begins.
    Head(Box<ResponseHead>),
    /// A piece of its body, never empty.
    Body(&'i [u8]),
    /// The fields behind a chunked body, if there are any. They are not fields of the head.
    Trailers(Fields),
    /// The response is complete; see [`ResponseDecoder::is_reusable`].
    End,
    /// A 101 was handed out: the rest of the input, and all that follows, is not HTTP.
    Tunnel,
}

/// What the end of the backend's connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is missing: no exchange was open, or its end is the connection's end.
    Clean,
    /// A response was asked for and not a byte of it came: the request may not have been read.
    Early,
    /// A response is incomplete.
    Truncated,
}

#[derive(Debug)]
enum State {
    Idle,
    Head(Scan),
    Sized { left: u64 },
    Chunked(Chunked),
    UntilClose,
    Tunnel,
    Refused(ResponseFault),
}

/// The response machine of one connection to a backend.
pub struct ResponseDecoder {
    state: State,
    /// Bytes of an unfinished head, or of unfinished trailers.
    held: Vec<u8>,
    interim_heads: u8,
    to_head: bool,
    keep_alive: bool,
}

const _: () = assert!(size_of::<ResponseDecoder>() <= 64);

/// Without the held bytes: a cookie may be among them.
impl std::fmt::Debug for ResponseDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseDecoder")
            .field("state", &self.state)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

impl Default for ResponseDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseDecoder {
    /// A decoder of a connection that has carried nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Idle,
            held: Vec::new(),
            interim_heads: 0,
            to_head: false,
            keep_alive: true,
        }
    }

    /// A request goes out: its response is expected. Call it before the response can come, and only
    /// where [`ResponseDecoder::is_reusable`] holds.
    pub fn expect(&mut self, is_head: bool) {
        debug_assert!(self.is_reusable(), "a request on a connection that cannot take one");
        self.state = State::Head(Scan::response());
        self.interim_heads = 0;
        self.to_head = is_head;
    }

    /// The next item in `input`, which moves past what was used. Call until [`ResponseItem::Wait`],
    /// [`ResponseItem::End`] or [`ResponseItem::Tunnel`]. Bodies have no bound here, nor has
    /// `limits.target_bytes_max` a meaning. A 101 that was not asked for is the caller's to refuse.
    ///
    /// # Errors
    /// The response is refused: close the connection. Every later call says the same.
    pub fn decode<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<ResponseItem<'i>, ResponseFault> {
        let item = self.next(input, limits);
        match &item {
            Ok(ResponseItem::End) => self.state = State::Idle,
            Ok(_) => {}
            Err(fault) => {
                self.state = State::Refused(*fault);
                self.held = Vec::new();
                self.keep_alive = false;
            }
        }
        item
    }

    /// What it means that the connection has ended now.
    #[must_use]
    pub fn end(&self) -> Ending {
        match &self.state {
            State::Idle | State::UntilClose | State::Tunnel | State::Sized { left: 0 } => {
                Ending::Clean
            }
            State::Head(scan) if !scan.has_begun() && self.interim_heads == 0 => Ending::Early,
            State::Head(_) | State::Sized { .. } | State::Chunked(_) | State::Refused(_) => {
                Ending::Truncated
            }
        }
    }

    /// Whether no exchange is open and the connection may carry another. That no input is left over
    /// and that the request was sent to its end is the caller's to check.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        matches!(self.state, State::Idle) && self.keep_alive
    }

    /// Where the decoder stands: `Idle` between exchanges, `Head` from `expect` to the final head.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::Idle => Stage::Idle,
            State::Head(_) | State::Refused(_) => Stage::Head,
            _ => Stage::Body,
        }
    }

    /// Bytes held for an unfinished head or unfinished trailers.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<ResponseItem<'i>, ResponseFault> {
        let piece = match &mut self.state {
            State::Idle if input.is_empty() => Piece::Wait,
            State::Idle => return Err(ResponseFault::Unasked),
            State::Head(_) => return self.head(input, limits),
            State::Sized { left } => sized(left, input),
            State::Chunked(_) => return self.chunked(input, limits),
            State::UntilClose if input.is_empty() => Piece::Wait,
            State::UntilClose => Piece::Body(std::mem::take(input)),
            State::Tunnel => return Ok(ResponseItem::Tunnel),
            State::Refused(fault) => return Err(*fault),
        };
        Ok(piece.into())
    }

    fn head<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<ResponseItem<'i>, ResponseFault> {
        let State::Head(scan) = &mut self.state else { return Ok(ResponseItem::Wait) };
        let end = match scan.run(input, limits)? {
            Scanned::Part { .. } => {
                self.held.extend_from_slice(input);
                *input = &[];
                return Ok(ResponseItem::Wait);
            }
            Scanned::Whole { end, .. } => end,
        };
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(input.get(..end).unwrap_or_default());
        *input = input.get(end..).unwrap_or_default();
        let head = ResponseHead::parse(bytes, scan.fields(), self.to_head)?;
        if head.is_interim() {
            self.state = State::Head(Scan::response());
            self.interim_heads += 1;
            if self.interim_heads > INTERIM_HEADS_MAX {
                return Err(ResponseFault::TooManyInterim);
            }
            return Ok(ResponseItem::Interim(Box::new(head)));
        }
        self.keep_alive = head.keep_alive();
        self.state = match head.framing() {
            _ if head.is_upgrade() => State::Tunnel,
            ResponseFraming::None => State::Sized { left: 0 },
            ResponseFraming::Sized(left) => State::Sized { left },
            ResponseFraming::Chunked => State::Chunked(Chunked::new()),
            ResponseFraming::UntilClose => State::UntilClose,
        };
        Ok(ResponseItem::Head(Box::new(head)))
    }

    fn chunked<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<ResponseItem<'i>, ResponseFault> {
        let State::Chunked(chunked) = &mut self.state else { return Ok(ResponseItem::Wait) };
        let limits = Limits { body_bytes_max: usize::MAX, ..*limits };
        match chunked.decode(input, &limits, Some(&mut self.held))? {
            Piece::End if !self.held.is_empty() => {
                self.state = State::Sized { left: 0 };
                Ok(ResponseItem::Trailers(trailers(&std::mem::take(&mut self.held))))
            }
            piece => {
                if matches!(piece, Piece::Body(_)) {
                    chunked.renew_extensions();
                }
                Ok(piece.into())
            }
        }
    }
}

impl<'i> From<Piece<'i>> for ResponseItem<'i> {
    fn from(piece: Piece<'i>) -> Self {
        match piece {
            Piece::Wait => Self::Wait,
            Piece::Body(bytes) => Self::Body(bytes),
            Piece::End => Self::End,
        }
    }
}

/// Fields from lines whose form the chunked machine has checked.
fn trailers(lines: &[u8]) -> Fields {
    let mut fields = Fields::new();
    for line in lines.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if let Ok(name) = std::str::from_utf8(name) {
            fields.push(name, value.get(1..).unwrap_or_default().trim_ascii());
        }
    }
    fields
}
