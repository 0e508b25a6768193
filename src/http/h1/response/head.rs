//! A response's head: one owned block of bytes, and what it says about the body.
//!
//! Invariants: every check of the head is done when a `ResponseHead` exists: a status from 100 up,
//! one framing, tokens as names, values without control bytes apart from tabs.

use super::ResponseFault;
use crate::http::Version;
use crate::http::h1::Fault;
use crate::http::h1::block::Block;
use crate::http::h1::block::FIELDS_INLINE;
use crate::http::h1::block::Span;
use crate::http::h1::block::places;
use crate::http::h1::block::span;
use crate::http::h1::connection::Connection;
use crate::http::h1::framing;
use crate::http::h1::framing::Framing;
use smallvec::SmallVec;

/// How a response's body is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body: an answer to `HEAD`, a status that has none, or a tunnel that begins.
    None,
    /// So many bytes.
    Sized(u64),
    /// Chunked coding.
    Chunked,
    /// All that comes until the connection ends.
    UntilClose,
}

/// A complete and checked response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    block: Block,
    parts: Parts,
}

/// What the bytes of a head say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    status: u16,
    version: Version,
    reason: Span,
    framing: ResponseFraming,
    keep_alive: bool,
}

impl ResponseHead {
    /// The status: 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.parts.status
    }

    /// The backend's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// The reason phrase as it came; empty if there is none, or none in ASCII.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.block.text(self.parts.reason)
    }

    /// How the body is delimited.
    #[must_use]
    pub fn framing(&self) -> ResponseFraming {
        self.parts.framing
    }

    /// Whether the backend takes another request on this connection once the body has ended.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.parts.keep_alive
    }

    /// Whether another head follows: any 1xx but 101.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.parts.status < 200 && !self.is_upgrade()
    }

    /// Whether what follows is no longer HTTP: 101.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.parts.status == 101
    }

    /// All fields in order: names as they came, values without outer blanks.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.block.fields()
    }

    /// The values of every field of this name, whatever its case, in order.
    pub fn all<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.block.all(name)
    }

    /// The first value of this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The first value of this name if it is UTF-8.
    #[must_use]
    pub fn first_text(&self, name: &str) -> Option<&str> {
        self.block.first_text(name)
    }

    /// Checks a whole head of `count` fields, the answer to a `HEAD` or not, and takes its bytes
    /// over.
    pub(super) fn parse(
        bytes: Vec<u8>,
        count: usize,
        to_head: bool,
    ) -> Result<Self, ResponseFault> {
        let (parts, fields) = Parts::read(&bytes, count, to_head)?;
        Ok(Self { block: Block::new(bytes, fields), parts })
    }
}

impl Parts {
    fn read(
        bytes: &[u8],
        count: usize,
        to_head: bool,
    ) -> Result<(Self, Vec<(Span, Span)>), ResponseFault> {
        let mut space: SmallVec<[httparse::Header<'_>; FIELDS_INLINE]> =
            smallvec::smallvec![httparse::EMPTY_HEADER; count];
        let mut response = httparse::Response::new(&mut space);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(ResponseFault::StatusLine),
            Err(error) => return Err(refused(error)),
        }
        let Some(status) = response.code.filter(|status| *status >= 100) else {
            return Err(ResponseFault::StatusLine);
        };
        let version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let mut framing = framing::Fields::default();
        let mut connection = Connection::default();
        let mut has_upgrade = false;
        let fields = places(bytes, response.headers, |name, value| {
            connection.add(name, value);
            has_upgrade |= name.eq_ignore_ascii_case("upgrade") && !value.is_empty();
            framing.add(name, value)
        })?;
        if status == 101 && (version == Version::Http10 || !has_upgrade) {
            return Err(ResponseFault::Upgrade);
        }
        let framing = match framing.decide(version)? {
            // Nobody here undoes a coding below `chunked`, and nobody asked for one.
            (_, true) => return Err(Fault::TransferEncoding.into()),
            _ if to_head || matches!(status, 100..=199 | 204 | 304) => ResponseFraming::None,
            (Framing::None, _) => ResponseFraming::UntilClose,
            (Framing::Sized(length), _) => ResponseFraming::Sized(length),
            (Framing::Chunked, _) => ResponseFraming::Chunked,
        };
        let keeps = connection.keeps(version) && status != 101;
        let keep_alive = keeps && framing != ResponseFraming::UntilClose;
        let reason = span(bytes, response.reason.unwrap_or_default().as_bytes())?;
        Ok((Self { status, version, reason, framing, keep_alive }, fields))
    }
}

/// The parser's verdict in our words.
fn refused(error: httparse::Error) -> ResponseFault {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Fault::Field.into(),
        httparse::Error::TooManyHeaders => Fault::TooManyFields.into(),
        httparse::Error::Version => Fault::Version.into(),
        _ => ResponseFault::StatusLine,
    }
}
