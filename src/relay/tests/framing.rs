//! Every framing of the backend for every kind of client.

use super::*;

/// A response, its body, and whether the backend's connection can go on after it.
const RESPONSES: &[(&str, &str, bool)] = &[
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\n",
        "hello",
        true,
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", true),
    ("HTTP/1.1 200 OK\r\n\r\nhello", "hello", false),
    ("HTTP/1.0 200 OK\r\n\r\nhello", "hello", false),
    ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "hello", false),
    ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello", true),
    ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", true),
    (
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno",
        "no",
        true,
    ),
];

/// Request lines and fields, and whether the client would go on.
const CLIENTS: &[(&str, bool)] = &[
    ("/ HTTP/1.1\r\nHost: h\r\n\r\n", true),
    ("/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false),
    ("/ HTTP/1.0\r\n\r\n", false),
    ("/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
];

fn check(method: &str, client: (&str, bool), response: (&str, &str, bool)) {
    let (rest, wants_more) = client;
    let (mut bytes, body, reusable) = response;
    let head = bytes.split_inclusive("\r\n\r\n").next().unwrap();
    let is_head = method == "HEAD";
    if is_head {
        bytes = head;
    }
    let about = format!("{method} {rest:?} {bytes:?}");
    let mut pair = Pair::connected(&format!("{method} {rest}"));
    pair.backend(bytes);
    if pair.end().is_none() {
        assert!(!reusable && !is_head, "{about}");
        pair.backend_ends(Lost::Clean);
    }
    assert_eq!(pair.end(), Some(End::Completed), "{about}");
    let seen = pair.seen();
    assert!(seen.is_whole && seen.behind.is_empty(), "{about}");
    assert_eq!(seen.status.to_string(), head[9..12], "{about}");
    assert_eq!(seen.body, if is_head { b"" } else { body.as_bytes() }, "{about}");
    let length = head.find("Content-Length: ").map(|at| &head[at + 16..=at + 16]);
    assert_eq!(seen.field("content-length"), length, "{about}");
    assert!(seen.field("date").is_some(), "{about}");
    let has_body = !is_head && length.is_none() && !head.contains(" 204 ");
    let old = rest.contains("1.0");
    let chunked = seen.field("transfer-encoding").is_some();
    assert_eq!(chunked, has_body && !old, "{about}");
    let keeps = wants_more && !(has_body && old);
    assert_eq!(pair.next() == ClientNext::Keep, keeps, "{about}");
    let connection = match (keeps, old) {
        (true, false) => None,
        (true, true) => Some("keep-alive"),
        (false, _) => Some("close"),
    };
    assert_eq!(seen.field("connection"), connection, "{about}");
    // What answers a HEAD and announces a body may be followed by one.
    let bare = length.is_none_or(|length| length == "0") && !head.contains("chunked");
    let kept = !head.contains("close") && !head.starts_with("HTTP/1.0");
    let framed = if is_head { bare && kept } else { reusable };
    assert_eq!(pair.relay.backend_reusable(), framed, "{about}");
}

#[test]
fn every_framing_for_every_client() {
    for client in CLIENTS {
        for response in RESPONSES {
            for method in ["GET", "HEAD"] {
                check(method, *client, *response);
            }
        }
    }
}

#[test]
fn a_body_of_the_client_keeps_its_framing() {
    let sized = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;ext=x\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n";
    let empty = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    let bare = "POST / HTTP/1.1\r\nHost: h\r\n\r\n";
    for (request, framing, body) in [
        (sized, Framing::Sized(5), "hello"),
        (chunked, Framing::Chunked, "hello"),
        (empty, Framing::Sized(0), ""),
        (bare, Framing::None, ""),
    ] {
        let pair = Pair::connected(request);
        let (line, _, got, whole) = pair.asked();
        assert_eq!(line, format!("POST / {framing:?}"));
        assert_eq!((&got[..], whole), (body.as_bytes(), true));
        let text = String::from_utf8(pair.to_backend).unwrap();
        assert!(!text.contains("ext=x") && !text.contains("Trailer"), "{text}");
    }
}

/// Whoever does not expect a body of a GET may take it for the next request.
#[test]
fn a_stray_body_is_the_last_thing_on_both_connections() {
    let sized =
        |method| format!("{method} /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    for (method, is_last) in [("GET", true), ("PUT", false)] {
        let mut pair = Pair::connected(&sized(method));
        let (line, fields, body, whole) = pair.asked();
        assert_eq!(
            (&*line, &*body, whole),
            (&*format!("{method} /a Sized(5)"), &b"hello"[..], true)
        );
        assert_eq!(fields.contains(&("Connection".to_owned(), "close".to_owned())), is_last);
        // A backend that would go on is not asked again.
        pair.backend(OK);
        assert_eq!((pair.end(), pair.seen().body), (Some(End::Completed), b"hi".to_vec()));
        assert_eq!(pair.relay.backend_reusable(), !is_last);
        let next = if is_last { ClientNext::Close } else { ClientNext::Keep };
        assert_eq!(pair.next(), next);
        assert_eq!(pair.seen().field("connection"), is_last.then_some("close"));
    }
}

#[test]
fn interim_heads_pass_as_they_come_but_not_to_the_old() {
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let mut pair = Pair::connected(POST);
    pair.backend(early);
    let text = String::from_utf8(pair.to_client.clone()).unwrap();
    assert!(text.starts_with("HTTP/1.1 100 ") && text.contains("Link: </x>\r\n"), "{text}");
    pair.client("hello");
    pair.backend(OK);
    assert_eq!((pair.seen().interim, pair.seen().status), (vec![100, 103], 200));

    let mut old = Pair::connected("GET / HTTP/1.0\r\n\r\n");
    old.backend(early);
    assert_eq!(old.to_client, b"");
    old.backend(OK);
    assert_eq!((old.seen().interim, old.seen().status), (vec![], 200));
}

#[test]
fn trailers_go_to_those_who_take_them() {
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    1\r\nx\r\n0\r\nServer-Timing: a\r\n\r\n";
    let asks = "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n";
    for (request, count) in [(asks, 1), (GET, 0), ("GET / HTTP/1.0\r\nTE: trailers\r\n\r\n", 0)] {
        let mut pair = Pair::connected(request);
        pair.backend(response);
        let seen = pair.seen();
        assert_eq!((seen.trailers.len(), &seen.body[..], seen.is_whole), (count, &b"x"[..], true));
    }
}

#[test]
fn fields_of_the_response_are_edited() {
    use crate::config::gateway::HeaderChange;
    let mut pair = Pair::with(GET, |plan| {
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        plan.changes = vec![HeaderChange {
            set: vec![pair("X-Set", "new"), pair("Content-Length", "9")],
            add: vec![pair("X-Add", "more")],
            remove: vec!["server".into()],
        }];
        plan.cookie = Some("to=1; Path=/".into());
    });
    pair.connect();
    pair.backend(
        "HTTP/1.1 200 Fine\r\nX-Set: old\r\nX-Add: some\r\nServer: s\r\nSet-Cookie: own=1\r\n\
         Date: then\r\nX-Accel-Buffering: no\r\nCache-Control: no-store\r\n\
         Keep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\n\
         X-Hop: 1\r\nContent-Length: 2\r\n\r\nhi",
    );
    let seen = pair.seen();
    assert!(pair.to_client.starts_with(b"HTTP/1.1 200 Fine\r\n"));
    assert_eq!(seen.field("x-set"), Some("new"));
    assert_eq!(seen.field("x-add"), Some("some,more"));
    assert_eq!(seen.field("date"), Some("then"));
    assert_eq!(seen.field("x-accel-buffering"), Some("no"));
    assert_eq!(seen.field("cache-control"), Some("no-store"));
    assert_eq!(seen.field("content-length"), Some("2"), "framing is not the route's to change");
    for gone in ["server", "keep-alive", "connection", "x-hop"] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    let cookies = seen.fields.iter().filter(|(n, _)| n == "Set-Cookie").count();
    assert_eq!((cookies, &seen.body[..]), (2, &b"hi"[..]));
}

#[test]
fn trailers_are_announced_to_those_who_take_them() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    for (te, want) in [("", None), ("TE: trailers\r\nConnection: TE\r\n", Some("X-Sum"))] {
        let mut pair = Pair::connected(&format!("GET / HTTP/1.1\r\nHost: h\r\n{te}\r\n"));
        pair.backend(head);
        assert_eq!(pair.seen().field("trailer"), want, "{te}");
    }
}
