//! Why a response is refused: the backend's fault, which the client sees as a 502 (I9).
//!
//! Invariants: every fault ends the connection to the backend, because where its next response
//! would begin is no longer certain (RFC 9112 section 11.2).

use crate::http::h1::Fault;

/// The exact cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseFault {
    /// Not `version SP status SP reason CRLF`, or a status below 100.
    #[error("malformed status line")]
    StatusLine,
    /// Bytes where no response was asked for.
    #[error("bytes between two responses")]
    Unasked,
    /// More interim responses than anybody needs.
    #[error("too many interim responses before the final one")]
    TooManyInterim,
    /// A 101 without `Upgrade`, or in HTTP/1.0.
    #[error("101 that names no protocol")]
    Upgrade,
    /// The faults that requests have too.
    #[error(transparent)]
    Message(Fault),
}

impl From<Fault> for ResponseFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::RequestLine => Self::StatusLine,
            other => Self::Message(other),
        }
    }
}
