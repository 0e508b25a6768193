//! The fields of a message that is passed on (RFC 9110 section 7.6): what belongs to one connection
//! goes, what the next one needs comes.
//!
//! Invariants:
//! 1. First everything hop-by-hop is taken out, with all that `Connection` names, then ours is
//!    added: no client can remove what we say, nor say it under a name that a backend confuses
//!    with ours (I1).
//! 2. Framing is written anew from the framing that the caller chose; a message never has two.
//! 3. An upgrade passes only where the caller allows it (I4).

mod names;
#[cfg(test)]
mod tests;

pub use names::is_hop_by_hop;

use super::Version;
use super::fields::Fields;
use super::h1::Framing;
use super::h1::Head;
use super::h1::response::ResponseFraming;
use super::h1::response::ResponseHead;
use super::response::To;
use names::Named;
use std::net::IpAddr;

/// How we call ourselves in `Via`.
const PSEUDONYM: &str = "tidegate";
/// Longest `X-Request-Id` of a client that is kept.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a request on its way to a backend must be told.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'h> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client speaks TLS.
    pub is_tls: bool,
    /// Replaces `Host`; `None`: the client's is kept.
    pub host: Option<&'h str>,
    /// The id of a request that brings none, or no sane one.
    pub request_id: &'h str,
    /// How the body is framed from here on: [`Head::framing`], unless the body is replaced.
    pub framing: Framing,
    /// Whether the route passes upgrades on.
    pub upgrade: bool,
}

/// What a response on its way to a client must be told.
#[derive(Clone, Copy, Debug)]
pub struct Back<'b> {
    /// The client. Its connection closes after a body that ends with the connection, whatever this
    /// says.
    pub to: To,
    /// How the body is framed from here on: see [`framing_to`].
    pub framing: ResponseFraming,
    /// The date for a response that has none; see [`crate::http::date::Date`].
    pub date: &'b str,
    /// Whether the request's upgrade was passed on.
    pub upgrade: bool,
    /// Whether trailers will be passed on: [`accepts_trailers`], and the body is chunked.
    pub trailers: bool,
}

/// The fields of a request to a backend, always in HTTP/1.1. A request with [`Head::is_coded`] is
/// not passed on: its coding would be lost. Filters of a route come after this; those that name a
/// field for which [`is_hop_by_hop`] holds must be refused.
#[must_use]
pub fn request_fields(head: &Head, hop: &Hop<'_>) -> Fields {
    let mut fields = Fields::new();
    // RFC 9110 section 7.2: `Host` comes first. HTTP/1.0 may have none, HTTP/1.1 must.
    fields.push("Host", hop.host.or(head.host()).unwrap_or_default());
    let named = Named::of(head.all("connection"));
    for (name, value) in head.fields() {
        let is_ours = name.eq_ignore_ascii_case("host") || names::resembles_ours(name);
        // An expectation that the decoder ignores must not come alive behind us.
        let is_vain = name.eq_ignore_ascii_case("expect") && !head.expects_continue();
        if !is_hop_by_hop(name) && !named.has(name) && !is_ours && !is_vain {
            fields.push(name, value);
        }
    }
    match hop.framing {
        Framing::None => {}
        Framing::Sized(length) => fields.push("Content-Length", length.to_string()),
        Framing::Chunked => fields.push("Transfer-Encoding", "chunked"),
    }
    let upgrade = head.upgrade().filter(|_| hop.upgrade);
    let options = match (upgrade, accepts_trailers(head)) {
        (Some(_), true) => Some("Upgrade, TE"),
        (Some(_), false) => Some("Upgrade"),
        (None, true) => Some("TE"),
        (None, false) => None,
    };
    if let Some(options) = options {
        fields.push("Connection", options);
    }
    if head.has_stray_body() {
        fields.append("Connection", "close", ", ");
    }
    if let Some(protocols) = upgrade {
        fields.push("Upgrade", protocols);
    }
    if accepts_trailers(head) {
        fields.push("TE", "trailers");
    }
    introduce(&mut fields, head, hop);
    fields
}

/// Says where a request comes from, and who passes it on (I3).
fn introduce(fields: &mut Fields, head: &Head, hop: &Hop<'_>) {
    let client = hop.client.to_canonical();
    let scheme = if hop.is_tls { "https" } else { "http" };
    fields.append("X-Forwarded-For", client.to_string(), ", ");
    fields.set("X-Forwarded-Proto", scheme);
    match head.host() {
        Some(host) => fields.set("X-Forwarded-Host", host),
        None => fields.remove("X-Forwarded-Host"),
    }
    fields.append("Forwarded", forwarded(client, head.host(), scheme), ", ");
    fields.append("Via", via(head.version()), ", ");
    let mut ids = fields.all("X-Request-Id");
    let is_sane = matches!((ids.next(), ids.next()), (Some(id), None) if is_sane_id(id));
    drop(ids);
    if !is_sane {
        fields.set("X-Request-Id", hop.request_id);
    }
}

/// The fields of a response to a client: of an answer, of an interim one (not for HTTP/1.0), or of
/// a 101 (only where the request's upgrade was passed on; else it is a 502).
#[must_use]
pub fn response_fields(head: &ResponseHead, back: &Back<'_>) -> Fields {
    let named = Named::of(head.all("connection"));
    let passes = |name: &str| !is_hop_by_hop(name) && !named.has(name);
    let mut fields: Fields = head.fields().filter(|(name, _)| passes(name)).collect();
    fields.append("Via", via(head.version()), ", ");
    if head.is_interim() {
        return fields;
    }
    if fields.first("Date").is_none() {
        fields.push("Date", back.date);
    }
    if head.is_upgrade() {
        for protocols in head.all("upgrade").filter(|_| back.upgrade) {
            fields.set("Connection", "Upgrade");
            fields.push("Upgrade", protocols);
        }
        return fields;
    }
    let mut to = back.to;
    match back.framing {
        // What `GET` would bring may be announced (RFC 9110 section 8.6), but not by a 204.
        ResponseFraming::None if head.status() != 204 => {
            if let Some(length) = head.first("content-length") {
                fields.push("Content-Length", length);
            }
        }
        ResponseFraming::None => {}
        ResponseFraming::Sized(length) => fields.push("Content-Length", length.to_string()),
        ResponseFraming::Chunked => fields.push("Transfer-Encoding", "chunked"),
        ResponseFraming::UntilClose => to = to.closing(),
    }
    if let Some(option) = to.connection() {
        fields.push("Connection", option);
    }
    for names in head.all("trailer").filter(|_| back.trailers) {
        fields.push("Trailer", names);
    }
    fields
}

/// How a response's body is framed for a client of this version. A body that ends with the
/// backend's connection becomes chunked, so that the client can tell an end from a cut (X5).
#[must_use]
pub fn framing_to(version: Version, framing: ResponseFraming) -> ResponseFraming {
    match (framing, version) {
        (ResponseFraming::Chunked | ResponseFraming::UntilClose, Version::Http11) => {
            ResponseFraming::Chunked
        }
        (ResponseFraming::Chunked | ResponseFraming::UntilClose, Version::Http10) => {
            ResponseFraming::UntilClose
        }
        (ResponseFraming::None | ResponseFraming::Sized(_), _) => framing,
    }
}

/// Whether the client takes trailers (RFC 9110 section 10.1.4): else they are dropped (I5).
#[must_use]
pub fn accepts_trailers(head: &Head) -> bool {
    let lists = |value: &[u8]| {
        value.split(|b| *b == b',').any(|c| c.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    head.version() == Version::Http11 && head.all("te").any(lists)
}

/// Trailers without the fields that may not be there (RFC 9110 section 6.5.1): framing, routing,
/// credentials, and what decides how the body is read. They are never merged into a head.
#[must_use]
pub fn trailer_fields(mut trailers: Fields) -> Fields {
    trailers.retain(|name, _| !is_hop_by_hop(name) && !names::is_barred_from_trailers(name));
    trailers
}

/// Whether nothing may be added to the body or changed in it (I7).
#[must_use]
pub fn is_no_transform(head: &ResponseHead) -> bool {
    let mut directives = head.all("cache-control").flat_map(|value| value.split(|b| *b == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Our entry in `Via`, behind a message of this version.
fn via(received: Version) -> String {
    let version = if received == Version::Http10 { "1.0" } else { "1.1" };
    format!("{version} {PSEUDONYM}")
}

/// Our entry in `Forwarded` (RFC 7239 section 4).
fn forwarded(client: IpAddr, host: Option<&str>, scheme: &str) -> String {
    let node = match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    // Neither quote nor backslash can stand in a host that the decoder lets through.
    let host = host.map_or(String::new(), |host| format!(";host=\"{host}\""));
    format!("for={node}{host};proto={scheme}")
}

fn is_sane_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}
