//! HTTP/1.0 and 1.1 requests from bytes, however the bytes are cut; responses in [`response`].
//!
//! | stage | input | next |
//! |---|---|---|
//! | `Idle` | first byte | `Head` |
//! | `Head` | the empty line | emits `Head`; `Body` |
//! | `Body` | body bytes, or none | emits `Body` slices of the input, then `End`; `Idle` |
//! | any | a fault | emits the same fault for ever |
//!
//! Invariants:
//! 1. The items do not depend on how the input is cut, body slices joined.
//! 2. Input behind the end of a request is left to the caller, for the next request (pipelining);
//!    the decoder holds bytes only of an unfinished head, and between requests none at all.
//! 3. A `Head` that is handed out has exactly one framing, so nothing above decides about it.

mod block;
mod chunked;
mod connection;
mod fault;
mod framing;
mod head;
pub mod response;
mod scan;
mod target;

pub use fault::Fault;
pub use framing::Framing;
pub use head::Head;

use super::Limits;
use chunked::Chunked;
use scan::Scan;
use scan::Scanned;

/// What the decoder found next.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'i> {
    /// The input is used up; more is needed.
    Wait,
    /// A request begins.
    Head(Box<Head>),
    /// A piece of its body, never empty.
    Body(&'i [u8]),
    /// The request is complete; what is left of the input belongs to the next.
    End,
}

/// Which deadline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Between requests.
    Idle,
    /// A head has begun.
    Head,
    /// A head was handed out, its `End` was not.
    Body,
}

#[derive(Debug)]
enum State {
    Head(Scan),
    Sized { left: u64 },
    Chunked(Chunked),
    Refused(Fault),
}

/// The request machine of one connection.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of an unfinished head.
    held: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder between requests.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Head(Scan::new()), held: Vec::new() }
    }

    /// The next item in `input`, which moves past what was used. Call until [`Item::Wait`].
    ///
    /// # Errors
    /// The request is refused: answer [`Fault::status`] and close. Every later call says the same.
    pub fn decode<'i>(&mut self, input: &mut &'i [u8], limits: &Limits) -> Result<Item<'i>, Fault> {
        let item = match &mut self.state {
            State::Head(_) => self.head(input, limits),
            State::Sized { left } => Ok(sized(left, input).into()),
            State::Chunked(chunked) => chunked.decode(input, limits, None).map(Item::from),
            State::Refused(fault) => Err(*fault),
        };
        match &item {
            Ok(Item::End) => self.state = State::Head(Scan::new()),
            Ok(_) => {}
            Err(fault) => {
                self.state = State::Refused(*fault);
                self.held = Vec::new();
            }
        }
        item
    }

    /// Where the decoder stands, for the caller's deadlines.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::Head(scan) if !scan.has_begun() => Stage::Idle,
            State::Head(_) | State::Refused(_) => Stage::Head,
            State::Sized { .. } | State::Chunked(_) => Stage::Body,
        }
    }

    /// Bytes held for an unfinished head.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    fn head<'i>(&mut self, input: &mut &'i [u8], limits: &Limits) -> Result<Item<'i>, Fault> {
        let State::Head(scan) = &mut self.state else { return Ok(Item::Wait) };
        match scan.run(input, limits)? {
            Scanned::Part { skip } => {
                self.held.extend_from_slice(input.get(skip..).unwrap_or_default());
                *input = &[];
                Ok(Item::Wait)
            }
            Scanned::Whole { skip, end } => {
                let mut bytes = std::mem::take(&mut self.held);
                bytes.extend_from_slice(input.get(skip..end).unwrap_or_default());
                *input = input.get(end..).unwrap_or_default();
                let head = Head::parse(bytes, scan.fields(), limits)?;
                self.state = match head.framing() {
                    Framing::None => State::Sized { left: 0 },
                    Framing::Sized(left) => State::Sized { left },
                    Framing::Chunked => State::Chunked(Chunked::new()),
                };
                Ok(Item::Head(Box::new(head)))
            }
        }
    }
}

/// What a body's framing found next.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'i> {
    Wait,
    /// Never empty.
    Body(&'i [u8]),
    End,
}

impl<'i> From<Piece<'i>> for Item<'i> {
    fn from(piece: Piece<'i>) -> Self {
        match piece {
            Piece::Wait => Self::Wait,
            Piece::Body(bytes) => Self::Body(bytes),
            Piece::End => Self::End,
        }
    }
}

/// The next piece of a body of which `left` bytes are missing.
fn sized<'i>(left: &mut u64, input: &mut &'i [u8]) -> Piece<'i> {
    if *left == 0 {
        return Piece::End;
    }
    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    if take == 0 {
        return Piece::Wait;
    }
    let (body, rest) = input.split_at(take);
    *input = rest;
    *left -= take as u64;
    Piece::Body(body)
}

#[cfg(test)]
mod tests;
