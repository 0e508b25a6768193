//! A request's head: one owned block of bytes and where its parts lie in it.
//!
//! Invariants: every check of the head is done when a `Head` exists: one `Host` (HTTP/1.1), one
//! framing, a clean target, known expectations. Field names are tokens, values have no control
//! bytes apart from tabs.

use super::Fault;
use super::block::Block;
use super::block::FIELDS_INLINE;
use super::block::Span;
use super::block::places;
use super::block::span;
use super::block::within;
use super::connection::Connection;
use super::framing;
use super::framing::Framing;
use super::target;
use crate::http::Limits;
use crate::http::Method;
use crate::http::Version;
use smallvec::SmallVec;

/// A complete and checked request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    block: Block,
    parts: Parts,
}

/// What the bytes of a head say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    method: Method,
    method_text: Span,
    version: Version,
    path: Span,
    query: Option<Span>,
    host: Option<Span>,
    framing: Framing,
    is_coded: bool,
    keep_alive: bool,
    expects_continue: bool,
    upgrade: Option<Span>,
}

impl Head {
    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.parts.method
    }

    /// The method as it came; case matters.
    #[must_use]
    pub fn method_text(&self) -> &str {
        self.block.text(self.parts.method_text)
    }

    /// The path as it came, never decoded; `/` for an absolute target without one, `*` for
    /// `OPTIONS *`.
    #[must_use]
    pub fn path(&self) -> &str {
        match self.block.text(self.parts.path) {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?` of the target, not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.parts.query.map(|span| self.block.text(span))
    }

    /// Host and port asked for: the absolute target's, else the `Host` field's (RFC 9112 3.2.2).
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.parts.host.map(|span| self.block.text(span))
    }

    /// The client's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// How the body is delimited.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.parts.framing
    }

    /// Whether a transfer coding besides `chunked` lies on the body, which nobody here undoes:
    /// answer 501 to such a request (RFC 9112 section 6.1).
    #[must_use]
    pub fn is_coded(&self) -> bool {
        self.parts.is_coded
    }

    /// Judges the body by its announcement, for a head that was decoded with
    /// [`Limits::any_body`]. A chunked body announces no length: it is judged as it comes, by the
    /// limits that are given for it.
    ///
    /// # Errors
    /// The body is longer than its bound, or stray: answer [`Fault::status`] and close.
    pub fn fits(&self, limits: &Limits) -> Result<(), Fault> {
        check_body(self.parts.method, self.parts.framing, limits)
    }

    /// Whether this is a `GET` or `HEAD` with a body. It has a use by agreement only (RFC 9110
    /// section 9.3.1), and who knows of none may take it for the next request: so it is the last
    /// request of every connection that it passes over.
    #[must_use]
    pub fn has_stray_body(&self) -> bool {
        is_stray(self.parts.method, self.parts.framing)
    }

    /// Whether the connection goes on after this exchange: the client wants to (RFC 9112 section
    /// 9.3), and the body is not stray.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.parts.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.parts.expects_continue
    }

    /// The protocols that the client wants to change to, as `Upgrade` names them, if `Connection`
    /// names that field too. Never in HTTP/1.0, beside a body, or where `h2c` is among them (H10).
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.parts.upgrade.map(|span| self.block.raw(span))
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

    /// Checks a whole head of `count` fields and takes its bytes over.
    pub(super) fn parse(bytes: Vec<u8>, count: usize, limits: &Limits) -> Result<Self, Fault> {
        let (parts, fields) = Parts::read(&bytes, count, limits)?;
        Ok(Self { block: Block::new(bytes, fields), parts })
    }
}

impl Parts {
    fn read(
        bytes: &[u8],
        count: usize,
        limits: &Limits,
    ) -> Result<(Self, Vec<(Span, Span)>), Fault> {
        let mut space: SmallVec<[httparse::Header<'_>; FIELDS_INLINE]> =
            smallvec::smallvec![httparse::EMPTY_HEADER; count];
        let mut request = httparse::Request::new(&mut space);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Fault::RequestLine),
            Err(error) => return Err(refused(error, bytes)),
        }
        let (Some(method_text), Some(target_text)) = (request.method, request.path) else {
            return Err(Fault::RequestLine);
        };
        let version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let method = method(method_text)?;
        let target = target::parse(target_text, method)?;
        let mut facts = Facts::default();
        let fields = places(bytes, request.headers, |name, value| facts.add(name, value, version))?;
        let (framing, is_coded) = facts.framing.decide(version)?;
        check_body(method, framing, limits)?;
        let base = span(bytes, target_text.as_bytes())?.start();
        let host = match (&target.authority, facts.host) {
            _ if facts.hosts > 1 => return Err(Fault::Host),
            (_, None) if version == Version::Http11 => return Err(Fault::Host),
            (Some(range), _) => Some(within(base, range)?),
            (None, Some(value)) => Some(span(bytes, value)?),
            (None, None) => None,
        };
        let upgrade = facts.upgrade().filter(|_| version == Version::Http11);
        let has_body = !matches!(framing, Framing::None | Framing::Sized(0));
        let parts = Self {
            method_text: span(bytes, method_text.as_bytes())?,
            path: within(base, &target.path)?,
            query: target.query.as_ref().map(|query| within(base, query)).transpose()?,
            keep_alive: facts.connection.keeps(version) && !is_stray(method, framing),
            expects_continue: facts.expects && has_body,
            upgrade: upgrade.filter(|_| !has_body).map(|value| span(bytes, value)).transpose()?,
            method,
            version,
            host,
            framing,
            is_coded,
        };
        Ok((parts, fields))
    }
}

/// What single fields say about the message, gathered in one pass.
#[derive(Debug, Default)]
struct Facts<'b> {
    framing: framing::Fields,
    host: Option<&'b [u8]>,
    hosts: usize,
    connection: Connection,
    expects: bool,
    upgrade: Option<&'b [u8]>,
    upgrades: usize,
}

impl<'b> Facts<'b> {
    fn add(&mut self, name: &str, value: &'b [u8], version: Version) -> Result<(), Fault> {
        self.framing.add(name, value)?;
        if name.eq_ignore_ascii_case("host") {
            self.hosts += 1;
            self.host = Some(value);
            // RFC 9112 section 3.2: an invalid value is a 400, as several fields are.
            return if target::is_host(value) { Ok(()) } else { Err(Fault::Host) };
        }
        self.connection.add(name, value);
        if name.eq_ignore_ascii_case("upgrade") {
            self.upgrades += 1;
            self.upgrade = Some(value);
        }
        // RFC 9110 section 10.1.1: an expectation in HTTP/1.0 is ignored.
        if name.eq_ignore_ascii_case("expect") && version == Version::Http11 {
            for expectation in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                if !expectation.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Fault::Expectation);
                }
                self.expects = true;
            }
        }
        Ok(())
    }

    /// The protocols asked for. A wish for `h2c` is ignored with all beside it (H10): a backend
    /// that takes it would speak past the rules of every route.
    fn upgrade(&self) -> Option<&'b [u8]> {
        let value = self.upgrade.filter(|_| self.connection.upgrade && self.upgrades == 1)?;
        let name = |p: &'b [u8]| p.split(|b| *b == b'/').next().unwrap_or_default().trim_ascii();
        let mut names = value.split(|b| *b == b',').map(name);
        names.all(|n| !n.is_empty() && !n.eq_ignore_ascii_case(b"h2c")).then_some(value)
    }
}

fn method(text: &str) -> Result<Method, Fault> {
    match text {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "OPTIONS" => Ok(Method::Options),
        // H10: no tunnels, and no mirror of what a client may not read.
        "CONNECT" | "TRACE" => Err(Fault::MethodRefused),
        _ => Ok(Method::Other),
    }
}

fn is_stray(method: Method, framing: Framing) -> bool {
    matches!(method, Method::Get | Method::Head)
        && !matches!(framing, Framing::None | Framing::Sized(0))
}

fn check_body(method: Method, framing: Framing, limits: &Limits) -> Result<(), Fault> {
    match framing {
        _ if is_stray(method, framing) && !limits.stray_bodies => Err(Fault::UnexpectedBody),
        Framing::Sized(length) if length > limits.body_bytes_max as u64 => Err(Fault::BodyTooLarge),
        _ => Ok(()),
    }
}

/// The parser's verdict in our words.
fn refused(error: httparse::Error, bytes: &[u8]) -> Fault {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Fault::Field,
        httparse::Error::TooManyHeaders => Fault::TooManyFields,
        httparse::Error::Version => {
            let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
            let version = line.splitn(3, |b| *b == b' ').nth(2).unwrap_or_default();
            match version {
                [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                    if major.is_ascii_digit() && minor.is_ascii_digit() =>
                {
                    Fault::Version
                }
                _ => Fault::RequestLine,
            }
        }
        _ => Fault::RequestLine,
    }
}
