//! The client's body on its way to the backend: the same framing, made anew.
//!
//! Invariants: a length is passed on, so the bytes are; chunks are coded again, so nothing of the
//! client's chunk framing reaches the backend.

use crate::http::h1::Framing;
use crate::http::h1::encode;

/// What is left of the client's body, and how it is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// More comes, of a length that was said.
    Sized,
    /// More comes, in chunks.
    Chunked,
    /// Nothing more.
    Complete,
}

impl Upload {
    pub(super) fn of(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Sized(_) => Self::Sized,
            Framing::Chunked => Self::Chunked,
        }
    }

    /// Appends a piece as the backend gets it.
    pub(super) fn frame(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Chunked => encode::chunk(bytes, out),
            Self::Sized | Self::Complete => out.extend_from_slice(bytes),
        }
    }

    /// Appends what ends the body.
    pub(super) fn end(self, out: &mut Vec<u8>) {
        if self == Self::Chunked {
            encode::last_chunk(None, out);
        }
    }
}
