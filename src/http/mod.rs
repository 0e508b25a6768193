//! HTTP/1.1 without I/O: bytes in, messages out; messages in, bytes out. Both sides of a gateway.
//!
//! ```text
//!  client  ─▶ h1::Decoder ─▶ Head, Body.., End  (or one Fault: answer its status and close)
//!             forward::request_fields ─▶ h1::encode::request_head, chunk ─▶ backend
//!  backend ─▶ h1::response::ResponseDecoder ─▶ Interim.., Head, Body.., Trailers, End
//!             forward::response_fields ─▶ h1::encode::response_head, chunk ─▶ client
//!  response::Reply ─▶ an answer of our own
//! ```
//!
//! Invariants: no sockets, no clock, no threads. `httparse` is seen here only. Deadlines belong to
//! the session; `h1::Decoder::stage` says which one runs. Rules are cited as H1 to H10 (messages)
//! and by RFC section where the code obeys them.

pub mod date;
pub mod fields;
pub mod forward;
pub mod h1;
pub mod media;
pub mod query;
pub mod response;

/// Bounds of one request; each edge is exact: the bound passes, one more does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head: request line, fields and the empty line. Trailers have the same bound.
    pub head_bytes_max: usize,
    /// Header fields of a head. Trailers have the same bound.
    pub headers_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
    /// Bytes of a body, without its chunk framing.
    pub body_bytes_max: usize,
    /// Whether `GET` and `HEAD` may have a body.
    pub stray_bodies: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 * 1024,
            headers_max: 100,
            target_bytes_max: 8 * 1024,
            body_bytes_max: 1024 * 1024,
            stray_bodies: false,
        }
    }
}

impl Limits {
    /// The same for a body of any length, on any method. A head is decoded with these limits where
    /// its body may belong to somebody else; [`h1::Head::fits`] then judges the bodies that are
    /// ours.
    #[must_use]
    pub fn any_body(self) -> Self {
        Self { body_bytes_max: usize::MAX, stray_bodies: true, ..self }
    }
}

/// The two versions of HTTP/1 that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: closes unless asked to stay, knows no chunked coding.
    Http10,
    /// HTTP/1.1: stays unless asked to close.
    Http11,
}

/// The methods that somebody above answers; the rest go by their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `OPTIONS`
    Options,
    /// Any other token; [`h1::Head::method_text`] has it.
    Other,
}
