//! Why a request is refused: the peer's fault, with the status that answers it.
//!
//! Invariants: every fault closes the connection, because where the next request begins is no
//! longer certain (RFC 9112 section 11.2).

/// The exact cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not `method SP target SP version CRLF`.
    #[error("malformed request line")]
    RequestLine,
    /// CR without LF, LF without CR, or NUL, anywhere in a head.
    #[error("bare CR, bare LF or NUL in the head")]
    BareControl,
    /// A field name that is no token, space before the colon, a folded line, a control byte.
    #[error("malformed header field")]
    Field,
    /// None, several, or an invalid one.
    #[error("missing, repeated or invalid Host")]
    Host,
    /// Neither origin, absolute nor asterisk form; dot segments; backslash in the path.
    #[error("malformed request target")]
    Target,
    /// Not digits, over 63 bits, a list, or repeated.
    #[error("malformed or repeated Content-Length")]
    ContentLength,
    /// `chunked` is not last, not alone of its kind, or the version does not know it.
    #[error("faulty Transfer-Encoding")]
    TransferEncoding,
    /// Both framings at once.
    #[error("Content-Length beside Transfer-Encoding")]
    BothFramings,
    /// A name that other parsers take for a framing field.
    #[error("a field name that resembles a framing field")]
    Lookalike,
    /// `GET` or `HEAD` with a body that nobody here wants: allowed, and used for smuggling.
    #[error("a body on a method that has none")]
    UnexpectedBody,
    /// Chunk size, extension, line end or trailer.
    #[error("malformed chunk framing")]
    Chunk,
    /// Chunk extensions past their bound.
    #[error("chunk extensions too long")]
    ChunkExtensions,
    /// The target is longer than its bound.
    #[error("request target too long")]
    TargetTooLong,
    /// The head, or the trailers, are longer than their bound.
    #[error("head too large")]
    HeadTooLarge,
    /// More fields than the bound, in the head or the trailers.
    #[error("too many header fields")]
    TooManyFields,
    /// The body is longer than its bound.
    #[error("request body too large")]
    BodyTooLarge,
    /// An expectation other than `100-continue`.
    #[error("unknown expectation")]
    Expectation,
    /// `CONNECT` or `TRACE`.
    #[error("method not implemented")]
    MethodRefused,
    /// A version other than 1.0 and 1.1.
    #[error("HTTP version not supported")]
    Version,
}

impl Fault {
    /// The status that answers it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::RequestLine
            | Self::BareControl
            | Self::Field
            | Self::Host
            | Self::Target
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::BothFramings
            | Self::Lookalike
            | Self::UnexpectedBody
            | Self::Chunk
            | Self::ChunkExtensions => 400,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::MethodRefused => 501,
            Self::Version => 505,
        }
    }
}
