//! The request for an event stream, as bytes.
//!
//! Invariants: one request, whole; nothing that a client sent can replace what is ours, frame a
//! body, or change the connection. `Last-Event-ID` goes out byte for byte (C7), if there is one.

use super::tap::Tap;

/// Fields that a definition cannot pass on: ours, and those of one hop (I1).
const OURS: &[&str] = &[
    "accept",
    "accept-encoding",
    "cache-control",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Appends the request for `target`, to go on after `last_id`; empty: from where the upstream
/// likes.
pub(super) fn write(tap: &Tap, target: &str, last_id: &str, out: &mut Vec<u8>) {
    let host = &tap.family.definition.host;
    for part in ["GET ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    // C1; and nothing encoded, because an encoder would hold events back.
    out.extend_from_slice(
        b"Accept: text/event-stream\r\nAccept-Encoding: identity\r\nCache-Control: no-cache\r\n",
    );
    let version = env!("CARGO_PKG_VERSION");
    for part in ["User-Agent: tidegate/", version, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if !last_id.is_empty() {
        for part in ["Last-Event-ID: ", last_id, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    for (name, value) in tap.key.fields.iter().chain(tap.key.credentials.iter()) {
        if !OURS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gateway::Upstream;
    use crate::upstream::tests::definition;
    use crate::upstream::tests::head;
    use crate::upstream::tests::tap_of;

    fn request(definition: &Upstream, fields: &str, last_id: &str) -> String {
        let tap = tap_of(definition, Some(&head(fields)), None);
        let mut out = Vec::new();
        write(&tap, "/s?a=1", last_id, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_request_of_a_first_connect() {
        let version = env!("CARGO_PKG_VERSION");
        let want = format!(
            "GET /s?a=1 HTTP/1.1\r\nHost: feed.test:8080\r\nAccept: text/event-stream\r\n\
             Accept-Encoding: identity\r\nCache-Control: no-cache\r\n\
             User-Agent: tidegate/{version}\r\n\r\n"
        );
        assert_eq!(request(&definition(), "", ""), want);
    }

    #[test]
    fn the_id_goes_out_byte_for_byte_and_so_do_fields_and_credentials() {
        let tenant = Upstream { headers: vec!["x-tenant".into()], ..definition() };
        let fields = "Cookie: c=1\r\nX-Tenant: a b\r\nX-Not: listed\r\n";
        let got = request(&tenant, fields, "a é \"q\"");
        let want = "\r\nLast-Event-ID: a é \"q\"\r\nx-tenant: a b\r\ncookie: c=1\r\n\r\n";
        assert!(got.ends_with(want), "{got}");
    }

    #[test]
    fn nothing_of_ours_can_be_replaced() {
        let all = Upstream { headers: OURS.iter().map(|n| (*n).into()).collect(), ..definition() };
        let fields = "Connection: close\r\nTE: trailers\r\nLast-Event-ID: 5\r\nAccept: */*\r\n";
        assert_eq!(request(&all, fields, ""), request(&definition(), "", ""));
    }
}
