//! Finds the end of a head, one byte at a time, and refuses early what cannot become one.
//!
//! Invariants:
//! 1. The verdict on a byte depends on the bytes before it and on nothing else, so any cut of the
//!    input gives the same answer. Whatever needs the whole head is left to the parser.
//! 2. No head of more than `head_bytes_max` bytes is ever complete.
//! 3. Lines end in CRLF. RFC 9112 section 2.2 lets a server take a bare LF; two parsers that
//!    disagree about that are a smuggling vector, so it is a fault here.

use super::Fault;
use crate::http::Limits;

/// Empty lines tolerated before a request line (RFC 9112 section 2.2 asks for one).
const LEADING_LINES_MAX: u8 = 2;
/// Longest method; the longest registered one has 18 letters.
const METHOD_BYTES_MAX: u32 = 32;
/// How every response begins.
const RESPONSE_PREFIX: &[u8] = b"HTTP/";

/// Where in a head the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first byte of the request line; a CR there may begin an empty line.
    Start,
    StartCr,
    Method,
    Target,
    /// Before or in the first bytes of a status line, which are known.
    Response,
    /// The rest of the first line.
    Version,
    /// After the first line's or a field's CR.
    LineCr,
    /// After a line's LF.
    LineStart,
    Line,
    /// After the CR of the empty line.
    LastCr,
}

/// The scanner's memory between two inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    at: At,
    leading: u8,
    /// Bytes of the head so far, leading empty lines not counted.
    bytes: usize,
    /// Bytes of the method, target or known beginning so far.
    part: u32,
    fields: usize,
}

/// What a piece of input amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// All of it belongs to a head that goes on; the first `skip` bytes are empty lines.
    Part { skip: usize },
    /// The head ends after `end` bytes; `skip` as above.
    Whole { skip: usize, end: usize },
}

impl Scan {
    /// Before a request.
    pub(super) const fn new() -> Self {
        Self { at: At::Start, leading: 0, bytes: 0, part: 0, fields: 0 }
    }

    /// Before a response. Its first line fails with [`Fault::RequestLine`] too.
    pub(super) const fn response() -> Self {
        Self { at: At::Response, ..Self::new() }
    }

    /// Whether a message has begun.
    pub(super) fn has_begun(&self) -> bool {
        !matches!((self.at, self.part), (At::Start, _) | (At::Response, 0)) || self.leading != 0
    }

    /// Fields seen so far; all of them once the head is whole.
    pub(super) fn fields(&self) -> usize {
        self.fields
    }

    /// Reads `input` up to the end of the head or of the input.
    pub(super) fn run(&mut self, input: &[u8], limits: &Limits) -> Result<Scanned, Fault> {
        let mut skip = 0;
        for (n, byte) in input.iter().enumerate() {
            let done = self.step(*byte, limits)?;
            if matches!(self.at, At::Start | At::StartCr) {
                skip = n + 1;
            } else {
                self.bytes += 1;
                if self.bytes > limits.head_bytes_max {
                    return Err(Fault::HeadTooLarge);
                }
            }
            if done {
                return Ok(Scanned::Whole { skip, end: n + 1 });
            }
        }
        Ok(Scanned::Part { skip })
    }

    fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, Fault> {
        self.at = match (self.at, byte) {
            (_, 0) => return Err(Fault::BareControl),
            (At::Start, b'\r') if self.leading < LEADING_LINES_MAX => At::StartCr,
            (At::StartCr, b'\n') => {
                self.leading += 1;
                At::Start
            }
            (At::StartCr | At::LineCr | At::LastCr, byte) if byte != b'\n' => {
                return Err(Fault::BareControl);
            }
            (At::Start, byte) if is_token(byte) => {
                self.part = 1;
                At::Method
            }
            (At::Method, byte) if is_token(byte) && self.part < METHOD_BYTES_MAX => {
                self.part += 1;
                At::Method
            }
            (At::Method, b' ') => {
                self.part = 0;
                At::Target
            }
            (At::Target, b' ') => At::Version,
            (At::Target, byte) if byte > b' ' && byte != 0x7f => {
                self.part += 1;
                if self.part as usize > limits.target_bytes_max {
                    return Err(Fault::TargetTooLong);
                }
                At::Target
            }
            (At::Response, byte) if RESPONSE_PREFIX.get(self.part as usize) == Some(&byte) => {
                self.part += 1;
                if self.part as usize == RESPONSE_PREFIX.len() { At::Version } else { At::Response }
            }
            (At::Start | At::Method | At::Target | At::Response, _) => {
                return Err(Fault::RequestLine);
            }
            (At::LineStart, b'\r') => At::LastCr,
            (At::Version | At::Line, b'\r') => At::LineCr,
            (At::LineCr, _) => At::LineStart,
            (At::LastCr, _) => return Ok(true),
            (_, b'\n') => return Err(Fault::BareControl),
            (At::LineStart, byte) => {
                self.fields += 1;
                if self.fields > limits.headers_max {
                    return Err(Fault::TooManyFields);
                }
                // RFC 9112 section 5.2: a folded line is refused.
                if !is_token(byte) {
                    return Err(Fault::Field);
                }
                At::Line
            }
            (at @ (At::Version | At::Line), _) => at,
            (At::StartCr, _) => return Err(Fault::BareControl),
        };
        Ok(false)
    }
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
