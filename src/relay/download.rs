//! The response's body on its way to the client: which framing it has there.
//!
//! Invariants: a call appends at most one chunk, and never an empty one, which would be the last.

use crate::http::fields::Fields;
use crate::http::forward;
use crate::http::h1::encode;
use crate::http::h1::response::ResponseFraming;

/// How the client's copy of a body is delimited; see [`forward::framing_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Download {
    /// No body.
    None,
    /// So many bytes as the head says.
    Sized,
    /// Chunked coding.
    Chunked,
    /// All until the close.
    UntilClose,
}

impl Download {
    pub(super) fn of(framing: ResponseFraming) -> Self {
        match framing {
            ResponseFraming::None => Self::None,
            ResponseFraming::Sized(_) => Self::Sized,
            ResponseFraming::Chunked => Self::Chunked,
            ResponseFraming::UntilClose => Self::UntilClose,
        }
    }

    /// Appends pieces of the body, together one chunk where there are chunks.
    pub(super) fn write(self, parts: &[&[u8]], out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Chunked => encode::chunk_of(parts, out),
            Self::Sized | Self::UntilClose => {
                parts.iter().for_each(|part| out.extend_from_slice(part));
            }
        }
    }

    /// Appends what ends the body.
    pub(super) fn end(self, trailers: Option<Fields>, out: &mut Vec<u8>) {
        if self == Self::Chunked {
            encode::last_chunk(trailers.map(forward::trailer_fields).as_ref(), out);
        }
    }
}
