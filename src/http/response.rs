//! Answers: status line, fields and body appended to a connection's output.
//!
//! Invariants:
//! 1. What is appended is one whole head and, if it has one, its whole body; or the head of an
//!    event stream, whose body ends with the connection (H6, design 4.4).
//! 2. A value cannot end its field: CR, LF and NUL become spaces, so echoing a peer's bytes is
//!    harmless.
//! 3. No body follows HEAD, 1xx, 204 or 304 (H6).

use crate::http::Method;
use crate::http::Version;
use crate::http::fields::harmless;
use crate::http::h1::Head;
use crate::http::h1::encode::number;
use crate::http::h1::encode::status_line;

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer must know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To {
    /// The client's version: decides what `Connection` must say.
    pub version: Version,
    /// Whether the connection goes on after this answer.
    pub keep_alive: bool,
    /// Whether the request was `HEAD`.
    pub is_head: bool,
}

impl To {
    /// For a request whose connection goes on if the client wants to.
    #[must_use]
    pub fn request(head: &Head) -> Self {
        Self {
            version: head.version(),
            keep_alive: head.keep_alive(),
            is_head: head.method() == Method::Head,
        }
    }

    /// For a peer that is refused: the connection closes.
    #[must_use]
    pub fn refused() -> Self {
        Self { version: Version::Http11, keep_alive: false, is_head: false }
    }

    /// The same, with the connection closing after it.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }

    /// What `Connection` must say, if anything.
    #[must_use]
    pub fn connection(self) -> Option<&'static str> {
        match (self.version, self.keep_alive) {
            (Version::Http11, true) => None,
            (Version::Http10, true) => Some("keep-alive"),
            (_, false) => Some("close"),
        }
    }
}

/// An answer in the making: fields in order, then one of the endings.
#[derive(Debug)]
#[must_use = "an answer without an ending is half a head"]
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    to: To,
    status: u16,
}

impl<'o> Reply<'o> {
    /// Begins an answer at the end of `out`.
    pub fn start(out: &'o mut Vec<u8>, status: u16, to: To) -> Self {
        status_line(status, reason(status), out);
        Self { out, to, status }
    }

    /// Adds a field. The name is ours, the value may be anybody's.
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend(value.as_ref().iter().copied().map(harmless));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds the date; see [`crate::http::date::Date`].
    pub fn date(self, text: &str) -> Self {
        self.field("Date", text)
    }

    /// Ends with a body of known length, possibly empty. After `HEAD` only its length is sent.
    pub fn body(self, body: &[u8]) {
        let reply = self.connection();
        let has_body = !matches!(reply.status, 100..=199 | 204 | 304);
        if has_body {
            reply.out.extend_from_slice(b"Content-Length: ");
            number(body.len() as u64, 10, reply.out);
            reply.out.extend_from_slice(b"\r\n");
        }
        reply.out.extend_from_slice(b"\r\n");
        if has_body && !reply.to.is_head {
            reply.out.extend_from_slice(body);
        }
    }

    /// Ends the head of a body that ends with the connection: an event stream.
    pub fn stream(self) {
        let to = self.to.closing();
        Reply { to, ..self }.connection().out.extend_from_slice(b"\r\n");
    }

    fn connection(self) -> Self {
        match self.to.connection() {
            Some(option) => self.field("Connection", option),
            None => self,
        }
    }
}

/// Appends the plain answer to a refused request: status, reason as text, close.
pub fn refuse(out: &mut Vec<u8>, status: u16, reason: &str, date: Option<&str>) {
    let mut reply = Reply::start(out, status, To::refused());
    if let Some(date) = date {
        reply = reply.date(date);
    }
    let mut text = reason.to_owned();
    text.push('\n');
    reply.field("Content-Type", "text/plain; charset=utf-8").body(text.as_bytes());
}

/// The reason phrase of a status (RFC 9110 section 15, RFC 6585); empty for any other.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(to: To, build: impl FnOnce(Reply<'_>)) -> String {
        let mut out = b"before|".to_vec();
        build(Reply::start(&mut out, 200, to));
        String::from_utf8(out).unwrap().strip_prefix("before|").unwrap().to_owned()
    }

    const HTTP11: To = To { version: Version::Http11, keep_alive: true, is_head: false };
    const HTTP10: To = To { version: Version::Http10, keep_alive: true, is_head: false };

    #[test]
    fn a_body_has_its_length() {
        let text = reply(HTTP11, |r| r.field("A", "b").body(b"hello"));
        assert_eq!(text, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello");
        let text = reply(HTTP11, |r| r.body(b""));
        assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn the_connection_field_fits_the_version() {
        let text = reply(HTTP10, |r| r.body(b"x"));
        assert!(text.contains("Connection: keep-alive\r\n"), "{text}");
        let text = reply(HTTP11.closing(), |r| r.body(b"x"));
        assert!(text.contains("Connection: close\r\n"), "{text}");
    }

    #[test]
    fn head_and_204_have_no_body() {
        let text = reply(To { is_head: true, ..HTTP11 }, |r| r.body(b"hello"));
        assert!(text.ends_with("Content-Length: 5\r\n\r\n"), "{text}");
        let mut out = Vec::new();
        Reply::start(&mut out, 204, HTTP11).body(b"no");
        assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
    }

    #[test]
    fn a_stream_is_delimited_by_the_close() {
        let text = reply(HTTP10, |r| r.field("Content-Type", "text/event-stream").stream());
        let want =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        assert_eq!(text, want);
    }

    #[test]
    fn an_echoed_value_stays_in_its_field() {
        let text = reply(HTTP11, |r| r.field("Last-Event-ID", "a\r\nSet-Cookie: x\0").body(b""));
        assert!(text.contains("Last-Event-ID: a  Set-Cookie: x \r\n"), "{text}");
    }

    #[test]
    fn every_fault_has_a_reason_phrase() {
        use crate::http::h1::Fault;
        for fault in [Fault::Field, Fault::BodyTooLarge, Fault::TargetTooLong, Fault::Version] {
            assert!(!reason(fault.status()).is_empty(), "{fault:?}");
        }
        let mut out = Vec::new();
        refuse(&mut out, 400, "no", None);
        assert!(out.starts_with(b"HTTP/1.1 400 Bad Request\r\n") && out.ends_with(b"\r\n\r\nno\n"));
    }
}
